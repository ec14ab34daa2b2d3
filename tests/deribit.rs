//! A gateway trades on Deribit, and what it says of its orders is what happened there.

mod common;

use common::judge::judge;
use common::{
    Bench, instrument, reconnected, reported, rest, resting, submit_when_open, symbol, update,
    within,
};
use exchange_gateway::shutdown::{OrderFate, Outcome, PhaseEnd, Stage};
use exchange_gateway::types::{NewOrder, OrderStatus, Side, TickData};
use exchange_gateway::{Delivery, MarketEvent};
use mock_exchange::{ClosedBy, Disconnect, VenueConfig};
use rust_decimal::Decimal;

const DERIBIT: &str = "deribit";

#[tokio::test(flavor = "multi_thread")]
async fn every_open_order_is_cancelled_and_both_connections_are_closed_in_order() {
    let bench = Bench::start(&[DERIBIT]).await;
    let gateway = bench.gateway().await;
    for order in rest(&gateway, DERIBIT, 4).await {
        assert_eq!(order.status, OrderStatus::Open);
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert!(report.phases.iter().all(|phase| phase.ended == PhaseEnd::Done));
    let ledger = bench.all_closed().await;
    let witness = ledger.exchange(DERIBIT);
    assert_eq!(witness.open_orders, vec![]);
    assert_eq!(witness.orders.len(), 4);
    assert_eq!(witness.connections.len(), 2);
    for connection in &witness.connections {
        assert_eq!(connection.closed_by, Some(ClosedBy::Client), "{connection:?}");
        assert_eq!(connection.close_code_received, Some(1000), "{connection:?}");
    }
    let reported = &report.exchanges[0];
    assert!(reported.orders.iter().all(|order| order.fate == OrderFate::Canceled));
    for connection in &reported.connections {
        let stages: Vec<_> = connection.stages.iter().map(|stage| stage.stage).collect();
        let mut expected = vec![Stage::CloseFrameSent, Stage::CloseFrameReceived, Stage::TcpClosed];
        if connection.connection == "market" {
            expected.insert(0, Stage::Unsubscribed);
        }
        assert_eq!(stages, expected, "{}", connection.connection);
    }
    judge(&report, &ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_trades_and_fills_are_told_as_they_happened() {
    let bench = Bench::start(&[DERIBIT]).await;
    let gateway = bench.gateway().await;
    let delivery = Delivery::Queue { capacity: 4096 };
    let mut ticks =
        gateway.subscribe_with(&[instrument(DERIBIT)], delivery).expect("it is configured");
    let mut updates = gateway.orders().updates();
    let venue = bench.venue(DERIBIT);
    let number = |value: u32| Decimal::from(value);
    venue
        .set_quote(symbol(DERIBIT), number(30_000), number(500), number(30_001), number(40))
        .expect("the market moves");
    let order =
        NewOrder::limit(instrument(DERIBIT), Side::Buy, number(30_002).into(), number(100).into());
    let bought = within(gateway.orders().submit(order)).await.expect("it is taken in");
    let partly =
        update(&mut updates, |update| update.order.id() == bought.id() && update.fill.is_some())
            .await;
    let fill = partly.fill.as_ref().expect("a fill");
    assert_eq!((fill.price, fill.quantity), (number(30_001).into(), number(40).into()));
    assert!(fill.fee.is_some());
    venue
        .trade(symbol(DERIBIT), mock_exchange::Side::Sell, number(30_002), number(60))
        .expect("somebody sells");
    let whole = update(&mut updates, |update| update.order.status == OrderStatus::Filled).await;
    assert_eq!(whole.order.filled, number(100).into());
    let (mut quoted, mut traded) = (false, false);
    within(async {
        while !(quoted && traded) {
            match ticks.next().await.expect("the gateway runs") {
                MarketEvent::Tick(tick) => match tick.data {
                    TickData::Quote(quote) => quoted |= quote.ask == number(30_001).into(),
                    TickData::Trade(trade) => {
                        traded |=
                            trade.quantity == number(60).into() && trade.taker_side == Side::Sell;
                    }
                },
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    judge(&report, &bench.mock.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_end_with_their_connection_and_the_gateway_learns_of_it() {
    let bench = Bench::start(&[DERIBIT]).await;
    let gateway = bench.gateway().await;
    let mut updates = gateway.orders().updates();
    let lost = rest(&gateway, DERIBIT, 1).await.remove(0);
    bench.venue(DERIBIT).drop_connections(Disconnect::Rst);
    let ended = update(&mut updates, |update| update.order.status.is_terminal()).await;
    assert_eq!((ended.order.id(), ended.order.status), (lost.id(), OrderStatus::Canceled));
    assert_eq!(ended.order.reason.as_deref(), Some("cancel_on_disconnect"));
    reconnected(&gateway, DERIBIT, "trading", 1).await;
    let next = submit_when_open(&gateway, resting(DERIBIT)).await;
    let report = within(gateway.shutdown()).await;
    assert_eq!(reported(&report, next.id()).fate, OrderFate::Canceled);
    judge(&report, &bench.mock.ledger());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_be_kept_survives_the_close_of_its_connection() {
    let bench = Bench::start(&[DERIBIT]).await;
    let gateway = bench.gateway().await;
    let kept = within(gateway.orders().submit(resting(DERIBIT).keep_on_shutdown())).await;
    let kept = kept.expect("it rests").id();
    let report = within(gateway.shutdown()).await;
    assert_eq!(reported(&report, kept).fate, OrderFate::Kept);
    let ledger = bench.all_closed().await;
    let open = &ledger.exchange(DERIBIT).open_orders;
    let open: Vec<_> = open.iter().map(|order| order.client_id.as_str()).collect();
    assert_eq!(open, [kept.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_orders_than_the_exchange_takes_at_once_wait_and_none_is_lost() {
    let bench = Bench::start_with(&[DERIBIT], VenueConfig::quiet()).await;
    let gateway = bench.gateway().await;
    for order in rest(&gateway, DERIBIT, 12).await {
        assert_eq!(order.status, OrderStatus::Open);
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    let ledger = bench.all_closed().await;
    let witness = ledger.exchange(DERIBIT);
    assert_eq!((witness.orders.len(), witness.open_orders.len()), (12, 0));
    // The exchange ends a session that sends too much.
    assert_eq!(witness.connections.len(), 2);
    judge(&report, &ledger);
}
