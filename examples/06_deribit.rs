//! Trades a perpetual on Deribit: a position is opened and reduced, and the orders of a connection
//! that dies are cancelled by the exchange itself.
//!
//! ```sh
//! cargo run --example 06_deribit
//! ```

mod support;

use std::error::Error;

use exchange_gateway::types::{Instrument, NewOrder, Order, Side};
use exchange_gateway::{Gateway, OrderUpdates};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mock, config) = support::mock_exchanges().await?;
    let gateway = Gateway::start(config).await?;
    let orders = gateway.orders();
    let mut updates = orders.updates();

    // The quantity of an inverse perpetual is in US dollars.
    let instrument: Instrument = "deribit:BTC-PERPETUAL".parse()?;
    let bought = orders.submit(NewOrder::market(instrument, Side::Buy, "100".parse()?)).await?;
    ended(&mut updates, &bought).await;

    // It can only make the position smaller, whatever else has happened meanwhile.
    let reduce = NewOrder::market(instrument, Side::Sell, "100".parse()?).reduce_only();
    let sold = orders.submit(reduce).await?;
    ended(&mut updates, &sold).await;

    let resting = NewOrder::limit(instrument, Side::Buy, "30000".parse()?, "100".parse()?);
    println!("resting: order {}", orders.submit(resting).await?.id());

    let report = gateway.shutdown().await;
    for exchange in &report.exchanges {
        let switch = &exchange.dead_mans_switch;
        println!(
            "{}: dead-man's switch {}: {}",
            exchange.exchange,
            switch.kind.describe(),
            switch.state
        );
    }
    println!("{}", report.outcome.describe());
    mock.shutdown().await;
    Ok(())
}

/// Follows an order to its end.
async fn ended(updates: &mut OrderUpdates, wanted: &Order) {
    while let Some(update) = updates.next().await {
        let order = &update.order;
        if order.id() == wanted.id() && order.status.is_terminal() {
            println!(
                "{} {} of {}: {}",
                order.request.side, order.filled, order.request.quantity, order.status
            );
            return;
        }
    }
}
