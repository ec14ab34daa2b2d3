//! `[[shutdown.hooks]]`: programs that a shutdown runs in its phases.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::checks::Check;
use super::effective::{duration, plain, quote, string};
use super::file::set;
use super::reader::{Reader, Section};
use super::{Config, Fault, ShutdownConfig, format_duration};
use crate::report::{HookPriority, Phase};

/// More would not fit into a shutdown.
const HOOKS_MAX: usize = 100;
/// A hook's timeout where the file gives none.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A program that a shutdown runs in one of its phases, without a shell. It gets the gateway's
/// environment, API keys in variables included, and beside it `EXCHANGE_GATEWAY_HOOK` (its name),
/// `EXCHANGE_GATEWAY_PHASE`, `EXCHANGE_GATEWAY_TRIGGER` (why the shutdown began),
/// `EXCHANGE_GATEWAY_EXCHANGES` (their names, with spaces between) and
/// `EXCHANGE_GATEWAY_REMAINING_MS`. What it prints is logged, 100 lines at most. It fails if its exit
/// status is not 0. At its timeout it is killed, on Unix with all that it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    /// What the report and the log call it, 1 to 64 characters; two hooks may share a name.
    pub name: String,
    /// When it runs; see [`Hook`](crate::shutdown::Hook). One of [`Phase::WORKING`].
    pub phase: Phase,
    /// Its place within the phase. Default normal.
    pub priority: HookPriority,
    /// What it may take, 10 ms to 1 h, within the time of its phase. Default 1 s. Before the phase's
    /// own work, critical and high hooks have a quarter of the phase's limit each: what they take
    /// there, orders or state wait for.
    pub timeout: Duration,
    /// The program and its arguments. A program without a slash is looked for in `PATH`; a relative
    /// path is relative to the working directory.
    pub command: Vec<String>,
}

impl HookConfig {
    /// A hook of normal priority with a timeout of 1 s.
    pub fn new<'c>(
        name: impl Into<String>,
        phase: Phase,
        command: impl IntoIterator<Item = &'c str>,
    ) -> Self {
        let command = command.into_iter().map(str::to_owned).collect();
        let priority = HookPriority::Normal;
        Self { name: name.into(), phase, priority, timeout: TIMEOUT, command }
    }
}

/// Reads all of them; one without a name, a phase or a command is a fault.
pub(super) fn read<'t>(reader: &mut Reader<'t>, s: &mut Section<'t>) -> Vec<HookConfig> {
    let mut hooks = Vec::new();
    for (offset, mut s) in reader.list_of_tables(s, "hooks", "write each as [[shutdown.hooks]]") {
        let name = reader.text(&mut s, "name", "write a name in quotes");
        let name = name.map(|(text, _)| text.to_owned());
        let phases = Phase::WORKING.map(|phase| (phase.as_str(), phase));
        let phase = reader.choice(&mut s, "phase", &phases);
        let priorities = HookPriority::ALL.map(|priority| (priority.as_str(), priority));
        let priority = reader.choice(&mut s, "priority", &priorities);
        let timeout = reader.duration(&mut s, "timeout");
        let command = reader.texts(&mut s, "command", "write [\"program\", \"argument\"]");
        for key in ["name", "phase", "command"] {
            if s.get(key).is_none() {
                let fault = Fault::new(s.path.clone(), format!("`{key}` is missing"));
                let help = "a hook has a name, a phase and a command";
                reader.fault_at(offset, fault.help(help));
            }
        }
        reader.close(&s);
        if let (Some(name), Some(phase), Some(command)) = (name, phase, command) {
            let command = command.iter().map(|(_, _, text)| *text);
            let mut hook = HookConfig::new(name, phase, command);
            set(&mut hook.priority, priority);
            set(&mut hook.timeout, timeout);
            hooks.push(hook);
        } else {
            // The checks of the whole number them by their place: one that is faulty keeps its own.
            hooks.push(HookConfig::new("faulty", Phase::SaveState, ["faulty"]));
        }
    }
    hooks
}

pub(super) fn check(check: &mut Check, config: &Config) {
    let hooks = &config.shutdown.hooks;
    if hooks.len() > HOOKS_MAX {
        let problem = format!("{} hooks are too many", hooks.len());
        check.fault("shutdown.hooks", problem, "use at most 100");
    }
    for (index, hook) in hooks.iter().enumerate() {
        let key = |name: &str| format!("shutdown.hooks[{index}].{name}");
        let length = hook.name.chars().count();
        if !(1..=64).contains(&length) || hook.name.chars().any(char::is_control) {
            let problem = format!("{:?} is no name for a hook", hook.name);
            check.fault(&key("name"), problem, "use 1 to 64 characters, none of them control");
        }
        if !Phase::WORKING.contains(&hook.phase) {
            let problem = format!("a shutdown does no work in phase {}", hook.phase);
            check.fault(&key("phase"), problem, "use one from stop_new_orders to disconnect");
        }
        let longest = Duration::from_secs(3600);
        check.duration(&key("timeout"), hook.timeout, Duration::from_millis(10)..=longest);
        if hook.command.first().is_none_or(String::is_empty) {
            check.fault(&key("command"), "it names no program", "write [\"program\", …]");
        } else if hook.command.iter().any(|part| part.contains('\0')) {
            check.fault(&key("command"), "it holds a zero byte", "remove it");
        }
    }
}

pub(super) fn warnings(config: &Config, warnings: &mut Vec<Fault>) {
    for (index, hook) in config.shutdown.hooks.iter().enumerate() {
        let key = |name: &str| format!("shutdown.hooks[{index}].{name}");
        let (limit, of) = longest(&config.shutdown, hook);
        if hook.timeout > limit {
            let problem = format!("`{}` has {} at most: {of}", hook.name, format_duration(limit));
            warnings
                .push(Fault::new(key("timeout"), problem).help("lower it, or raise the phase's"));
        }
        let program = hook.command.first().map_or("", String::as_str);
        if program.contains('/') && !Path::new(program).exists() {
            let problem = format!("{program} is not there");
            warnings
                .push(Fault::new(key("command"), problem).help("correct it before it is needed"));
        }
    }
}

/// What the phase gives a hook, and why.
fn longest(shutdown: &ShutdownConfig, hook: &HookConfig) -> (Duration, String) {
    let phase = hook.phase.as_str();
    let limit = match hook.phase {
        Phase::StopNewOrders => shutdown.stop_new_orders,
        Phase::CancelPending => shutdown.cancel_pending,
        Phase::ClosePositions => shutdown.close_positions,
        Phase::SaveState => shutdown.save_state,
        Phase::Disconnect => shutdown.disconnect,
        Phase::Running | Phase::Complete => Duration::ZERO,
    };
    match hook.priority {
        HookPriority::Critical | HookPriority::High => {
            (limit / 4, format!("a quarter of `{phase}`, which waits for it"))
        }
        _ => (limit, format!("the limit of `{phase}`")),
    }
}

pub(super) fn effective(text: &mut String, config: &Config) {
    for hook in &config.shutdown.hooks {
        _ = writeln!(text, "\n[[shutdown.hooks]]");
        string(text, "name", &hook.name);
        string(text, "phase", hook.phase.as_str());
        string(text, "priority", hook.priority.as_str());
        duration(text, "timeout", hook.timeout);
        let parts: Vec<_> = hook.command.iter().map(|part| quote(part)).collect();
        plain(text, "command", format!("[{}]", parts.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KRAKEN: &str = "[exchanges.kraken]\ninstruments = [\"BTC-USD\"]\ntrading = false\n";

    fn faults(text: &str) -> Vec<String> {
        let error = Config::from_toml(&format!("{text}{KRAKEN}"), "gateway.toml").unwrap_err();
        error.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hook_is_read_and_shown_as_it_was_written() {
        let text = format!(
            "[[shutdown.hooks]]\nname = \"notes\"\nphase = \"save_state\"\npriority = \"high\"\n\
             timeout = \"250ms\"\ncommand = [\"cp\", \"a \\\"b\\\"\", \"c\"]\n\
             [[shutdown.hooks]]\nname = \"page\"\nphase = \"disconnect\"\ncommand = [\"true\"]\n{KRAKEN}"
        );
        let config = Config::from_toml(&text, "gateway.toml").unwrap();
        let notes = HookConfig {
            priority: HookPriority::High,
            timeout: Duration::from_millis(250),
            ..HookConfig::new("notes", Phase::SaveState, ["cp", "a \"b\"", "c"])
        };
        let page = HookConfig::new("page", Phase::Disconnect, ["true"]);
        assert_eq!(config.shutdown.hooks, [notes, page]);
        let again = Config::from_toml(&config.effective_toml(), "effective").unwrap();
        assert_eq!(again.shutdown.hooks, config.shutdown.hooks);
    }

    #[test]
    fn every_fault_of_a_hook_has_its_place_and_remedy() {
        let whole = "[[shutdown.hooks]]\nname = \"a\"\nphase = \"save_state\"\n";
        for (text, expected) in [
            (
                "[shutdown]\nhooks = 3\n",
                "gateway.toml:2:9: shutdown.hooks: expected a list, found a whole number; write each",
            ),
            (
                "[[shutdown.hooks]]\nname = \"a\"\nphase = \"save_state\"\n",
                "gateway.toml:1:1: shutdown.hooks[0]: `command` is missing; a hook has",
            ),
            (
                &format!("{whole}command = [\"true\"]\ncolour = 1\n"),
                "gateway.toml:5:1: shutdown.hooks[0].colour: unknown key; known here: name, phase",
            ),
            (
                &format!("{whole}command = []\n"),
                "gateway.toml:4:11: shutdown.hooks[0].command: it names no program; write",
            ),
            (
                &format!(
                    "{whole}command = [\"true\"]\n[[shutdown.hooks]]\nname = \"\"\nphase = \"disconnect\"\ncommand = [\"true\"]\n"
                ),
                "gateway.toml:6:8: shutdown.hooks[1].name: \"\" is no name for a hook; use",
            ),
            (
                "[[shutdown.hooks]]\nname = \"a\"\nphase = \"running\"\ncommand = [\"true\"]\n",
                "gateway.toml:3:9: shutdown.hooks[0].phase: `running` is none of its values; write \
                 \"stop_new_orders\" or",
            ),
            (
                &format!("{whole}command = [\"true\"]\ntimeout = \"1ms\"\n"),
                "gateway.toml:5:11: shutdown.hooks[0].timeout: 1ms is out of range; use 10ms to 1h",
            ),
        ] {
            let found = faults(text);
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
            assert!(found[0].starts_with(expected), "{found:#?}");
        }
    }

    #[test]
    fn a_timeout_that_the_phase_does_not_give_is_a_warning() {
        let mut config = Config::default();
        let hook = HookConfig::new("a", Phase::SaveState, ["/no/such/program"]);
        config.shutdown.hooks = vec![
            HookConfig { timeout: Duration::from_secs(4), ..hook.clone() },
            HookConfig { priority: HookPriority::High, ..hook },
        ];
        let mut found = Vec::new();
        warnings(&config, &mut found);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found[0].contains("hooks[0].timeout: `a` has 3s at most: the limit of `save_state`")
        );
        assert!(found[1].contains("hooks[0].command: /no/such/program is not there"));
        assert!(
            found[2].contains("`a` has 750ms at most: a quarter of `save_state`"),
            "{found:#?}"
        );
    }
}
