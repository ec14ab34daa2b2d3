//! The command line: one file a subcommand.

mod args;
mod check;
mod completions;
mod decode;
mod decode_events;
mod inspect;
mod lines;
mod output;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// Wrong usage or a faulty configuration.
const USAGE: u8 = 2;

/// Runs the program and returns its exit code.
pub(crate) fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Check(args) => check::check(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Decode(args) => decode::decode(&args),
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
