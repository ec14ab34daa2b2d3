use std::cell::Cell;

use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::types::Timestamp;

impl Asked for Receiver<Signal> {
    async fn asked(&mut self) -> Signal {
        match self.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

struct Senders {
    begun: watch::Sender<Option<Begun>>,
    phase: watch::Sender<Phase>,
    report: watch::Sender<Option<Arc<ShutdownReport>>>,
}

impl Senders {
    fn begin(&self) {
        let (at, trigger) = (Instant::now(), "test".to_owned());
        self.begun.send_replace(Some(Begun { at, started: Timestamp::UNIX_EPOCH, trigger }));
    }

    fn complete(&self) {
        let report = ShutdownReport::new(Outcome::Clean, "test", Timestamp::UNIX_EPOCH);
        self.report.send_replace(Some(Arc::new(report)));
        self.phase.send_replace(Phase::Complete);
    }
}

fn watching<S: Fn() -> bool>(still: S) -> (Senders, Watch<S>) {
    let (begun, of_begun) = watch::channel(None);
    let (phase, of_phase) = watch::channel(Phase::Running);
    let (report, of_report) = watch::channel(None);
    let watch = Watch {
        begun: of_begun,
        phase: of_phase,
        report: of_report,
        still,
        deadline: Duration::from_secs(20),
        grace: Duration::from_secs(2),
        until_exit: false,
        debounce: Duration::from_millis(300),
    };
    (Senders { begun, phase, report }, watch)
}

/// How it ends, and after how many milliseconds.
async fn ending<S: Fn() -> bool>(
    watch: Watch<S>,
    asked: Receiver<Signal>,
) -> (Option<Cause>, u128) {
    let began = Instant::now();
    let acted = watch.cause(asked, || ()).await;
    (acted.map(|acted| acted.cause), began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_works_on_is_ended_after_the_deadline_and_the_grace() {
    let (gateway, watch) = watching(|| false);
    let (_signals, asked) = channel(8);
    let begin = async {
        sleep(Duration::from_secs(100)).await;
        gateway.begin();
    };
    let ((cause, after_ms), ()) = tokio::join!(ending(watch, asked), begin);
    assert_eq!((cause, after_ms), (Some(Cause::Overdue), 122_000));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_blocked_gets_no_grace() {
    let (gateway, watch) = watching(|| true);
    let (_signals, asked) = channel(8);
    gateway.begin();
    assert_eq!(ending(watch, asked).await, (Some(Cause::Blocked), 20_000));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_blocks_within_the_grace_is_noticed_in_it() {
    let began = Instant::now();
    let (gateway, watch) = watching(move || began.elapsed() > Duration::from_millis(20_500));
    let (_signals, asked) = channel(8);
    gateway.begin();
    let (cause, after_ms) = ending(watch, asked).await;
    assert_eq!(cause, Some(Cause::Blocked));
    assert!((20_500..20_550).contains(&after_ms), "{after_ms} ms");
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_the_gateway_is_too_stuck_to_hear_begins_the_time() {
    let (_gateway, watch) = watching(|| false);
    let (signals, asked) = channel(8);
    signals.send(Signal::Terminate).await.unwrap();
    assert_eq!(ending(watch, asked).await, (Some(Cause::Overdue), 22_000));
}

#[tokio::test(start_paused = true)]
async fn a_third_signal_ends_at_once_and_a_bounce_is_none() {
    let (gateway, watch) = watching(|| false);
    let (signals, asked) = channel(8);
    gateway.begin();
    let press = async {
        for pause_ms in [0, 1, 399, 1, 499] {
            sleep(Duration::from_millis(pause_ms)).await;
            signals.send(Signal::Interrupt).await.unwrap();
        }
    };
    let (ended, ()) = tokio::join!(ending(watch, asked), press);
    assert_eq!(ended, (Some(Cause::ThirdSignal), 900), "two bounces were no asks");
}

#[tokio::test(start_paused = true)]
async fn a_quit_counts_for_two_and_shows_what_runs() {
    let (_gateway, watch) = watching(|| false);
    let (signals, asked) = channel(8);
    let press = async {
        for (pause_ms, signal) in [(0, Signal::Quit), (1, Signal::Quit), (400, Signal::Terminate)] {
            sleep(Duration::from_millis(pause_ms)).await;
            signals.send(signal).await.unwrap();
        }
    };
    let shown = Cell::new(0);
    let began = Instant::now();
    let (acted, ()) = tokio::join!(watch.cause(asked, || shown.set(shown.get() + 1)), press);
    assert_eq!(acted.map(|acted| acted.cause), Some(Cause::ThirdSignal));
    assert_eq!((began.elapsed().as_millis(), shown.get()), (401, 1), "the second was a bounce");
}

#[tokio::test(start_paused = true)]
async fn a_hangup_is_no_ask() {
    let (gateway, watch) = watching(|| false);
    let (signals, asked) = channel(8);
    for _ in 0..3 {
        signals.send(Signal::Hangup).await.unwrap();
    }
    let begin = async {
        sleep(Duration::from_secs(10)).await;
        gateway.begin();
        for _ in 0..5 {
            sleep(Duration::from_secs(1)).await;
            signals.send(Signal::Hangup).await.unwrap();
        }
    };
    let (ended, ()) = tokio::join!(ending(watch, asked), begin);
    assert_eq!(ended, (Some(Cause::Overdue), 32_000));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_ended_once_the_report_is_there_or_the_gateway_is_gone() {
    let (gateway, watch) = watching(|| false);
    let (_signals, asked) = channel(8);
    gateway.begin();
    let complete = async {
        sleep(Duration::from_secs(1)).await;
        gateway.complete();
    };
    let (ended, ()) = tokio::join!(ending(watch, asked), complete);
    assert_eq!(ended, (None, 1000));

    let (gateway, watch) = watching(|| false);
    drop(gateway);
    assert_eq!(ending(watch, channel(8).1).await.0, None);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_end_after_its_report_is_ended_where_that_is_asked_for() {
    let (gateway, mut watch) = watching(|| true);
    watch.until_exit = true;
    let (_signals, asked) = channel(8);
    gateway.begin();
    gateway.complete();
    assert_eq!(ending(watch, asked).await, (Some(Cause::Overdue), 22_000));
}

#[test]
fn the_last_words_name_all_that_is_left() {
    let mut report = ShutdownReport::new(Outcome::OrdersLeft, "test", Timestamp::UNIX_EPOCH);
    let client_id = "gw00000000000001".parse().unwrap();
    report.stranded_orders.push(LeftoverOrder { client_id, exchange_id: None, instrument: None });
    let words = last_words("late", &report, &["the report x: full".to_owned()]);
    assert_eq!(
        words,
        "late\norders of an earlier run that cannot be reached:\n  gw00000000000001\n\
         not written:\n  the report x: full"
    );
}
