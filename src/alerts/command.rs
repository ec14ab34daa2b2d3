//! Runs a program for each alert, without a shell, and leaves nothing of it behind.

use std::future::Future;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{join3, maybe_done};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::payload::Payload;
use crate::config::AlertsConfig;
use crate::program::{in_its_own_group, kill_group};

pub(super) const CHANNEL: &str = "command";
/// Bytes of its output that are kept; the rest is read and dropped, so that it never waits for it.
const OUTPUT: usize = 2048;
/// When the program has ended, somebody it started may still hold its output open.
const LAST_OUTPUT: Duration = Duration::from_millis(100);
/// What a killed program may take to be gone.
const REAP_LIMIT: Duration = Duration::from_millis(200);

pub(super) struct Command {
    program: String,
    arguments: Vec<String>,
    limit: Duration,
}

impl Command {
    pub(super) fn new(config: &AlertsConfig) -> Option<Self> {
        let (program, arguments) = config.command.split_first()?;
        let (program, arguments) = (program.clone(), arguments.to_vec());
        Some(Self { program, arguments, limit: config.command_timeout })
    }

    /// Runs it to its end, to its limit, or until `stop`; then it is killed with all that it
    /// started, and reaped. Dropping the future kills the program alone.
    pub(super) async fn deliver(
        &self,
        json: &str,
        alert: &Payload<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let mut child = self.start(alert)?;
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let input = child.stdin.take();
        let feed = async {
            let Some(mut input) = input else { return };
            // Whoever does not want to read it need not.
            let _ = input.write_all(json.as_bytes()).await;
            let _ = input.write_all(b"\n").await;
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ended = {
            let streams = join3(feed, read(stdout, &mut out), read(stderr, &mut errors));
            let mut streams = std::pin::pin!(maybe_done(streams));
            let gone = async {
                tokio::select! {
                    biased;
                    status = child.wait() => status,
                    // Its output is read beside that, so that it never waits for a reader.
                    never = streams.as_mut().then(|()| std::future::pending()) => never,
                }
            };
            let ended = tokio::select! {
                biased;
                () = stop => Err("the gateway ended before it had".to_owned()),
                status = gone => status.map_err(|error| format!("it is lost: {error}")),
                () = sleep(self.limit) => {
                    Err(format!("it had not ended after {} ms and was killed", self.limit.as_millis()))
                }
            };
            if ended.is_ok() {
                let _ = timeout(LAST_OUTPUT, streams).await;
            }
            ended
        };
        let ended = match ended {
            Ok(status) => judge(status),
            Err(problem) if kill(&mut child).await => Err(problem),
            Err(problem) => Err(format!("{problem}; it is still there")),
        };
        self.log(alert, &ended, &out, &errors);
        ended.map_err(|problem| match last_line(&errors) {
            Some(line) => format!("{problem}: {line}"),
            None => problem,
        })
    }

    fn start(&self, alert: &Payload<'_>) -> Result<Child, String> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("EXCHANGE_GATEWAY_ALERT_ID", alert.id)
            .env("EXCHANGE_GATEWAY_ALERT_KIND", alert.kind.as_str())
            .env("EXCHANGE_GATEWAY_ALERT_MESSAGE", alert.message.replace('\0', " "))
            .env(
                "EXCHANGE_GATEWAY_ALERT_EXCHANGE",
                alert.exchange.as_ref().map_or("", |exchange| exchange.as_str()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        in_its_own_group(&mut command);
        command.spawn().map_err(|error| format!("{} cannot be started: {error}", self.program))
    }

    fn log(&self, alert: &Payload<'_>, ended: &Result<(), String>, out: &[u8], errors: &[u8]) {
        let program = self.program.as_str();
        let (out, errors) = (shown(out), shown(errors));
        let (id, problem) = (alert.id, ended.as_ref().err());
        if problem.is_some() || !out.is_empty() || !errors.is_empty() {
            info!(id, program, problem, out, errors, "the command of alerts ended");
        } else {
            debug!(id, program, "the command of alerts ended");
        }
    }
}

fn judge(status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

/// Kills it and what it started. Tells whether it is gone.
async fn kill(child: &mut Child) -> bool {
    // Whether it worked is told by waiting for it.
    let _ = kill_group(child);
    let _ = child.start_kill();
    matches!(timeout(REAP_LIMIT, child.wait()).await, Ok(Ok(_)))
}

/// Reads to the end and keeps the beginning.
async fn read(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        let room = OUTPUT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&chunk[..room]);
    }
}

/// As one line without control characters.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let words: Vec<_> = text.split(|c: char| c.is_control()).map(str::trim).collect();
    let words: Vec<_> = words.into_iter().filter(|words| !words.is_empty()).collect();
    words.join(" | ")
}

fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let words = line.trim().chars().filter(|c| !c.is_control());
    Some(words.take(200).collect())
}
