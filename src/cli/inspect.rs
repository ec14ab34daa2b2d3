//! `inspect`: the disconnect stages of a JSON log.

use std::io::{self, Write};

use exchange_gateway::observe::{ConnectionTimeline, ExchangeTimeline, Inspector, Run};

use super::args::InspectArgs;
use super::lines::{Line, Lines, open};
use super::{USAGE, output};

/// Broken lines that are named one by one; the others are counted.
const BROKEN_NAMED: u64 = 20;

pub(crate) fn inspect(args: &InspectArgs) -> io::Result<u8> {
    let name = args.log.display();
    let mut lines = match open(&args.log) {
        Ok(reader) => Lines::new(reader),
        Err(error) => {
            eprintln!("{name}: cannot be read: {error}");
            return Ok(USAGE);
        }
    };
    let mut out = output::stdout();
    let mut shown = Shown::default();
    let mut inspector = Inspector::default();
    let mut broken = 0;
    loop {
        let (number, line) = match lines.next() {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(error) => {
                eprintln!("{name}: cannot be read: {error}");
                return Ok(USAGE);
            }
        };
        let problem = match line {
            Line::TooLong => Some("the line is too long".to_owned()),
            Line::Text(text) => match inspector.line(number, &text) {
                Ok(Some(run)) if args.all => {
                    shown.run(&mut out, &run, args.json)?;
                    None
                }
                Ok(_) => None,
                Err(broken) => Some(broken.to_string()),
            },
        };
        if let Some(problem) = problem {
            broken += 1;
            if broken <= BROKEN_NAMED {
                eprintln!("{name}:{number}: broken line, skipped: {problem}");
            }
        }
    }
    if broken > BROKEN_NAMED {
        eprintln!("{name}: {} more broken lines, skipped", broken - BROKEN_NAMED);
    }
    if let Some(run) = inspector.finish() {
        shown.run(&mut out, &run, args.json)?;
    }
    out.flush()?;
    if !shown.has_shutdown {
        let place = if args.all { "it" } else { "its last run" };
        let hint = "; it must be a log that `run --log FILE` or `demo` has written";
        let hint = if broken > 0 { hint } else { "" };
        eprintln!("{name}: no shutdown in {place}{hint}");
        return Ok(USAGE);
    }
    Ok(u8::from(shown.missing))
}

#[derive(Default)]
struct Shown {
    has_shutdown: bool,
    missing: bool,
}

impl Shown {
    fn run(&mut self, out: &mut impl Write, run: &Run, json: bool) -> io::Result<()> {
        self.has_shutdown |= run.has_shutdown();
        let missing = run.missing();
        self.missing |= !missing.is_empty();
        if json {
            let mut value = serde_json::to_value(run)?;
            value["missing"] = serde_json::to_value(&missing)?;
            serde_json::to_writer(&mut *out, &value)?;
            return out.write_all(b"\n");
        }
        let started = run.started.as_deref().unwrap_or("at an unknown time");
        writeln!(out, "Run started {started} (line {})", run.line)?;
        if let Some(shutdown) = &run.shutdown {
            let trigger = &shutdown.trigger;
            match (&shutdown.outcome, shutdown.exit_code) {
                (Some(outcome), Some(code)) => {
                    writeln!(out, "Shutdown by {trigger}: {outcome}, exit code {code}")?;
                }
                _ => writeln!(out, "Shutdown by {trigger}: no verdict")?,
            }
        }
        for exchange in &run.exchanges {
            print_exchange(out, exchange)?;
        }
        if !run.has_shutdown() {
            writeln!(out, "\nNo shutdown: it still runs, or it was killed.")?;
        } else if missing.is_empty() {
            writeln!(out, "\nNothing is missing.")?;
        } else {
            writeln!(out, "\nMissing:")?;
            for missing in &missing {
                writeln!(out, "  - {missing}")?;
            }
        }
        writeln!(out)
    }
}

fn print_exchange(out: &mut impl Write, exchange: &ExchangeTimeline) -> io::Result<()> {
    writeln!(out, "\n{}", exchange.exchange)?;
    for connection in &exchange.connections {
        print_connection(out, connection)?;
    }
    for order in &exchange.orders_left {
        let reason = order.reason.as_deref().unwrap_or("no reason given");
        writeln!(out, "  order {} is not confirmed closed: {reason}", order.order)?;
    }
    if exchange.more_orders_left > 0 {
        writeln!(out, "  and {} more orders", exchange.more_orders_left)?;
    }
    Ok(())
}

fn print_connection(out: &mut impl Write, connection: &ConnectionTimeline) -> io::Result<()> {
    if connection.stages.is_empty() {
        return writeln!(out, "  {:<8}             no stage", connection.connection);
    }
    for (index, entry) in connection.stages.iter().enumerate() {
        let name = if index == 0 { connection.connection.as_str() } else { "" };
        let mut details = Vec::new();
        details.extend(entry.count.map(|count| format!("count {count}")));
        details.extend(entry.unconfirmed.map(|count| format!("unconfirmed {count}")));
        details.extend(entry.code.map(|code| format!("code {code}")));
        details.extend(entry.reason.clone().filter(|reason| !reason.is_empty()));
        let elapsed = entry.elapsed_ms.map_or_else(|| "?".into(), |ms| format!("{ms} ms"));
        let line = format!(
            "  {name:<8} {elapsed:>10}  {:<21} {}",
            entry.stage.as_str(),
            details.join(", ")
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
