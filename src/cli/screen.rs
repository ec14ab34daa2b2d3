//! What the program shows: a table that is redrawn in place on standard output, lines above it
//! that stay, and the log on standard error. A thread writes it, so that nothing else ever waits
//! for a terminal that is held or for a reader who has stopped reading. Where both streams go to
//! the same place one thread writes both, so that log lines cannot tear the table; otherwise each
//! has its own, so that a pipe that nobody reads does not hold back the log.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossterm::{cursor, queue, terminal};

use super::spool::{Refused, Spool, Work};

/// Lines that may wait for a terminal or a pipe; a report is one.
const WAITING: usize = 1024;
/// How long what is said at the end may wait for room.
const PATIENCE: Duration = Duration::from_secs(1);

enum Output {
    /// Takes the place of the table before.
    Table(String),
    /// Takes the table away.
    Clear,
    Line(String),
    Notice(Vec<u8>),
}

struct Streams {
    stdout: Spool<Output>,
    stderr: Spool<Output>,
}

/// The threads are started by the first use.
fn streams() -> &'static Streams {
    static STREAMS: OnceLock<Streams> = OnceLock::new();
    STREAMS.get_or_init(|| {
        let stdout = Spool::start("terminal", WAITING, Screen::new(Stream::Stdout));
        let stderr = if same_place() {
            stdout.clone()
        } else {
            Spool::start("terminal-log", WAITING, Screen::new(Stream::Stderr))
        };
        Streams { stdout, stderr }
    })
}

/// Whether standard output and standard error are the same terminal, pipe or file.
#[cfg(unix)]
fn same_place() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let place = |stream: io::Result<std::os::fd::OwnedFd>| {
        let metadata = std::fs::File::from(stream.ok()?).metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let stdout = place(stdout.as_fd().try_clone_to_owned());
    stdout.is_some() && stdout == place(stderr.as_fd().try_clone_to_owned())
}

/// Whether standard output and standard error are the same terminal.
#[cfg(not(unix))]
fn same_place() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
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
///
/// # Errors
///
/// The reader has left for good.
pub(crate) fn table(text: String) -> io::Result<()> {
    let stale = |last: &Output| matches!(last, Output::Table(_));
    unless_gone(streams().stdout.put_or_replace(Output::Table(text), stale))
}

/// Writes lines that stay to standard output, above the table if there is one. If the reader is
/// too far behind they are dropped, and told as dropped when it reads again.
///
/// # Errors
///
/// The reader has left for good.
pub(crate) fn line(text: &str) -> io::Result<()> {
    unless_gone(streams().stdout.put(Output::Line(text.to_owned())))
}

/// The same for what should not be dropped: waits up to a second for room.
///
/// # Errors
///
/// The reader has left for good.
pub(crate) fn last_line(text: &str) -> io::Result<()> {
    unless_gone(streams().stdout.put_within(Output::Line(text.to_owned()), PATIENCE))
}

/// Takes the table off the terminal; what is written next stands in its place.
///
/// # Errors
///
/// The reader has left for good.
pub(crate) fn clear() -> io::Result<()> {
    let stale = |last: &Output| matches!(last, Output::Table(_));
    unless_gone(streams().stdout.put_or_replace(Output::Clear, stale))
}

/// Writes a line that stays to standard error. A standard error that is gone is nobody's loss.
pub(crate) fn notice(text: &str) {
    _ = streams().stderr.put(Output::Notice(format!("{text}\n").into_bytes()));
}

/// The same for what should not be dropped: waits up to a second for room. Not for those who must
/// not wait.
pub(crate) fn patient_notice(text: &str) {
    let bytes = format!("{text}\n").into_bytes();
    _ = streams().stderr.put_within(Output::Notice(bytes), PATIENCE);
}

fn unless_gone(put: Result<(), Refused>) -> io::Result<()> {
    match put {
        Ok(()) | Err(Refused::Full) => Ok(()),
        Err(Refused::Closed) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Waits up to `limit` until everything has been written, and returns how much was not. Nothing
/// can be shown after this.
pub(crate) fn close(limit: Duration) -> u64 {
    let Streams { stdout, stderr } = streams();
    let began = Instant::now();
    let lost = stdout.close(limit);
    if same_place() {
        return lost;
    }
    if lost > 0 {
        notice(&format!("exchange-gateway: {lost} pieces of output were never read and are lost"));
    }
    // Some time is left to it even if the other took all.
    lost + stderr.close(limit.saturating_sub(began.elapsed()).max(limit / 4))
}

/// Where the log's terminal layer writes: one call a line.
pub(crate) struct LogLine;

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        _ = streams().stderr.put(Output::Notice(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Screen {
    /// Where the loss of lines is told.
    stream: Stream,
    /// The table as it stands on the terminal; empty if there is none.
    table: Vec<String>,
}

enum Stream {
    Stdout,
    Stderr,
}

impl Work for Screen {
    type Item = Output;

    fn work(&mut self, item: Output) -> io::Result<()> {
        match item {
            Output::Table(text) => self.redraw(&text),
            Output::Clear => self.clear(),
            Output::Line(text) => self.line(&text),
            Output::Notice(bytes) => self.to_stderr(&bytes),
        }
    }

    fn lost(&mut self, count: u64) -> io::Result<()> {
        let words = format!("({count} lines were dropped here: nobody read them in time)");
        match self.stream {
            Stream::Stdout => self.line(&words),
            Stream::Stderr => self.to_stderr(format!("{words}\n").as_bytes()),
        }
    }
}

impl Screen {
    fn new(stream: Stream) -> Self {
        Self { stream, table: Vec::new() }
    }

    fn redraw(&mut self, text: &str) -> io::Result<()> {
        let (columns, rows) = terminal::size().unwrap_or((100, 30));
        let fitting = text.lines().take(usize::from(rows.saturating_sub(2)));
        let lines = fitting.map(|line| cut(line, usize::from(columns))).collect();
        let mut out = io::stdout().lock();
        self.erase(&mut out)?;
        self.table = lines;
        self.draw(&mut out)
    }

    fn clear(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.erase(&mut out)?;
        self.table.clear();
        out.flush()
    }

    fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.erase(&mut out)?;
        writeln!(out, "{text}")?;
        self.draw(&mut out)
    }

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
