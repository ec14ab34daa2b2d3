//! What the service manager is told, by a real socket in its place and the real program.

#![cfg(all(unix, feature = "cli"))]

mod common;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use common::Bench;
use common::process::{Program, SOON, gateway, run, setup};

/// The service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a limit");
        Self { socket, path, _directory: directory }
    }

    /// The assignments of the next message.
    fn next(&self) -> Vec<(String, String)> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message in time");
        let text = std::str::from_utf8(&buffer[..length]).expect("text");
        let pairs = text.lines().map(|line| line.split_once('=').expect("an assignment"));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Every assignment until one of this value, with it.
    fn until(&self, name: &str, value: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        loop {
            let message = self.next();
            let found = message.iter().any(|(n, v)| n == name && v == value);
            all.extend(message);
            if found {
                return all;
            }
        }
    }
}

fn values<'m>(messages: &'m [(String, String)], name: &str) -> Vec<&'m str> {
    messages.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_is_told_from_ready_to_stopped() {
    let bench = Bench::start(&["binance", "kraken"]).await;
    let (mut command, _) = run(&bench, &setup(&bench, "", ""));
    let ended = tokio::task::spawn_blocking(move || {
        let manager = Manager::new();
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
        let program = Program::start(&mut command);
        assert_eq!(values(&manager.next(), "READY"), ["1"], "nothing is told before");
        for _ in 0..3 {
            manager.until("WATCHDOG", "1");
        }
        program.signal("TERM");
        let told = manager.until("STATUS", "stopped");
        assert_eq!(values(&told, "STOPPING"), ["1"]);
        let status: Vec<_> =
            values(&told, "STATUS").into_iter().filter(|status| *status != "running").collect();
        let phases =
            ["stop new orders", "cancel pending", "close positions", "save state", "disconnect"];
        let mut phases = phases.map(|phase| format!("stopping: {phase}")).into_iter();
        // A phase that took no time may have been over before it could be told.
        for status in &status[..status.len() - 1] {
            assert!(phases.any(|phase| phase == *status), "{status} is out of order: {told:?}");
        }
        // Each phase gets the time that the whole shutdown has left, ten seconds at most.
        let extensions = values(&told, "EXTEND_TIMEOUT_USEC");
        assert_eq!(extensions.len(), status.len() - 1, "{told:?}");
        for micros in extensions {
            let time = Duration::from_micros(micros.parse().expect("a number"));
            assert!(time > Duration::from_secs(1) && time <= Duration::from_secs(10), "{time:?}");
        }
        program.ended()
    });
    ended.await.expect("no panic").code(0);
}

#[test]
fn time_that_merely_passes_earns_no_more_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let faults = directory.path().join("faults.toml");
    // Cancels are acknowledged and do nothing: for eight seconds nothing gets any further.
    let stays = "[[fault]]\nexchange = \"kraken\"\ncount = 0\n\
        action = { ignore_cancel = { ack = true } }\n";
    std::fs::write(&faults, stays).expect("a file");
    let manager = Manager::new();
    let mut command = gateway("demo");
    command.args(["--exchanges", "kraken", "--orders", "3", "--for", "5m", "--faults"]);
    command.arg(&faults).arg("--state-dir").arg(directory.path().join("state"));
    command.env("NOTIFY_SOCKET", &manager.path).env_remove("WATCHDOG_USEC");
    let program = Program::start_until(&mut command, "kraken:BTC-USD bid ");
    program.signal("TERM");
    let told = manager.until("STATUS", "stopped");
    let ended = program.ended();
    ended.code(13);
    let extensions = values(&told, "EXTEND_TIMEOUT_USEC");
    // One for each phase at most, and some for fills that were quicker than their cancels.
    assert!((1..=8).contains(&extensions.len()), "{told:?}");
    assert!(values(&told, "WATCHDOG").is_empty(), "nobody asked for it");
    let orders: Vec<_> =
        values(&told, "STATUS").into_iter().filter(|s| s.contains("3 orders open")).collect();
    assert!(!orders.is_empty(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_gone_or_does_not_read_holds_nothing_up() {
    let bench = Bench::start(&["kraken"]).await;
    let setup = setup(&bench, "", "");
    let (mut gone, _) = run(&bench, &setup);
    let (mut deaf, _) = run(&bench, &setup);
    let ended = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir().expect("a directory");
        gone.env("NOTIFY_SOCKET", directory.path().join("nobody"));
        let first = Program::start_until(&mut gone, "running; Ctrl-C");
        first.signal("TERM");
        let first = first.ended();
        // Its queue is full already, so that whoever sends more waits.
        let manager = Manager::new();
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("it does not wait");
        while filler.send_to(b"STATUS=full\n", &manager.path).is_ok() {}
        deaf.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "2000");
        let second = Program::start_until(&mut deaf, "running; Ctrl-C");
        second.signal("TERM");
        (first, second.ended())
    });
    let (gone, deaf) = ended.await.expect("no panic");
    gone.code(0);
    deaf.code(0);
}
