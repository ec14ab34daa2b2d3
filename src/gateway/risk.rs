//! The kill switch at work: it watches what the day has brought, and when a limit is lost it stops
//! trading, cancels what is open, and keeps the switch in a file until a person resets it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use super::Gateway;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, LimitChange, RiskConfig};
use crate::market::{LastTick, Router};
use crate::orders::Desk;
use crate::positions::{DayProfit, Positions};
use crate::report::AlertKind;
use crate::risk::{Allowance, Mark, Market, Risk};
use crate::scope::Scope;
use crate::state::{KillSwitchReset, KillSwitchState, StateDirectory, StateError};
use crate::types::{Instrument, KillSwitch, Price, Tick, TickData, Timestamp};

/// How often the day's loss is looked at while no fill comes: prices move too.
const LOOK: Duration = Duration::from_secs(1);
/// The least pause between two looks, however many fills come.
const PAUSE: Duration = Duration::from_millis(20);

// ---- what the limits are asked with -------------------------------------------------------

/// Last ticks and the day's profit.
pub(super) struct MarketView {
    router: Arc<Router>,
    positions: Arc<Positions>,
}

impl MarketView {
    pub(super) fn new(router: Arc<Router>, positions: Arc<Positions>) -> Self {
        Self { router, positions }
    }
}

impl Market for MarketView {
    fn last(&self, instrument: Instrument) -> Option<(Mark, Timestamp)> {
        mark(&self.router.last(instrument)?)
    }

    fn day_profit(&self, currency: &str, now: Timestamp) -> DayProfit {
        self.positions.day_profit(currency, |instrument| self.router.last(instrument), now)
    }
}

/// The newest tick as a price; a side of a quote that nobody is on is as good as the other.
fn mark(last: &LastTick) -> Option<(Mark, Timestamp)> {
    let price_of = |tick: Tick| {
        let some = |price: Price| (price.0 > Decimal::ZERO).then_some(price);
        let (bid, ask) = match tick.data {
            TickData::Trade(trade) => (some(trade.price), some(trade.price)),
            TickData::Quote(quote) => (some(quote.bid), some(quote.ask)),
        };
        let mark = Mark { bid: bid.or(ask)?, ask: ask.or(bid)? };
        Some((mark, tick.received))
    };
    let ticks = [last.trade, last.quote].into_iter().flatten();
    ticks.filter_map(price_of).max_by_key(|(_, received)| *received)
}

// ---- the switch in its file ---------------------------------------------------------------

/// The kill switch in memory and in its file, which are changed together.
pub(super) struct Switch {
    risk: Arc<Risk>,
    directory: StateDirectory,
    /// Held by whoever writes the file, on a thread that may block.
    file: Mutex<()>,
    /// Whether the file says that the switch has tripped, as it has.
    saved: AtomicBool,
    /// Whether it has been told that it cannot be kept.
    told: AtomicBool,
}

/// How an earlier run left the switch. What cannot be read has tripped.
pub(super) fn earlier(
    directory: &StateDirectory,
    now: Timestamp,
) -> (Option<KillSwitch>, Option<Allowance>) {
    match directory.load_kill_switch() {
        Ok(None) => (None, None),
        Ok(Some(KillSwitchState::Tripped(switch))) => (Some(switch), None),
        Ok(Some(KillSwitchState::Reset(reset))) => (None, Some(allowance(reset))),
        Err(problem) => {
            (Some(KillSwitch { tripped: now, reason: problem.to_string(), loss: None }), None)
        }
    }
}

fn allowance(reset: KillSwitchReset) -> Allowance {
    Allowance { at: reset.at, day_profit: reset.day_profit }
}

impl Switch {
    pub(super) fn new(risk: Arc<Risk>, directory: StateDirectory) -> Self {
        let saved = AtomicBool::new(risk.tripped().is_some());
        let told = AtomicBool::new(false);
        Self { risk, directory, file: Mutex::default(), saved, told }
    }

    /// Writes that the switch has tripped, if it still has. Blocks.
    fn save(&self) -> Result<(), StateError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(switch) = self.risk.tripped() {
            self.directory.save_kill_switch(&KillSwitchState::Tripped((*switch).clone()))?;
            self.saved.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes what a reset allows, unless the switch has tripped again. Blocks.
    fn save_allowance(&self, allowance: Allowance) -> Result<(), StateError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if self.risk.tripped().is_some() {
            return Ok(());
        }
        let reset = KillSwitchReset { at: allowance.at, day_profit: allowance.day_profit };
        self.directory.save_kill_switch(&KillSwitchState::Reset(reset))
    }

    /// Resets the switch, in the file first: what cannot be kept is not done. Blocks.
    fn reset(&self, now: Timestamp) -> Result<bool, StateError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if self.risk.tripped().is_none() {
            return Ok(false);
        }
        let reset = KillSwitchReset { at: now, day_profit: BTreeMap::new() };
        self.directory.save_kill_switch(&KillSwitchState::Reset(reset.clone()))?;
        self.saved.store(false, Ordering::Release);
        self.risk.reset(allowance(reset));
        Ok(true)
    }

    /// Takes up a reset that a person wrote into the file. Blocks.
    fn recheck(&self, now: Timestamp) -> Result<bool, StateError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(switch) = self.risk.tripped() else { return Ok(false) };
        let reset = match self.directory.load_kill_switch()? {
            Some(KillSwitchState::Reset(reset)) if reset.at >= switch.tripped => reset,
            None if self.saved.load(Ordering::Acquire) => {
                KillSwitchReset { at: now, day_profit: BTreeMap::new() }
            }
            _ => return Ok(false),
        };
        self.saved.store(false, Ordering::Release);
        self.risk.reset(allowance(reset));
        Ok(true)
    }
}

// ---- the watch ----------------------------------------------------------------------------

/// Watches the day's loss until its scope is cancelled.
pub(super) struct Watch {
    pub(super) scope: Scope,
    /// Under whose name a trip is a failure.
    pub(super) named: Scope,
    pub(super) risk: Arc<Risk>,
    pub(super) switch: Arc<Switch>,
    pub(super) desks: Vec<Arc<Desk>>,
    pub(super) clock: Arc<dyn Clock>,
}

type Saving = JoinHandle<Result<(), StateError>>;

impl Watch {
    pub(super) async fn run(self) {
        let mut pace = interval(LOOK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A disk that hangs has one write at a time.
        let mut saving: Option<Saving> = None;
        let mut stopped = None;
        loop {
            let saved = async {
                match saving.as_mut() {
                    Some(handle) => handle.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.scope.cancelled() => break,
                result = saved => {
                    saving = None;
                    self.tell_saved(result);
                    continue;
                }
                _ = pace.tick() => {}
                () = self.risk.moved() => {}
            }
            self.look(&mut saving, &mut stopped);
            tokio::select! {
                biased;
                () = self.scope.cancelled() => break,
                () = sleep(PAUSE) => {}
            }
        }
        self.keep(saving, stopped).await;
    }

    /// Keeps the switch if it has tripped a moment ago, be it by what closing a position lost: the
    /// next run must know of it.
    async fn keep(&self, mut saving: Option<Saving>, mut stopped: Option<Timestamp>) {
        if let Some(handle) = saving.take() {
            self.tell_saved(handle.await);
        }
        self.look(&mut saving, &mut stopped);
        if let Some(handle) = saving {
            self.tell_saved(handle.await);
        }
    }

    fn look(&self, saving: &mut Option<Saving>, stopped: &mut Option<Timestamp>) {
        self.risk.value_all();
        let judged = self.risk.judge(self.clock.now());
        let Some(tripped) = self.risk.tripped() else {
            *stopped = None;
            if let Some(allowance) = judged.allowance.filter(|_| saving.is_none()) {
                let switch = Arc::clone(&self.switch);
                *saving = Some(spawn_blocking(move || switch.save_allowance(allowance)));
            }
            return;
        };
        // Repeated at each look: an order that was taken for refused may turn out to be there.
        let left: usize = self.desks.iter().map(|desk| desk.cancel_everything()).sum();
        if *stopped != Some(tripped.tripped) {
            *stopped = Some(tripped.tripped);
            let (reason, at) = (&tripped.reason, tripped.tripped);
            error!(%reason, tripped = %at, orders = left, "the kill switch has tripped: no new orders, and open ones are cancelled");
            self.named.fail_as(
                AlertKind::KillSwitch,
                format!(
                    "the kill switch has tripped: {reason}; find out why, then reset it with \
                     `exchange-gateway risk reset`"
                ),
            );
            self.tell_when_flat();
        }
        if saving.is_none() && !self.switch.saved.load(Ordering::Acquire) {
            let switch = Arc::clone(&self.switch);
            *saving = Some(spawn_blocking(move || switch.save()));
        }
    }

    /// Says when every order's end is confirmed.
    fn tell_when_flat(&self) {
        let (scope, desks) = (self.scope.clone(), self.desks.clone());
        self.scope.spawn(async move {
            let ended = futures::future::join_all(desks.iter().map(|desk| desk.all_ended()));
            tokio::select! {
                biased;
                () = scope.cancelled() => {}
                _ = ended => info!("kill switch: every order is confirmed closed"),
            }
        });
    }

    fn tell_saved(&self, result: Result<Result<(), StateError>, tokio::task::JoinError>) {
        let problem = match result {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem.to_string(),
            Err(panic) => panic.to_string(),
        };
        // It is tried again and again, and told once.
        if !self.switch.told.swap(true, Ordering::AcqRel) {
            self.named.fail_as(
                AlertKind::StateNotSaved,
                format!("the kill switch cannot be kept, so that a start would not know of it: {problem}"),
            );
        }
    }
}

// ---- for bots and programs ----------------------------------------------------------------

impl Gateway {
    /// Has other limits hold for new orders from here on; open orders stay, however many. Every
    /// change is logged with the old and the new value, and told.
    ///
    /// # Errors
    /// The limits are wrong, or name exchanges or instruments that this gateway does not have. Then
    /// the old ones hold on.
    pub fn reload_limits(&self, limits: RiskConfig) -> Result<Vec<LimitChange>, ConfigError> {
        let config = Config { risk: limits, ..self.inner.config.clone() };
        config.validate()?;
        let changes = self.inner.risk.limits().changes(&config.risk);
        for LimitChange { key, old, new } in &changes {
            warn!(limit = key, old, new, "risk limit changed");
        }
        self.inner.risk.set_limits(config.risk);
        say_uncounted(&self.inner.risk);
        Ok(changes)
    }

    /// The limits that hold.
    pub fn limits(&self) -> RiskConfig {
        self.inner.risk.limits()
    }

    /// Since when and why no new order is taken; `None` while they are.
    pub fn kill_switch(&self) -> Option<Arc<KillSwitch>> {
        self.inner.risk.tripped()
    }

    /// Follows the kill switch.
    pub fn kill_switch_changes(&self) -> watch::Receiver<Option<Arc<KillSwitch>>> {
        self.inner.risk.switch()
    }

    /// Trips the kill switch, as a day's loss does: no new order is let in when this returns, open
    /// ones are cancelled at once, and both hold over restarts until a person resets it. Tells
    /// whether it had not tripped before.
    pub fn trip_kill_switch(&self, reason: &str) -> bool {
        let tripped = self.inner.clock.now();
        let reason = reason.to_owned();
        self.inner.risk.trip(KillSwitch { tripped, reason, loss: None })
    }

    /// Lets new orders in again after the kill switch has tripped. What is lost today counts anew
    /// from here on. Only a person should decide this. Tells whether it had tripped.
    ///
    /// # Errors
    /// The reset cannot be kept in the state directory. The switch stays tripped then.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the reset back.
    pub async fn reset_kill_switch(&self) -> Result<bool, StateError> {
        let now = self.inner.clock.now();
        let was_reset = self.on_file(move |switch| switch.reset(now)).await?;
        if was_reset {
            warn!("the kill switch is reset: new orders are taken again");
        }
        Ok(was_reset)
    }

    /// Takes up a reset that `exchange-gateway risk reset` wrote into the state directory while this
    /// gateway runs. Tells whether there was one.
    ///
    /// # Errors
    /// The file cannot be read. The switch stays as it is then.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the reset back.
    pub async fn recheck_kill_switch(&self) -> Result<bool, StateError> {
        let now = self.inner.clock.now();
        let was_reset = self.on_file(move |switch| switch.recheck(now)).await?;
        if was_reset {
            warn!("the kill switch was reset by hand: new orders are taken again");
        }
        Ok(was_reset)
    }

    async fn on_file(
        &self,
        work: impl FnOnce(&Switch) -> Result<bool, StateError> + Send + 'static,
    ) -> Result<bool, StateError> {
        let switch = Arc::clone(&self.inner.kill_switch);
        let done = spawn_blocking(move || work(&switch)).await;
        done.unwrap_or_else(|panic| {
            let path = self.inner.directory.kill_switch_file();
            Err(StateError::Write { path, source: std::io::Error::other(panic) })
        })
    }
}

/// Says which instruments a daily loss limit does not count, though there is one.
pub(super) fn say_uncounted(risk: &Risk) {
    for (instrument, currency) in risk.without_loss_limit() {
        warn!(%instrument, currency, "no daily loss limit is set for this currency");
    }
}
