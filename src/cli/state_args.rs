//! The arguments of `state`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use exchange_gateway::types::ClientOrderId;

const STATE_HELP: &str = "\
The state directory holds one SQLite database, gateway.db, with the tables orders, transitions (the
history of every order), fills, positions, last_ticks, runs and damaged_rows. `show` may be used beside a
running gateway; `verify` and `recover` want it stopped.

Examples:
  exchange-gateway state show --state-dir gateway-state
  exchange-gateway state show orders --open --json | jq .client_id
  exchange-gateway state show positions --json | jq '{instrument, quantity, realized, fees}'
  exchange-gateway state show runs --config gateway.toml
  exchange-gateway state verify; echo $?
  exchange-gateway state recover
  exchange-gateway state settle gw88zlzx300000007 --as canceled

Exit codes: 0 all is well (or recovered), 1 damage was found, 2 there is no database, a gateway uses
it, or it cannot be read.";

/// Show, check or recover the state database
#[derive(Debug, clap::Args)]
#[command(after_help = STATE_HELP)]
pub(crate) struct StateArgs {
    #[command(subcommand)]
    pub(crate) action: StateAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    Show(StateShowArgs),
    /// Check every byte of the database, changing nothing
    ///
    /// Compares every page and every frame of the log with its checksum, lets SQLite check the
    /// structure, and compares every row with its checksum. Whatever is not as it was written is
    /// named: a row by table and key, the rest by page.
    Verify(StateCheckArgs),
    /// Bring a damaged database back
    ///
    /// First copies the files as they are into a folder damaged-TIME in the state directory. Then
    /// it puts right what can be put right, moves broken rows to the table `damaged_rows`, and goes
    /// on with the rest. A sound database is left alone. Orders that are set aside have to be
    /// looked up at the exchange.
    Recover(StateCheckArgs),
    /// Mark orders as ended that their exchange will never settle
    ///
    /// An order that the exchange had acknowledged and now does not know stays unknown, is named by
    /// every shutdown, and makes it exit with 13. Look it up at the exchange first: after this the
    /// gateway believes you and asks no more.
    Settle(StateSettleArgs),
}

/// Show orders, fills, positions, last ticks or runs
#[derive(Debug, clap::Args)]
pub(crate) struct StateShowArgs {
    /// Which rows
    #[arg(value_enum, default_value_t = StateRows::Orders)]
    pub(crate) rows: StateRows,
    #[command(flatten)]
    pub(crate) place: StatePlace,
    /// Only orders that have not ended
    #[arg(long)]
    pub(crate) open: bool,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print one JSON object a row instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StateCheckArgs {
    #[command(flatten)]
    pub(crate) place: StatePlace,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StateSettleArgs {
    /// The orders' client ids
    #[arg(required = true, value_name = "ORDER")]
    pub(crate) orders: Vec<ClientOrderId>,
    /// How they ended
    #[arg(long = "as", value_enum, value_name = "STATUS")]
    pub(crate) status: SettledStatus,
    #[command(flatten)]
    pub(crate) place: StatePlace,
    /// Print one JSON object an order
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SettledStatus {
    /// Filled whole
    Filled,
    /// Cancelled
    Canceled,
    /// Never taken in by the exchange
    Rejected,
    /// Expired
    Expired,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatePlace {
    /// The state directory [default: gateway-state]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Take the state directory from this configuration file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StateRows {
    /// Orders as last recorded
    Orders,
    /// Parts of orders that traded
    Fills,
    /// What the fills add up to, with the profit of it
    Positions,
    /// The last trade and quote of each instrument
    Ticks,
    /// Runs of the gateway, and how they ended; one that runs or was killed has not
    Runs,
}
