//! The command line: one file a subcommand.

mod args;
mod bounded;
mod check;
mod completions;
mod decode;
mod decode_events;
mod demo;
mod drain;
mod inspect;
mod json_log;
mod ledger_table;
mod lines;
mod logging;
mod output;
mod reload;
mod report;
mod report_table;
mod risk;
mod run;
mod screen;
mod spool;
mod state;
mod state_args;
mod systemd;
mod view;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// Wrong usage or a faulty configuration.
const USAGE: u8 = 2;
/// There is no gateway; no order has been sent.
const NOT_STARTED: u8 = 1;

/// Runs the program and returns its exit code.
pub(crate) fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Demo(args) => demo::demo(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Decode(args) => decode::decode(&args),
        Command::State(args) => state::state(&args),
        Command::Risk(args) => risk::risk(&args),
        Command::Report(args) => report::report(&args),
        Command::Drain(args) => drain::drain(&args),
        Command::Completions(args) => completions::completions(&args),
    };
    let code = result.unwrap_or_else(|error| {
        // The reader of our output has left, as `head` does: nothing is wrong, and nobody listens.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return 0;
        }
        eprintln!("exchange-gateway: cannot write output: {error}");
        USAGE
    });
    ExitCode::from(code)
}
