//! `decode`: recorded messages as normalised events, one JSON object a line.

use std::io::{self, BufRead, Write};
use std::path::Path;

use exchange_gateway::exchange::{AdapterSetup, ConnectionKind};
use exchange_gateway::types::ExchangeName;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::USAGE;
use super::args::DecodeArgs;
use super::decode_events::{Decoder, error};
use super::lines::{Line, Lines, open};
use super::output;

/// A document over several lines is held as a whole, so its size is bounded.
const MAX_DOCUMENT: usize = 16 << 20;

pub(crate) fn decode(args: &DecodeArgs) -> io::Result<u8> {
    let kind = args.exchange;
    let Ok(exchange) = ExchangeName::new(kind.as_str()) else { return Ok(USAGE) };
    let setup = AdapterSetup { exchange, endpoints: kind.production(), credentials: None };
    let decoder = Decoder::new(kind.build(setup), ConnectionKind::from(args.connection));
    let mut printer = Printer { out: output::stdout(), decoder, unreadable: false };
    for file in &args.files {
        printer.file(file)?;
    }
    printer.out.flush()?;
    Ok(u8::from(printer.unreadable))
}

struct Printer<W: Write> {
    out: W,
    decoder: Decoder,
    unreadable: bool,
}

impl<W: Write> Printer<W> {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let name = path.display().to_string();
        let reader = match open(path) {
            Ok(reader) => reader,
            Err(failure) => return self.fault(&name, None, &format!("cannot be read: {failure}")),
        };
        let mut lines = Lines::new(reader);
        // Many lines that are each a document, or documents over several lines: the first line
        // tells, because a line that is whole by itself is a message by itself.
        loop {
            let (number, line) = match lines.next() {
                Ok(Some((_, Line::Text(text)))) if text.trim().is_empty() => continue,
                Ok(Some((number, Line::Text(text)))) => (number, text),
                Ok(Some((number, Line::TooLong))) => {
                    self.fault(&name, Some(number), "the line is too long")?;
                    continue;
                }
                Ok(None) => return Ok(()),
                Err(failure) => {
                    return self.fault(&name, None, &format!("cannot be read: {failure}"));
                }
            };
            match serde_json::from_str::<IgnoredAny>(&line) {
                Err(failure) if failure.is_eof() => {
                    self.spanning(&name, number, line, &mut lines)?;
                }
                _ => self.message(&name, number, &line)?,
            }
            // Somebody may follow a live stream.
            self.out.flush()?;
        }
    }

    /// A document that began on a line and is not whole there: it ends on a later line. If none
    /// ends it, the line was damaged, and the others are messages of their own.
    fn spanning(
        &mut self,
        name: &str,
        first: u64,
        line: String,
        lines: &mut Lines<impl BufRead>,
    ) -> io::Result<()> {
        let mut held = vec![(first, line.clone())];
        let mut document = line;
        let reason = loop {
            let (number, text) = match lines.next() {
                Ok(Some((number, Line::Text(text)))) => (number, text),
                Ok(Some((_, Line::TooLong))) => break "a line of the document is too long".into(),
                Ok(None) => break "the document has no end".into(),
                Err(failure) => break format!("cannot be read: {failure}"),
            };
            document.push('\n');
            document.push_str(&text);
            held.push((number, text));
            if document.len() > MAX_DOCUMENT {
                break "the document is too long".into();
            }
            match serde_json::from_str::<IgnoredAny>(&document) {
                Ok(_) => return self.message(name, first, &document),
                Err(failure) if failure.is_eof() => {}
                Err(failure) => {
                    let line = first + failure.line() as u64 - 1;
                    break format!("{} (line {line})", without_place(&failure));
                }
            }
        };
        self.fault(name, Some(first), &reason)?;
        for (number, text) in held.into_iter().skip(1) {
            if text.starts_with('{') && serde_json::from_str::<IgnoredAny>(&text).is_ok() {
                self.message(name, number, &text)?;
            }
        }
        Ok(())
    }

    fn message(&mut self, name: &str, line: u64, text: &str) -> io::Result<()> {
        for event in self.decoder.decode(text) {
            self.print(event, name, Some(line))?;
        }
        Ok(())
    }

    fn fault(&mut self, name: &str, line: Option<u64>, reason: &str) -> io::Result<()> {
        self.print(error(reason), name, line)
    }

    fn print(
        &mut self,
        mut event: Map<String, Value>,
        name: &str,
        line: Option<u64>,
    ) -> io::Result<()> {
        self.unreadable |= event.get("event").is_some_and(|event| event == "error");
        event.insert("file".into(), name.into());
        if let Some(line) = line {
            event.insert("line".into(), line.into());
        }
        // What it is comes first, for those who read it by eye.
        let kind = event.remove("event").unwrap_or_default();
        let rest = Value::Object(event).to_string();
        writeln!(self.out, "{{\"event\":{kind},{}", &rest[1..])
    }
}

/// The words of a JSON error, without the place that it counts from the document's beginning.
fn without_place(failure: &serde_json::Error) -> String {
    let text = failure.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
