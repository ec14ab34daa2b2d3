//! A shutdown closes positions where it is told to, sells no more than is held, and names what is
//! left with the reason.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::judge::{judge, places, written_once};
use common::{Bench, instrument, phase, reported, resting, symbol, until, within};
use exchange_gateway::config::PositionsConfig;
use exchange_gateway::exchange::DeadMansSwitch;
use exchange_gateway::shutdown::{
    ClosePolicy, Hook, HookPriority, OrderFate, Outcome, PhaseEnd, PositionReport, SwitchState,
};
use exchange_gateway::types::{ClosingOrder, Instrument, NewOrder, Position, Side};
use exchange_gateway::{Gateway, Phase, ShutdownReport};
use mock_exchange::{
    ConnectionKind, Disconnect, ExchangeLedger, Fault, FaultAction, OrderKind, Refusal, Target,
    TimeInForce, When,
};
use rust_decimal::Decimal;

const ALL: &[&str] = &["binance", "kraken", "deribit"];

fn number(text: &str) -> Decimal {
    text.parse().expect("a number")
}

/// Quantity of a position in the tests: US dollars on an inverse perpetual.
fn size(exchange: &str) -> Decimal {
    number(if exchange == "deribit" { "1000" } else { "0.5" })
}

/// The named exchanges with a market around 30,000 that can take everything, and a gateway's
/// configuration that closes positions on them.
async fn closing(exchanges: &[&str]) -> Bench {
    let mut bench = Bench::start(exchanges).await;
    for exchange in exchanges {
        let depth = size(exchange) * Decimal::from(100);
        market(&bench, exchange, &[("30000", depth)], &[("30001", depth)]);
    }
    for exchange in &mut bench.config.exchanges {
        exchange.positions.on_shutdown = ClosePolicy::Close;
    }
    bench
}

fn positions(bench: &mut Bench, change: impl Fn(&mut PositionsConfig)) {
    bench.config.exchanges.iter_mut().for_each(|exchange| change(&mut exchange.positions));
}

fn market(bench: &Bench, exchange: &str, bids: &[(&str, Decimal)], asks: &[(&str, Decimal)]) {
    let levels = |side: &[(&str, Decimal)]| -> Vec<(Decimal, Decimal)> {
        side.iter().map(|(price, quantity)| (number(price), *quantity)).collect()
    };
    let venue = bench.venue(exchange);
    venue.set_book(symbol(exchange), &levels(bids), &levels(asks)).expect("the market moves");
}

fn held(gateway: &Gateway, instrument: Instrument) -> Option<Position> {
    gateway.positions().into_iter().find(|position| position.instrument == instrument)
}

/// Trades at the market until a position of this size is held.
async fn hold(gateway: &Gateway, exchange: &str, side: Side, quantity: Decimal) -> Position {
    let order = NewOrder::market(instrument(exchange), side, quantity.into());
    within(gateway.orders().submit(order)).await.expect("it trades");
    let traded = |position: &Position| position.bought + position.sold == quantity;
    until("the position is booked", || {
        held(gateway, instrument(exchange)).is_some_and(|position| traded(&position))
    })
    .await;
    held(gateway, instrument(exchange)).expect("a position")
}

/// What is held by the ledger's own account of the fills.
fn left_at(bench: &Bench, exchange: &str) -> Decimal {
    let held = bench.mock.ledger().exchange(exchange).held();
    held.get(symbol(exchange)).copied().unwrap_or_default()
}

fn position<'r>(report: &'r ShutdownReport, exchange: &str) -> &'r PositionReport {
    let found = report.positions.iter().find(|one| one.instrument.exchange().as_str() == exchange);
    found.unwrap_or_else(|| panic!("no position of {exchange}: {report:#?}"))
}

fn why(report: &ShutdownReport, exchange: &str) -> String {
    let position = position(report, exchange);
    position.not_closed.clone().unwrap_or_else(|| panic!("it is closed: {position:#?}"))
}

/// How many orders the exchange was asked to place.
fn placed(bench: &Bench, exchange: &str) -> usize {
    let ledger = bench.mock.ledger();
    let placing = |method: &str| places(method) || matches!(method, "private/buy" | "private/sell");
    ledger.exchange(exchange).requests.iter().filter(|r| placing(&r.method)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_and_short_positions_are_closed_on_every_exchange() {
    for side in [Side::Buy, Side::Sell] {
        let bench = closing(ALL).await;
        let gateway = bench.gateway().await;
        for exchange in ALL {
            hold(&gateway, exchange, side, size(exchange)).await;
        }
        let before = gateway.positions();
        let report = within(gateway.shutdown()).await;
        assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
        judge(&report, &bench.mock.ledger());
        assert_eq!(report.positions.len(), 3);
        for was in &before {
            let exchange = was.instrument.exchange();
            let exchange = exchange.as_str();
            let now = position(&report, exchange);
            assert_eq!(now.policy, ClosePolicy::Close);
            assert_eq!((now.quantity, now.entry), (was.quantity, was.entry));
            assert_eq!(now.left, left_at(&bench, exchange), "{now:#?}");
            // Bought back with a fee in the base asset, a short one leaves less than a lot.
            assert!(now.left.is_zero() || now.dust, "{now:#?}");
            assert!(now.left.abs() < number("0.00001"), "{now:#?}");
            let exit = if side == Side::Buy { "30000" } else { "30001" };
            assert_eq!(now.exit.map(|exit| exit.0), Some(number(exit)), "{now:#?}");
            assert_eq!(now.not_closed.is_some(), !now.left.is_zero());
            let loss = if exchange == "deribit" {
                (size(exchange) / number("30001") - size(exchange) / number("30000")).round_dp(12)
            } else {
                -(now.closed.min(was.quantity.abs()))
            };
            assert!((now.realized - loss).abs() < number("0.01"), "{now:#?} and not {loss}");
            assert!(now.realized < Decimal::ZERO && now.fees > Decimal::ZERO, "{now:#?}");
            let witness = bench.mock.ledger();
            for id in &now.orders {
                assert_eq!(reported(&report, *id).fate, OrderFate::Filled);
                let seen = witness.exchange(exchange).order(id.as_str()).expect("it was placed");
                assert_eq!(seen.reduce_only, exchange == "deribit");
                assert_eq!(seen.time_in_force, TimeInForce::Ioc);
            }
        }
        for name in ["binance", "kraken"] {
            assert_eq!(report.exchanges.iter().filter(|e| e.exchange.as_str() == name).count(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_kept_where_nobody_asked_otherwise() {
    let mut bench = closing(ALL).await;
    positions(&mut bench, |positions| positions.on_shutdown = ClosePolicy::Keep);
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
    }
    let before = gateway.positions();
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for was in &before {
        let exchange = was.instrument.exchange();
        let now = position(&report, exchange.as_str());
        assert_eq!((now.policy, now.left), (ClosePolicy::Keep, was.quantity));
        assert_eq!((&now.orders, &now.not_closed, now.exit), (&vec![], &None, None));
        assert!(now.unrealized.is_some_and(|profit| profit < Decimal::ZERO), "{now:#?}");
        assert_eq!(placed(&bench, exchange.as_str()), 1);
    }
    assert!(phase(&report, Phase::ClosePositions).used_ms < 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_in_the_base_asset_never_sells_more_than_is_held() {
    let bench = closing(&["binance"]).await;
    let gateway = bench.gateway().await;
    let was = hold(&gateway, "binance", Side::Buy, number("0.12345")).await;
    assert_eq!(was.quantity, number("0.12332655"));
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let now = position(&report, "binance");
    assert_eq!((now.closed, now.left), (number("0.12332"), number("0.00000655")));
    assert!(now.dust && !now.is_left());
    assert!(why(&report, "binance").starts_with("dust: 0.00000655 is below"), "{now:#?}");
    assert_eq!(left_at(&bench, "binance"), now.left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kept_order_buys_after_the_phase_is_not_called_dust() {
    let bench = closing(&["binance"]).await;
    let gateway = Arc::new(bench.gateway().await);
    hold(&gateway, "binance", Side::Buy, number("0.12345")).await;
    let (price, half) = (number("29000"), number("0.5"));
    let kept = NewOrder::limit(instrument("binance"), Side::Buy, price.into(), half.into());
    within(gateway.orders().submit(kept.keep_on_shutdown())).await.expect("it rests");
    let (venue, weak) = (bench.venue("binance"), Arc::downgrade(&gateway));
    let fall = Hook::new("the market falls", Phase::SaveState, move || async move {
        let asks = [(number("28999"), number("10"))];
        venue.set_book(symbol("binance"), &[], &asks).map_err(|error| error.to_string())?;
        let gateway = weak.upgrade().ok_or("it is gone")?;
        until("the fill is booked", || {
            held(&gateway, instrument("binance")).is_some_and(|held| held.quantity > number("0.4"))
        })
        .await;
        Ok::<(), String>(())
    });
    gateway.on_shutdown(fall).expect("it is early enough");
    let report = within(gateway.shutdown()).await;
    let now = position(&report, "binance");
    assert!(now.left > number("0.4"), "{now:#?}");
    assert!(!now.dust && now.is_left(), "{now:#?}");
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_order_could_not_sell_is_sold_by_the_next() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let tenth = size(exchange) / Decimal::TEN;
        market(&bench, exchange, &[("30000", tenth)], &[]);
    }
    let more = async {
        for exchange in ALL {
            let sold = |witness: &ExchangeLedger| {
                witness.fills.iter().any(|fill| fill.side == mock_exchange::Side::Sell)
            };
            bench.ledger(|ledger| sold(ledger.exchange(exchange))).await;
            market(&bench, exchange, &[("29990", size(exchange))], &[]);
        }
    };
    let (report, ()) = tokio::join!(within(gateway.shutdown()), more);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    for exchange in ALL {
        let now = position(&report, exchange);
        assert!(now.left.is_zero() && now.orders.len() >= 2, "{now:#?}");
        assert_eq!(left_at(&bench, exchange), Decimal::ZERO);
        let exit = now.exit.expect("an average").0;
        assert!(exit > number("29990") && exit < number("30000"), "{now:#?}");
        let first = reported(&report, now.orders[0]);
        assert!(matches!(first.fate, OrderFate::Expired | OrderFate::Canceled), "{first:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_book_is_not_sold_into_below_the_slippage() {
    let mut bench = closing(ALL).await;
    bench.config.shutdown.close_positions = Duration::from_secs(1);
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let (tenth, all) = (size(exchange) / Decimal::TEN, size(exchange));
        market(&bench, exchange, &[("30000", tenth), ("29600", all)], &[]);
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    assert_eq!(report.outcome.exit_code(), 13);
    judge(&report, &bench.mock.ledger());
    for exchange in ALL {
        let now = position(&report, exchange);
        assert_eq!(now.closed, size(exchange) / Decimal::TEN, "{now:#?}");
        assert_eq!(now.left, left_at(&bench, exchange));
        assert!(now.is_left() && now.unrealized.is_some());
        let why = why(&report, exchange);
        assert!(why.contains("the price 29600 is worse than 29700"), "{why}");
        // Against the lower price none was tried.
        assert!(now.orders.len() <= 2, "{now:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fresh_price_nothing_is_sold_and_the_reason_is_named() {
    for is_old in [false, true] {
        let mut bench = closing(ALL).await;
        bench.config.shutdown.close_positions = Duration::from_millis(400);
        positions(&mut bench, |positions| {
            // Not even market orders go out.
            positions.order = ClosingOrder::Market;
            if is_old {
                positions.max_quote_age = Duration::from_millis(10);
            }
        });
        let gateway = bench.gateway().await;
        for exchange in ALL {
            hold(&gateway, exchange, Side::Buy, size(exchange)).await;
            if !is_old {
                market(&bench, exchange, &[], &[("30001", size(exchange))]);
            }
        }
        if is_old {
            tokio::time::sleep(Duration::from_millis(50)).await;
        } else {
            until("the feed tells that there is no bid", || {
                gateway.last_ticks().iter().all(|last| match last.quote.map(|tick| tick.data) {
                    Some(exchange_gateway::types::TickData::Quote(quote)) => quote.bid.is_zero(),
                    _ => false,
                })
            })
            .await;
        }
        let report = within(gateway.shutdown()).await;
        assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
        for exchange in ALL {
            let why = why(&report, exchange);
            assert!(why.contains("no fresh price"), "{why}");
            assert_eq!(placed(&bench, exchange), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn market_orders_are_used_if_configured() {
    let mut bench = closing(ALL).await;
    positions(&mut bench, |positions| positions.order = ClosingOrder::Market);
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let ledger = bench.mock.ledger();
    for exchange in ALL {
        let now = position(&report, exchange);
        assert!(now.left.is_zero(), "{now:#?}");
        let seen = ledger.exchange(exchange).order(now.orders[0].as_str()).expect("it was placed");
        assert_eq!(seen.kind, OrderKind::Market);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_races_the_cancel_is_closed_too() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        bench.fault(exchange, FaultAction::FillDuringCancel { quantity: None });
        // Binance tells the best bid when it changes.
        let all = size(exchange);
        market(&bench, exchange, &[("30000", all)], &[("30002", all)]);
        within(gateway.orders().submit(resting(exchange))).await.expect("it rests");
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    for exchange in ALL {
        let now = position(&report, exchange);
        assert_eq!(now.entry.map(|entry| entry.0), Some(number("20000")), "{now:#?}");
        assert!(now.left.is_zero() && now.realized > Decimal::ZERO, "{now:#?}");
        assert_eq!(left_at(&bench, exchange), Decimal::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_order_without_an_answer_is_asked_about_and_never_doubled() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        bench.add(Fault::new(FaultAction::LoseAck).at(exchange).on(Target::NthOrder(2)));
        let lost = Fault::new(FaultAction::LoseUpdates).at(exchange).on(Target::NthOrder(2));
        bench.add(lost.times(0));
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in ALL {
        let now = position(&report, exchange);
        assert_eq!(now.orders.len(), 1, "{now:#?}");
        assert!(now.left.is_zero(), "{now:#?}");
        assert_eq!(reported(&report, now.orders[0]).fate, OrderFate::Filled);
        assert_eq!((placed(&bench, exchange), left_at(&bench, exchange)), (2, Decimal::ZERO));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_with_the_answer_is_replaced_and_the_order_is_not_doubled() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let drop = FaultAction::Drop { how: Disconnect::Rst };
        bench.add(Fault::new(drop).at(exchange).on(Target::NthOrder(2)));
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert!(report.orders_left().next().is_none(), "{report:#?}");
    for exchange in ALL {
        let now = position(&report, exchange);
        assert!(now.left.is_zero() && now.orders.len() == 1, "{report:#?}");
        assert_eq!((placed(&bench, exchange), left_at(&bench, exchange)), (2, Decimal::ZERO));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_closing_order_is_named_and_never_doubled() {
    let mut bench = closing(ALL).await;
    bench.config.shutdown.close_positions = Duration::from_secs(1);
    bench.config.shutdown.disconnect = Duration::from_secs(1);
    bench.connections(|connection| connection.close_timeout = Duration::from_millis(300));
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let silent = Fault::new(FaultAction::GoSilent { for_ms: None }).at(exchange);
        bench.add(silent.on(Target::NthOrder(2)));
        let refuse = FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: None };
        bench.add(Fault::new(refuse).at(exchange).on(Target::NthOrder(2)).when(When::Place));
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    assert_eq!(phase(&report, Phase::ClosePositions).ended, PhaseEnd::TimedOut);
    for exchange in ALL {
        let now = position(&report, exchange);
        assert_eq!(now.orders.len(), 1, "{now:#?}");
        let left = reported(&report, now.orders[0]);
        assert!(left.fate.is_left(), "{left:#?}");
        let why = why(&report, exchange);
        assert!(why.contains("its closing order has not ended"), "{why}");
        assert_eq!(placed(&bench, exchange), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_without_confirmed_cancels_has_no_position_closed() {
    let mut bench = closing(ALL).await;
    bench.config.shutdown.cancel_pending = Duration::from_millis(600);
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        within(gateway.orders().submit(resting(exchange))).await.expect("it rests");
        let ignored = FaultAction::IgnoreCancel { ack: false, for_ms: None };
        bench.add(Fault::new(ignored).at(exchange).times(0));
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    for exchange in ALL {
        assert_eq!(why(&report, exchange), "its orders are not confirmed cancelled");
        assert_eq!(placed(&bench, exchange), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_closing_order_is_the_reason() {
    let mut bench = closing(ALL).await;
    bench.config.shutdown.close_positions = Duration::from_secs(1);
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let reject = FaultAction::Reject { code: None, text: "no more of this".into() };
        bench.add(Fault::new(reject).at(exchange).times(0));
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    for exchange in ALL {
        let (why, now) = (why(&report, exchange), position(&report, exchange));
        assert!(why.contains("rejected") && why.contains("no more of this"), "{why}");
        assert!(now.orders.len() < 10, "it is not flooded with orders: {now:#?}");
        for id in &now.orders {
            assert_eq!(reported(&report, *id).fate, OrderFate::Rejected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_kept_are_left_what_they_may_still_trade() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let fifth = size(exchange) / Decimal::from(5);
        let kept =
            NewOrder::limit(instrument(exchange), Side::Sell, number("40000").into(), fifth.into());
        within(gateway.orders().submit(kept.keep_on_shutdown())).await.expect("it rests");
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    judge(&report, &bench.mock.ledger());
    for exchange in ALL {
        let now = position(&report, exchange);
        let fifth = size(exchange) / Decimal::from(5);
        assert!(now.left <= fifth && now.left >= fifth * number("0.99"), "{now:#?}");
        assert!(why(&report, exchange).contains("orders that are kept open"), "{now:#?}");
        assert_eq!(bench.mock.ledger().exchange(exchange).open_orders.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_above_the_largest_order_is_split() {
    let mut bench = closing(&["binance"]).await;
    let sol: Instrument = "binance:SOL-USDT".parse().expect("an instrument");
    bench.config.exchanges[0].instruments.push(sol);
    let million = |tenths: i64| Decimal::from(tenths * 100_000);
    let venue = bench.venue("binance");
    let (bid, ask) = (number("1"), number("1.01"));
    venue.set_quote("SOLUSDT", bid, million(30), ask, million(30)).expect("the market moves");
    let gateway = bench.gateway().await;
    for _ in 0..2 {
        let order = NewOrder::market(sol, Side::Buy, million(9).into());
        within(gateway.orders().submit(order)).await.expect("it trades");
    }
    until("the position is booked", || {
        held(&gateway, sol).is_some_and(|position| position.bought == million(18))
    })
    .await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let now = position(&report, "binance");
    assert!(now.left.is_zero(), "{now:#?}");
    let ledger = bench.mock.ledger();
    let quantity = |id: &exchange_gateway::types::ClientOrderId| {
        ledger.exchange("binance").order(id.as_str()).expect("it was placed").quantity
    };
    let quantities: Vec<_> = now.orders.iter().map(quantity).collect();
    assert_eq!(quantities, [million(9), number("898200")]);
    assert_eq!(ledger.exchange("binance").held().get("SOLUSDT"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_closing_order_without_an_answer_is_cancelled() {
    let mut bench = closing(&["binance"]).await;
    let sol: Instrument = "binance:SOL-USDT".parse().expect("an instrument");
    bench.config.exchanges[0].instruments.push(sol);
    // Only a cancel finds out.
    bench.config.orders.ack_timeout = Duration::from_secs(60);
    bench.config.shutdown.cancel_retry = Duration::from_millis(200);
    bench.config.shutdown.deadline = Duration::from_secs(30);
    bench.config.shutdown.close_positions = Duration::from_secs(8);
    let million = |tenths: i64| Decimal::from(tenths * 100_000);
    let (bid, ask) = (number("1"), number("1.01"));
    let venue = bench.venue("binance");
    venue.set_quote("SOLUSDT", bid, million(30), ask, million(30)).expect("the market moves");
    let gateway = bench.gateway().await;
    for _ in 0..2 {
        let order = NewOrder::market(sol, Side::Buy, million(9).into());
        within(gateway.orders().submit(order)).await.expect("it trades");
    }
    until("the position is booked", || {
        held(&gateway, sol).is_some_and(|position| position.bought == million(18))
    })
    .await;
    for nth in [3, 4] {
        let at = |action| Fault::new(action).at("binance").on(Target::NthOrder(nth));
        bench.add(at(FaultAction::LoseAck));
        bench.add(at(FaultAction::LoseUpdates).times(0));
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    let now = position(&report, "binance");
    assert_eq!(now.orders.len(), 2, "{now:#?}");
    // At once, and not when the phase is almost over.
    assert!(phase(&report, Phase::ClosePositions).used_ms < 5_000, "{report:#?}");
    for id in &now.orders {
        let order = reported(&report, *id);
        assert!(order.cancel_attempts > 0 && order.fate == OrderFate::Filled, "{order:#?}");
    }
    assert!(now.left.is_zero(), "{now:#?}");
}

/// A shutdown that waits for a price in the phase that closes positions.
async fn waiting_for_a_price(bench: &mut Bench, exchanges: &[&str]) -> Gateway {
    positions(bench, |positions| positions.max_slippage_percent = number("0.1"));
    let gateway = bench.gateway().await;
    for exchange in exchanges {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        market(bench, exchange, &[], &[("30001", size(exchange))]);
    }
    until("the feed tells that there is no bid", || {
        let last = gateway.last_ticks();
        let of = |last: &&exchange_gateway::LastTick| {
            exchanges.contains(&last.instrument.exchange().as_str())
        };
        last.iter().filter(of).all(|last| match last.quote.map(|tick| tick.data) {
            Some(exchange_gateway::types::TickData::Quote(quote)) => quote.bid.is_zero(),
            _ => false,
        })
    })
    .await;
    gateway
}

async fn entered(gateway: &Gateway, wanted: Phase) {
    let mut phase = gateway.phase();
    within(phase.wait_for(|phase| *phase >= wanted)).await.expect("the gateway runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_after_the_phase_and_a_price_within_it_is_used() {
    for in_time in [true, false] {
        let mut bench = closing(ALL).await;
        let limit = if in_time { 10_000 } else { 300 };
        bench.config.shutdown.close_positions = Duration::from_millis(limit);
        let gateway = waiting_for_a_price(&mut bench, ALL).await;
        let price = async {
            entered(&gateway, if in_time { Phase::ClosePositions } else { Phase::SaveState }).await;
            for exchange in ALL {
                let all = size(exchange);
                market(&bench, exchange, &[("30000", all)], &[("30001", all)]);
            }
        };
        let (report, ()) = tokio::join!(within(gateway.shutdown()), price);
        bench.all_closed().await;
        for exchange in ALL {
            let now = position(&report, exchange);
            assert_eq!(now.left.is_zero(), in_time, "{now:#?}");
            assert_eq!(placed(&bench, exchange), if in_time { 2 } else { 1 });
        }
        let expected = if in_time { Outcome::Clean } else { Outcome::OrdersLeft };
        assert_eq!(report.outcome, expected, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_exit_stops_the_closing() {
    let mut bench = closing(ALL).await;
    bench.config.shutdown.close_positions = Duration::from_secs(10);
    let gateway = waiting_for_a_price(&mut bench, ALL).await;
    let force = async {
        entered(&gateway, Phase::ClosePositions).await;
        gateway.force();
    };
    let (report, ()) = tokio::join!(within(gateway.shutdown()), force);
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    for exchange in ALL {
        let why = why(&report, exchange);
        assert!(why.contains("the exit was forced"), "{why}");
        assert_eq!(placed(&bench, exchange), 1);
    }
    assert!(phase(&report, Phase::ClosePositions).used_ms < 8_000, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dust_is_dust_when_the_exit_is_forced_too() {
    let bench = closing(&["binance"]).await;
    let gateway = bench.gateway().await;
    hold(&gateway, "binance", Side::Buy, number("0.12345")).await;
    let sell = NewOrder::market(instrument("binance"), Side::Sell, number("0.12332").into());
    within(gateway.orders().submit(sell)).await.expect("it trades");
    until("the sale is booked", || {
        held(&gateway, instrument("binance"))
            .is_some_and(|position| position.quantity == number("0.00000655"))
    })
    .await;
    gateway.force();
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::OperatorForced, "{report:#?}");
    let now = position(&report, "binance");
    assert!(now.dust && !now.is_left(), "{now:#?}");
    assert!(why(&report, "binance").starts_with("dust: 0.00000655 is below"), "{now:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_mans_switch_is_armed_until_the_positions_are_closed() {
    let exchanges = ["kraken", "deribit"];
    let mut bench = closing(&exchanges).await;
    bench.config.shutdown.close_positions = Duration::from_secs(10);
    for exchange in &mut bench.config.exchanges {
        if matches!(exchange.adapter.dead_mans_switch(), DeadMansSwitch::Timer { .. }) {
            exchange.account_is_ours = true;
            exchange.dead_mans_switch = Some(Duration::from_secs(60));
        }
    }
    let gateway = waiting_for_a_price(&mut bench, &exchanges).await;
    let price = async {
        entered(&gateway, Phase::ClosePositions).await;
        let ledger = bench.mock.ledger();
        assert!(ledger.exchange("kraken").cancels_at.is_some());
        let disarms = |ledger: &mock_exchange::Ledger| {
            let requests = &ledger.exchange("deribit").requests;
            requests.iter().filter(|r| r.method == "private/disable_cancel_on_disconnect").count()
        };
        assert_eq!(disarms(&ledger), 0);
        for exchange in exchanges {
            market(&bench, exchange, &[("30000", size(exchange))], &[]);
        }
    };
    let (report, ()) = tokio::join!(within(gateway.shutdown()), price);
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in &report.exchanges {
        assert_eq!(exchange.dead_mans_switch.state, SwitchState::Disarmed);
    }
    assert_eq!(bench.mock.ledger().exchange("kraken").cancels_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_mans_switch_is_taken_off_where_a_kept_order_has_closed_the_position() {
    let mut bench = closing(&["kraken"]).await;
    bench.config.exchanges[0].account_is_ours = true;
    bench.config.exchanges[0].dead_mans_switch = Some(Duration::from_secs(60));
    let gateway = Arc::new(bench.gateway().await);
    let all = size("kraken");
    hold(&gateway, "kraken", Side::Buy, all).await;
    let (kept, other) = (number("31000").into(), number("32000").into());
    for price in [kept, other] {
        let kept = NewOrder::limit(instrument("kraken"), Side::Sell, price, all.into());
        within(gateway.orders().submit(kept.keep_on_shutdown())).await.expect("it rests");
    }
    let (venue, weak) = (bench.venue("kraken"), Arc::downgrade(&gateway));
    let rise = Hook::new("the market rises", Phase::CancelPending, move || async move {
        let bids = [(number("31000"), all)];
        venue.set_book(symbol("kraken"), &bids, &[]).map_err(|error| error.to_string())?;
        let gateway = weak.upgrade().ok_or("it is gone")?;
        until("the fill is booked", || {
            held(&gateway, instrument("kraken")).is_some_and(|held| held.is_flat())
        })
        .await;
        Ok::<(), String>(())
    });
    gateway.on_shutdown(rise.priority(HookPriority::Low)).expect("it is early enough");
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert!(position(&report, "kraken").left.is_zero(), "{report:#?}");
    assert_eq!(report.exchanges[0].dead_mans_switch.state, SwitchState::Disarmed);
    // The other one is kept, and nothing cancels it.
    let ledger = bench.mock.ledger();
    assert_eq!(ledger.exchange("kraken").cancels_at, None);
    assert_eq!(ledger.exchange("kraken").open_orders.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_and_reports_its_own_positions_alone() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
    }
    let drained = within(gateway.drain("kraken")).await.expect("it is configured");
    assert_eq!(drained.outcome, Outcome::Clean, "{drained:#?}");
    assert_eq!(drained.positions.len(), 1);
    assert!(position(&drained, "kraken").left.is_zero());
    assert_eq!((placed(&bench, "binance"), placed(&bench, "deribit")), (1, 1));
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert_eq!(report.positions.len(), 3);
    assert_eq!(placed(&bench, "kraken"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instrument_may_be_kept_while_the_others_are_closed() {
    let mut bench = closing(&["kraken"]).await;
    let eth: Instrument = "kraken:ETH-USDT".parse().expect("an instrument");
    let exchange = &mut bench.config.exchanges[0];
    exchange.instruments.push(eth);
    exchange.instrument_positions.insert(eth, PositionsConfig::default());
    let gateway = bench.gateway().await;
    hold(&gateway, "kraken", Side::Buy, size("kraken")).await;
    let order = NewOrder::market(eth, Side::Buy, Decimal::ONE.into());
    within(gateway.orders().submit(order)).await.expect("it trades");
    until("the position is booked", || held(&gateway, eth).is_some_and(|p| !p.is_flat())).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let left: Vec<_> = report.positions.iter().map(|p| (p.instrument, p.left)).collect();
    assert_eq!(left, [(instrument("kraken"), Decimal::ZERO), (eth, Decimal::ONE)]);
    written_once(bench.mock.ledger().exchange("kraken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trading_connection_that_does_not_come_back_is_the_reason() {
    let mut bench = closing(ALL).await;
    bench.config.shutdown.close_positions = Duration::from_secs(1);
    let gateway = waiting_for_a_price(&mut bench, ALL).await;
    let cut = async {
        entered(&gateway, Phase::ClosePositions).await;
        for exchange in ALL {
            let refuse = FaultAction::RefuseConnections { how: Refusal::Rst, for_ms: None };
            bench.fault(exchange, refuse);
            let drop = FaultAction::Drop { how: Disconnect::Rst };
            let trading = Target::Connection(ConnectionKind::Trading);
            bench.add(Fault::new(drop).at(exchange).on(trading));
        }
        until("it is noticed", || {
            ALL.iter().all(|exchange| {
                let found = common::connection(&gateway, exchange, "trading");
                found.status != exchange_gateway::ConnectionStatus::Live
            })
        })
        .await;
        for exchange in ALL {
            market(&bench, exchange, &[("30000", size(exchange))], &[]);
        }
    };
    let (report, ()) = tokio::join!(within(gateway.shutdown()), cut);
    assert_eq!(report.outcome, Outcome::OrdersLeft, "{report:#?}");
    for exchange in ALL {
        let why = why(&report, exchange);
        assert!(why.contains("is not ready for orders"), "{why}");
        assert_eq!(placed(&bench, exchange), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_and_a_shutdown_at_once_sell_once_and_no_more_than_is_held() {
    for pause_ms in [0, 1, 2, 3, 5, 8, 12, 20] {
        let bench = closing(ALL).await;
        let gateway = bench.gateway().await;
        for exchange in ALL {
            hold(&gateway, exchange, Side::Buy, size(exchange)).await;
            let delay = Fault::new(FaultAction::DelayAck { ms: 5 }).at(exchange);
            bench.add(delay.on(Target::NthOrder(2)));
        }
        let drains = async {
            let all = ALL.iter().map(|exchange| gateway.drain(exchange));
            futures::future::join_all(all).await
        };
        let shutdown = async {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            gateway.shutdown().await
        };
        let (drained, report) = within(async { tokio::join!(drains, shutdown) }).await;
        judge(&report, &bench.mock.ledger());
        for exchange in ALL {
            let (left, now) = (left_at(&bench, exchange), position(&report, exchange));
            assert_eq!(now.left, left, "{pause_ms} ms: {now:#?}");
            assert!(left >= Decimal::ZERO, "{pause_ms} ms: {left} of {exchange} is held");
            assert!(!left.is_zero() || placed(&bench, exchange) == 2, "{pause_ms} ms: {exchange}");
            assert_eq!(now.is_left(), !left.is_zero() && !now.dust, "{pause_ms} ms: {now:#?}");
        }
        for drained in drained.into_iter().flatten() {
            assert!(drained.orders_left().next().is_none(), "{pause_ms} ms: {drained:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drain_has_closed_is_not_closed_again_after_a_resume() {
    let bench = closing(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        hold(&gateway, exchange, Side::Buy, size(exchange)).await;
        let drained = within(gateway.drain(exchange)).await.expect("it is drained");
        assert_eq!(drained.outcome, Outcome::Clean, "{drained:#?}");
        within(gateway.resume(exchange)).await.expect("it is resumed");
        let was = placed(&bench, exchange);
        let again = within(gateway.drain(exchange)).await.expect("it is drained");
        assert_eq!(again.outcome, Outcome::Clean, "{again:#?}");
        assert_eq!(placed(&bench, exchange), was);
        within(gateway.resume(exchange)).await.expect("it is resumed");
        let order = NewOrder::market(instrument(exchange), Side::Buy, size(exchange).into());
        within(gateway.orders().submit(order)).await.expect("it trades");
    }
    let report = within(gateway.shutdown()).await;
    judge(&report, &bench.mock.ledger());
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    for exchange in ALL {
        let (left, now) = (left_at(&bench, exchange), position(&report, exchange));
        assert_eq!(now.left, left, "{now:#?}");
        assert!(left.is_zero() || now.dust, "{now:#?}");
        assert_eq!(placed(&bench, exchange), 4);
    }
}
