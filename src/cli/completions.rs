//! `completions`: a completion script for a shell.

use std::io;

use clap::CommandFactory;

use super::args::{Args, CompletionsArgs};
use super::output;

pub(crate) fn completions(args: &CompletionsArgs) -> io::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "exchange-gateway", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
