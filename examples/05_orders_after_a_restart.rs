//! Takes over the orders that an earlier run left open, by their client ids.
//!
//! ```sh
//! cargo run --example 05_orders_after_a_restart
//! ```

mod support;

use std::error::Error;

use exchange_gateway::Gateway;
use exchange_gateway::config::OnRestart;
use exchange_gateway::types::{NewOrder, Side};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mock, mut config) = support::mock_exchanges().await?;
    // The default would cancel them at the start.
    config.orders.on_restart = OnRestart::Adopt;

    let gateway = Gateway::start(config.clone()).await?;
    for exchange in ["binance", "kraken"] {
        let instrument = format!("{exchange}:BTC-USDT").parse()?;
        let buy = NewOrder::limit(instrument, Side::Buy, "30000".parse()?, "0.01".parse()?);
        let order = gateway.orders().submit(buy).await?;
        println!("first run: {exchange} order {} is {}", order.id(), order.status);
    }
    // As after a crash: nothing is cancelled, and the database knows of the orders.
    drop(gateway);

    let gateway = Gateway::start(config).await?;
    for order in gateway.orders().unfinished() {
        println!("second run: found {} on {}, {}", order.id(), order.instrument(), order.status);
        let order = gateway.orders().cancel(order.id()).await?;
        println!("second run: {} is {}", order.id(), order.status);
    }
    println!("{}", gateway.shutdown().await.outcome.describe());
    mock.shutdown().await;
    Ok(())
}
