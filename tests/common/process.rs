//! Programs in processes of their own, connected to the exchanges of the test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Bench;

/// Generous for a busy machine, and far below forever.
pub const SOON: Duration = Duration::from_secs(30);

/// A configuration file, and the variables of the keys that it names.
pub struct Setup {
    pub config: PathBuf,
    pub keys: Vec<(String, String)>,
}

/// Writes the configuration of a gateway to the bench's exchanges. `sections` are of the file's
/// top level, such as `[shutdown]`; `exchange` is added to each exchange.
pub fn setup(bench: &Bench, sections: &str, exchange: &str) -> Setup {
    let directory = bench.config.gateway.state_dir.display();
    let mut text = format!("[gateway]\nstate_dir = \"{directory}\"\n{sections}\n");
    let mut keys = Vec::new();
    for configured in &bench.config.exchanges {
        let (name, endpoints) = (configured.name, configured.endpoints());
        let (key, secret) = (format!("TEST_{name}_KEY"), format!("TEST_{name}_SECRET"));
        let section = format!(
            "[exchanges.{name}]\nmarket_url = \"{}\"\ntrading_url = \"{}\"\nhttp_url = \"{}\"\n\
             instruments = [\"BTC-USDT\"]\napi_key_env = \"{key}\"\n\
             api_secret_env = \"{secret}\"\n{exchange}\n",
            endpoints.market, endpoints.trading, endpoints.http
        );
        text.push_str(&section);
        let credentials = bench.venue(name.as_str()).credentials();
        keys.extend([(key, credentials.api_key), (secret, credentials.api_secret)]);
    }
    let config = bench.state.path().join("gateway.toml");
    std::fs::write(&config, text).expect("the configuration is written");
    Setup { config, keys }
}

/// A program that runs. It is ended with this.
pub struct Program {
    child: Child,
    output: Option<JoinHandle<String>>,
    errors: Option<JoinHandle<String>>,
}

/// How a program ended, and all that it printed.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Ended {
    #[track_caller]
    pub fn code(&self, expected: i32) {
        assert_eq!(self.status.code(), Some(expected), "{}\n{}", self.output, self.errors);
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Program {
    /// Starts it. Its output is kept until it has ended.
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = child.stdout.take().map(read_all);
        let errors = child.stderr.take().map(read_all);
        Self { child, output, errors }
    }

    /// Starts it, and waits until it has printed this.
    pub fn start_until(command: &mut Command, printed: &str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let errors = child.stderr.take().map(read_all);
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut text = String::new();
        while !text.contains(printed) {
            if output.read_line(&mut text).expect("text") == 0 {
                let errors = errors.map(|errors| errors.join().expect("it reads"));
                _ = child.kill();
                panic!("it ended early: {text}\n{errors:?}");
            }
        }
        let rest = thread::spawn(move || {
            _ = output.read_to_string(&mut text);
            text
        });
        Self { child, output: Some(rest), errors }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_none()
    }

    /// Sends a signal by its short name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end. One that does not end fails the test, and is ended.
    pub fn ended(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                break status;
            }
            assert!(began.elapsed() < SOON, "the program did not end within {SOON:?}");
            thread::sleep(Duration::from_millis(10));
        };
        let read = |thread: Option<JoinHandle<String>>| {
            thread.map_or_else(String::new, |thread| thread.join().expect("it reads"))
        };
        Ended { status, output: read(self.output.take()), errors: read(self.errors.take()) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The gateway's program with this subcommand.
pub fn gateway(subcommand: &str) -> Command {
    let Some(program) = option_env!("CARGO_BIN_EXE_exchange-gateway") else {
        panic!("only integration tests have the program")
    };
    let mut command = Command::new(program);
    command.env_remove("EXCHANGE_GATEWAY_LOG").arg(subcommand);
    command
}

/// `run` with a configuration, and its log in the bench's directory.
pub fn run(bench: &Bench, setup: &Setup) -> (Command, PathBuf) {
    let log = bench.state.path().join("gateway.log");
    let mut command = gateway("run");
    command.arg("--config").arg(&setup.config).arg("--log").arg(&log).envs(setup.keys.clone());
    (command, log)
}

/// Waits until a file holds the text.
pub fn wait_for(file: &Path, text: &str) {
    let began = Instant::now();
    while !std::fs::read_to_string(file).is_ok_and(|held| held.contains(text)) {
        assert!(began.elapsed() < SOON, "{} never held {text:?}", file.display());
        thread::sleep(Duration::from_millis(10));
    }
}
