//! One running venue, and the handle that tests hold.

mod handle;
mod snapshot;
pub(crate) mod state;
mod tasks;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::handle::{Venue, VenueError};
use self::state::VenueState;
use crate::clock::Clock;
use crate::config::{Credentials, MarketConfig, VenueConfig};
use crate::connection::{Ended, Peer};
use crate::engine::{Engine, EngineEvent, FeeAsset, SeededMarket};
use crate::faults::{Fault, Refusal};
use crate::instrument::Instrument;
use crate::protocol::{
    ConnectionId, ConnectionKind, ConnectionRules, HttpRequest, HttpResponse, Protocol, Upgrade,
};

/// What makes a venue this exchange and not another.
pub(crate) struct VenueSpec {
    pub(crate) name: &'static str,
    pub(crate) credentials: Credentials,
    pub(crate) instruments: Vec<Instrument>,
    /// Money of the test account.
    pub(crate) deposits: Vec<(&'static str, Decimal)>,
    pub(crate) fee_asset: FeeAsset,
    /// Maker and taker fee as a fraction.
    pub(crate) fees: (Decimal, Decimal),
    /// Whether several open orders may have the same client id.
    pub(crate) shared_client_ids: bool,
    pub(crate) protocol: Box<dyn Protocol>,
}

struct Inner {
    state: VenueState,
    protocol: Box<dyn Protocol>,
    market: SeededMarket,
}

/// A running venue. Everything that happens goes through its one lock, which is never held
/// across an await.
pub(crate) struct VenueShared {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) config: VenueConfig,
    pub(crate) credentials: Credentials,
    clock: Clock,
    inner: Mutex<Inner>,
    timers: Notify,
    changed: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl VenueShared {
    pub(crate) fn new(
        spec: VenueSpec,
        config: VenueConfig,
        address: SocketAddr,
        seed: u64,
        clock: Clock,
        changed: Arc<Notify>,
    ) -> Self {
        let instruments: Arc<[Instrument]> = spec.instruments.into();
        let mut engine =
            Engine::new(instruments.clone(), spec.fee_asset, spec.fees, config.history);
        if spec.shared_client_ids {
            engine.share_client_ids();
        }
        for (asset, amount) in spec.deposits {
            engine.deposit(&asset.into(), amount);
        }
        let mut market = SeededMarket::new(seed, spec.name, &instruments);
        let still = config.market == MarketConfig::Quiet;
        market.open(&mut engine, still, clock.now(), &mut Vec::new());
        let mut state = VenueState::new(config.clone(), spec.credentials.clone(), engine, clock);
        state.unknown_event = spec.protocol.unknown_event();
        Self {
            name: spec.name,
            address,
            config,
            credentials: spec.credentials,
            clock,
            inner: Mutex::new(Inner { state, protocol: spec.protocol, market }),
            timers: Notify::new(),
            changed,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut inner);
        let Inner { state, protocol, .. } = &mut *inner;
        for notice in state.take_notices() {
            protocol.notice(state, notice);
        }
        let (changed, rescheduled) = (state.take_changed(), state.take_rescheduled());
        drop(inner);
        if changed {
            self.changed.notify_waiters();
        }
        if rescheduled {
            self.timers.notify_one();
        }
        result
    }

    /// Changes the state and publishes what follows.
    pub(crate) fn command<R>(
        &self,
        act: impl FnOnce(&mut VenueState, &mut Vec<EngineEvent>) -> R,
    ) -> R {
        self.with(|inner| {
            let mut events = Vec::new();
            let result = act(&mut inner.state, &mut events);
            inner.protocol.publish(&mut inner.state, &events);
            inner.state.mark_changed();
            result
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn accepts(&self, path: &str) -> Option<ConnectionKind> {
        self.with(|inner| inner.protocol.accepts(path))
    }

    pub(crate) fn refusing(&self) -> Option<Refusal> {
        self.with(|inner| inner.state.refusing())
    }

    pub(crate) fn connect(
        &self,
        upgrade: &Upgrade,
        kind: ConnectionKind,
    ) -> (Arc<Peer>, ConnectionRules) {
        self.with(|inner| {
            let path = if upgrade.query.is_empty() {
                upgrade.path.clone()
            } else {
                format!("{}?{}", upgrade.path, upgrade.query)
            };
            let peer = inner.state.connect(path, kind);
            let mut rules = inner.protocol.opened(&mut inner.state, peer.id, upgrade);
            rules.lifetime = self.config.lifetime.or(rules.lifetime);
            inner.state.strike_open(peer.id);
            (peer, rules)
        })
    }

    pub(crate) fn disconnect(&self, connection: ConnectionId, ended: Ended) {
        self.with(|inner| {
            inner.protocol.closed(&mut inner.state, connection);
            inner.state.disconnect(connection, ended);
        });
    }

    pub(crate) fn text(&self, connection: ConnectionId, text: &str) {
        self.with(|inner| {
            if inner.state.strike_message(connection) {
                inner.protocol.text(&mut inner.state, connection, text);
            }
        });
    }

    pub(crate) fn http(&self, request: &HttpRequest) -> HttpResponse {
        self.with(|inner| inner.protocol.http(&mut inner.state, request))
    }

    pub(crate) fn replay(&self, stream: &str, message: &str) {
        self.with(|inner| inner.protocol.replay(&mut inner.state, stream, message));
    }

    /// Ends every connection's loop at once.
    pub(crate) fn kill_connections(&self) {
        for peer in self.with(|inner| inner.state.peers()) {
            peer.kill.cancel();
        }
    }

    pub(crate) fn add_fault(&self, id: u64, fault: Fault) {
        self.with(|inner| {
            inner.state.faults.add(id, fault, tokio::time::Instant::now());
            inner.state.strike_now();
        });
    }

    pub(crate) fn clear_faults(&self) {
        self.with(|inner| inner.state.faults.clear());
    }

    pub(crate) fn faults(&self) -> Vec<crate::faults::FaultState> {
        self.with(|inner| inner.state.faults.list())
    }
}
