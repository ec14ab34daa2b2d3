//! Embeds the gateway in a program that has its own reasons to stop and its own work to do then.
//!
//! ```sh
//! cargo run --example 04_own_shutdown
//! ```

mod support;

use std::error::Error;
use std::process::ExitCode;

use exchange_gateway::types::{NewOrder, Side};
use exchange_gateway::{Gateway, Phase};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mock, config) = support::mock_exchanges().await?;
    let gateway = Gateway::start(config).await?;

    // The hook: a task of the program that wakes when the shutdown reaches a phase.
    let mut phase = gateway.phase();
    let hook = tokio::spawn(async move {
        let _ = phase.wait_for(|phase| *phase >= Phase::StopNewOrders).await;
        println!("hook: no new orders from here on, writing the strategy's own notes");
        let _ = phase.wait_for(|phase| *phase == Phase::Complete).await;
        println!("hook: everything has ended");
    });

    let instrument = "binance:BTC-USDT".parse()?;
    let buy = NewOrder::limit(instrument, Side::Buy, "30000".parse()?, "0.01".parse()?);
    gateway.orders().submit(buy).await?;

    // The reason: here the third tick; Ctrl-C and SIGTERM work as well, a second one forces.
    let mut ticks = gateway.subscribe(instrument)?;
    let enough = async {
        for _ in 0..3 {
            ticks.next_tick().await;
        }
        "the strategy has seen enough"
    };
    let report = gateway.run_until(enough).await?;
    hook.await?;
    println!("ended because {}; {}", report.trigger, report.outcome.describe());
    for order in report.exchanges.iter().flat_map(|exchange| &exchange.orders) {
        println!("order {}: {}", order.client_id, order.fate.as_str());
    }
    mock.shutdown().await;
    Ok(ExitCode::from(report.outcome.exit_code()))
}
