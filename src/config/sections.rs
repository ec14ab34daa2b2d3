//! The sections and their defaults. Fields are public and plain: a bot may build them in code.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{AlertsConfig, HookConfig, LogConfig, PositionsConfig, RiskConfig};
use crate::exchange::{AdapterKind, AdapterSetup, Credentials, DeadMansSwitch, Endpoints};
use crate::state::Durability;
use crate::types::{ExchangeName, Instrument};

/// The whole configuration. [`Default`] holds no exchange; everything else is ready for production.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The gateway itself, `[gateway]`.
    pub gateway: GatewayConfig,
    /// Time limits of a shutdown, `[shutdown]`.
    pub shutdown: ShutdownConfig,
    /// What connections have in common, `[connection]`. It is where the `connection` of each
    /// exchange in a file begins; a gateway reads only that of the exchange.
    pub connection: ConnectionConfig,
    /// Order handling, `[orders]`.
    pub orders: OrdersConfig,
    /// Who is told what cannot wait, `[alerts]`.
    pub alerts: AlertsConfig,
    /// Limits that new orders must keep, `[risk]`.
    pub risk: RiskConfig,
    /// The program's log, `[log]`.
    pub log: LogConfig,
    /// What becomes of positions, `[positions]`. It is where the `positions` of each exchange in a
    /// file begins; a gateway reads only that of the exchange.
    pub positions: PositionsConfig,
    /// The exchanges, `[exchanges.NAME]`, in the order of the file. At least one.
    pub exchanges: Vec<ExchangeConfig>,
}

/// The gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Directory of the saved state; made if absent. A relative path is relative to the working
    /// directory. Default `gateway-state`. Two gateways must never share one.
    pub state_dir: PathBuf,
    /// What the gateway's client order ids begin with, 1 to 3 lowercase letters or digits. Default
    /// `gw`. Open orders whose ids begin with it are taken for the gateway's own: those that this
    /// run did not place are named in the report as left over by an earlier run. So two gateways
    /// on one account need two tags.
    pub order_tag: String,
    /// What stored orders survive: the end of the process (default), or the loss of power too, which
    /// makes every order wait for the disk before it is sent.
    pub durability: Durability,
    /// How often the last ticks are saved while the gateway runs. Default 1 s, from 10 ms to 1 h.
    /// After a kill the saved ticks are at most this old; very short values keep the disk busy.
    pub save_every: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            state_dir: "gateway-state".into(),
            order_tag: "gw".into(),
            durability: Durability::Process,
            save_every: Duration::from_secs(1),
        }
    }
}

/// Time limits of a shutdown. A phase ends as soon as its work is done, and what it does not use
/// is left to later ones, so generous limits cost nothing when all goes well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// The whole shutdown ends after this, whatever is left. Default 20 s, from 100 ms to 1 h.
    /// Too short leaves orders open; longer than the service manager's own limit
    /// (`TimeoutStopSec`, `terminationGracePeriodSeconds`) means it kills first.
    pub deadline: Duration,
    /// Closing the order gate and waiting for orders being written. Default 1 s.
    pub stop_new_orders: Duration,
    /// Cancelling open orders and having each cancel confirmed. Default 8 s.
    pub cancel_pending: Duration,
    /// Closing positions, where that is asked for. Default 4 s, which is a few orders one after the
    /// other; zero is allowed and closes none. Its last quarter (at most a second) is for the
    /// answers to what was sent before.
    pub close_positions: Duration,
    /// Saving state. Default 3 s, kept in reserve: earlier phases cannot use it up.
    pub save_state: Duration,
    /// Exchanging close frames. Default 4 s, kept in reserve: earlier phases cannot use it up.
    pub disconnect: Duration,
    /// An unconfirmed cancel is asked for again after this. Default 1 s. Very short values use up
    /// the exchange's rate limit when it is slow, which is when the cancels matter.
    pub cancel_retry: Duration,
    /// A second signal sooner than this after the first is the same keypress and does not force.
    /// Default 300 ms, at most 5 s.
    pub force_debounce: Duration,
    /// Programs that run in its phases, `[[shutdown.hooks]]`, at most 100. Default none.
    pub hooks: Vec<HookConfig>,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(20),
            stop_new_orders: Duration::from_secs(1),
            cancel_pending: Duration::from_secs(8),
            close_positions: Duration::from_secs(4),
            save_state: Duration::from_secs(3),
            disconnect: Duration::from_secs(4),
            cancel_retry: Duration::from_secs(1),
            force_debounce: Duration::from_millis(300),
            hooks: Vec::new(),
        }
    }
}

/// Limits of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// TCP, TLS and WebSocket handshake together. Default 10 s.
    pub connect_timeout: Duration,
    /// From the open socket until login and every subscription are acknowledged. Default 10 s.
    pub ready_timeout: Duration,
    /// Waiting for the exchange's close frame, and for the end of TCP after it. Default 3 s.
    /// Shorter than a round trip drops every connection instead of closing it.
    pub close_timeout: Duration,
    /// A larger message ends the connection. Default 1 MiB, from 1 KiB to 64 MiB. It bounds what
    /// a broken peer can make the gateway hold in memory. Trading connections take 16 MiB at least,
    /// because an exchange lists thousands of open orders in one message.
    pub max_message_bytes: usize,
    /// The wait before the first reconnect; it doubles with full jitter. Default 250 ms.
    pub backoff_min: Duration,
    /// The longest wait before a reconnect. Default 30 s. Short values risk a ban by the exchange
    /// when it is down for long.
    pub backoff_max: Duration,
    /// A connection that lived this long resets the wait. Default 30 s.
    pub stable_after: Duration,
    /// Orders that are to be cancelled or whose outcome is unknown are cancelled and asked about
    /// over HTTP when there has been no trading connection for this long. Default 1 s; sooner during
    /// a shutdown whose `cancel_pending` is short. Low values use up the exchange's limits on HTTP
    /// requests at every reconnect.
    pub http_fallback_after: Duration,
    /// A market connection that brings no tick of any instrument for this long is dead, even if it
    /// answers pings. Default 60 s. It watches the connection as a whole: one silent instrument
    /// among others that tick goes unnoticed. Raise it where all instruments trade rarely.
    pub feed_silence: Duration,
    /// Probe after this long without a frame; the exchange's rule if absent.
    pub probe_after: Option<Duration>,
    /// Dead after this long without a frame; the exchange's rule if absent. Longer than
    /// `probe_after`.
    pub dead_after: Option<Duration>,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(3),
            max_message_bytes: 1024 * 1024,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            stable_after: Duration::from_secs(30),
            http_fallback_after: Duration::from_secs(1),
            feed_silence: Duration::from_secs(60),
            probe_after: None,
            dead_after: None,
        }
    }
}

/// Order handling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdersConfig {
    /// A new order without an answer for this long is unknown and is asked about. Default 5 s.
    /// Short values ask about orders that are merely slow. A cancel is no question of this: it is
    /// asked for again after `shutdown.cancel_retry`.
    pub ack_timeout: Duration,
    /// An unanswered question "how does it stand" is repeated after this. So long, too, the private
    /// stream has to tell the fills of what is known to have filled before the exchange is asked for
    /// them, and that again at growing pauses. Default 2 s.
    pub query_retry: Duration,
    /// New orders that may wait for one connection or for the exchange's rate limits, 1 to 65,536.
    /// Default 1024. A full queue refuses the order as not sent. Cancels and questions do not count:
    /// they go ahead, once an order. Reduce-only orders have a queue of their own of this length.
    pub queue: usize,
    /// Percent of the exchange's rate limits that new orders leave free for cancels and reduce-only
    /// orders, where they share a limit; 0 to 90. Default 25. At zero a burst of new orders may
    /// keep a cancel waiting until the exchange takes the next message.
    pub cancel_reserve_percent: u32,
    /// Order updates that a slow bot may be behind before new orders are refused as busy, 16 to
    /// 1,048,576. Default 65,536. No update is ever dropped: the refusal is what keeps their number
    /// in bounds.
    pub updates_backlog: usize,
    /// Ended orders kept in memory for questions and late fills, at most 1,000,000. Default
    /// 10,000.
    pub closed_kept: usize,
    /// What the start does with orders that an earlier run left open. Default cancel.
    pub on_restart: OnRestart,
}

/// What the start does with the orders of an earlier run that are still open. Either way the
/// exchange is asked how each stands before new orders are let in, and those that were to be kept at
/// shutdown are adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRestart {
    /// They are cancelled, and each cancel is confirmed.
    #[default]
    Cancel,
    /// They become this run's orders: a bot finds them with `orders().unfinished()` and handles them
    /// by their client ids.
    Adopt,
}

impl OnRestart {
    /// The name used in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Adopt => "adopt",
        }
    }
}

impl Default for OrdersConfig {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(5),
            query_retry: Duration::from_secs(2),
            queue: 1024,
            cancel_reserve_percent: 25,
            updates_backlog: 65_536,
            closed_kept: 10_000,
            on_restart: OnRestart::Cancel,
        }
    }
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file, on or off by itself")]
pub struct ExchangeConfig {
    /// Its name in logs, reports and instruments. No two exchanges share one.
    pub name: ExchangeName,
    /// Whose protocol it speaks; in a file, by default the adapter of that name.
    pub adapter: AdapterKind,
    /// Market data WebSocket with its path; production if absent.
    pub market_url: Option<Url>,
    /// Order WebSocket with its path; production if absent.
    pub trading_url: Option<Url>,
    /// HTTP API without a path; production if absent.
    pub http_url: Option<Url>,
    /// Allow `ws://` and `http://` to other machines than this one. Default false: keys and orders
    /// would be readable on the way.
    pub allow_insecure: bool,
    /// What to subscribe to and to trade, 1 to 500; each carries this exchange's name.
    pub instruments: Vec<Instrument>,
    /// Whether to connect for orders, which needs credentials. Default true.
    pub trading: bool,
    /// Whether orders and cancels keep the exchange's documented rate limits, or those that it tells.
    /// Default true. False only for a test exchange that has none: a real one refuses, cuts the
    /// connection or bans the address.
    pub rate_limits: bool,
    /// API key and secret; not needed for market data alone.
    pub credentials: Option<Credentials>,
    /// PEM file of certificate authorities to trust beside the usual ones, for a test exchange.
    pub ca_file: Option<PathBuf>,
    /// Whether nothing but this gateway trades on the account. Default false. Needed for what acts
    /// on the whole account, such as a dead-man's switch of that scope: it would cancel the orders
    /// of a person, or of another gateway, as well. With it, many orders are cancelled by one request
    /// for everything on the account or on an instrument, as long as the exchange tells of no order
    /// there but those that are to be cancelled; one that was placed the moment before would go too.
    pub account_is_ours: bool,
    /// For an exchange whose dead-man's switch is a timer (Kraken): the time after which the
    /// exchange cancels every order of the account unless the gateway sets it again, which it does
    /// three times as often. Default none: not used. In the exchange's range and steps; 60 s is what
    /// Kraken advises. Shorter than an interruption of the network, it cancels everything at each.
    pub dead_mans_switch: Option<Duration>,
    /// For an exchange whose dead-man's switch is the end of the connection (Deribit): whether it is
    /// used. Default true. A reconnect then cancels the open orders as well.
    pub cancel_on_disconnect: bool,
    /// Limits of its connections.
    pub connection: ConnectionConfig,
    /// What becomes of its positions.
    pub positions: PositionsConfig,
    /// What becomes of those in single instruments, in place of `positions`.
    pub instrument_positions: BTreeMap<Instrument, PositionsConfig>,
}

impl ExchangeConfig {
    /// An exchange named after its adapter, at its production addresses, without instruments and
    /// without credentials.
    pub fn new(adapter: AdapterKind) -> Self {
        // An adapter's name is an exchange name; a test below holds this for all of them.
        let name = ExchangeName::new(adapter.as_str());
        Self::named(name.unwrap_or_else(|error| unreachable!("{error}")), adapter)
    }

    /// The same under another name.
    pub fn named(name: ExchangeName, adapter: AdapterKind) -> Self {
        Self {
            name,
            adapter,
            market_url: None,
            trading_url: None,
            http_url: None,
            allow_insecure: false,
            instruments: Vec::new(),
            trading: true,
            rate_limits: true,
            credentials: None,
            ca_file: None,
            account_is_ours: false,
            dead_mans_switch: None,
            cancel_on_disconnect: true,
            connection: ConnectionConfig::default(),
            positions: PositionsConfig::default(),
            instrument_positions: BTreeMap::new(),
        }
    }

    /// Where it is reached: the given addresses, and production for the others.
    pub fn endpoints(&self) -> Endpoints {
        let mut endpoints = self.adapter.production();
        for (given, used) in [
            (&self.market_url, &mut endpoints.market),
            (&self.trading_url, &mut endpoints.trading),
            (&self.http_url, &mut endpoints.http),
        ] {
            if let Some(url) = given {
                *used = url.clone();
            }
        }
        endpoints
    }

    /// The time that the dead-man's switch is set to, zero for one without a timer; `None` if it is
    /// not used or the exchange has none.
    pub(crate) fn switch_timeout(&self) -> Option<Duration> {
        match self.adapter.dead_mans_switch() {
            _ if !self.trading => None,
            DeadMansSwitch::None => None,
            DeadMansSwitch::Timer { .. } => self.dead_mans_switch,
            DeadMansSwitch::ConnectionDrop { .. } => {
                self.cancel_on_disconnect.then_some(Duration::ZERO)
            }
        }
    }

    /// What its adapter is built from.
    pub fn setup(&self) -> AdapterSetup {
        AdapterSetup {
            exchange: self.name,
            endpoints: self.endpoints(),
            credentials: self.credentials.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_adapter_name_is_an_exchange_name() {
        for &adapter in AdapterKind::ALL {
            assert_eq!(ExchangeConfig::new(adapter).name.as_str(), adapter.as_str());
        }
    }
}
