//! Places an order, follows it, cancels it, and sees the cancel confirmed by the exchange.
//!
//! ```sh
//! cargo run --example 02_place_and_cancel
//! ```

mod support;

use std::error::Error;

use exchange_gateway::types::{Instrument, NewOrder, Side};
use exchange_gateway::{Gateway, OrderError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mock, config) = support::mock_exchanges().await?;
    let gateway = Gateway::start(config).await?;
    let orders = gateway.orders();
    let mut updates = orders.updates();

    // One instrument name works on every exchange.
    for exchange in ["binance", "kraken"] {
        let instrument: Instrument = format!("{exchange}:BTC-USDT").parse()?;
        let buy = NewOrder::limit(instrument, Side::Buy, "30000".parse()?, "0.01".parse()?);
        let order = orders.submit(buy.post_only()).await?;
        println!("{exchange}: order {} is {}", order.id(), order.status);
        let order = orders.cancel(order.id()).await?;
        println!("{exchange}: order {} is {}", order.id(), order.status);

        // What breaks the exchange's rules is refused here and never sent.
        let off_tick =
            NewOrder::limit(instrument, Side::Buy, "30000.001".parse()?, "0.01".parse()?);
        match orders.submit(off_tick).await {
            Err(OrderError::Invalid(reason)) => println!("{exchange}: refused: {reason}"),
            other => println!("{exchange}: {other:?}"),
        }

        let market = NewOrder::market(instrument, Side::Buy, "0.001".parse()?);
        orders.submit(market).await?;
    }
    while let Some(update) = updates.try_next() {
        println!("update: {} {}", update.order.id(), update.order.status);
        if let Some(fill) = &update.fill {
            let fee = fill.fee.as_ref().map(|fee| format!(", fee {} {}", fee.amount, fee.asset));
            let fee = fee.unwrap_or_default();
            println!("  filled {} at {}{fee}", fill.quantity, fill.price);
        }
    }

    let report = gateway.shutdown().await;
    println!("{}", report.outcome.describe());
    mock.shutdown().await;
    Ok(())
}
