//! The timeline: phases, hooks, and the stages of orders and connections over one axis. A group of
//! rows that would be a speck on it gets an axis of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::axis::{Axis, Share};
use super::html::{Mood, badge, section, spaced, text, time};
use crate::report::{
    ConnectionReport, ExchangeReport, HookEnd, HookReport, Phase, PhaseEnd, ShutdownReport, Stage,
    StageReport,
};

/// A group that takes less than this part of the whole is shown enlarged.
const SPECK: u64 = 8;
/// Room that a letter takes below a bar where the page is narrow, in hundredths of a percent.
const LETTER: u64 = 400;

pub(super) fn timeline(page: &mut String, report: &ShutdownReport) {
    let groups = [
        Group { name: "Phases", legend: PHASES, rows: phases(report) },
        Group { name: "Hooks", legend: &[], rows: report.hooks.iter().map(hook).collect() },
        Group {
            name: "Orders",
            legend: ORDERS,
            rows: report.exchanges.iter().filter_map(orders).collect(),
        },
        Group { name: "Connections", legend: CONNECTIONS, rows: connections(report) },
    ];
    let end = groups.iter().filter_map(|group| Some(group.span()?.1)).max().unwrap_or(0);
    let whole = end.max(report.elapsed_ms);
    let mut charts = String::new();
    let (mut together, mut enlarged) = (Vec::new(), Vec::new());
    for group in &groups {
        match group.span() {
            Some((from, to)) if (to - from).saturating_mul(SPECK) < whole => {
                // What all others are compared with is never taken apart from them.
                let alone = group.name != "Phases" && group.name != "Hooks";
                if alone { enlarged.push((group, from, to)) } else { together.push(group) }
            }
            Some(_) => together.push(group),
            None => {}
        }
    }
    if !together.is_empty() {
        chart(&mut charts, Axis::over(0, whole), &together, None);
    }
    for (group, from, to) in enlarged {
        let heading = format!("{}, enlarged: {from} to {to} ms", group.name);
        chart(&mut charts, Axis::over(from, to), &[group], Some(&heading));
    }
    section(page, "timeline", "Timeline", &charts);
}

struct Group {
    name: &'static str,
    legend: &'static [(&'static str, &'static str, &'static str)],
    rows: Vec<Row>,
}

impl Group {
    /// From the first to the last moment that its rows show.
    fn span(&self) -> Option<(u64, u64)> {
        let bars = || self.rows.iter().flat_map(|row| &row.bars);
        let from = bars().map(|bar| bar.from).min()?;
        Some((from, bars().map(|bar| bar.to.max(bar.from)).max()?))
    }
}

struct Row {
    label: String,
    bars: Vec<Bar>,
    /// What was allowed.
    budget: Option<(u64, u64)>,
    marks: Vec<(u64, &'static str)>,
    /// Moments that are only ticks.
    ticks: Vec<u64>,
    /// What stands beside the track, as HTML.
    value: String,
}

struct Bar {
    from: u64,
    to: u64,
    class: &'static str,
    title: String,
}

/// Class, letter and meaning of what bars and marks show.
const PHASES: &[(&str, &str, &str)] =
    &[("used", "", "time used"), ("allowed", "", "time allowed"), ("failed", "", "not done")];
const ORDERS: &[(&str, &str, &str)] = &[
    ("s1", "I", "intake stopped"),
    ("s2", "S", "cancels sent"),
    ("s3", "C", "cancels confirmed"),
    ("failed", "C", "not all confirmed"),
    ("tick", "", "an order's end"),
];
const CONNECTIONS: &[(&str, &str, &str)] = &[
    ("s1", "U", "unsubscribed"),
    ("s2", "S", "close frame sent"),
    ("s3", "R", "close frame received"),
    ("s4", "T", "TCP ended"),
    ("failed", "X", "dropped"),
];

/// How a stage is drawn.
fn look(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::IntakeStopped => ("s1", "I"),
        Stage::CancelsSent => ("s2", "S"),
        Stage::CancelsConfirmed => ("s3", "C"),
        Stage::Unsubscribed => ("s1", "U"),
        Stage::CloseFrameSent => ("s2", "S"),
        Stage::CloseFrameReceived => ("s3", "R"),
        Stage::TcpClosed => ("s4", "T"),
        Stage::Dropped => ("failed", "X"),
    }
}

fn phases(report: &ShutdownReport) -> Vec<Row> {
    let row = |(phase, began): (&crate::report::PhaseReport, u64)| {
        let done = phase.ended == PhaseEnd::Done;
        let word = match phase.ended {
            PhaseEnd::Done => "done",
            PhaseEnd::TimedOut => "timed out",
            PhaseEnd::Forced => "forced",
        };
        let value = format!(
            "{} of {} {}",
            time(phase.used_ms),
            time(phase.budget_ms),
            badge(Mood::good_if(done), word)
        );
        used(spaced(phase.phase.as_str()), began, phase.used_ms, phase.budget_ms, done, value)
    };
    report.phases.iter().zip(report.phase_starts()).map(row).collect()
}

fn hook(hook: &HookReport) -> Row {
    let done = hook.ended == HookEnd::Done;
    let value = format!(
        "{} of {} {}",
        time(hook.used_ms),
        time(hook.budget_ms),
        badge(Mood::good_if(done), hook_end(hook.ended))
    );
    let label = format!("{} ({})", hook.name, spaced(hook.phase.as_str()));
    used(label, hook.began_ms, hook.used_ms, hook.budget_ms, done, value)
}

pub(super) fn hook_end(ended: HookEnd) -> &'static str {
    match ended {
        HookEnd::Done => "done",
        HookEnd::Failed => "failed",
        HookEnd::Panicked => "panicked",
        HookEnd::TimedOut => "timed out",
        HookEnd::Forced => "forced",
        HookEnd::Skipped => "never began",
    }
}

fn used(label: String, began: u64, used: u64, budget: u64, done: bool, value: String) -> Row {
    let (to, class) = (began.saturating_add(used), if done { "used" } else { "failed" });
    let title = format!("{began} to {to} ms");
    Row {
        label,
        bars: vec![Bar { from: began, to, class, title }],
        budget: Some((began, began.saturating_add(budget))),
        marks: Vec::new(),
        ticks: Vec::new(),
        value,
    }
}

fn orders(exchange: &ExchangeReport) -> Option<Row> {
    let last = exchange.stages.last()?;
    let unconfirmed = exchange.stages.iter().filter_map(|stage| stage.unconfirmed).sum::<u64>();
    let value = match (unconfirmed, last.count) {
        (0, Some(0)) => badge(Mood::Good, "nothing to cancel"),
        (0, Some(count)) => badge(Mood::Good, format!("{count} confirmed")),
        (0, None) => badge(Mood::Odd, "cancels not confirmed"),
        (left, _) => badge(Mood::Bad, format!("{left} not confirmed")),
    };
    let (mut bars, marks) = stages(&exchange.stages, 0);
    if unconfirmed > 0
        && let Some(bar) = bars.last_mut()
    {
        bar.class = "failed";
    }
    Some(Row {
        label: exchange.exchange.to_string(),
        bars,
        budget: None,
        marks,
        ticks: exchange.orders.iter().filter_map(|order| order.ended_ms).collect(),
        value,
    })
}

fn connections(report: &ShutdownReport) -> Vec<Row> {
    let mut starts = report.phases.iter().zip(report.phase_starts());
    let began = starts.find(|(phase, _)| phase.phase == Phase::Disconnect).map(|(_, began)| began);
    let row = |exchange: &ExchangeReport, connection: &ConnectionReport| {
        let shown = if connection.closed_earlier { &[][..] } else { &connection.stages };
        let (bars, marks) = stages(shown, began.unwrap_or(0));
        let value = match &connection.problem {
            _ if connection.closed_earlier => "closed by a drain before".to_owned(),
            None if connection.closed_in_order => badge(Mood::Good, "in order"),
            _ => badge(Mood::Bad, "not in order"),
        };
        let label = format!("{}/{}", exchange.exchange, connection.connection);
        Row { label, bars, budget: None, marks, ticks: Vec::new(), value }
    };
    let all = report.exchanges.iter();
    all.flat_map(|exchange| exchange.connections.iter().map(move |c| row(exchange, c))).collect()
}

/// A bar up to each stage from the one before, the first from `began` on.
fn stages(reached: &[StageReport], began: u64) -> (Vec<Bar>, Vec<(u64, &'static str)>) {
    let mut reached: Vec<_> = reached.iter().collect();
    reached.sort_by_key(|stage| stage.elapsed_ms);
    let mut from = reached.first().map_or(0, |first| began.min(first.elapsed_ms));
    let mut bars = Vec::new();
    for stage in &reached {
        let to = stage.elapsed_ms;
        let title = format!("{} at {to} ms", spaced(stage.stage.as_str()));
        bars.push(Bar { from, to, class: look(stage.stage).0, title });
        from = to;
    }
    (bars, reached.iter().map(|stage| (stage.elapsed_ms, look(stage.stage).1)).collect())
}

fn chart(page: &mut String, axis: Axis, groups: &[&Group], heading: Option<&str>) {
    if let Some(heading) = heading {
        _ = writeln!(page, "<h3>{}</h3>", text(heading));
    }
    _ = write!(
        page,
        "<div class=\"chart\" style=\"--tick:{}\">\n<p class=\"unit\">{} since the shutdown began</p>\n\
         <div class=\"axis\" aria-hidden=\"true\">",
        axis.tick_distance(),
        axis.unit()
    );
    for (place, label) in axis.ticks() {
        _ = write!(page, "<span style=\"left:{place}\">{label}</span>");
    }
    page.push_str("</div>\n");
    for group in groups {
        page.push_str("<div class=\"group\">\n");
        if heading.is_none() {
            _ = writeln!(page, "<h3>{}</h3>", group.name);
        }
        page.push_str("<ul class=\"rows\">\n");
        group.rows.iter().for_each(|row| draw(page, axis, row));
        page.push_str("</ul>\n");
        legend(page, group);
        page.push_str("</div>\n");
    }
    page.push_str("</div>\n");
}

/// Explains what occurs in the group, and no more.
fn legend(page: &mut String, group: &Group) {
    let occurs = |class: &str| match class {
        "allowed" => true,
        "tick" => group.rows.iter().any(|row| !row.ticks.is_empty()),
        class => group.rows.iter().flat_map(|row| &row.bars).any(|bar| bar.class == class),
    };
    if group.legend.is_empty() {
        return;
    }
    page.push_str("<ul class=\"legend\">");
    for (class, letter, meaning) in group.legend.iter().filter(|(class, ..)| occurs(class)) {
        _ = write!(page, "<li><i class=\"swatch {class}\"></i>");
        if !letter.is_empty() {
            _ = write!(page, "<b>{letter}</b> ");
        }
        _ = write!(page, "{meaning}</li>");
    }
    page.push_str("</ul>\n");
}

fn draw(page: &mut String, axis: Axis, row: &Row) {
    _ = write!(
        page,
        "<li><span class=\"label\">{}</span><span class=\"track{}\" aria-hidden=\"true\">",
        text(&row.label),
        if row.marks.is_empty() { "" } else { " marked" }
    );
    if let Some((from, to)) = row.budget {
        let (left, width) = axis.stretch(from, to);
        let cut = if axis.ends_before(to) { " cut" } else { "" };
        _ = write!(page, "<i class=\"allowed{cut}\" style=\"left:{left};width:{width}\"></i>");
    }
    for Bar { from, to, class, title } in &row.bars {
        let (left, width) = axis.stretch(*from, *to);
        _ = write!(
            page,
            "<i class=\"bar {class}\" style=\"left:{left};width:{width}\" title=\"{}\"></i>",
            text(title)
        );
    }
    // Two in the same half percent are one tick.
    let ticks: BTreeSet<_> = row.ticks.iter().map(|at| axis.place(*at).0 / 50 * 50).collect();
    for tick in ticks {
        _ = write!(page, "<i class=\"tick\" style=\"left:{}\"></i>", Share(tick));
    }
    for (place, letters) in clusters(axis, &row.marks) {
        // Shifted to the left by its share, so that it never leaves the track.
        _ = write!(page, "<b style=\"left:{place};transform:translateX(-{place})\">{letters}</b>");
    }
    _ = writeln!(page, "</span><span class=\"value\">{}</span></li>", row.value);
}

/// Letters that would lie upon each other are set side by side.
fn clusters(axis: Axis, marks: &[(u64, &'static str)]) -> Vec<(Share, String)> {
    let mut clusters: Vec<(Share, String)> = Vec::new();
    for (at, letter) in marks {
        let place = axis.place(*at);
        match clusters.last_mut() {
            Some((first, letters)) if place.0 - first.0 < LETTER * letters.len() as u64 => {
                letters.push_str(letter);
            }
            _ => clusters.push((place, (*letter).to_owned())),
        }
    }
    clusters
}
