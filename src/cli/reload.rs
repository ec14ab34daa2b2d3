//! SIGHUP: the configuration is read again. Risk limits and log level hold at once, a reset of the
//! kill switch is taken up, and whatever else has changed is named. A file with a fault changes
//! nothing.

use exchange_gateway::config::ConfigError;
use exchange_gateway::{Config, Gateway};
use tracing::{error, info, warn};

use super::args::RunArgs;
use super::logging;

/// Reads it again at each SIGHUP. Never ends by itself.
pub(crate) async fn follow(gateway: &Gateway, started: &Config, args: &RunArgs) {
    let mut hangups = gateway.hangups();
    while hangups.changed().await.is_ok() {
        reload(gateway, started, args).await;
    }
    std::future::pending::<()>().await;
}

async fn reload(gateway: &Gateway, started: &Config, args: &RunArgs) {
    let (file, state_dir) = (args.config.clone(), args.state_dir.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut config = Config::from_file(file)?;
        if let Some(directory) = state_dir {
            config.gateway.state_dir = directory;
        }
        Ok::<_, ConfigError>(config)
    });
    match reading.await {
        Ok(Ok(config)) => take_up(gateway, started, &config, args),
        Ok(Err(problem)) => refuse(&problem),
        Err(panic) => error!(%panic, "the configuration could not be read: nothing is changed"),
    }
    if let Err(problem) = gateway.recheck_kill_switch().await {
        error!(%problem, "the kill switch stays as it is");
    }
}

fn take_up(gateway: &Gateway, started: &Config, config: &Config, args: &RunArgs) {
    // The limits are checked against what runs, which may trade other instruments.
    let changes = match gateway.reload_limits(config.risk.clone()) {
        Ok(changes) => changes,
        Err(problem) => return refuse(&problem),
    };
    if args.log_level.is_some() {
        info!("the log level stays that of --log-level or EXCHANGE_GATEWAY_LOG");
    } else if let Err(problem) = logging::set_level(&config.log.level) {
        error!(%problem, "the log level stays as it is");
    }
    let others = started.needs_restart(config);
    if !others.is_empty() {
        warn!(keys = others.join(", "), "changed settings that hold only after a restart");
    }
    info!(limits = changes.len(), log = config.log.level, "the configuration was read again");
}

fn refuse(problem: &ConfigError) {
    for fault in &problem.faults {
        error!(%fault, "fault in the configuration");
    }
    error!(faults = problem.faults.len(), "the configuration has faults: the old limits hold on");
}
