//! Standard output that tells of a reader who has left instead of panicking.

use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output, buffered. Call [`flush`](Write::flush) at the end: errors at drop are lost.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Writes a text and flushes it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}
