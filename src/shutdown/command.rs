//! A program as a hook.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::{info, warn};

use super::hooks::{Hook, HookContext};
use crate::config::HookConfig;
use crate::program::{in_its_own_group, kill_group};
use crate::types::ExchangeName;

/// Lines of one program that the log has, of each of its two outputs.
const LINES_MAX: usize = 100;
/// Bytes of a line; what is longer is cut.
const LINE_MAX: usize = 500;
/// What a program that has ended may have left in its pipes is read for this long: a child of its
/// own may hold them open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{program} cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} could not be waited for: {source}")]
    Wait { program: String, source: io::Error },
    #[error("{program} ended with {status}{words}")]
    Status { program: String, status: std::process::ExitStatus, words: String },
}

impl Hook {
    /// A hook that runs a program, as `[[shutdown.hooks]]` of a configuration has it.
    pub(crate) fn of_config(config: &HookConfig) -> Self {
        let command = config.command.clone();
        let work = move |context| run(command, context);
        Self::with_context(config.name.clone(), config.phase, work)
            .priority(config.priority)
            .timeout(config.timeout)
    }
}

async fn run(command: Vec<String>, context: HookContext) -> Result<(), CommandError> {
    let (program, arguments) = command.split_first().map_or(("", &[][..]), |(p, a)| (p, a));
    let program = program.to_owned();
    let start = |source| CommandError::Start { program: program.clone(), source };
    let names: Vec<_> = context.exchanges().iter().map(ExchangeName::as_str).collect();
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env("EXCHANGE_GATEWAY_HOOK", context.name())
        .env("EXCHANGE_GATEWAY_PHASE", context.phase().as_str())
        .env("EXCHANGE_GATEWAY_TRIGGER", context.trigger())
        .env("EXCHANGE_GATEWAY_EXCHANGES", names.join(" "))
        .env("EXCHANGE_GATEWAY_REMAINING_MS", context.remaining().as_millis().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    in_its_own_group(&mut command);
    let mut running = Running(command.spawn().map_err(start)?);
    let name = context.name();
    let mut output = Lines::new(name, "stdout");
    let mut errors = Lines::new(name, "stderr");
    let (stdout, stderr) = (running.0.stdout.take(), running.0.stderr.take());
    let status = {
        let reading = async {
            tokio::join!(output.read(stdout), errors.read(stderr));
        };
        tokio::pin!(reading);
        tokio::select! {
            status = running.0.wait() => {
                _ = timeout(LAST_OUTPUT, reading).await;
                status
            }
            () = &mut reading => running.0.wait().await,
        }
    };
    let status =
        status.map_err(|source| CommandError::Wait { program: program.clone(), source })?;
    if status.success() {
        return Ok(());
    }
    let words = errors.last().map_or_else(String::new, |line| format!(": {line}"));
    Err(CommandError::Status { program, status, words })
}

/// A program that is killed with all that it started if it is dropped before it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = kill_group(&self.0) {
            warn!(%error, "the processes of a hook could not be killed");
        }
    }
}

/// Output as lines: the first of them are logged, the last is kept.
struct Lines<'n> {
    hook: &'n str,
    stream: &'static str,
    line: Vec<u8>,
    last: String,
    count: usize,
}

impl<'n> Lines<'n> {
    fn new(hook: &'n str, stream: &'static str) -> Self {
        Self { hook, stream, line: Vec::new(), last: String::new(), count: 0 }
    }

    async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut bytes = [0; 4096];
        loop {
            match from.read(&mut bytes).await {
                Ok(0) | Err(_) => return self.end(),
                Ok(read) => self.add(&bytes[..read]),
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end();
            } else if self.line.len() < LINE_MAX {
                self.line.push(*byte);
            }
        }
    }

    fn end(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        if line.is_empty() {
            return;
        }
        self.count += 1;
        let (hook, stream) = (self.hook, self.stream);
        if self.count <= LINES_MAX {
            info!(target: "exchange_gateway::hook", hook, stream, line);
        } else if self.count == LINES_MAX + 1 {
            warn!(target: "exchange_gateway::hook", hook, stream, "says more than is logged");
        }
        self.last = line;
    }

    /// The last line, finished or not.
    fn last(mut self) -> Option<String> {
        self.end();
        (!self.last.is_empty()).then_some(self.last)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::report::{HookPriority, Phase};

    fn context() -> HookContext {
        HookContext {
            name: "notes".into(),
            phase: Phase::SaveState,
            trigger: "SIGTERM".into(),
            exchanges: ["binance", "kraken"]
                .map(|name| ExchangeName::new(name).expect("a name"))
                .into(),
            ends: Instant::now() + Duration::from_secs(60),
        }
    }

    async fn shell(script: &str) -> Result<(), String> {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        run(command, context()).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_program_learns_of_the_shutdown_from_its_environment() {
        let told = "test \"$EXCHANGE_GATEWAY_HOOK $EXCHANGE_GATEWAY_PHASE $EXCHANGE_GATEWAY_TRIGGER \
                    $EXCHANGE_GATEWAY_EXCHANGES\" = 'notes save_state SIGTERM binance kraken' && \
                    test \"$EXCHANGE_GATEWAY_REMAINING_MS\" -gt 0";
        shell(told).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted() {
        let failed = shell("echo fine; echo first >&2; printf last >&2; exit 3").await;
        assert_eq!(failed.unwrap_err(), "sh ended with exit status: 3: last");
        let command = vec!["/no/such/program".to_owned()];
        let failed = run(command, context()).await.unwrap_err().to_string();
        assert!(failed.starts_with("/no/such/program cannot be started: "), "{failed}");
    }

    #[tokio::test]
    async fn endless_output_is_bounded_and_hurts_nobody() {
        // A line without end, and many lines.
        shell("head -c 3000000 /dev/zero; yes | head -n 200000").await.unwrap();
        let mut lines = Lines::new("notes", "stdout");
        lines.add(&vec![b'x'; 100_000]);
        assert_eq!(lines.last().unwrap().len(), LINE_MAX);
    }

    #[tokio::test]
    async fn a_program_is_not_waited_for_longer_than_it_lives() {
        let began = Instant::now();
        // What it leaves in the background holds its output open.
        shell("sleep 30 & exit 0").await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_program_that_is_cut_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let (pid, child) = (directory.path().join("pid"), directory.path().join("child"));
        let script = format!(
            "sleep 300 & echo $! > {child}.new; mv {child}.new {child}; echo $$ > {pid}; wait",
            child = child.display(),
            pid = pid.display()
        );
        let config = HookConfig {
            phase: Phase::SaveState,
            priority: HookPriority::Normal,
            ..HookConfig::new("stuck", Phase::SaveState, ["sh", "-c", &script])
        };
        let hook = Hook::of_config(&config);
        let running = tokio::spawn((hook.work)(context()));
        let until = async |wanted: &dyn Fn() -> bool| {
            let waiting = async {
                while !wanted() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(20), waiting).await.unwrap();
        };
        until(&|| pid.exists() && child.exists()).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        for file in [pid, child] {
            let text = std::fs::read_to_string(&file).unwrap();
            let process = format!("/proc/{}/stat", text.trim());
            // One that nobody has waited for yet is a zombie.
            let ended = || {
                let stat = std::fs::read_to_string(&process).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            };
            until(&ended).await;
        }
    }
}
