//! `risk`: how the kill switch stands, and its reset by a person.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use exchange_gateway::StateDirectory;
use exchange_gateway::config::Config;
use exchange_gateway::state::{KillSwitchReset, KillSwitchState, StateError};
use exchange_gateway::types::Timestamp;

use super::state_args::StatePlace;
use super::{USAGE, output, state};

/// The kill switch has tripped.
const TRIPPED: u8 = 1;

const RISK_HELP: &str = "\
When a day's loss reaches risk.max_daily_loss, the kill switch trips: no new order is taken, open
ones are cancelled, and it stays so over restarts, in kill-switch.json in the state directory, until
a person resets it. Find out first why the money was lost.

Examples:
  exchange-gateway risk show --config gateway.toml; echo $?
  exchange-gateway risk reset --config gateway.toml

A gateway that runs takes the reset up at SIGHUP (systemctl reload, kill -HUP), one that does not
at its next start. The loss limit then counts anew for the rest of the day.

Exit codes: 0 orders may be placed, 1 the switch has tripped (show), 2 there is no state directory,
or it cannot be read or written.";

/// Show the kill switch, or reset it
#[derive(Debug, clap::Args)]
#[command(after_help = RISK_HELP)]
pub(crate) struct RiskArgs {
    #[command(subcommand)]
    action: RiskAction,
}

#[derive(Debug, Subcommand)]
enum RiskAction {
    /// Show whether the kill switch has tripped, when and why
    Show(RiskPlace),
    /// Allow new orders again after the kill switch has tripped
    Reset(RiskPlace),
}

#[derive(Debug, clap::Args)]
struct RiskPlace {
    #[command(flatten)]
    place: StatePlace,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn risk(args: &RiskArgs) -> io::Result<u8> {
    let (RiskAction::Show(place) | RiskAction::Reset(place)) = &args.action;
    let Some(path) = state::directory(&place.place) else { return Ok(USAGE) };
    // Nothing is made where nothing is: a mistyped path must not look like a switch at rest.
    if !path.is_dir() {
        eprintln!("exchange-gateway: there is no state directory {}", path.display());
        return Ok(USAGE);
    }
    let resets = matches!(args.action, RiskAction::Reset(_));
    match act(&path, resets) {
        Ok((state, words)) => {
            if place.json {
                let text = serde_json::to_string(&state)?;
                output::print(&format!("{text}\n"))?;
            } else {
                output::print(&format!("{words}\n"))?;
            }
            let tripped = matches!(state, Some(KillSwitchState::Tripped(_)));
            Ok(if tripped { TRIPPED } else { 0 })
        }
        Err(problem) => {
            eprintln!("exchange-gateway: {problem}");
            Ok(if matches!(problem, StateError::KillSwitch { .. }) { TRIPPED } else { USAGE })
        }
    }
}

fn act(path: &Path, resets: bool) -> Result<(Option<KillSwitchState>, String), StateError> {
    let directory = StateDirectory::open(path)?;
    let found = directory.load_kill_switch();
    if !resets {
        let found = found?;
        let words = describe(found.as_ref());
        return Ok((found, words));
    }
    if let Ok(None | Some(KillSwitchState::Reset(_))) = found {
        let found = found?;
        return Ok((found, "The kill switch has not tripped; nothing is changed.".to_owned()));
    }
    let was = match &found {
        Ok(found) => describe(found.as_ref()),
        Err(problem) => problem.to_string(),
    };
    let reset = KillSwitchReset { at: Timestamp::now(), day_profit: BTreeMap::new() };
    let reset = KillSwitchState::Reset(reset);
    directory.save_kill_switch(&reset)?;
    let words = format!(
        "{was}\nIt is reset: orders are taken from the next start on, or from SIGHUP on by a gateway \
         that runs."
    );
    Ok((Some(reset), words))
}

fn describe(state: Option<&KillSwitchState>) -> String {
    match state {
        Some(KillSwitchState::Tripped(switch)) => {
            format!("The kill switch tripped at {:.0}: {}.", switch.tripped, switch.reason)
        }
        Some(KillSwitchState::Reset(reset)) => {
            format!("The kill switch has not tripped since it was reset at {:.0}.", reset.at)
        }
        _ => "The kill switch has never tripped.".to_owned(),
    }
}

/// Says if a start with this configuration would take no orders.
pub(crate) fn warn(config: &Config) {
    let path: PathBuf = config.gateway.state_dir.clone();
    if !path.is_dir() {
        return;
    }
    let directory = StateDirectory::open(&path);
    match directory.and_then(|directory| directory.load_kill_switch()) {
        Ok(Some(KillSwitchState::Tripped(switch))) => eprintln!(
            "warning: no new orders are taken: the kill switch tripped at {:.0}: {}; reset it with \
             `exchange-gateway risk reset`",
            switch.tripped, switch.reason
        ),
        Err(problem @ StateError::KillSwitch { .. }) => {
            eprintln!("warning: no new orders are taken: {problem}");
        }
        _ => {}
    }
}
