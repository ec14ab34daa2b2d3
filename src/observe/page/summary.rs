//! The head of the page: the verdict with its reasons, and the figures.

use std::fmt::Write as _;

use super::html::{Mood, badge, capital, count, spaced, text, time};
use crate::report::{OrderFate, Outcome, ShutdownReport};

/// Reasons that are told; the tables below have them all.
const REASONS: usize = 12;
/// From so many tenths of the least time on it says nothing how often that is contained.
const MUCH: u64 = 1000;
/// Digits of a profit at a glance.
const FIGURE: u32 = 6;

pub(super) fn mood(outcome: Outcome) -> Mood {
    match outcome {
        Outcome::Clean => Mood::Good,
        Outcome::Degraded => Mood::Odd,
        _ => Mood::Bad,
    }
}

pub(super) fn verdict(page: &mut String, report: &ShutdownReport, run: Option<i64>) {
    let (outcome, mood) = (report.outcome, mood(report.outcome));
    let run = run.map_or_else(String::new, |run| format!(" of run {run}"));
    _ = write!(
        page,
        "<header class=\"verdict {}\">\n<p class=\"what\">exchange-gateway: the shutdown{run}</p>\n\
         <h1><span class=\"sign\" aria-hidden=\"true\">{}</span> {} <span class=\"code\">exit code \
         {}</span></h1>\n<p class=\"words\">{}</p>\n",
        mood.class(),
        mood.sign(),
        capital(&spaced(outcome.as_str())),
        outcome.exit_code(),
        text(outcome.describe())
    );
    let reasons = report.reasons();
    if !reasons.is_empty() {
        page.push_str("<ul class=\"reasons\">\n");
        for reason in reasons.iter().take(REASONS) {
            _ = writeln!(page, "<li>{}</li>", text(reason));
        }
        if reasons.len() > REASONS {
            _ = writeln!(page, "<li>and {} more, see below</li>", reasons.len() - REASONS);
        }
        page.push_str("</ul>\n");
    }
    _ = write!(
        page,
        "<p class=\"began\">Begun by <strong>{}</strong> at <time datetime=\"{}\">{:.3}</time></p>\n\
         </header>\n",
        text(&report.trigger),
        report.started,
        report.started
    );
}

pub(super) fn figures(page: &mut String, report: &ShutdownReport) {
    page.push_str("<section class=\"figures\" aria-label=\"In figures\">\n<dl>\n");
    let mut figure = |name: &str, value: &str, note: &str| {
        _ = write!(page, "<div><dt>{}</dt><dd>{value}", text(name));
        if !note.is_empty() {
            _ = write!(page, "<small>{note}</small>");
        }
        page.push_str("</dd></div>\n");
    };
    let deadline = report.deadline_ms.map(|ms| format!("of {} allowed", time(ms)));
    let ratio = report.least.as_ref().and_then(|least| {
        let tenths = report.elapsed_ms.checked_mul(10)?.checked_div(least.least_ms)?;
        (tenths < MUCH).then(|| format!("{}.{} times the least", tenths / 10, tenths % 10))
    });
    let note: Vec<_> = deadline.into_iter().chain(ratio).collect();
    figure("Time used", &time(report.elapsed_ms), &note.join(", "));
    if let Some(least) = &report.least {
        let trips = count(least.round_trips.into(), "round trip");
        let mut note = format!("{trips} of {} µs at {}", least.round_trip_us, least.exchange);
        if least.paced_ms > 0 {
            _ = write!(note, ", {} for its limits", time(least.paced_ms));
        }
        figure("Least possible", &time(least.least_ms), &text(note).to_string());
    }
    let orders = || report.exchanges.iter().flat_map(|exchange| &exchange.orders);
    let left = report.orders_left().count();
    let canceled = orders().filter(|order| order.fate == OrderFate::Canceled).count();
    let note = if left == 0 {
        badge(Mood::Good, format!("{canceled} cancelled, none left"))
    } else {
        badge(Mood::Bad, format!("{left} open or unknown"))
    };
    figure("Orders", &orders().count().to_string(), &note);
    let connections = || report.exchanges.iter().flat_map(|exchange| &exchange.connections);
    let in_order = connections().filter(|c| c.closed_in_order && c.problem.is_none()).count();
    let all = connections().count();
    let note = badge(Mood::good_if(in_order == all), format!("{in_order} closed in order"));
    figure("Connections", &all.to_string(), &note);
    if !report.positions.is_empty() {
        let held = report.positions.iter().filter(|position| !position.left.is_zero()).count();
        let left = report.positions_left().count();
        let note = match left {
            0 => badge(Mood::Good, "all as wanted"),
            left => badge(Mood::Bad, format!("{left} to be closed and not")),
        };
        figure("Positions held", &held.to_string(), &note);
    }
    for (currency, total) in report.profit_totals() {
        let note = if total.unpriced > 0 {
            format!("{} without a price left out", count(total.unpriced, "position"))
        } else {
            "after fees".to_owned()
        };
        let net = format!("{} {currency}", super::tables::signed_to(FIGURE, total.net));
        figure("Profit", &text(net).to_string(), &note);
    }
    if report.state_was_due() {
        let word = if report.state.saved { "saved" } else { "not saved" };
        figure("State", &badge(Mood::good_if(report.state.saved), word), "");
    }
    page.push_str("</dl>\n</section>\n");
}
