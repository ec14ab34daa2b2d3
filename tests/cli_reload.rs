//! SIGHUP with the real program: limits and log level are read again, a faulty file changes nothing, a
//! reset of the kill switch is taken up, and a terminal that was closed still ends it in order.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use mock_exchange::{MockConfig, MockExchange, VenueConfig};
use serde_json::Value;

/// Generous for a busy machine, and far below forever.
const SOON: Duration = Duration::from_secs(30);

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exchange-gateway"));
    program.env_remove("EXCHANGE_GATEWAY_LOG").stdin(Stdio::null());
    program.stdout(Stdio::null()).stderr(Stdio::null());
    program
}

/// A mock exchange on a thread of its own, and what a gateway to it needs.
struct Bench {
    directory: tempfile::TempDir,
    ws: String,
    http: String,
    _mock: std::sync::mpsc::Sender<()>,
}

impl Bench {
    fn new() -> Self {
        let (started, venue) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let kraken = Some(VenueConfig::default());
            let config = MockConfig { kraken, ..MockConfig::default() };
            let mock = runtime.block_on(MockExchange::start(config)).unwrap();
            let venue = mock.venue("kraken").unwrap();
            started.send((venue.ws_url(), venue.http_url())).unwrap();
            _ = stopped.recv();
            runtime.block_on(mock.shutdown());
        });
        let (ws, http) = venue.recv().unwrap();
        Self { directory: tempfile::tempdir().unwrap(), ws, http, _mock: stop }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration, with these lines in front and behind.
    fn configure(&self, before: &str, after: &str) {
        let text = format!(
            "{before}\n[gateway]\nstate_dir = \"{state}\"\n[exchanges.kraken]\n\
             instruments = [\"BTC-USD\"]\ntrading = false\n\
             market_url = \"{ws}/v2\"\nhttp_url = \"{http}\"\n{after}\n",
            state = self.path("state").display(),
            ws = self.ws,
            http = self.http,
        );
        // Replaced at once: the program may read it at any moment.
        std::fs::write(self.path("new.toml"), text).unwrap();
        std::fs::rename(self.path("new.toml"), self.path("gateway.toml")).unwrap();
    }

    fn arguments(&self) -> [PathBuf; 5] {
        [
            "run".into(),
            "--config".into(),
            self.path("gateway.toml"),
            "--log".into(),
            self.path("log"),
        ]
    }

    fn run(&self) -> Child {
        let child = program().args(self.arguments()).spawn().unwrap();
        self.logged("signals are heard");
        child
    }

    fn risk(&self, what: &str) -> Output {
        let mut risk = program();
        risk.args(["risk", what, "--config"]).arg(self.path("gateway.toml"));
        risk.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
    }

    /// Waits for a line of the log.
    fn logged(&self, message: &str) -> Value {
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.rev().find(|line| line.to_string().contains(message)) {
                return line;
            }
            assert!(began.elapsed() < SOON, "{message:?} is not in the log:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status();
    assert!(sent.unwrap().success());
}

/// Waits for the process, and ends it if it does not end: a hang fails the test and leaves nothing.
fn ended(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > SOON {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the process did not end within {SOON:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn limits_and_log_level_are_read_again_and_what_needs_a_restart_is_named() {
    let bench = Bench::new();
    bench.configure("log.level = \"warn\"", "[risk]\nmax_open_orders = 5");
    let mut child = bench.run();
    let more =
        "[risk]\nmax_open_orders = 9\nmax_daily_loss = { USD = \"100.5\" }\n[orders]\nqueue = 7";
    bench.configure("log.level = \"debug\"", more);
    signal(child.id(), "HUP");
    let told = bench.logged("the configuration was read again").to_string();
    assert!(told.contains("debug"), "{told}");
    let changed = bench.logged("risk.max_open_orders").to_string();
    assert!(
        changed.contains("WARN") && changed.contains("\"5\"") && changed.contains("\"9\""),
        "{changed}"
    );
    let changed = bench.logged("risk.max_daily_loss.USD").to_string();
    assert!(changed.contains("no limit") && changed.contains("100.5"), "{changed}");
    let restart = bench.logged("only after a restart").to_string();
    assert!(restart.contains("orders.queue"), "{restart}");

    // A file with faults: each is told, and what held before holds on.
    bench.configure("log.level = \"loud\"", "[risk]\nmax_open_orders = 0\nmax_daily_los = 1");
    signal(child.id(), "HUP");
    bench.logged("the old limits hold on");
    for fault in
        ["log.level", "risk.max_open_orders: it is out of range", "risk.max_daily_los: unknown key"]
    {
        bench.logged(fault);
    }
    bench.configure("", "[risk]\nmax_open_orders = 8");
    signal(child.id(), "HUP");
    let changed = bench.logged("\"8\"").to_string();
    assert!(changed.contains("\"9\""), "the faulty file has changed nothing: {changed}");
    signal(child.id(), "TERM");
    assert_eq!(ended(&mut child).code(), Some(0));
}

#[test]
fn what_the_terminal_shows_changes_with_the_log_level() {
    let bench = Bench::new();
    bench.configure("log.level = \"error\"", "");
    let shown = bench.path("shown");
    let mut run = program();
    run.args(bench.arguments()).stderr(std::fs::File::create(&shown).unwrap());
    let mut child = run.spawn().unwrap();
    bench.logged("signals are heard");
    bench.configure("log.level = \"info\"", "");
    signal(child.id(), "HUP");
    bench.logged("the configuration was read again");
    signal(child.id(), "TERM");
    assert_eq!(ended(&mut child).code(), Some(0));
    let shown = std::fs::read_to_string(shown).unwrap();
    assert!(!shown.contains("gateway started"), "that was below the level: {shown}");
    assert!(shown.contains("shutdown complete"), "{shown}");
}

#[test]
fn a_tripped_kill_switch_is_shown_and_its_reset_is_taken_up() {
    let bench = Bench::new();
    bench.configure("", "");
    let no_state = bench.risk("show");
    assert_eq!(no_state.status.code(), Some(2), "{}", words(&no_state));
    assert!(!bench.path("state").exists());
    std::fs::create_dir(bench.path("state")).unwrap();
    assert_eq!(bench.risk("show").status.code(), Some(0));
    let switch = "{\"state\": \"tripped\", \"tripped\": \"2026-01-02T03:04:05Z\", \"reason\": \"all is lost\"}";
    std::fs::write(bench.path("state/kill-switch.json"), switch).unwrap();
    let shown = bench.risk("show");
    assert_eq!(shown.status.code(), Some(1));
    assert!(
        words(&shown).contains("tripped at 2026-01-02T03:04:05Z: all is lost"),
        "{}",
        words(&shown)
    );
    let check = program()
        .args(["check", "--config"])
        .arg(bench.path("gateway.toml"))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(0));
    assert!(words(&check).contains("warning: no new orders are taken"), "{}", words(&check));

    let mut child = bench.run();
    let told = bench.logged("the kill switch has tripped").to_string();
    assert!(told.contains("all is lost"), "{told}");
    let reset = bench.risk("reset");
    assert_eq!(reset.status.code(), Some(0));
    assert!(words(&reset).contains("It is reset"), "{}", words(&reset));
    signal(child.id(), "HUP");
    bench.logged("the kill switch was reset by hand");
    signal(child.id(), "TERM");
    assert_eq!(ended(&mut child).code(), Some(10), "the report says that it had tripped");
    assert_eq!(bench.risk("show").status.code(), Some(0));
    let again = words(&bench.risk("reset"));
    assert!(again.contains("has not tripped; nothing is changed"), "{again}");

    std::fs::write(bench.path("state/kill-switch.json"), "?").unwrap();
    let shown = bench.risk("show");
    assert_eq!(shown.status.code(), Some(1));
    assert!(words(&shown).contains("cannot read"), "{}", words(&shown));
    assert_eq!(bench.risk("reset").status.code(), Some(0));
    assert_eq!(bench.risk("show").status.code(), Some(0));
}

/// Runs the program in a terminal of its own, held by `script`, with this in front of it.
fn in_a_terminal(bench: &Bench, before: &str) -> (Child, u32) {
    let words: Vec<_> = bench.arguments().iter().map(|word| word.display().to_string()).collect();
    let id = bench.path("id");
    // It would leave a file in the working directory.
    let output = if before == "nohup" { ">/dev/null 2>&1" } else { "" };
    // These tests may themselves run under nohup, whose mark is inherited.
    let line = format!(
        "echo $$ > {}; exec env --default-signal=HUP {before} {} {} {output}",
        id.display(),
        env!("CARGO_BIN_EXE_exchange-gateway"),
        words.join(" ")
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    script.env_remove("EXCHANGE_GATEWAY_LOG");
    let terminal =
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bench.logged("signals are heard");
    let id = std::fs::read_to_string(id).unwrap().trim().parse().unwrap();
    (terminal, id)
}

#[test]
fn a_terminal_that_is_closed_ends_it_in_order_and_one_that_is_not_reloads() {
    let bench = Bench::new();
    bench.configure("", "");
    let (mut terminal, id) = in_a_terminal(&bench, "");
    bench.configure("", "[risk]\nmax_open_orders = 5");
    signal(id, "HUP");
    bench.logged("risk.max_open_orders");
    // The end of the terminal, as the system tells it to what runs in it.
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    let asked = bench.logged("asked to end").to_string();
    assert!(asked.contains("SIGHUP"), "{asked}");
    bench.logged("shutdown complete");
}

#[test]
fn nohup_outlives_its_terminal() {
    let bench = Bench::new();
    bench.configure("", "");
    let (mut terminal, id) = in_a_terminal(&bench, "nohup");
    bench.configure("", "[risk]\nmax_open_orders = 5");
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    // The end of the terminal is a reload to it.
    bench.logged("risk.max_open_orders");
    signal(id, "TERM");
    let asked = bench.logged("asked to end").to_string();
    assert!(asked.contains("SIGTERM"), "{asked}");
    bench.logged("shutdown complete");
}
