//! Watches the ticks of two exchanges in one stream.
//!
//! ```sh
//! cargo run --example 01_watch_ticks
//! ```

mod support;

use std::error::Error;

use exchange_gateway::types::TickData;
use exchange_gateway::{Delivery, Gateway, MarketEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mock, config) = support::mock_exchanges().await?;
    let gateway = Gateway::start(config).await?;

    let both = ["binance:BTC-USDT".parse()?, "kraken:BTC-USDT".parse()?];
    let mut ticks = gateway.subscribe_with(&both, Delivery::Queue { capacity: 1024 })?;
    for _ in 0..20 {
        match ticks.next().await {
            Some(MarketEvent::Tick(tick)) => match tick.data {
                TickData::Trade(trade) => println!(
                    "{:<18} trade {:>10} x {:<10} taker {}",
                    tick.instrument, trade.price, trade.quantity, trade.taker_side
                ),
                TickData::Quote(quote) => {
                    println!("{:<18} quote {:>10} / {:<10}", tick.instrument, quote.bid, quote.ask);
                }
            },
            Some(other) => println!("{other:?}"),
            None => break,
        }
    }

    let report = gateway.shutdown().await;
    println!("{}", report.outcome.describe());
    mock.shutdown().await;
    Ok(())
}
