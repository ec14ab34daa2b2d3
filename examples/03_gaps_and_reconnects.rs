//! Reacts to a lost connection: the gap is told, and ticks go on after it.
//!
//! ```sh
//! cargo run --example 03_gaps_and_reconnects
//! ```

mod support;

use std::error::Error;

use exchange_gateway::{Delivery, Gateway, MarketEvent};
use mock_exchange::Disconnect;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mock, config) = support::mock_exchanges().await?;
    let gateway = Gateway::start(config).await?;

    let instrument = "kraken:BTC-USDT".parse()?;
    let mut ticks = gateway.subscribe_with(&[instrument], Delivery::Queue { capacity: 4096 })?;
    ticks.next_tick().await;
    println!("ticks flow; now the exchange resets every connection");
    mock.venue("kraken").ok_or("no kraken")?.drop_connections(Disconnect::Rst);

    // A bot that keeps a book or an average starts it afresh here.
    while let Some(event) = ticks.next().await {
        if let MarketEvent::Gap(gap) = event {
            println!(
                "no ticks of {} are known between {} and {}",
                gap.instrument, gap.from, gap.to
            );
            break;
        }
    }
    if let Some(tick) = ticks.next_tick().await {
        println!("first tick after the gap, received {}", tick.received);
    }
    for connection in gateway.connections() {
        println!(
            "{} {}: {} reconnects",
            connection.exchange, connection.connection, connection.reconnects
        );
    }

    let report = gateway.shutdown().await;
    println!("{}", report.outcome.describe());
    mock.shutdown().await;
    Ok(())
}
