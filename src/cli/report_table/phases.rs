//! Phases and hooks.

use comfy_table::{Cell, Table};
use exchange_gateway::shutdown::{HookEnd, HookReport, PhaseEnd, ShutdownReport};

use super::table::{clean, judged, new_table, right, spaced, wrapped};

/// Longer names of hooks are cut.
const NAME: usize = 24;

pub(super) fn phases(report: &ShutdownReport, colors: bool) -> Table {
    let mut table = new_table(&["phase", "began ms", "budget ms", "used ms", "ended"], colors);
    for (phase, began) in report.phases.iter().zip(report.phase_starts()) {
        let ended = match phase.ended {
            PhaseEnd::Done => judged("done", true),
            PhaseEnd::TimedOut => judged("timed out", false),
            PhaseEnd::Forced => judged("forced", false),
        };
        table.add_row(vec![
            Cell::new(spaced(phase.phase.as_str())),
            right(began),
            right(phase.budget_ms),
            right(phase.used_ms),
            ended,
        ]);
    }
    table
}

pub(super) fn hooks(report: &ShutdownReport, colors: bool) -> Table {
    let header = ["hook", "phase", "priority", "began ms", "budget ms", "used ms", "ended"];
    let mut table = new_table(&header, colors);
    for hook in &report.hooks {
        table.add_row(vec![
            Cell::new(short(&hook.name)),
            Cell::new(spaced(hook.phase.as_str())),
            Cell::new(hook.priority.as_str()),
            right(hook.began_ms),
            right(hook.budget_ms),
            right(hook.used_ms),
            judged(ended(hook.ended), hook.ended == HookEnd::Done),
        ]);
    }
    table
}

/// Why hooks did not end well, a line each.
pub(super) fn hook_reasons(text: &mut String, hooks: &[HookReport]) {
    for (hook, reason) in hooks.iter().filter_map(|hook| Some((hook, hook.reason.as_ref()?))) {
        text.push_str(&wrapped("  ", &format!("{}: {reason}", hook.name)));
    }
}

fn ended(ended: HookEnd) -> &'static str {
    match ended {
        HookEnd::Done => "done",
        HookEnd::Failed => "failed",
        HookEnd::Panicked => "panicked",
        HookEnd::TimedOut => "timed out",
        HookEnd::Forced => "forced",
        HookEnd::Skipped => "never began",
    }
}

fn short(name: &str) -> String {
    let name = clean(name);
    if name.chars().count() <= NAME {
        return name;
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}
