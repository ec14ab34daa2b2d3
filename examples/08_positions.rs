//! Follows positions and their profit, and compares them with what the exchange says.
//!
//! ```sh
//! cargo run --example 08_positions
//! ```

mod support;

use std::error::Error;

use exchange_gateway::Gateway;
use exchange_gateway::types::{Instrument, NewOrder, Side};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mock, config) = support::mock_exchanges().await?;
    let gateway = Gateway::start(config).await?;
    let mut changes = gateway.position_updates();

    let instrument: Instrument = "kraken:BTC-USDT".parse()?;
    for (side, quantity) in [(Side::Buy, "0.02"), (Side::Sell, "0.005")] {
        let order = NewOrder::market(instrument, side, quantity.parse()?);
        gateway.orders().submit(order).await?;
        // The latest of each instrument, however slowly this is read.
        if let Some(position) = changes.next().await {
            let entry = position.entry.map_or_else(|| "-".to_owned(), |entry| entry.to_string());
            println!("{instrument}: {} at {entry}", position.quantity);
        }
    }

    for valued in gateway.valuations() {
        let position = &valued.position;
        println!(
            "{}: {} {}, profit {} less fees {}, and {} at the last {}",
            position.instrument,
            position.quantity.normalize(),
            position.instrument.base(),
            position.realized.normalize(),
            position.fees.normalize(),
            valued
                .unrealized
                .map_or_else(|| "unknown".to_owned(), |open| open.normalize().to_string()),
            valued.basis.map_or("tick", |basis| basis.as_str()),
        );
    }

    // Whatever a person trades on the same account is the difference.
    for compared in gateway.compare_positions().await {
        for line in compared.lines.iter().filter(|line| !line.is_rounding) {
            println!(
                "{}: {} more {} than explained",
                compared.exchange, line.difference, line.held
            );
        }
        let problem = compared.problem.as_deref().unwrap_or("compared");
        println!("{}: {problem}, {} lines", compared.exchange, compared.lines.len());
    }

    let report = gateway.shutdown().await;
    println!("{}", report.outcome.describe());
    mock.shutdown().await;
    Ok(())
}
