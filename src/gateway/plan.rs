//! What a shutdown would do now: of this gateway, or of one that another process runs, as far as its
//! state database and its configuration tell.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Inner;
use crate::config::{Config, ExchangeConfig};
use crate::connection::ConnectionStatus;
use crate::exchange::{Adapter, AdapterKind, HttpResponse, MassCancel, SymbolTable};
use crate::orders::{CancelMeans, plan_cancels};
use crate::report::{
    CancelWay, ExchangePlan, LeastTime, Need, PlannedPosition, ShutdownPlan, ShutdownReport,
};
use crate::shutdown::ExchangeParts;
use crate::state::{Damage, RunSummary, StateError, StateView};
use crate::types::{ClosePolicy, ExchangeName, Order, Position, Timestamp};

/// Runs that are looked at for a round trip.
const RUNS: usize = 20;

impl Inner {
    pub(super) fn plan(&self) -> ShutdownPlan {
        let (mut exchanges, mut usual, mut least) = (Vec::new(), Vec::new(), Vec::new());
        for parts in self.exchanges() {
            let plan = self.plan_of(&parts);
            let measured = parts.round_trips();
            usual.push(need(&plan, measured.map(|all| all.usual)));
            least.push(need(&plan, measured.map(|all| all.shortest)));
            exchanges.push(plan);
        }
        ShutdownPlan {
            at: self.clock.now(),
            exchanges,
            expected_ms: LeastTime::of(usual.into_iter()).map(|time| time.least_ms),
            least: LeastTime::of(least.into_iter()),
            hooks: self.hooks.waiting(),
            deadline_ms: millis(self.config.shutdown.deadline),
        }
    }

    fn plan_of(&self, parts: &ExchangeParts) -> ExchangePlan {
        let adapter = self.again.adapter(parts.name);
        let mut plan = parts.desk.plan(adapter.map_or(1, batch));
        if self.draining().contains_key(&parts.name) {
            return ExchangePlan { drained: true, ..nothing_done(plan) };
        }
        let configured = self.config.exchanges.iter().find(|known| known.name == parts.name);
        plan.positions =
            configured.map_or_else(Vec::new, |config| held(config, &self.positions.all()));
        let live = |record: &&Arc<crate::connection::ConnectionRecord>| {
            record.snapshot().status == ConnectionStatus::Live
        };
        plan.connections = count(parts.connections.iter().filter(live).count());
        plan
    }
}

/// The positions on an exchange that are not flat, and what becomes of them.
fn held(exchange: &ExchangeConfig, positions: &[Position]) -> Vec<PlannedPosition> {
    let of_exchange = |position: &&Position| {
        position.instrument.exchange() == exchange.name && !position.is_flat()
    };
    let planned = |position: &Position| PlannedPosition {
        instrument: position.instrument,
        quantity: position.quantity,
        policy: exchange.positions_of(position.instrument).on_shutdown,
    };
    positions.iter().filter(of_exchange).map(planned).collect()
}

/// A drained exchange gets no more requests, whatever is open there.
fn nothing_done(plan: ExchangePlan) -> ExchangePlan {
    ExchangePlan { way: CancelWay::None, requests: 0, paced_ms: 0, ..plan }
}

/// What a shutdown would do of a gateway that another process runs, or of the next one with this
/// state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPlan {
    /// The plan, by what is stored. That the exchange shows orders of others, which keep one request
    /// from cancelling all, is not known here.
    #[serde(flatten)]
    pub plan: ShutdownPlan,
    /// Where the round trip comes from that the times are counted with, if there is one: the newest
    /// run that ended in order and measured any.
    pub measured: Option<StoredRoundTrip>,
    /// The newest run.
    pub run: Option<StoredRun>,
    /// Rows that cannot be read, as `table: key: reason`.
    pub damaged: Vec<String>,
}

impl StoredPlan {
    /// Counts the times again, after exchanges were taken out.
    pub fn time(&mut self) {
        let measured = self.measured.as_ref();
        let round_trip = measured.map(|known| Duration::from_micros(known.round_trip_us));
        let needs = self.plan.exchanges.iter().map(|plan| need(plan, round_trip));
        self.plan.least = LeastTime::of(needs);
        self.plan.expected_ms = self.plan.least.as_ref().map(|least| least.least_ms);
    }
}

/// A run of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// Its number.
    pub run: i64,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// When it ended in order; absent while it runs, or if it was killed.
    pub ended: Option<Timestamp>,
}

/// A round trip that an earlier run measured, at the exchange that needed most then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRoundTrip {
    /// Which run.
    pub run: i64,
    /// When that ended.
    pub ended: Option<Timestamp>,
    /// Where.
    pub exchange: ExchangeName,
    /// Microseconds.
    pub round_trip_us: u64,
}

/// Reads the plan from a state directory, beside the gateway that runs there or after it. The
/// configuration tells how orders are cancelled; an exchange that it does not name is taken as one
/// with the defaults of the adapter of its name.
///
/// # Errors
/// If there is no database, or it cannot be read.
pub fn stored_plan(directory: &Path, config: &Config) -> Result<StoredPlan, StateError> {
    let view = StateView::open(directory)?;
    let orders = view.orders(usize::MAX, true)?;
    let positions = view.positions()?;
    let runs = view.runs(RUNS)?;
    let measured = runs.rows.iter().find_map(round_trip_of);
    let mut configured: Vec<_> = config.exchanges.iter().collect();
    let unnamed = unnamed(&orders.rows, &positions.rows, config);
    configured.extend(&unnamed);
    let exchanges = configured.into_iter().map(|exchange| ExchangePlan {
        positions: held(exchange, &positions.rows),
        ..plan_stored(exchange, &orders.rows)
    });
    let damaged = orders.damaged.iter().chain(&positions.damaged).chain(&runs.damaged);
    let mut stored = StoredPlan {
        plan: ShutdownPlan {
            at: Timestamp::now(),
            exchanges: exchanges.collect(),
            expected_ms: None,
            least: None,
            hooks: config.shutdown.hooks.len(),
            deadline_ms: millis(config.shutdown.deadline),
        },
        measured,
        run: runs.rows.first().map(|run| StoredRun {
            run: run.id,
            pid: run.pid,
            started: run.started,
            ended: run.ended,
        }),
        damaged: damaged.map(Damage::to_string).collect(),
    };
    stored.time();
    Ok(stored)
}

fn round_trip_of(run: &RunSummary) -> Option<StoredRoundTrip> {
    let report: ShutdownReport = serde_json::from_str(run.report.as_deref()?).ok()?;
    let LeastTime { exchange, round_trip_us, .. } = report.least?;
    Some(StoredRoundTrip { run: run.id, ended: run.ended, exchange, round_trip_us })
}

/// The exchanges of orders and positions that the configuration does not name.
fn unnamed(orders: &[Order], positions: &[Position], config: &Config) -> Vec<ExchangeConfig> {
    let held = positions.iter().filter(|position| !position.is_flat());
    let mut names: Vec<_> = orders.iter().map(|order| order.instrument().exchange()).collect();
    names.extend(held.map(|position| position.instrument.exchange()));
    names.sort_unstable();
    names.dedup();
    names.retain(|name| config.exchanges.iter().all(|exchange| exchange.name != *name));
    let by_name = |name: ExchangeName| match AdapterKind::from_name(name.as_str()) {
        Some(adapter) => ExchangeConfig::named(name, adapter),
        // As far as anybody knows, each order is cancelled by itself, and nothing limits that.
        None => ExchangeConfig {
            rate_limits: false,
            ..ExchangeConfig::named(name, AdapterKind::Binance)
        },
    };
    names.into_iter().map(by_name).collect()
}

fn plan_stored(exchange: &ExchangeConfig, orders: &[Order]) -> ExchangePlan {
    let adapter = exchange.adapter.build(exchange.setup());
    let mass = if exchange.account_is_ours { adapter.mass_cancel() } else { MassCancel::NONE };
    // What the exchange does not tell here is as it is documented.
    let silent = HttpResponse { status: 200, body: String::new() };
    let limits = if exchange.rate_limits { adapter.order_limits(&silent) } else { Vec::new() };
    let means = CancelMeans { mass, batch: batch(adapter.as_ref()), limits: &limits };
    let own = orders.iter().filter(|order| order.instrument().exchange() == exchange.name);
    let mut plan = plan_cancels(exchange.name, own, &means);
    plan.connections = if exchange.trading { 2 } else { 1 };
    plan
}

/// How many cancels a message of the exchange may hold.
fn batch(adapter: &dyn Adapter) -> usize {
    adapter.trading_session(Arc::new(SymbolTable::new([]))).cancel_batch_limit()
}

/// What the plan needs: a round trip for the cancels, one for closing orders, one for the end of
/// the subscriptions and one for the close frames.
fn need(plan: &ExchangePlan, round_trip: Option<Duration>) -> Need {
    let cancels = !plan.cancel.is_empty() || !plan.unknown.is_empty();
    let closes = plan.positions.iter().any(|position| position.policy == ClosePolicy::Close);
    let round_trips = if plan.drained {
        0
    } else {
        let ends = if plan.connections > 0 { 2 } else { 0 };
        u32::from(cancels) + u32::from(closes) + ends
    };
    let paced = Duration::from_millis(plan.paced_ms);
    Need { exchange: plan.exchange, round_trip, round_trips, paced }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
