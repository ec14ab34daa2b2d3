//! Positions are what the fills add up to, each once: at every exchange, across runs, and after
//! damage.

mod common;
mod state_common;

use std::collections::BTreeMap;

use common::{ALL, Bench, instrument, resting, symbol, until, within};
use exchange_gateway::Gateway;
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::state::{StateView, verify};
use exchange_gateway::types::{NewOrder, Position, PriceBasis, Side};
use mock_exchange::{ExchangeLedger, FillRecord};
use rust_decimal::Decimal;

/// What can be bought and sold of each, in quantities that every exchange takes.
fn quantity(exchange: &str, units: u32) -> Decimal {
    if exchange == "deribit" { Decimal::from(units * 10) } else { Decimal::new(units.into(), 3) }
}

/// A market of one price, and one more to buy.
fn quote(bench: &Bench, exchange: &str, price: u32) {
    quotes(bench, exchange, price, price + 1);
}

fn quotes(bench: &Bench, exchange: &str, bid: u32, ask: u32) {
    let (price, ask, size) = (Decimal::from(bid), Decimal::from(ask), Decimal::from(1_000));
    bench.venue(exchange).set_quote(symbol(exchange), price, size, ask, size).expect("it moves");
}

/// Trades against the market at once.
async fn trade(gateway: &Gateway, exchange: &str, side: Side, units: u32) {
    let quantity = quantity(exchange, units).into();
    let order = NewOrder::market(instrument(exchange), side, quantity);
    let placed = gateway.orders().submit(order).await.expect("it trades");
    until("all of it is booked", || {
        gateway.orders().get(placed.id()).is_some_and(|order| order.booked == quantity)
    })
    .await;
}

fn position(gateway: &Gateway, exchange: &str) -> Position {
    let wanted = instrument(exchange);
    let mut all = gateway.positions().into_iter();
    all.find(|position| position.instrument == wanted).expect("it was traded")
}

fn signed(fill: &FillRecord) -> Decimal {
    if fill.side == mock_exchange::Side::Buy { fill.quantity } else { -fill.quantity }
}

/// What the exchange's fills leave of the instrument, and in money with the fees paid in it.
fn plain(exchange: &str, fills: &[FillRecord]) -> (Decimal, Decimal) {
    let (mut held, mut money) = (Decimal::ZERO, Decimal::ZERO);
    for fill in fills {
        held += signed(fill);
        money += match exchange {
            "deribit" => signed(fill) / fill.price,
            _ => -signed(fill) * fill.price,
        };
        match (exchange, fill.fee_asset.as_str()) {
            ("deribit", "BTC") | (_, "USDT") => money -= fill.fee,
            (_, "BTC") => held -= fill.fee,
            other => panic!("a fee in {other:?}"),
        }
    }
    (held, money)
}

/// The position against the exchange's own ledger.
fn judge(position: &Position, witness: &ExchangeLedger) {
    let exchange = position.instrument.exchange();
    let (held, money) = plain(exchange.as_str(), &witness.fills);
    assert_eq!(position.quantity.normalize(), held.normalize(), "{exchange}");
    // Given up at its entry price, what is held brings in what is missing of the money.
    let worth = position.entry.map_or(Decimal::ZERO, |entry| match exchange.as_str() {
        "deribit" => -held / entry.0,
        _ => held * entry.0,
    });
    let difference = (position.net() - money - worth).abs();
    assert!(difference < Decimal::new(1, 12), "{exchange}: {position:?} is not {money} and {held}");
}

async fn trade_all(gateway: &Gateway, bench: &Bench) {
    for exchange in ALL {
        quote(bench, exchange, 50_000);
        trade(gateway, exchange, Side::Buy, 4).await;
        quote(bench, exchange, 60_000);
        trade(gateway, exchange, Side::Buy, 2).await;
        trade(gateway, exchange, Side::Sell, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_the_sum_of_the_exchanges_fills_and_outlive_the_run() {
    let bench = Bench::start(ALL).await;
    let gateway = bench.gateway().await;
    assert_eq!(gateway.positions(), []);
    let mut updates = gateway.position_updates();
    trade_all(&gateway, &bench).await;
    let ledger = bench.mock.ledger();
    let mut told = BTreeMap::new();
    while let Some(position) = updates.try_next() {
        told.insert(position.instrument, position);
    }
    assert_eq!(told.into_values().collect::<Vec<_>>(), gateway.positions());
    for exchange in ALL {
        judge(&position(&gateway, exchange), ledger.exchange(exchange));
    }
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
    assert!(within(updates.next()).await.is_none(), "the stream ends with the gateway");
    let before = gateway.positions();
    let stored = StateView::open(&bench.config.gateway.state_dir).expect("it is there");
    assert_eq!(stored.positions().expect("they are readable").rows, before);
    drop((gateway, stored));

    let gateway = bench.gateway().await;
    let same = |(before, now): (&Position, &Position)| {
        assert_eq!((before.quantity, before.net()), (now.quantity, now.net()));
        assert_eq!((before.entry, before.bought), (now.entry, now.bought));
    };
    before.iter().zip(&gateway.positions()).for_each(same);
    trade_all(&gateway, &bench).await;
    let ledger = bench.mock.ledger();
    for exchange in ALL {
        judge(&position(&gateway, exchange), ledger.exchange(exchange));
    }
    within(gateway.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_valued_at_the_price_that_it_could_be_given_up_at() {
    let bench = Bench::start(&["kraken"]).await;
    let gateway = bench.gateway().await;
    quote(&bench, "kraken", 50_000);
    trade(&gateway, "kraken", Side::Buy, 4).await;
    let mut ticks = gateway.subscribe(instrument("kraken")).expect("it is configured");
    quote(&bench, "kraken", 51_000);
    common::quoted(&mut ticks, 51_000).await;
    let valued = gateway.valuations().remove(0);
    assert_eq!(
        (valued.price, valued.basis),
        (Some(Decimal::from(51_000).into()), Some(PriceBasis::Bid))
    );
    // Bought for 50,001 each.
    assert_eq!(valued.unrealized.map(|profit| profit.normalize()), Some(Decimal::new(3_996, 3)));
    trade(&gateway, "kraken", Side::Sell, 6).await;
    let valued = gateway.valuations().remove(0);
    assert_eq!(valued.basis, Some(PriceBasis::Ask));
    assert!(valued.profit().is_some());
    within(gateway.shutdown()).await;
}

/// Trades, ends, damages the database with `damage`, and starts again: the positions are the same.
async fn summed_up_anew(damage: impl Fn(&std::path::Path)) {
    let bench = Bench::start(ALL).await;
    let gateway = bench.gateway().await;
    trade_all(&gateway, &bench).await;
    let before = gateway.positions();
    within(gateway.shutdown()).await;
    drop(gateway);
    let directory = &bench.config.gateway.state_dir;
    damage(directory);
    let gateway = bench.gateway().await;
    let after = gateway.positions();
    let figures = |position: &Position| {
        let Position { instrument, quantity, entry, realized, fees, bought, sold, .. } = position;
        (
            *instrument,
            quantity.normalize(),
            *entry,
            realized.normalize(),
            fees.normalize(),
            *bought,
            *sold,
        )
    };
    let figures = |all: &[Position]| all.iter().map(figures).collect::<Vec<_>>();
    assert_eq!(figures(&after), figures(&before));
    within(gateway.shutdown()).await;
    drop(gateway);
    let report = verify(directory).expect("it is there");
    assert!(report.is_sound(), "{:?}", report.damaged);
    assert_eq!(report.rows["positions"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_an_older_database_are_summed_up_from_its_fills() {
    summed_up_anew(state_common::to_version_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_whose_row_is_damaged_is_summed_up_from_its_fills() {
    summed_up_anew(|directory| {
        change(directory, "UPDATE positions SET quantity = '1'");
    })
    .await;
}

fn change(directory: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(directory.join("gateway.db")).expect("it opens");
    connection.execute(sql, ()).expect("it changes");
    connection.close().expect("it closes");
    state_common::save_sums(directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_is_told_again_because_its_row_is_broken_moves_no_position() {
    for exchange in ["binance", "kraken"] {
        let bench = Bench::start(&[exchange]).await;
        let gateway = bench.gateway().await;
        let order = resting(exchange).keep_on_shutdown();
        let order = gateway.orders().submit(order).await.expect("it rests");
        let part = quantity(exchange, 3);
        let price = Decimal::from(20_000);
        let venue = bench.venue(exchange);
        venue.trade(symbol(exchange), mock_exchange::Side::Sell, price, part).expect("a trade");
        until("it is booked", || {
            gateway.orders().get(order.id()).is_some_and(|order| order.booked.0 == part)
        })
        .await;
        let before = position(&gateway, exchange);
        within(gateway.shutdown()).await;
        drop(gateway);
        let directory = &bench.config.gateway.state_dir;
        change(directory, "UPDATE fills SET quantity = '7'");

        let gateway = bench.gateway().await;
        until("the fill is told again", || {
            gateway.orders().get(order.id()).is_some_and(|order| order.booked.0 == part)
        })
        .await;
        assert_eq!(position(&gateway, exchange).quantity, before.quantity, "{exchange}");
        // Another part moves it.
        venue.trade(symbol(exchange), mock_exchange::Side::Sell, price, part).expect("a trade");
        until("it is booked", || position(&gateway, exchange).bought == part + part).await;
        gateway.orders().cancel(order.id()).await.expect("it is cancelled");
        judge(&position(&gateway, exchange), bench.mock.ledger().exchange(exchange));
        within(gateway.shutdown()).await;
        drop(gateway);
        let report = verify(directory).expect("it is there");
        assert!(report.is_sound(), "{exchange}: {:?}", report.damaged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_trade_with_oneself_are_counted_and_stored() {
    let bench = Bench::start(ALL).await;
    let gateway = bench.gateway().await;
    for exchange in ALL {
        // Nobody else bids as much.
        quotes(&bench, exchange, 19_990, 20_010);
        let order = gateway.orders().submit(resting(exchange)).await.expect("it rests");
        let request = NewOrder { side: Side::Sell, ..order.request }.immediate_or_cancel();
        gateway.orders().submit(request).await.expect("it trades");
        until("both are booked", || {
            let all = gateway.positions();
            let found = all.iter().find(|found| found.instrument == instrument(exchange));
            found.is_some_and(|found| [found.bought, found.sold] == [request.quantity.0; 2])
        })
        .await;
        let ledger = bench.mock.ledger();
        let witness = ledger.exchange(exchange);
        let [first, second] = witness.fills.as_slice() else { panic!("{:?}", witness.fills) };
        assert_eq!(first.trade_id, second.trade_id);
        judge(&position(&gateway, exchange), witness);
    }
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
    let view = StateView::open(&bench.config.gateway.state_dir).expect("it is there");
    assert_eq!(view.fills(100).expect("they are readable").rows.len(), 2 * ALL.len());
}
