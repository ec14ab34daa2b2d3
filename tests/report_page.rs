//! The report as a page: whole, well formed, and safe whatever an exchange said.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod report_common;

use exchange_gateway::observe::report_page;
use exchange_gateway::shutdown::{
    ConnectionReport, ExchangeReport, Failure, HookEnd, HookPriority, HookReport, OrderFate,
    OrderReport, Outcome, Phase, PhaseEnd, PhaseReport, ShutdownReport, Stage, StageReport,
};
use proptest::prelude::*;
use report_common::*;

/// What a page is made of.
const KNOWN: &str = " html head meta title body header main section footer h1 h2 h3 p ul li dl dt dd \
    div span small strong i b time table thead tbody tfoot tr th td details summary code ";
/// Elements that need no end.
const VOID: &[&str] = &["meta"];

/// The text between the first of these and the next of those.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("{from} is missing"));
    rest.split_once(to).unwrap_or_else(|| panic!("{to} is missing")).0
}

/// The page's elements, each with its attributes; fails unless each is ended where it must be and
/// is one of those that a page is made of.
fn elements(page: &str) -> Vec<String> {
    let body = page.strip_prefix("<!doctype html>").expect("a document type");
    let (mut found, mut open) = (Vec::new(), Vec::new());
    // The style sheet is no markup.
    let (head, rest) = body.split_once("<style>").expect("a style sheet");
    let body = format!("{head}{}", rest.split_once("</style>").expect("its end").1);
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag that ends");
        assert!(!text.contains('>'), "unescaped > in {text:?}");
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()), "the end of {name}");
            continue;
        }
        assert!(KNOWN.contains(&format!(" {name} ")), "a foreign element: {tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag}");
        assert!(!tag.contains(" on"), "a handler: {tag}");
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        found.push(tag.to_owned());
    }
    assert_eq!(open, Vec::<String>::new(), "elements that do not end");
    found
}

/// Hundredths of a percent.
fn share(style: &str, property: &str) -> Option<u64> {
    let value = style.split([';', '"']).find_map(|one| one.strip_prefix(property))?;
    let (whole, hundredths) = value.strip_suffix('%')?.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
}

/// Every bar lies on the axis and none is of negative length.
fn assert_drawn_within_the_axis(elements: &[String]) {
    for element in elements.iter().filter(|element| element.contains("left:")) {
        let left = share(element, "left:").unwrap_or_else(|| panic!("a place: {element}"));
        let width = share(element, "width:").unwrap_or(0);
        assert!(left + width <= 10_000, "{element}");
    }
}

#[test]
fn every_part_of_a_report_is_on_its_page() {
    let page = report_page(&full(), Some(7));
    let elements = elements(&page);
    assert_drawn_within_the_axis(&elements);
    let sections: Vec<_> =
        page.split("<section id=\"").skip(1).map(|s| s.split('"').next().unwrap()).collect();
    assert_eq!(
        sections.join(" "),
        "timeline orders positions alerts failures connections switches hooks phases state"
    );
    for expected in [
        "<title>Orders left, exit code 13: shutdown of 2026-01-31T12:00:00Z</title>",
        "the shutdown of run 7",
        "<li>kraken: 1 order still open, the cancel was not confirmed</li>",
        "11.18 s<small>of 20 s allowed</small>",
        "4 round trips of 20150 µs at kraken, 15 ms for its limits",
        "1 position without a price left out",
        "+26.95 USDT",
        "8000 ms of 8000 ms",
        "33 canceled, 1 filled during cancel, 1 kept, 1 still open, 1 unknown",
        "35 orders settled",
        "single fills of 0.001 not told",
        "heard over HTTP",
        "gw0earlier",
        "gw0stranded",
        "kraken: 2 open orders of others, left alone.",
        "not closed: no price is known; the exchange says -0.01 more; other fees: 0.001 BNB",
        "webhook not reached: connection refused; command after 1 attempt",
        "8122 (1000)",
        "LEFT ARMED, cancels at",
        "exit status 1",
        "3 ticks came after market data was frozen",
        "(1012: restart)",
    ] {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_runs_nothing() {
    let page = report_page(&full(), None);
    for outside in ["http:", "https:", "src=", "url(", "@import", "<script", "<link"] {
        let said = page.replace("src=x onerror", "");
        assert!(!said.contains(outside), "{outside}");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
}

#[test]
fn what_an_exchange_says_stays_text() {
    let mut report = full();
    report.trigger = HOSTILE.into();
    report.failures = vec![Failure { scope: HOSTILE.into(), reason: HOSTILE.into() }];
    report.state.directory = HOSTILE.into();
    report.state.emergency_file = Some(HOSTILE.into());
    report.state.error = Some(HOSTILE.into());
    for hook in &mut report.hooks {
        hook.name = HOSTILE.into();
        hook.reason = Some(HOSTILE.into());
    }
    for alert in &mut report.alerts {
        alert.alert.message = HOSTILE.into();
        for delivery in &mut alert.deliveries {
            delivery.channel = HOSTILE.into();
            delivery.error = Some(HOSTILE.into());
        }
    }
    for position in &mut report.positions {
        position.currency = HOSTILE.into();
        position.not_closed = Some(HOSTILE.into());
        position.other_fees = [(HOSTILE.to_owned(), 1.into())].into();
    }
    for exchange in &mut report.exchanges {
        exchange.dead_mans_switch.scope = Some(HOSTILE.into());
        for order in &mut exchange.orders {
            order.reason = Some(HOSTILE.into());
        }
        for connection in &mut exchange.connections {
            connection.connection = HOSTILE.into();
            connection.problem = Some(HOSTILE.into());
        }
    }
    let page = report_page(&report, None);
    elements(&page);
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(!page.contains(['\u{1b}', '\u{202e}']), "no controls, no turned text");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "said all the same");
}

#[test]
fn a_short_shutdown_is_drawn_in_milliseconds_and_a_long_one_in_seconds() {
    let page = report_page(&short(), None);
    assert_drawn_within_the_axis(&elements(&page));
    let axis = between(&page, "class=\"axis\" aria-hidden=\"true\">", "</div>");
    let ticks: Vec<_> = axis.split("left:").skip(1).collect();
    assert_eq!(ticks.len(), 5, "{axis}");
    assert!(axis.contains("left:100.00%\">20<"), "{axis}");
    assert!(page.contains("ms since the shutdown began"));
    // The bar of the phase that took 4 of 19 ms, on an axis of 20.
    let cancel = between(&page, "cancel pending</span>", "</li>");
    assert!(cancel.contains("<i class=\"bar used\" style=\"left:0.00%;width:20.00%\""), "{cancel}");
    assert!(cancel.contains("<i class=\"allowed cut\" style=\"left:0.00%;width:100.00%\""));

    let page = report_page(&full(), None);
    assert!(page.contains("<p class=\"unit\">s since the shutdown began</p>"));
    let disconnect = between(&page, "disconnect</span>", "</li>");
    assert!(disconnect.contains("left:67.66%;width:25.09%"), "{disconnect}");
}

#[test]
fn what_would_be_a_speck_is_drawn_enlarged() {
    let mut report = full();
    report.exchanges.remove(0);
    let page = report_page(&report, None);
    assert!(page.contains("<h3>Connections, enlarged: 8120 to 8146 ms</h3>"), "{page}");
    assert!(!page.contains("<h3>Connections</h3>"), "once");
    let market = between(&page, "kraken/market</span>", "</li>");
    assert!(market.contains("width:66.67%"), "20 of the 30 ms of its axis: {market}");
    assert_drawn_within_the_axis(&elements(&page));
}

#[test]
fn all_orders_left_are_listed_and_of_thousands_that_ended_some() {
    let mut report = short();
    let orders = &mut report.exchanges[0].orders;
    *orders = (0..3000).map(|number| order("kraken", number, OrderFate::Canceled)).collect();
    orders.extend((3000..4500).map(|number| order("kraken", number, OrderFate::Unknown)));
    let page = report_page(&report, None);
    assert_eq!(page.matches("✕</span> unknown").count(), 1500);
    assert_eq!(page.matches("✓</span> canceled").count(), 500);
    assert!(page.contains("<details><summary>3000 orders settled"), "folded");
    assert!(page.contains("2500 more ended and are not listed here"));
    assert!(page.find("unknown</span>") < page.find("<details"), "what is left comes first");
    elements(&page);
}

#[test]
fn a_report_of_an_earlier_version_is_shown_as_far_as_it_tells() {
    for (stored, expected) in [(OLD_CLEAN, "exit code 0"), (OLD_LEFT, "exit code 13")] {
        let report: ShutdownReport = serde_json::from_str(stored).unwrap();
        assert_eq!(report.deadline_ms, None, "it did not tell");
        let page = report_page(&report, Some(1));
        assert_drawn_within_the_axis(&elements(&page));
        assert!(page.contains(expected) && page.contains("id=\"timeline\""));
        // The phases follow each other.
        assert_eq!(report.phase_starts().len(), 5);
        let again: ShutdownReport =
            serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(again, report, "nothing is lost on the way to JSON and back");
    }
    let full = full();
    let again: ShutdownReport =
        serde_json::from_str(&serde_json::to_string(&full).unwrap()).unwrap();
    assert_eq!(again, full);
}

const OUTCOMES: [Outcome; 6] = [
    Outcome::Clean,
    Outcome::Degraded,
    Outcome::DeadlineForced,
    Outcome::OperatorForced,
    Outcome::OrdersLeft,
    Outcome::StateNotSaved,
];
const FATES: [OrderFate; 8] = [
    OrderFate::Canceled,
    OrderFate::FilledDuringCancel,
    OrderFate::Rejected,
    OrderFate::Expired,
    OrderFate::NotSent,
    OrderFate::Kept,
    OrderFate::StillOpen,
    OrderFate::Unknown,
];

/// Moments as they are, and as a clock that went wrong would tell them.
fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..30_000, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(HOSTILE.to_owned()), "\\PC{0,30}", Just(String::new())]
}

prop_compose! {
    fn any_order()(
        number in 0_usize..1000, fate in prop::sample::select(&FATES[..]),
        sent in prop::option::of(moment()), ended in prop::option::of(moment()),
        reason in prop::option::of(words()),
    ) -> OrderReport {
        OrderReport {
            cancel_sent_ms: sent, ended_ms: ended, reason, ..order("kraken", number, fate)
        }
    }
}

fn any_stages() -> impl Strategy<Value = Vec<StageReport>> {
    let stage = (prop::sample::select(&Stage::ALL[..]), moment());
    prop::collection::vec(stage.prop_map(|(stage, at)| StageReport::new(stage, at)), 0..6)
}

prop_compose! {
    fn any_exchange()(
        orders in prop::collection::vec(any_order(), 0..8), stages in any_stages(),
        connections in prop::collection::vec((words(), any_stages(), any::<bool>()), 0..4),
    ) -> ExchangeReport {
        let connections = connections.into_iter().map(|(name, stages, good)| ConnectionReport {
            connection: name.clone(),
            closed_earlier: !good && name.is_empty(),
            stages,
            close_sent: Some(1000),
            close_received: None,
            closed_in_order: good,
            problem: (!good).then_some(name),
        });
        ExchangeReport { orders, stages, connections: connections.collect(), ..full().exchanges[1].clone() }
    }
}

prop_compose! {
    fn any_report()(
        outcome in prop::sample::select(&OUTCOMES[..]), trigger in words(), elapsed_ms in moment(),
        phases in prop::collection::vec((prop::option::of(moment()), moment(), moment()), 0..6),
        exchanges in prop::collection::vec(any_exchange(), 0..3),
        hooks in prop::collection::vec((words(), moment(), moment(), moment()), 0..4),
        rest in any::<bool>(),
    ) -> ShutdownReport {
        let phase = |(index, (began_ms, budget_ms, used_ms))| PhaseReport {
            phase: Phase::WORKING[index % 5], began_ms, budget_ms, used_ms, ended: PhaseEnd::Forced,
        };
        let hook = |(name, began_ms, budget_ms, used_ms): (String, u64, u64, u64)| HookReport {
            name: name.clone(), phase: Phase::Disconnect, priority: HookPriority::Low, began_ms,
            budget_ms, used_ms, ended: HookEnd::TimedOut, reason: Some(name),
        };
        let base = if rest { full() } else { ShutdownReport::new(outcome, "", started()) };
        ShutdownReport {
            outcome, trigger, elapsed_ms, exchanges,
            phases: phases.into_iter().enumerate().map(phase).collect(),
            hooks: hooks.into_iter().map(hook).collect(),
            ..base
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_report_makes_a_well_formed_page(report in any_report()) {
        let page = report_page(&report, None);
        assert_drawn_within_the_axis(&elements(&page));
        let told = report.reasons();
        prop_assert_eq!(told.is_empty(), report.outcome == Outcome::Clean);
    }
}
