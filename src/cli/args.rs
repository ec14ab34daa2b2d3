//! What the program takes on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use exchange_gateway::config::parse_duration;
use exchange_gateway::exchange::{AdapterKind, ConnectionKind};

const LONG_ABOUT: &str = "\
Keeps WebSocket connections to several exchanges, routes ticks and orders between them and trading
bots, and closes cleanly: at exit, every order is confirmed closed by its exchange or named in the
report.

Stop it with Ctrl-C or SIGTERM. A second signal forces the exit: every open order gets one cancel,
nothing else is waited for, and it still saves and reports. A third ends the process at once, and a
thread of its own does so if the shutdown does not end in time. SIGQUIT (Ctrl-\\) forces at once,
and shows what runs. SIGHUP has `run` read risk limits and log level again; if the terminal was
closed, it shuts down.";

macro_rules! exit_codes {
    () => {
        "\
Exit codes of `run` and `demo`; of several the first that is true of 13, 14, 12, 11, 10:
   0  every order confirmed closed, state saved, every connection closed in order
  10  orders and state are safe, but something else failed
  11  the deadline ended it before its work was done
  12  the operator forced it, with a second signal or SIGQUIT
  13  an order or a position is left or unknown; it is named in the report
  14  state could not be saved
   1  the gateway could not start; no order was sent
   2  wrong arguments or configuration; nothing was started
"
    };
}

const AFTER_HELP: &str =
    concat!("\
Examples:
  exchange-gateway demo
  exchange-gateway run --config gateway.toml --log gateway.log
  exchange-gateway check --config gateway.toml
  exchange-gateway inspect gateway.log
  exchange-gateway decode --exchange kraken --connection market recorded.jsonl | jq .price
  exchange-gateway report --html shutdown.html

",
exit_codes!(),
"Of the others: 0 all is well, 1 `inspect` found something missing, `decode` met an unreadable
message, `state` found damage, `report` no readable report or `risk` a tripped kill switch, 2 wrong
arguments, a faulty configuration or an unreadable file.");

#[derive(Debug, Parser)]
#[command(name = "exchange-gateway", version, about = "A WebSocket gateway to several exchanges \
    that closes cleanly and reports the truth", long_about = LONG_ABOUT, after_help = AFTER_HELP,
    max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Run(RunArgs),
    Check(CheckArgs),
    Inspect(InspectArgs),
    Decode(DecodeArgs),
    State(super::state_args::StateArgs),
    Risk(super::risk::RiskArgs),
    Report(ReportArgs),
    Drain(super::drain::DrainArgs),
    Completions(CompletionsArgs),
}

const DEMO_HELP: &str = concat!(
    "\
Examples:
  exchange-gateway demo --for 10s
  exchange-gateway demo --exchanges kraken --orders 20 --seed 7
  exchange-gateway demo --faults faults.toml; echo $?

",
    exit_codes!()
);

/// Trade on exchanges of its own making, then shut down cleanly
///
/// Starts mock exchanges in this process, connects the gateway to them over real sockets, shows
/// the ticks, places orders that rest and some that fill, and after a while (or on Ctrl-C) shuts
/// down through every phase. It then prints the report of the gateway and, beside it, what the
/// exchanges saw.
#[derive(Debug, clap::Args)]
#[command(after_help = DEMO_HELP)]
pub(crate) struct DemoArgs {
    /// End after this long
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Which exchanges
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "binance,kraken",
        value_parser = adapter_parser())]
    pub(crate) exchanges: Vec<AdapterKind>,
    /// Orders to rest on each exchange
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(..=100))]
    pub(crate) orders: u16,
    /// Seed of the markets: the same seed gives the same prices
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where the state goes
    #[arg(long, value_name = "DIR", default_value = "gateway-state/demo")]
    pub(crate) state_dir: PathBuf,
    /// The JSON log [default: gateway.log in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Also write the report of the shutdown as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Faults for the exchanges to make, as [[fault]] tables in a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Serve the exchanges' ledger and faults over HTTP here, for example 127.0.0.1:9100
    #[arg(long, value_name = "ADDR")]
    pub(crate) control: Option<SocketAddr>,
    /// What the log shows on the terminal: error, warn, info, debug, or a filter by target
    #[arg(long, value_name = "FILTER", default_value = "warn", env = "EXCHANGE_GATEWAY_LOG")]
    pub(crate) log_level: String,
}

/// Run the gateway of a configuration file
///
/// Connects to every exchange, shows the ticks, and runs until Ctrl-C or SIGTERM (or the end of
/// --for). Then it shuts down through every phase, prints the report and exits with its code.
#[derive(Debug, clap::Args)]
#[command(after_help = exit_codes!())]
pub(crate) struct RunArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Where the state goes, in place of the configuration's
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Also write the log as JSON, one object a line; `inspect` reads it
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Also write the report of the shutdown as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// End after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// What the log shows on the terminal, in place of the configuration's [log] level: error, warn,
    /// info, debug, or a filter by target
    #[arg(long, value_name = "FILTER", env = "EXCHANGE_GATEWAY_LOG")]
    pub(crate) log_level: Option<String>,
}

/// Check a configuration and show its effective values
///
/// Prints every fault at once, each with file, line, column, key and remedy, and exits 2; or
/// prints every effective value as TOML, with secrets shown as <redacted>, and exits 0. Warnings
/// go to the standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

const INSPECT_HELP: &str = "\
Examples:
  exchange-gateway inspect gateway-state/demo/gateway.log
  exchange-gateway inspect --json gateway.log | jq '.missing'

Exit codes: 0 nothing is missing, 1 something is, 2 the file is unreadable or has no shutdown in it.";

/// Show the disconnect stages of a JSON log, and what is missing
///
/// Reads a log written with --log and prints, for each exchange and connection, when each stage of
/// the disconnect happened, and points out what is missing: a close that was never answered, a
/// cancel that was never confirmed, a stage that is absent. Broken lines are reported and skipped.
#[derive(Debug, clap::Args)]
#[command(after_help = INSPECT_HELP)]
pub(crate) struct InspectArgs {
    /// The JSON log, or - for the standard input
    #[arg(value_name = "LOG")]
    pub(crate) log: PathBuf,
    /// Print one JSON object a run instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Show every run of the log, not only the last
    #[arg(long)]
    pub(crate) all: bool,
}

const DECODE_HELP: &str = "\
Every line of the output is one JSON object. Numbers of money are text, times are RFC 3339.
  event         trade | quote | order | fill | ack | reject | heartbeat | ignored | error
  file, line    where the message begins
  instrument    such as kraken:BTC-USD, guessed from the symbol
  exchange_time when the exchange says it happened
  trade         price, quantity, taker_side, trade_id
  quote         bid, bid_quantity, ask, ask_quantity
  order         status (open, partially_filled, filled, canceled, rejected, expired, not_found,
                outcome_unknown), cumulative (filled in all), reason
  fill          fill_id, price, quantity, fee {asset, amount}, liquidity, cumulative, completes
  ack           of (order, cancel, or the request acknowledged)
  reject        of (order, cancel, query, connection, or the request refused), code, reason
  order, fill, ack and reject carry client_id, exchange_id and request_id where the message does.
  ignored       what: well formed, and no tick or order in it
  error         reason: not readable; the exit code is then 1

Examples:
  exchange-gateway decode --exchange binance --connection trading executionReport.json
  tail -f frames.jsonl | exchange-gateway decode --exchange kraken --connection market -";

/// Decode recorded messages of an exchange into normalised events
///
/// A file holds JSON documents: one pretty-printed over several lines, or one a line. Each message
/// is read by a fresh session of the exchange's adapter, exactly as the gateway would read it.
#[derive(Debug, clap::Args)]
#[command(after_help = DECODE_HELP)]
pub(crate) struct DecodeArgs {
    /// Whose messages they are
    #[arg(long, short, value_name = "EXCHANGE", value_parser = adapter_parser())]
    pub(crate) exchange: AdapterKind,
    /// Which connection they came from
    #[arg(long, short)]
    pub(crate) connection: Connection,
    /// Files of messages, or - for the standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Connection {
    /// Public market data
    Market,
    /// Orders and the private stream of their updates
    Trading,
}

impl From<Connection> for ConnectionKind {
    fn from(connection: Connection) -> Self {
        match connection {
            Connection::Market => Self::Market,
            Connection::Trading => Self::Trading,
        }
    }
}

/// The names of the adapters, read as adapters; `--help` lists them.
fn adapter_parser() -> impl clap::builder::TypedValueParser<Value = AdapterKind> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(AdapterKind::ALL.iter().map(|kind| kind.as_str()))
        .try_map(|name| AdapterKind::from_name(&name).ok_or_else(|| format!("no adapter `{name}`")))
}

const REPORT_HELP: &str = "\
Examples:
  exchange-gateway report --state-dir gateway-state
  exchange-gateway report 12 --html shutdown.html
  exchange-gateway report --json | jq '.exchanges[].orders[] | select(.fate == \"unknown\")'

Exit codes: 0 the report is shown, whatever its verdict; 1 the run has no report, or it cannot be
read; 2 there is no such run or no database, or the file cannot be written.";

/// Show the shutdown report of a past run
///
/// Prints the report as tables. With --html it is written as one page that needs nothing else: with
/// a timeline of phases, hooks, orders and connections, for a browser, a mail or a printer. May be
/// used beside a running gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = REPORT_HELP)]
pub(crate) struct ReportArgs {
    /// The run's number, as `state show runs` tells it [default: the newest with a report]
    #[arg(value_name = "RUN", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) run: Option<i64>,
    /// Write it as a page; the file is replaced
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Print it as JSON, with the run, the exit code, the reasons for it, and the profit by currency
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: super::state_args::StatePlace,
}

/// Print a completion script for a shell
///
/// For example: exchange-gateway completions bash > ~/.local/share/bash-completion/completions/exchange-gateway
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
