//! A bot in small: reads its configuration, rests an order on each exchange, and runs until a signal.
//! Kill it instead, and the next start on its state directory settles what it left open.
//!
//! ```sh
//! cargo run -p mock-exchange          # in another terminal
//! cargo run --example 07_bot -- examples/mock/gateway.toml
//! ```

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use exchange_gateway::types::{NewOrder, Price, Side, TickData};
use exchange_gateway::{Config, Gateway};
use rust_decimal::Decimal;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let config = std::env::args().nth(1).ok_or("usage: 07_bot CONFIG.toml")?;
    let gateway = Gateway::start(Config::from_file(&config)?).await?;

    let mut exchanges = Vec::new();
    for spec in gateway.instruments() {
        if exchanges.contains(&spec.instrument.exchange()) {
            continue;
        }
        exchanges.push(spec.instrument.exchange());
        let mut ticks = gateway.subscribe(spec.instrument)?;
        let bid = loop {
            let tick = ticks.next_tick().await.ok_or("the market ended")?;
            if let TickData::Quote(quote) = tick.data {
                break quote.bid;
            }
        };
        // Half the price, so that it rests.
        let price = spec.round_price(Price(bid.0 / Decimal::TWO));
        let quantity = spec.round_quantity("0.01".parse()?);
        let buy = NewOrder::limit(spec.instrument, Side::Buy, price, quantity);
        let order = gateway.orders().submit(buy.post_only()).await?;
        println!("{}: order {} is {}", spec.instrument, order.id(), order.status);
    }
    println!("process {} rests; Ctrl-C ends it in order", std::process::id());

    let report = gateway.run_until_signal().await?;
    for order in report.exchanges.iter().flat_map(|exchange| &exchange.orders) {
        println!("order {}: {}", order.client_id, order.fate.as_str());
    }
    println!("{}", report.outcome.describe());
    Ok(ExitCode::from(report.outcome.exit_code()))
}
