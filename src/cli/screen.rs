//! The terminal has one writer: a table that is redrawn in place on standard output, and lines
//! above it that stay. Log lines take the same lock, so they cannot tear the table.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crossterm::{cursor, queue, terminal};

struct Screen {
    /// The table as it stands on the terminal; empty if there is none.
    table: Vec<String>,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen { table: Vec::new() });

fn with_screen<T>(work: impl FnOnce(&mut Screen) -> T) -> T {
    work(&mut SCREEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether standard output is a terminal on which a table can be redrawn.
pub(crate) fn is_live() -> bool {
    io::stdout().is_terminal()
}

/// Whether log lines may be coloured.
pub(crate) fn stderr_colors() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether tables may be coloured.
pub(crate) fn stdout_colors() -> bool {
    is_live() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows this table in place of the one before. Lines that do not fit are cut, because a wrapped
/// line could not be taken back.
pub(crate) fn table(text: &str) -> io::Result<()> {
    let (columns, rows) = terminal::size().unwrap_or((100, 30));
    let fitting = text.lines().take(usize::from(rows.saturating_sub(2)));
    let lines = fitting.map(|line| cut(line, usize::from(columns))).collect();
    with_screen(|screen| {
        let mut out = io::stdout().lock();
        screen.erase(&mut out)?;
        screen.table = lines;
        screen.draw(&mut out)
    })
}

/// The beginning of a line that is shown in so many columns; escape sequences take none.
fn cut(line: &str, columns: usize) -> String {
    let mut kept = String::with_capacity(line.len());
    let (mut shown, mut escape) = (0, false);
    for character in line.chars() {
        if escape {
            escape = !character.is_ascii_alphabetic();
        } else if character == '\x1b' {
            escape = true;
        } else {
            shown += 1;
            if shown > columns {
                // What was cut may have been the end of a colour.
                kept.push_str("\x1b[0m");
                break;
            }
        }
        kept.push(character);
    }
    kept
}

/// Writes lines that stay to standard output, above the table if there is one.
pub(crate) fn line(text: &str) -> io::Result<()> {
    with_screen(|screen| {
        let mut out = io::stdout().lock();
        screen.erase(&mut out)?;
        writeln!(out, "{text}")?;
        screen.draw(&mut out)
    })
}

/// Takes the table off the terminal; what is written next stands in its place.
pub(crate) fn clear() -> io::Result<()> {
    with_screen(|screen| {
        let mut out = io::stdout().lock();
        screen.erase(&mut out)?;
        screen.table.clear();
        out.flush()
    })
}

/// Writes a line that stays to standard error. A standard error that is gone is nobody's loss.
pub(crate) fn notice(text: &str) {
    with_screen(|screen| _ = screen.to_stderr(format!("{text}\n").as_bytes()));
}

/// Where the log's terminal layer writes: one call a line.
pub(crate) struct LogLine;

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with_screen(|screen| screen.to_stderr(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Screen {
    fn to_stderr(&self, bytes: &[u8]) -> io::Result<()> {
        // Standard error that goes elsewhere does not touch the table.
        if self.table.is_empty() || !io::stderr().is_terminal() {
            return io::stderr().lock().write_all(bytes);
        }
        let mut out = io::stdout().lock();
        self.erase(&mut out)?;
        out.flush()?;
        io::stderr().lock().write_all(bytes)?;
        self.draw(&mut out)
    }

    fn erase(&self, out: &mut impl Write) -> io::Result<()> {
        if self.table.is_empty() {
            return Ok(());
        }
        let up = u16::try_from(self.table.len()).unwrap_or(u16::MAX);
        queue!(
            out,
            cursor::MoveToPreviousLine(up),
            terminal::Clear(terminal::ClearType::FromCursorDown)
        )
    }

    fn draw(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.table {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("\x1b[1mabc\x1b[0m", 3), "\x1b[1mabc\x1b[0m");
        assert_eq!(cut("\x1b[38;5;10mäbcd", 2), "\x1b[38;5;10mäb\x1b[0m");
        assert_eq!(cut("", 0), "");
    }
}
