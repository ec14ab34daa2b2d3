//! Asks an exchange what the account holds and compares that with what the fills explain.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::exchange::{Adapter, SymbolTable};
use crate::net::{self, Connector};
use crate::orders::Desk;
use crate::positions::Positions;
use crate::types::{Comparison, ExchangeName, Holding};

/// How often the exchange is asked, at most: a fill may be booked meanwhile, an answer be lost, and
/// the exchange's books be a moment behind its fills.
const ATTEMPTS: u32 = 4;
/// The wait after an attempt that did not settle it; it doubles.
const RETRY: Duration = Duration::from_millis(50);

/// The account of one exchange.
pub(crate) struct AccountCheck {
    pub(crate) exchange: ExchangeName,
    pub(crate) desk: Arc<Desk>,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) symbols: Arc<SymbolTable>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl AccountCheck {
    /// Asks what the account holds before anything is traded, for at most `limit`. Without an answer
    /// there is nothing to compare with later, which is said and nothing more.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question.
    pub(crate) async fn begin(&self, limit: Duration) {
        let exchange = self.exchange;
        // What is told now is to hold all that filled while no gateway ran.
        let _ = timeout(limit / 2, self.desk.fills_known()).await;
        let asked = timeout(limit / 2, self.ask_until(|_| true)).await;
        let problem = match asked {
            Ok(Ok(_)) => return,
            Ok(Err(problem)) => problem,
            Err(_) => late(limit / 2),
        };
        warn!(%exchange, problem, "the account could not be read: positions are not compared with it");
    }

    /// Compares what the account holds now with what it held at the start and what the fills since
    /// then explain, within `limit`. What differs is logged.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question.
    pub(crate) async fn compare(&self, limit: Duration) -> Comparison {
        let exchange = self.exchange;
        let compared = timeout(limit, async {
            let _ = timeout(limit / 2, self.desk.fills_known()).await;
            let settled = |comparison: &Comparison| comparison.lines.iter().all(|l| l.is_rounding);
            self.ask_until(settled).await
        });
        let problem = match compared.await {
            Ok(Ok(Comparison { problem: Some(problem), .. })) => problem,
            Ok(Ok(comparison)) => {
                tell(&comparison);
                return comparison;
            }
            Ok(Err(problem)) => problem,
            Err(_) => late(limit),
        };
        warn!(%exchange, problem, "positions could not be compared with the exchange's");
        self.positions().not_told(exchange, problem, self.clock.now())
    }

    /// Asks until the answer is as wanted, or for the last time.
    async fn ask_until(&self, wanted: impl Fn(&Comparison) -> bool) -> Result<Comparison, String> {
        let mut last = Err("fills were booked whenever the exchange was asked".to_owned());
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(RETRY * 2_u32.pow(attempt - 1)).await;
            }
            let fills = self.positions().fills_booked(self.exchange);
            match self.ask().await {
                Ok(holdings) => {
                    let now = self.clock.now();
                    match self.positions().told(self.exchange, holdings, fills, now) {
                        Some(comparison) if wanted(&comparison) => return Ok(comparison),
                        Some(comparison) => last = Ok(comparison),
                        None => {}
                    }
                }
                Err(problem) => {
                    debug!(exchange = %self.exchange, problem, attempt, "the account could not be read");
                    last = Err(problem);
                }
            }
        }
        last
    }

    fn positions(&self) -> &Positions {
        self.desk.positions()
    }

    async fn ask(&self) -> Result<Vec<Holding>, String> {
        let request = self.adapter.holdings_request(self.clock.now()).map_err(|e| e.to_string())?;
        // The callers limit the whole.
        let limit = Duration::from_secs(60);
        let answer = net::request(self.connector.as_ref(), request, limit).await;
        let answer = answer.map_err(|failure| failure.to_string())?;
        self.adapter.read_holdings(&answer, &self.symbols).map_err(|error| error.to_string())
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}

fn tell(comparison: &Comparison) {
    let exchange = comparison.exchange;
    for line in comparison.lines.iter().filter(|line| !line.is_rounding) {
        let held = &line.held;
        let (told, expected) = (line.told.normalize(), line.expected.normalize());
        let difference = line.difference.normalize();
        warn!(
            %exchange, %held, %told, %expected, %difference,
            "the account holds another amount than the gateway's fills explain; a person or another \
             program may have traded, deposited or withdrawn"
        );
    }
}
