//! Starting: everything is checked and live before a bot gets the gateway.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::hangup::Hangups;
use super::recovery::{self, NOT_STARTED, Opened, Unsettled};
use super::resume::Again;
use super::risk::{self, MarketView};
use super::{Gateway, Inner, PreviousRun, keeper, lost};
use crate::alerts::{Alerts, Origin};
use crate::config::{Config, ConfigError, ConnectionConfig, ExchangeConfig, ShutdownConfig};
use crate::connection::{
    AccountCheck, ConnectionRecord, ConnectionStatus, Driver, HttpFallback, Role,
};
use crate::environment::Environment;
use crate::exchange::{
    Adapter, ConnectionKind, DeadMansSwitch, MassCancel, OrderLimits, SymbolTable,
};
use crate::market::Router;
use crate::net::{self, Connector, TlsError};
use crate::orders::{Desk, DeskSettings, IdGenerator, Journal, Orders, Patience, SwitchSettings};
use crate::positions::Positions;
use crate::risk::Risk;
use crate::scope::Scope;
use crate::shutdown::{ExchangeParts, Hook, Hooks, Phase, Progress, alert_stranded};
use crate::state::{Record, Recovered, RunEnd, SavedTicks, StateDirectory, StateError, Writer};
use crate::types::{ClientOrderId, ExchangeName, Instrument};

/// How often the list of instruments is asked for before giving up.
const LIST_ATTEMPTS: u32 = 3;
/// The wait after a failed attempt; it doubles.
const LIST_RETRY: Duration = Duration::from_millis(500);
/// An exchange may take this long to answer, however often cancels are repeated.
const ANSWER_LIMIT_MIN: Duration = Duration::from_secs(1);
/// What connections may take to close after a failed start.
const UNDO_LIMIT: Duration = Duration::from_secs(3);
/// What taking off their dead-man's switches may take before.
const UNDO_DISARM_LIMIT: Duration = Duration::from_secs(1);

/// What learning the balances may hold up the start.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(4);

/// Why a gateway did not start. No order has been sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// TLS cannot be set up.
    #[error("{exchange}: {source}")]
    Tls {
        /// Which exchange.
        exchange: ExchangeName,
        /// Why not.
        source: TlsError,
    },
    /// TLS cannot be set up for the webhook of alerts.
    #[error("alerts: {source}")]
    Alerts {
        /// Why not.
        source: TlsError,
    },
    /// The exchange's list of instruments could not be fetched or read.
    #[error("{exchange}: the list of instruments could not be fetched from {url}: {reason}")]
    Instruments {
        /// Which exchange.
        exchange: ExchangeName,
        /// From where.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The exchange does not trade an instrument of the configuration.
    #[error(
        "{exchange} does not trade {}; correct `exchanges.{exchange}.instruments`",
        join(instruments)
    )]
    UnknownInstruments {
        /// Which exchange.
        exchange: ExchangeName,
        /// Which instruments.
        instruments: Vec<Instrument>,
    },
    /// Trading is configured without a key.
    #[error(
        "{exchange} has no API key: name its variables with `api_key_env` and `api_secret_env`, \
         or set `trading = false` for market data alone"
    )]
    MissingCredentials {
        /// Which exchange.
        exchange: ExchangeName,
    },
    /// The exchange refused the login or a subscription for good.
    #[error("{exchange} {connection}: {reason}")]
    Refused {
        /// Which exchange.
        exchange: ExchangeName,
        /// Which of its connections.
        connection: ConnectionKind,
        /// In the exchange's words.
        reason: String,
    },
    /// A connection was not live in time.
    #[error("{exchange} {connection} was not live within {limit_ms} ms: {reason}")]
    NotLive {
        /// Which exchange.
        exchange: ExchangeName,
        /// Which of its connections.
        connection: ConnectionKind,
        /// The limit: the connect and ready timeouts together.
        limit_ms: u128,
        /// How the last attempt ended.
        reason: String,
    },
}

fn join(instruments: &[Instrument]) -> String {
    instruments.iter().map(|instrument| instrument.pair()).collect::<Vec<_>>().join(", ")
}

/// An exchange before its connections are started. It is kept, because they may be started again.
pub(super) struct Prepared {
    pub(super) config: ExchangeConfig,
    pub(super) adapter: Arc<dyn Adapter>,
    connector: Arc<dyn Connector>,
    symbols: Arc<SymbolTable>,
    limits: OrderLimits,
}

pub(super) async fn start(config: Config, environment: Environment) -> Result<Gateway, StartError> {
    config.validate()?;
    let keyless = config.exchanges.iter().find(|e| e.trading && e.credentials.is_none());
    if let Some(exchange) = keyless {
        return Err(StartError::MissingCredentials { exchange: exchange.name });
    }
    let directory = StateDirectory::open(&config.gateway.state_dir)?;
    let Opened { database, recovered, newest } = recovery::open(&config, &directory).await?;
    let writer = database.writer();
    let clock = Arc::clone(&environment.clock);
    let root = Scope::root("gateway");
    let abandoned = root.cancel_on_drop();
    let alerts = start_alerts(&config, &environment, &directory, database.run(), &root);
    let started = match alerts {
        Ok(alerts) => {
            let (root, told) = (root.clone(), alerts.clone());
            let (writer, directory) = (writer.clone(), directory);
            let started =
                start_on(config, environment, directory, writer, recovered, newest, root, told);
            let started = started.await;
            if started.is_err() {
                alerts.give_up().await;
            }
            started
        }
        Err(problem) => Err(problem),
    };
    match &started {
        Ok(gateway) => {
            abandoned.disarm();
            let mut kept = gateway.inner.database.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some(database);
        }
        // The database is still open, and closes at the end of this.
        Err(problem) => writer.record(Record::RunEnded(Box::new(RunEnd {
            ended: clock.now(),
            trigger: problem.to_string(),
            outcome: NOT_STARTED.to_owned(),
            report: String::new(),
        }))),
    }
    started
}

/// Alerts can be raised and delivered from here on.
fn start_alerts(
    config: &Config,
    environment: &Environment,
    directory: &StateDirectory,
    run: i64,
    root: &Scope,
) -> Result<Alerts, StartError> {
    let wanted = config.alerts.webhook.as_ref();
    let connector = wanted.map(|_| (environment.connector)(config.alerts.ca_file.as_deref()));
    let connector = connector.transpose().map_err(|source| StartError::Alerts { source })?;
    let clock = Arc::clone(&environment.clock);
    let origin = Origin::here(&config.gateway.order_tag, directory.path(), run, clock.now());
    let scope = root.child("alerts", Phase::Complete);
    Ok(Alerts::start(&config.alerts, connector, origin, clock, scope))
}

#[expect(clippy::too_many_arguments, reason = "what start has made, in one call")]
async fn start_on(
    config: Config,
    environment: Environment,
    directory: StateDirectory,
    writer: Writer,
    mut recovered: Recovered,
    newest: Option<ClientOrderId>,
    root: Scope,
    alerts: Alerts,
) -> Result<Gateway, StartError> {
    let previous_run = PreviousRun::of(&recovered);
    recovery::tell(&recovered, previous_run.as_ref(), &root);
    recovery::alert_killed(&recovered, &alerts);
    let mut unsettled = Unsettled::new(&mut recovered, config.orders.on_restart);
    let preparing = config.exchanges.iter().map(|exchange| {
        let more = if exchange.trading { unsettled.instruments(exchange.name) } else { Vec::new() };
        prepare(exchange, more, &environment)
    });
    let prepared = futures::future::try_join_all(preparing).await?;

    let clock = Arc::clone(&environment.clock);
    let abandoned = root.cancel_on_drop();
    let journal = Journal::new(config.orders.updates_backlog);
    let ids = Arc::new(IdGenerator::new(&config.gateway.order_tag, clock.now(), newest));
    let all = prepared.iter().flat_map(|exchange| exchange.symbols.instruments().to_vec());
    let router = Arc::new(Router::new(all));
    let specs = prepared.iter().flat_map(|exchange| exchange.symbols.specs().cloned());
    let positions = Arc::new(Positions::new(specs));
    recovery::restore(&positions, &mut recovered, &directory, &writer, &root).await?;
    let view = MarketView::new(Arc::clone(&router), Arc::clone(&positions));
    let (tripped, allowance) = risk::earlier(&directory, clock.now());
    let traded = prepared.iter().flat_map(|exchange| exchange.symbols.specs());
    let risk = Arc::new(Risk::new(
        config.risk.clone(),
        traded.map(|spec| spec.instrument),
        Arc::clone(&positions),
        Arc::new(view),
        tripped,
        allowance,
    ));
    let kill_switch = Arc::new(risk::Switch::new(Arc::clone(&risk), directory.clone()));
    risk::say_uncounted(&risk);
    let mut random = environment.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);

    info!(target: "exchange_gateway::gateway", exchanges = prepared.len(), "gateway started");
    let mut exchanges = Vec::new();
    let mut symbols = BTreeMap::new();
    for exchange in &prepared {
        symbols.insert(exchange.config.name, Arc::clone(&exchange.symbols));
        let desk = Arc::new(Desk::new(DeskSettings {
            exchange: exchange.config.name,
            trading: exchange.config.trading,
            patience: patience(&config, exchange.adapter.as_ref()),
            queue: config.orders.queue,
            limits: exchange.config.rate_limits.then(|| exchange.limits.clone()),
            reserve_percent: config.orders.cancel_reserve_percent,
            no_reduce_only: exchange.adapter.no_reduce_only(),
            switch: switch_settings(exchange),
            mass_cancel: mass_cancel(exchange),
            symbols: Arc::clone(&exchange.symbols),
            ids: Arc::clone(&ids),
            journal: Arc::clone(&journal),
            clock: Arc::clone(&clock),
            positions: Arc::clone(&positions),
            risk: Arc::clone(&risk),
            writer: writer.clone(),
        }));
        if exchange.config.trading {
            unsettled.hand_to(&desk, &exchange.symbols);
        }
        let place = Place { root: &root, router: &router, environment: &environment };
        let parts = launch(exchange, desk, None, &place, &config.shutdown, &mut random);
        lost::watch(&parts, &alerts, config.alerts.exchange_lost_after);
        exchanges.push(Arc::new(parts));
    }
    let stranded = unsettled.stranded();
    let state = root.child("state", Phase::SaveState);
    let save_every = config.gateway.save_every;
    let kept = keeper::Kept {
        router: Arc::clone(&router),
        positions: Arc::clone(&positions),
        clock: Arc::clone(&clock),
        writer: writer.clone(),
    };
    state.spawn(keeper::keep(state.clone(), kept, save_every));
    let watching = state.child("risk", Phase::SaveState);
    let watch_loss = risk::Watch {
        scope: watching.clone(),
        named: root.child("risk", Phase::Complete),
        risk: Arc::clone(&risk),
        switch: Arc::clone(&kill_switch),
        desks: exchanges.iter().map(|exchange| Arc::clone(&exchange.desk)).collect(),
        clock: Arc::clone(&clock),
    };
    watching.spawn(watch_loss.run());
    let started = all_live(&exchanges, &config).await;
    if let Err(problem) = started {
        undo(&root, &exchanges, &alerts).await;
        return Err(problem);
    }
    let accounts = exchanges.iter().filter_map(|exchange| exchange.account.as_ref());
    futures::future::join_all(accounts.map(|account| account.begin(ACCOUNT_LIMIT))).await;
    abandoned.disarm();
    // Not before: a start that fails and is tried for ever would be told for ever.
    alert_stranded(&alerts, &stranded);
    alerts.follow(&root, config.exchanges.iter().map(|exchange| exchange.name).collect());
    for exchange in &config.exchanges {
        say_switch(exchange);
    }

    let hooks = Arc::<Hooks>::default();
    for hook in &config.shutdown.hooks {
        // The configuration is checked: none of them is refused.
        if let Err(problem) = hooks.add(Hook::of_config(hook)) {
            root.fail(problem.to_string());
        }
    }
    let desks = exchanges.iter().map(|e| (e.name, Arc::clone(&e.desk))).collect();
    let inner = Inner {
        orders: Orders::new(desks, Arc::clone(&journal)),
        config,
        clock,
        alerts,
        root,
        router,
        positions,
        risk,
        kill_switch,
        journal,
        exchanges: Arc::new(std::sync::Mutex::new(exchanges)),
        symbols,
        directory,
        previous_run,
        previous_ticks: SavedTicks::of_earlier_run(recovered.last_ticks),
        database: std::sync::Mutex::default(),
        state,
        stranded,
        hooks,
        phase: watch::channel(Phase::Running).0,
        hangups: Hangups::new(),
        begun: watch::channel(None).0,
        progress: Progress::default(),
        watched: AtomicBool::new(false),
        writer,
        force: CancellationToken::new(),
        stopping: AtomicBool::new(false),
        again: Again::new(prepared, environment, random),
        draining: std::sync::Mutex::default(),
        report: watch::channel(None).0,
    };
    Ok(Gateway { inner: Arc::new(inner) })
}

fn patience(config: &Config, adapter: &dyn Adapter) -> Patience {
    Patience {
        acknowledgement: config.orders.ack_timeout,
        query: config.orders.query_retry,
        cancel: config.shutdown.cancel_retry,
        in_flight: adapter.longest_order_flight(),
        closed_kept: config.orders.closed_kept,
    }
}

fn switch_settings(exchange: &Prepared) -> SwitchSettings {
    let timeout = exchange.config.switch_timeout();
    SwitchSettings { kind: exchange.adapter.dead_mans_switch(), timeout }
}

/// On an account that others use too, only single cancels are safe.
fn mass_cancel(exchange: &Prepared) -> MassCancel {
    if exchange.config.account_is_ours { exchange.adapter.mass_cancel() } else { MassCancel::NONE }
}

/// Says what becomes of the orders if this process dies. Start has awaited that a switch that is
/// used is armed.
fn say_switch(config: &ExchangeConfig) {
    let exchange = config.name;
    if !config.trading {
        return;
    }
    match (config.adapter.dead_mans_switch(), config.switch_timeout()) {
        (DeadMansSwitch::None, _) => {
            warn!(%exchange, "no dead-man's switch: orders stay open if this process dies");
        }
        (_, None) => {
            warn!(%exchange, "dead-man's switch is off: orders stay open if this process dies");
        }
        (DeadMansSwitch::Timer { scope, .. }, Some(timeout)) => {
            let (scope, timeout_ms) = (scope.as_str(), timeout.as_millis());
            info!(%exchange, scope, timeout_ms, "dead-man's switch is on");
        }
        (DeadMansSwitch::ConnectionDrop { scope, .. }, Some(_)) => {
            let scope = scope.as_str();
            info!(%exchange, scope, "dead-man's switch is on: the end of the connection");
        }
    }
}

/// Two rounds of cancels without any answer mean that the connection is dead; a fresh one must
/// still have its share of the phase.
fn answer_limit(shutdown: &ShutdownConfig) -> Duration {
    let rounds = (shutdown.cancel_retry * 2).max(ANSWER_LIMIT_MIN);
    rounds.min(shutdown.cancel_pending * 3 / 4)
}

/// Learns the exchange's rules for the configured instruments, and for those of the orders that an
/// earlier run left there.
async fn prepare(
    config: &ExchangeConfig,
    of_orders: Vec<Instrument>,
    environment: &Environment,
) -> Result<Prepared, StartError> {
    let exchange = config.name;
    let connector = (environment.connector)(config.ca_file.as_deref())
        .map_err(|source| StartError::Tls { exchange, source })?;
    let adapter = config.adapter.build(config.setup());
    let wanted = &recovery::wanted(&config.instruments, of_orders);
    let request = adapter.instruments_request(wanted);
    let failed =
        |reason: String| StartError::Instruments { exchange, url: request.url.to_string(), reason };
    let mut attempt = 0;
    let response = loop {
        attempt += 1;
        let limit = config.connection.connect_timeout;
        let problem = match net::request(connector.as_ref(), request.clone(), limit).await {
            Ok(response) if response.status == 200 => break response,
            Ok(response) => {
                let words: String = response.body.chars().take(300).collect();
                format!("HTTP status {}: {words}", response.status)
            }
            Err(problem) => problem.to_string(),
        };
        if attempt == LIST_ATTEMPTS {
            return Err(failed(problem));
        }
        warn!(%exchange, problem, attempt, "the list of instruments could not be fetched");
        tokio::time::sleep(LIST_RETRY * 2_u32.pow(attempt - 1)).await;
    };
    let specs = adapter
        .read_instruments(&response, wanted)
        .map_err(|problem| failed(problem.to_string()))?;
    let symbols = SymbolTable::new(specs);
    let configured = config.instruments.iter().copied();
    let unknown: Vec<_> = configured.filter(|i| symbols.symbol(*i).is_none()).collect();
    if !unknown.is_empty() {
        return Err(StartError::UnknownInstruments { exchange, instruments: unknown });
    }
    let limits = adapter.order_limits(&response);
    let symbols = Arc::new(symbols);
    Ok(Prepared { config: config.clone(), adapter, connector, symbols, limits })
}

/// Where an exchange's tasks run.
pub(super) struct Place<'a> {
    pub(super) root: &'a Scope,
    pub(super) router: &'a Arc<Router>,
    pub(super) environment: &'a Environment,
}

/// Starts the tasks of one exchange; `before` is what ran until it was drained, if it was.
pub(super) fn launch(
    prepared: &Prepared,
    desk: Arc<Desk>,
    before: Option<&ExchangeParts>,
    place: &Place<'_>,
    shutdown: &ShutdownConfig,
    random: &mut fastrand::Rng,
) -> ExchangeParts {
    let Place { root, router, environment } = *place;
    let answer_limit = answer_limit(shutdown);
    let name = prepared.config.name;
    let scope = root.child(name.as_str(), Phase::Complete);
    let failures_before = root.failures_listed();
    let cut = CancellationToken::new();

    let watch = scope.child("orders", Phase::Disconnect);
    let swept = Arc::clone(&desk);
    let sweeper = watch.clone();
    watch.spawn(async move {
        tokio::select! {
            biased;
            () = sweeper.cancelled() => {}
            () = swept.sweep() => {}
        }
    });

    let feed = scope.child("feed", Phase::SaveState);
    let hurry = scope.child("hurry", Phase::StopNewOrders);
    let mut roles = vec![Role::Market { router: Arc::clone(router), feed }];
    if prepared.config.trading {
        roles.push(Role::Trading { desk: Arc::clone(&desk) });
    }
    let mut connections = Vec::new();
    for role in roles {
        let scope = scope.child(role.kind().as_str(), Phase::Disconnect);
        let ended = before.map(|parts| parts.connections.iter());
        let ended = ended.and_then(|mut all| all.find(|record| record.kind() == role.kind()));
        let record = ended
            .map_or_else(|| ConnectionRecord::new(name, role.kind()), |record| record.successor());
        let record = Arc::new(record);
        connections.push(Arc::clone(&record));
        let driver = Driver {
            exchange: name,
            adapter: Arc::clone(&prepared.adapter),
            symbols: Arc::clone(&prepared.symbols),
            config: prepared.config.connection.clone(),
            connector: Arc::clone(&prepared.connector),
            clock: Arc::clone(&environment.clock),
            scope: scope.clone(),
            hurry: hurry.clone(),
            answer_limit,
            cut: cut.clone(),
            role,
            record,
            random: random.fork(),
        };
        scope.spawn(driver.run());
    }
    fall_back_on_http(prepared, Arc::clone(&desk), &scope, environment, shutdown);
    let account = prepared.config.trading.then(|| AccountCheck {
        exchange: name,
        desk: Arc::clone(&desk),
        adapter: Arc::clone(&prepared.adapter),
        symbols: Arc::clone(&prepared.symbols),
        connector: Arc::clone(&prepared.connector),
        clock: Arc::clone(&environment.clock),
    });
    ExchangeParts { name, scope, desk, connections, account, cut, failures_before }
}

/// Starts the task that cancels over HTTP while there is no trading connection.
fn fall_back_on_http(
    prepared: &Prepared,
    desk: Arc<Desk>,
    scope: &Scope,
    environment: &Environment,
    shutdown: &ShutdownConfig,
) {
    if !prepared.config.trading {
        return;
    }
    let connection = &prepared.config.connection;
    let scope = scope.child("http", Phase::Disconnect);
    let fallback = HttpFallback {
        exchange: prepared.config.name,
        desk,
        adapter: Arc::clone(&prepared.adapter),
        symbols: Arc::clone(&prepared.symbols),
        connector: Arc::clone(&prepared.connector),
        clock: Arc::clone(&environment.clock),
        scope: scope.clone(),
        after: connection.http_fallback_after,
        // Most of a shutdown's phase must be left for it.
        hurried: connection.http_fallback_after.min(shutdown.cancel_pending / 8),
        answer_limit: connection.connect_timeout.min(answer_limit(shutdown)),
        retry: shutdown.cancel_retry,
    };
    scope.spawn(fallback.run());
}

async fn all_live(exchanges: &[Arc<ExchangeParts>], config: &Config) -> Result<(), StartError> {
    let began = Instant::now();
    for exchange in exchanges {
        let of = config.exchanges.iter().find(|e| e.name == exchange.name);
        let settings = of.map_or(&config.connection, |found| &found.connection);
        is_live(exchange, settings, began, exchange.desk.open()).await?;
    }
    Ok(())
}

/// Waits until an exchange's connections are live and its orders are compared, which ends `ready`.
pub(super) async fn is_live(
    exchange: &ExchangeParts,
    settings: &ConnectionConfig,
    began: Instant,
    ready: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let limit = settings.connect_timeout + settings.ready_timeout;
    let deadline = began + limit;
    for connection in &exchange.connections {
        becomes_live(exchange.name, connection, deadline, limit).await?;
    }
    if exchange.connections.len() > 1 && timeout_at(deadline, ready).await.is_err() {
        return Err(StartError::NotLive {
            exchange: exchange.name,
            connection: ConnectionKind::Trading,
            limit_ms: limit.as_millis(),
            reason: exchange
                .desk
                .switch_bars()
                .unwrap_or_else(|| "its orders could not be compared with the exchange's".into()),
        });
    }
    Ok(())
}

async fn becomes_live(
    exchange: ExchangeName,
    record: &ConnectionRecord,
    deadline: Instant,
    limit: Duration,
) -> Result<(), StartError> {
    let connection = record.kind();
    let mut status = record.watch();
    let mut reason = "still connecting".to_owned();
    loop {
        match &*status.borrow_and_update() {
            ConnectionStatus::Live => return Ok(()),
            ConnectionStatus::Failed { reason } => {
                let reason = reason.clone();
                return Err(StartError::Refused { exchange, connection, reason });
            }
            ConnectionStatus::Waiting { reason: ended } => reason.clone_from(ended),
            _ => {}
        }
        if timeout_at(deadline, status.changed()).await.is_err() {
            let limit_ms = limit.as_millis();
            return Err(StartError::NotLive { exchange, connection, limit_ms, reason });
        }
    }
}

/// Closes what was started. No order was placed, so that a timer must not stay behind.
async fn undo(root: &Scope, exchanges: &[Arc<ExchangeParts>], alerts: &Alerts) {
    alerts.give_up().await;
    let connected = exchanges.iter().filter(|exchange| !exchange.desk.is_down());
    let disarmed = futures::future::join_all(connected.map(|e| e.desk.disarm_switch()));
    if timeout(UNDO_DISARM_LIMIT, disarmed).await.is_err() {
        warn!("a dead-man's switch could not be taken off in time");
    }
    root.cancel();
    if timeout(UNDO_LIMIT, root.join()).await.is_err() {
        for exchange in exchanges {
            exchange.cut.cancel();
        }
        root.join().await;
    }
}
