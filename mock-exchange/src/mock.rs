//! The whole mock: its venues, its faults, its ledger.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::{MockConfig, VenueConfig};
use crate::connection::Listener;
use crate::faults::{Fault, FaultState};
use crate::ledger::Ledger;
use crate::venue::{Venue, VenueShared, VenueSpec};
use crate::{binance, deribit, kraken, server};

/// A snapshot of the ledger that costs more than this is not taken on every change.
const COPY_COST: Duration = Duration::from_millis(2);

/// Why the mock could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be bound.
    #[error("{what} cannot listen on {address}: {source}; choose another address, or port 0")]
    Bind {
        /// Which part.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The recording to replay could not be used.
    #[error(transparent)]
    Replay(#[from] crate::replay::ReplayError),
}

/// A fault that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The exchange does not run here.
    #[error("the fault aims at the exchange {name:?}; running are: {running}")]
    UnknownExchange {
        /// The name given.
        name: String,
        /// The running ones, comma separated.
        running: String,
    },
    /// A value of the action is out of range.
    #[error("the fault's action cannot be: {0}")]
    Action(String),
    /// The text is no fault.
    #[error("the faults could not be read: {0}")]
    Syntax(String),
}

/// The ledger did not come to hold what was waited for.
#[derive(Debug, thiserror::Error)]
#[error("the ledger did not get there within {after:?}; it is: {}", summary(.ledger))]
pub struct Timeout {
    /// How long was waited.
    pub after: Duration,
    /// The ledger at the end.
    pub ledger: Box<Ledger>,
}

fn summary(ledger: &Ledger) -> String {
    serde_json::to_string(ledger).unwrap_or_default()
}

pub(crate) struct Shared {
    venues: BTreeMap<&'static str, Venue>,
    changed: Arc<Notify>,
    next_fault: AtomicU64,
}

/// A running mock. Dropping it without [`shutdown`](Self::shutdown) ends its tasks soon after,
/// without waiting.
pub struct MockExchange {
    shared: Arc<Shared>,
    control: Option<SocketAddr>,
    stop: tokio_util::sync::DropGuard,
    tasks: tokio_util::task::TaskTracker,
}

impl MockExchange {
    /// Binds the addresses of `config` and starts.
    pub async fn start(config: MockConfig) -> Result<Self, StartError> {
        let mut listeners = Listeners::default();
        for (what, venue, slot) in [
            ("binance", &config.binance, &mut listeners.binance),
            ("kraken", &config.kraken, &mut listeners.kraken),
            ("deribit", &config.deribit, &mut listeners.deribit),
        ] {
            if let Some(venue) = venue {
                *slot = Some(bind(what, venue.listen).await?);
            }
        }
        if let Some(address) = config.control {
            listeners.control = Some(bind("the control port", address).await?);
        }
        Self::start_on(config, listeners)
    }

    /// Starts on listeners that are already bound, of TCP or of a simulation. A part without a
    /// listener is left out; the addresses in `config` are not looked at.
    pub fn start_on<L: Listener>(
        config: MockConfig,
        listeners: Listeners<L>,
    ) -> Result<Self, StartError> {
        let changed = Arc::new(Notify::new());
        let mut venues = BTreeMap::new();
        let stop = tokio_util::sync::CancellationToken::new();
        let recording = config.replay.as_ref().map(crate::replay::Recording::load).transpose()?;
        let MockConfig { seed, clock, .. } = config;
        let parts = [
            (config.binance, listeners.binance, binance::spec as fn(&VenueConfig) -> VenueSpec),
            (config.kraken, listeners.kraken, kraken::spec),
            (config.deribit, listeners.deribit, deribit::spec),
        ];
        for (config, listener, spec) in parts {
            let (Some(config), Some(listener)) = (config, listener) else { continue };
            let spec = spec(&config);
            let name = spec.name;
            let address = listener.local_addr().unwrap_or(config.listen);
            let mut shared = VenueShared::new(spec, config, address, seed, clock, changed.clone());
            shared.stop = stop.child_token();
            let shared = Arc::new(shared);
            shared.start_tasks(seed);
            shared.tasks.spawn(server::accept(shared.clone(), listener));
            venues.insert(name, Venue { shared });
        }
        let shared = Arc::new(Shared { venues, changed, next_fault: AtomicU64::new(1) });
        let tasks = tokio_util::task::TaskTracker::new();
        let mut control = None;
        if let Some(listener) = listeners.control {
            control = listener.local_addr().ok();
            tasks.spawn(crate::control::accept(shared.clone(), listener, stop.child_token()));
        }
        if let Some(recording) = recording {
            let playing = recording.play(shared.clone());
            let stop = stop.child_token();
            tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = playing => {}
                }
            });
        }
        Ok(Self { shared, control, stop: stop.drop_guard(), tasks })
    }

    /// The venue `binance`, `kraken` or `deribit`, if it runs.
    pub fn venue(&self, name: &str) -> Option<Venue> {
        self.shared.venues.get(name).cloned()
    }

    /// The running venues, by name.
    pub fn venues(&self) -> Vec<Venue> {
        self.shared.venues.values().cloned().collect()
    }

    /// `http://HOST:PORT` of the control port, if it runs.
    pub fn control_url(&self) -> Option<String> {
        self.control.map(|address| format!("http://{address}"))
    }

    /// A snapshot of what every venue saw.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    /// The scripted faults.
    pub fn faults(&self) -> Faults {
        Faults { shared: self.shared.clone() }
    }

    /// Waits until the ledger holds what `met` looks for. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Timeout`], with the ledger as it is then, when that does not happen within `limit`.
    pub async fn wait_for(
        &self,
        met: impl Fn(&Ledger) -> bool,
        limit: Duration,
    ) -> Result<Ledger, Timeout> {
        let deadline = Instant::now() + limit;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let started = std::time::Instant::now();
            let ledger = self.ledger();
            if met(&ledger) {
                return Ok(ledger);
            }
            let cost = started.elapsed();
            if timeout_at(deadline, changed).await.is_ok() {
                // A big ledger that changes all the time must not be copied all the time.
                if cost > COPY_COST {
                    sleep_until(deadline.min(Instant::now() + cost * 4)).await;
                }
            } else {
                let ledger = self.ledger();
                if met(&ledger) {
                    return Ok(ledger);
                }
                return Err(Timeout { after: limit, ledger: Box::new(ledger) });
            }
        }
    }

    /// Closes every socket with 1001, waits (bounded by the venues' close timeout and a second
    /// more) and returns the final ledger.
    pub async fn shutdown(self) -> Ledger {
        let Self { shared, stop, tasks, .. } = self;
        drop(stop);
        tasks.close();
        let mut limit = Duration::from_secs(1);
        for venue in shared.venues.values() {
            venue.shared.tasks.close();
            limit = limit.max(venue.shared.config.close_timeout * 2 + Duration::from_secs(1));
        }
        let deadline = Instant::now() + limit;
        for venue in shared.venues.values() {
            if timeout_at(deadline, venue.shared.tasks.wait()).await.is_err() {
                tracing::warn!(venue = venue.name(), "connections had to be reset");
                venue.shared.kill_connections();
                let grace = Instant::now() + Duration::from_secs(1);
                let _ = timeout_at(grace, venue.shared.tasks.wait()).await;
            }
        }
        if timeout_at(deadline, tasks.wait()).await.is_err() {
            tracing::warn!("the control port did not end in time");
        }
        shared.ledger()
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { what, address, source })
}

/// Bound listeners for [`MockExchange::start_on`].
#[derive(Debug)]
pub struct Listeners<L = TcpListener> {
    /// Of the Binance venue.
    pub binance: Option<L>,
    /// Of the Kraken venue.
    pub kraken: Option<L>,
    /// Of the Deribit venue.
    pub deribit: Option<L>,
    /// Of the control port.
    pub control: Option<L>,
}

impl<L> Default for Listeners<L> {
    fn default() -> Self {
        Self { binance: None, kraken: None, deribit: None, control: None }
    }
}

impl Shared {
    pub(crate) fn ledger(&self) -> Ledger {
        let exchanges = self.venues.iter();
        let exchanges =
            exchanges.map(|(name, venue)| ((*name).to_owned(), venue.ledger())).collect();
        Ledger { exchanges }
    }

    pub(crate) fn venue(&self, name: &str) -> Option<&Venue> {
        self.venues.get(name)
    }

    pub(crate) fn venue_names(&self) -> String {
        self.venues.keys().copied().collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn add_fault(&self, fault: &Fault) -> Result<u64, FaultError> {
        if let Some(problem) = fault.action.fault() {
            return Err(FaultError::Action(problem));
        }
        if let Some(name) = &fault.exchange
            && self.venue(name).is_none()
        {
            let running = self.venue_names();
            return Err(FaultError::UnknownExchange { name: name.clone(), running });
        }
        let id = self.next_fault.fetch_add(1, Ordering::Relaxed);
        for (name, venue) in &self.venues {
            if fault.exchange.as_deref().is_none_or(|wanted| wanted == *name) {
                venue.shared.add_fault(id, fault.clone());
            }
        }
        Ok(id)
    }

    /// Faults of every venue; one that aims at several is listed once for each.
    pub(crate) fn faults(&self) -> Vec<FaultState> {
        let mut list: Vec<_> =
            self.venues.values().flat_map(|venue| venue.shared.faults()).collect();
        list.sort_by_key(|state| state.id);
        list
    }

    pub(crate) fn clear_faults(&self) {
        for venue in self.venues.values() {
            venue.shared.clear_faults();
        }
    }
}

/// The scripted faults of a running mock.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl Faults {
    /// Adds a fault and returns its number.
    #[expect(clippy::needless_pass_by_value, reason = "tests build the fault in the call")]
    pub fn add(&self, fault: Fault) -> Result<u64, FaultError> {
        self.shared.add_fault(&fault)
    }

    /// Adds the faults of a TOML text with `[[fault]]` tables; all of them or none.
    pub fn add_toml(&self, text: &str) -> Result<Vec<u64>, FaultError> {
        let file: FaultFile =
            toml::from_str(text).map_err(|error| FaultError::Syntax(error.to_string()))?;
        file.fault.into_iter().map(|fault| self.add(fault)).collect()
    }

    /// The faults that were added and not cleared.
    pub fn list(&self) -> Vec<FaultState> {
        self.shared.faults()
    }

    /// Forgets every fault. What already happened stays so.
    pub fn clear(&self) {
        self.shared.clear_faults();
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    #[serde(default)]
    fault: Vec<Fault>,
}
