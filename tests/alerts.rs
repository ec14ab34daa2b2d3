//! What cannot wait is told: to the log, to a webhook and to a command, whatever they do, and never
//! at the cost of the shutdown.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::judge::judge;
use common::receiver::{Answer, BROKEN, OK, Receiver};
use common::{BOTH, Bench, instrument, logs, reconnected, rest, until, within};
use exchange_gateway::exchange::Secret;
use exchange_gateway::shutdown::{AlertKind, AlertReport, ClosePolicy, Outcome, ShutdownReport};
use exchange_gateway::types::{NewOrder, Quantity, Side};
use exchange_gateway::{Clock, Gateway, StartError, SystemClock};
use mock_exchange::{Disconnect, Fault, FaultAction, Refusal};
use tokio::net::TcpListener;
use tracing::Level;

/// What a phase may take in a shutdown whose orders are not cancelled.
const CANCEL: Duration = Duration::from_millis(300);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(8);

/// A bench whose webhook is this server. A path may hold a secret, and this one does.
async fn bench(exchanges: &[&str], receiver: &Receiver) -> Bench {
    let mut bench = Bench::start(exchanges).await;
    let alerts = &mut bench.config.alerts;
    let url = format!("http://{}/services/path-secret?key=query-secret", receiver.address());
    alerts.webhook = Some(url.parse().expect("a URL"));
    alerts.webhook_retry_pause = Duration::from_millis(20);
    bench.config.shutdown.cancel_pending = CANCEL;
    bench
}

/// Has an exchange acknowledge cancels and not act on them.
fn ignore_cancels(bench: &Bench, exchange: &str) {
    let ignore = FaultAction::IgnoreCancel { ack: true, for_ms: None };
    bench.add(Fault::new(ignore).at(exchange).times(0));
}

/// Starts, rests an order that cannot be cancelled, and shuts down. Tells how long that took.
async fn leave_an_order(bench: &Bench) -> (ShutdownReport, Duration, String) {
    let gateway = bench.gateway().await;
    let order = rest(&gateway, "kraken", 1).await.remove(0);
    ignore_cancels(bench, "kraken");
    let began = Instant::now();
    let report = within(gateway.shutdown()).await;
    let took = began.elapsed();
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    ((*report).clone(), took, order.id().to_string())
}

fn of(report: &ShutdownReport, kind: AlertKind) -> &AlertReport {
    let mut all = report.alerts.iter().filter(|told| told.alert.kind == kind);
    let found = all.next().unwrap_or_else(|| panic!("{kind:?} was raised: {:#?}", report.alerts));
    assert!(all.next().is_none(), "{kind:?} was raised twice: {:#?}", report.alerts);
    found
}

fn delivery(told: &AlertReport, channel: &str) -> (u32, Option<String>) {
    let found = told.deliveries.iter().find(|delivery| delivery.channel == channel);
    let found = found.unwrap_or_else(|| panic!("{channel} was tried: {told:?}"));
    (found.attempts, found.error.clone())
}

#[cfg(unix)]
fn shell(script: &str, argument: &Path) -> Vec<String> {
    let argument = argument.to_str().expect("a path").to_owned();
    vec!["sh".into(), "-c".into(), script.into(), argument]
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_left_is_told_to_the_log_the_webhook_and_the_command_by_its_id() {
    logs::keep();
    let receiver = Receiver::start(&[OK]).await;
    let mut bench = bench(&["kraken"], &receiver).await;
    let file = bench.state.path().join("told");
    let script = "cat > \"$0\"; env | grep ^EXCHANGE_GATEWAY_ALERT >> \"$0\"";
    bench.config.alerts.command = shell(script, &file);
    bench.config.alerts.webhook_token = Some(Secret::new("token-secret"));
    let effective = bench.config.effective_toml();
    let (report, _, order) = leave_an_order(&bench).await;

    let told = of(&report, AlertKind::OrdersLeft);
    assert_eq!(report.alerts.len(), 1, "{:#?}", report.alerts);
    assert_eq!(delivery(told, "webhook"), (1, None));
    assert_eq!(delivery(told, "command"), (1, None));
    assert!(told.alert.message.starts_with(&format!("1 order still open: {order} (BTC-USDT);")));

    let [post] = receiver.posts().try_into().expect("one post");
    assert!(post.head.starts_with("POST /services/path-secret?key=query-secret HTTP/1.1\r\n"));
    let head = post.head.to_lowercase();
    assert!(head.contains("\r\nauthorization: bearer token-secret"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
    assert_eq!(post.text("kind"), "orders_left");
    assert_eq!(post.text("exchange"), "kraken");
    assert_eq!(post.text("message"), told.alert.message);
    assert_eq!(post.text("at"), told.alert.at.to_string());
    assert!(post.text("text").contains("orders left, kraken: 1 order still open"), "{post:?}");
    let gateway = &post.json["gateway"];
    assert_eq!(gateway["order_tag"], "gw");
    assert_eq!(gateway["pid"], std::process::id());
    assert_eq!(gateway["run"], 1);
    let directory = Path::new(gateway["state_dir"].as_str().expect("a path"));
    assert_eq!(directory, bench.config.gateway.state_dir);

    let text = std::fs::read_to_string(&file).expect("the command ran");
    let (json, variables) = text.split_once('\n').expect("lines");
    let json: serde_json::Value = serde_json::from_str(json).expect("the alert");
    assert_eq!(json, post.json, "both get the same");
    for line in ["KIND=orders_left", "EXCHANGE=kraken", &format!("ID={}", post.text("id"))] {
        assert!(variables.contains(&format!("EXCHANGE_GATEWAY_ALERT_{line}\n")), "{variables}");
    }

    let logged = logs::with(&[&order, "still open"]);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].level, Level::ERROR);
    assert_eq!(logged[0].target, "exchange_gateway::alert");
    let shown = serde_json::to_string(&report).expect("JSON");
    for secret in ["path-secret", "query-secret", "token-secret"] {
        assert!(logs::with(&[secret]).is_empty(), "{secret} is in the log");
        assert!(!shown.contains(secret) && !effective.contains(secret), "{shown} {effective}");
        assert!(!format!("{:?}", bench.config.alerts).contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_in_trouble_gets_the_alert_again_under_the_same_id() {
    let slow = Answer::SaySlowly("HTTP/1.1 202 Accepted\r\n\r\n", Duration::from_millis(5));
    for (answers, attempts) in [
        (vec![BROKEN, BROKEN, OK], 3),
        (vec![Answer::Say("HTTP/1.1 20"), OK], 2),
        (vec![Answer::Say(""), OK], 2),
        (vec![Answer::Say("HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\n\r\n"), OK], 2),
        (vec![Answer::Say("no HTTP at all\r\n\r\n"), OK], 2),
        // The status is an answer, whatever becomes of what follows.
        (vec![Answer::Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")], 1),
        (vec![slow], 1),
    ] {
        let receiver = Receiver::start(&answers).await;
        let mut bench = bench(&["kraken"], &receiver).await;
        // A phase in which the answers have their time, so that no machine is too busy.
        bench.config.alerts.shutdown_wait = SLACK;
        let (report, ..) = leave_an_order(&bench).await;
        let told = of(&report, AlertKind::OrdersLeft);
        assert_eq!(delivery(told, "webhook"), (attempts, None), "{answers:?}");
        let posts = receiver.posts();
        assert_eq!(posts.len(), attempts as usize, "{answers:?}");
        assert!(posts.iter().all(|post| post.json == posts[0].json), "{posts:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_or_redirects_is_not_asked_again() {
    let elsewhere = Receiver::start(&[OK]).await;
    let redirect: &'static str = Box::leak(
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/\r\n\r\n",
            elsewhere.address()
        )
        .into_boxed_str(),
    );
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP status 404 (Not Found)"),
        (redirect, "HTTP status 307 (Temporary Redirect); redirects are not followed"),
    ] {
        let receiver = Receiver::start(&[Answer::Say(answer)]).await;
        let bench = bench(&["kraken"], &receiver).await;
        let (report, ..) = leave_an_order(&bench).await;
        let (attempts, error) = delivery(of(&report, AlertKind::OrdersLeft), "webhook");
        assert_eq!(attempts, 1);
        assert!(error.expect("it failed").starts_with(expected));
        assert_eq!(receiver.posts().len(), 1);
    }
    assert!(elsewhere.posts().is_empty(), "the redirect was not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_or_is_gone_neither_holds_the_shutdown_up_nor_changes_its_verdict() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    let drip = Answer::SaySlowly("HTTP/1.1 200 OK\r\n\r\n", Duration::from_secs(30));
    for (what, answer) in [("hangs", Answer::Hang), ("drips", drip), ("gone", Answer::Hang)] {
        let receiver = Receiver::start(&[answer]).await;
        let mut bench = bench(&["kraken"], &receiver).await;
        bench.config.alerts.webhook_timeout = Duration::from_secs(60);
        bench.config.alerts.webhook_retry_pause = Duration::from_secs(1);
        if what == "gone" {
            let url = format!("http://{gone}/").parse().expect("a URL");
            bench.config.alerts.webhook = Some(url);
        }
        let (report, took, _) = leave_an_order(&bench).await;
        let wait = bench.config.alerts.shutdown_wait;
        assert!(
            took >= (CANCEL + wait).saturating_sub(Duration::from_millis(100)),
            "{what}: {took:?}"
        );
        assert!(took < CANCEL + wait + SLACK, "{what}: {took:?}");
        assert!(took < bench.config.shutdown.deadline, "{what}: {took:?}");
        let (attempts, error) = delivery(of(&report, AlertKind::OrdersLeft), "webhook");
        let error = error.expect("it was not delivered");
        assert!(error.starts_with("not delivered in time"), "{what}: {error}");
        assert_eq!(attempts > 1, what == "gone", "{what}");
        assert_eq!(
            error.contains("the last attempt: cannot connect to "),
            what == "gone",
            "{error}"
        );
        // Its state was saved and its connections closed before anybody waited for the receiver.
        assert!(report.state.saved);
        let mut connections = report.exchanges.iter().flat_map(|exchange| &exchange.connections);
        assert!(connections.all(|connection| connection.closed_in_order), "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_shutdown_tells_nobody_anything_and_waits_for_nobody() {
    let receiver = Receiver::start(&[Answer::Hang]).await;
    let mut bench = bench(BOTH, &receiver).await;
    bench.config.alerts.shutdown_wait = Duration::from_secs(60);
    bench.config.shutdown.cancel_pending = Duration::from_secs(8);
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        rest(&gateway, exchange, 3).await;
    }
    let began = Instant::now();
    let report = within(gateway.shutdown()).await;
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(report.alerts, []);
    assert!(receiver.posts().is_empty());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_told_bounded_killed_with_all_that_it_started_and_reported() {
    let receiver = Receiver::start(&[OK]).await;
    let limit = Duration::from_millis(400);
    for (script, expected) in [
        ("exec cat > \"$0\"", None),
        // It reads nothing and says more than anybody keeps.
        ("yes | head -c 3000000; yes | head -c 3000000 >&2", None),
        (
            "echo one >&2; echo the pager is down >&2; exit 3",
            Some("exit status: 3: the pager is down"),
        ),
        (
            "sleep 600 & echo $! > \"$0\"; wait",
            Some("it had not ended after 400 ms and was killed"),
        ),
    ] {
        let mut bench = bench(&["kraken"], &receiver).await;
        bench.config.alerts.shutdown_wait = SLACK;
        let file = bench.state.path().join("file");
        bench.config.alerts.command = shell(script, &file);
        if expected.is_some() {
            bench.config.alerts.command_timeout = limit;
        }
        let (report, took, _) = leave_an_order(&bench).await;
        let (attempts, error) = delivery(of(&report, AlertKind::OrdersLeft), "command");
        assert_eq!((attempts, error.as_deref()), (1, expected), "{script}");
        assert!(took < CANCEL + SLACK, "{script}: {took:?}");
        if script.starts_with("sleep") {
            let id = std::fs::read_to_string(&file).expect("it was started");
            let id = id.trim().to_owned();
            until("what the command started is gone", move || !is_running(&id)).await;
        }
    }
    let mut bench = bench(&["kraken"], &receiver).await;
    bench.config.alerts.command = vec!["/no/such/program".into()];
    let (report, ..) = leave_an_order(&bench).await;
    let (_, error) = delivery(of(&report, AlertKind::OrdersLeft), "command");
    let error = error.expect("it cannot run");
    assert!(error.starts_with("/no/such/program cannot be started: "), "{error}");
    assert_eq!(delivery(of(&report, AlertKind::OrdersLeft), "webhook"), (1, None));
}

/// A zombie that nobody waits for has ended all the same.
#[cfg(unix)]
fn is_running(id: &str) -> bool {
    let shown = std::process::Command::new("ps").args(["-o", "stat=", "-p", id]).output();
    let shown = shown.expect("ps runs").stdout;
    !shown.is_empty() && !shown.starts_with(b"Z")
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_at_the_end_is_killed_and_costs_the_shutdown_its_wait_alone() {
    let receiver = Receiver::start(&[Answer::Hang]).await;
    let mut bench = bench(&["kraken"], &receiver).await;
    let file = bench.state.path().join("file");
    bench.config.alerts.command = shell("sleep 600 & echo $! > \"$0\"; wait", &file);
    bench.config.alerts.command_timeout = Duration::from_secs(60);
    bench.config.alerts.shutdown_wait = Duration::from_secs(1);
    let (report, took, _) = leave_an_order(&bench).await;
    assert!(took < CANCEL + Duration::from_secs(1) + SLACK, "{took:?}");
    let (_, error) = delivery(of(&report, AlertKind::OrdersLeft), "command");
    let error = error.expect("it did not end");
    assert!(error.starts_with("the gateway ended before it had"), "{error}");
    let id = std::fs::read_to_string(&file).expect("it was started").trim().to_owned();
    until("what the command started is gone", move || !is_running(&id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_exit_is_told_and_ends_soon_even_if_nobody_listens() {
    for (answer, arrives) in [(OK, true), (Answer::Hang, false)] {
        let receiver = Receiver::start(&[answer]).await;
        let mut bench = bench(&["kraken"], &receiver).await;
        bench.config.shutdown.deadline = Duration::from_secs(60);
        bench.config.shutdown.cancel_pending = Duration::from_secs(30);
        bench.config.alerts.shutdown_wait = Duration::from_secs(30);
        let gateway = bench.gateway().await;
        rest(&gateway, "kraken", 2).await;
        ignore_cancels(&bench, "kraken");
        let stopping = gateway.shutdown_because("SIGTERM");
        let forced = async {
            bench.ledger(|ledger| ledger.exchange("kraken").cancels.len() >= 2).await;
            gateway.force();
            Instant::now()
        };
        let (report, forced) = within(async { tokio::join!(stopping, forced) }).await;
        assert!(forced.elapsed() < SLACK, "{:?}", forced.elapsed());
        assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
        for kind in [AlertKind::ForcedExit, AlertKind::OrdersLeft] {
            let (attempts, error) = delivery(of(&report, kind), "webhook");
            assert_eq!((attempts, error.is_none()), (1, arrives), "{kind:?}: {error:?}");
        }
        let message = &of(&report, AlertKind::ForcedExit).alert.message;
        assert_eq!(message, "the operator forced the exit during cancel_pending");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_cuts_a_phase_short_is_told_before_it_comes() {
    let receiver = Receiver::start(&[OK]).await;
    let mut bench = bench(&["kraken"], &receiver).await;
    let shutdown = &mut bench.config.shutdown;
    shutdown.deadline = Duration::from_secs(5);
    shutdown.cancel_pending = Duration::from_secs(30);
    shutdown.stop_new_orders = Duration::from_millis(500);
    (shutdown.save_state, shutdown.disconnect) = (Duration::from_secs(1), Duration::from_secs(3));
    let (report, took, _) = leave_an_order(&bench).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let told = of(&report, AlertKind::ForcedExit);
    assert_eq!(delivery(told, "webhook"), (1, None));
    let words = "the deadline of the shutdown, 5s, left too little time for cancel_pending";
    assert_eq!(told.alert.message, words);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_is_not_saved_is_told() {
    let receiver = Receiver::start(&[OK]).await;
    let bench = bench(&["kraken"], &receiver).await;
    let gateway = bench.gateway().await;
    // Whoever writes the draft of the last ticks finds a directory there.
    let draft = bench.config.gateway.state_dir.join("last-ticks.json.tmp");
    std::fs::create_dir(&draft).expect("a directory");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::StateNotSaved, "{report:#?}");
    let told = of(&report, AlertKind::StateNotSaved);
    assert_eq!(delivery(told, "webhook"), (1, None));
    assert!(told.alert.message.contains("last-ticks.json"), "{told:?}");
    assert_eq!(report.alerts.len(), 1, "{:#?}", report.alerts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_could_not_be_closed_is_told_with_the_reason() {
    let receiver = Receiver::start(&[OK]).await;
    let mut bench = bench(&["kraken"], &receiver).await;
    bench.config.shutdown.cancel_pending = Duration::from_secs(8);
    bench.config.shutdown.close_positions = CANCEL;
    let positions = &mut bench.config.exchanges[0].positions;
    positions.on_shutdown = ClosePolicy::Close;
    positions.max_quote_age = Duration::from_millis(10);
    bench.quote("kraken", 30_000);
    let gateway = bench.gateway().await;
    let quantity = Quantity("0.5".parse().expect("a number"));
    let buy = NewOrder::market(instrument("kraken"), Side::Buy, quantity);
    within(gateway.orders().submit(buy)).await.expect("it trades");
    let is_held = || gateway.positions().iter().any(|position| position.quantity == quantity.0);
    until("the position is booked", is_held).await;
    let is_old = || {
        let last = gateway.last_ticks().into_iter().find_map(|last| last.quote);
        let age = last.map(|tick| SystemClock.now().duration_since(tick.received));
        age.is_some_and(|age| age.as_millis() > 50)
    };
    until("the price is too old to close by", is_old).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    let told = of(&report, AlertKind::PositionsLeft);
    assert_eq!(report.alerts.len(), 1, "{:#?}", report.alerts);
    assert_eq!(delivery(told, "webhook"), (1, None));
    let message = &told.alert.message;
    assert!(message.starts_with("1 position not closed: 0.5 BTC-USDT ("), "{message}");
    assert!(message.contains("no fresh price"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_switch_that_trips_is_told_at_once_and_again_by_a_start_that_finds_it_tripped() {
    let receiver = Receiver::start(&[OK]).await;
    let bench = bench(&["kraken"], &receiver).await;
    for run in 1..=2 {
        let gateway = bench.gateway().await;
        if run == 1 {
            assert!(receiver.posts().is_empty());
            assert!(gateway.trip_kill_switch("asked for by the test"));
        }
        until("the switch is told", || receiver.of("kill_switch").len() == run).await;
        let file = gateway.state_directory().kill_switch_file();
        until("the switch is kept", || file.exists()).await;
        let report = within(gateway.shutdown()).await;
        let told = of(&report, AlertKind::KillSwitch);
        let message = &told.alert.message;
        let expected = "the kill switch has tripped: asked for by the test";
        assert!(message.contains(expected), "{message}");
        assert_eq!(report.alerts.len(), 1, "{:#?}", report.alerts);
    }
    assert_eq!(receiver.posts().len(), 2);
    let [first, second] = receiver.posts().try_into().expect("two posts");
    assert_ne!(first.text("id"), second.text("id"), "each is an alert of its own");
}

/// Takes an exchange away for two seconds.
fn lose(bench: &Bench, exchange: &str) {
    let refuse = FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: Some(2000) };
    bench.fault(exchange, refuse);
    bench.venue(exchange).drop_connections(Disconnect::Rst);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_lost_for_longer_than_the_limit_is_told_once_for_each_connection_and_loss() {
    logs::keep();
    let receiver = Receiver::start(&[OK]).await;
    let mut bench = bench(BOTH, &receiver).await;
    bench.config.alerts.exchange_lost_after = Duration::from_millis(300);
    bench.config.shutdown.cancel_pending = Duration::from_secs(8);
    let gateway = bench.gateway().await;
    let order = rest(&gateway, "kraken", 1).await.remove(0).id().to_string();
    for times in 1..=2_u64 {
        let lost = Instant::now();
        lose(&bench, "kraken");
        let expected = usize::try_from(times).expect("few") * 2;
        until("both connections are missed", || receiver.of("exchange_lost").len() >= expected)
            .await;
        assert!(lost.elapsed() >= Duration::from_millis(300));
        let posts = receiver.posts();
        assert_eq!(posts.len(), expected, "{posts:#?}");
        for kind in ["market", "trading"] {
            let words = format!("the {kind} connection has been lost for 300ms (");
            let of_kind = posts.iter().filter(|post| post.text("message").starts_with(&words));
            assert_eq!(of_kind.count(), expected / 2, "{posts:#?}");
        }
        for post in &posts {
            assert_eq!(post.text("exchange"), "kraken");
            assert!(post.text("message").contains(&order), "{post:?}");
        }
        reconnected(&gateway, "kraken", "market", times).await;
        reconnected(&gateway, "kraken", "trading", times).await;
    }
    let back = ["a lost exchange is back", "exchange=kraken", "connection=trading"];
    until("its return is in the log", || logs::with(&back).len() >= 2).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let lost = report.alerts.iter().filter(|told| told.alert.kind == AlertKind::ExchangeLost);
    assert_eq!(lost.count(), 4);
    assert_eq!(report.alerts.len(), 4, "the shutdown is no loss: {:#?}", report.alerts);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_comes_back_before_the_limit_is_not_told() {
    let receiver = Receiver::start(&[OK]).await;
    let mut bench = bench(&["kraken"], &receiver).await;
    bench.config.alerts.exchange_lost_after = Duration::from_secs(60);
    let gateway = bench.gateway().await;
    for times in 1..=3 {
        bench.venue("kraken").drop_connections(Disconnect::Rst);
        reconnected(&gateway, "kraken", "market", times).await;
        reconnected(&gateway, "kraken", "trading", times).await;
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(report.alerts, []);
    assert!(receiver.posts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_without_a_shutdown_is_told_at_the_next_start_even_if_that_fails() {
    let receiver = Receiver::start(&[OK]).await;
    let bench = bench(&["kraken"], &receiver).await;
    let gateway = bench.gateway().await;
    let order = rest(&gateway, "kraken", 1).await.remove(0).id().to_string();
    drop(gateway);
    assert!(receiver.posts().is_empty());

    let mut broken = bench.config.clone();
    broken.exchanges[0].instruments = vec!["kraken:NOPE-USDT".parse().expect("an instrument")];
    // Until the tasks of the dropped one have let go of the directory.
    let error = within(async {
        loop {
            match Gateway::start(broken.clone()).await {
                Err(StartError::State(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => return error,
                Ok(_) => panic!("the instrument does not exist"),
            }
        }
    })
    .await;
    assert!(matches!(error, StartError::UnknownInstruments { .. }), "{error}");
    let [post] = receiver.posts().try_into().expect("it is told before the start has failed");
    assert_eq!(post.text("kind"), "forced_exit");
    let message = post.text("message");
    assert!(message.contains("ended without a shutdown; 1 order that may be open"), "{message}");
    assert!(message.contains(&order), "{message}");
    assert_eq!(post.json["gateway"]["run"], 2);

    // The next one settles the order, and has nothing more to tell of that run.
    let gateway = bench.gateway().await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(receiver.posts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_waits_for_a_receiver_that_hangs_no_longer_than_a_shutdown() {
    let receiver = Receiver::start(&[Answer::Hang]).await;
    let mut bench = bench(&["kraken"], &receiver).await;
    bench.config.alerts.shutdown_wait = Duration::from_secs(1);
    drop(bench.gateway().await);
    bench.config.exchanges[0].instruments = vec!["kraken:NOPE-USDT".parse().expect("a pair")];
    within(async {
        loop {
            let began = Instant::now();
            match Gateway::start(bench.config.clone()).await {
                Err(StartError::State(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(_) => {
                    assert!(began.elapsed() >= Duration::from_secs(1));
                    return assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
                }
                Ok(_) => panic!("the instrument does not exist"),
            }
        }
    })
    .await;
    assert_eq!(receiver.posts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_of_its_exchange_and_leaves_deliveries_to_the_gateway() {
    let receiver = Receiver::start(&[OK]).await;
    let bench = bench(BOTH, &receiver).await;
    let gateway = bench.gateway().await;
    rest(&gateway, "kraken", 1).await;
    ignore_cancels(&bench, "kraken");
    let drained = within(gateway.drain("kraken")).await.expect("it is there");
    assert_eq!(drained.outcome, Outcome::OrdersLeft, "{drained:#?}");
    of(&drained, AlertKind::OrdersLeft);
    until("the alert arrives", || !receiver.of("orders_left").is_empty()).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(delivery(of(&report, AlertKind::OrdersLeft), "webhook"), (1, None));
    assert_eq!(receiver.posts().len(), 1, "the same orders are told once");
}
