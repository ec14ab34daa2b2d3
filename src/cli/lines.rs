//! Lines of a file that nobody vouches for: long ones do not fill the memory, and ones that are no
//! text do not end the reading.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// A longer line is no message and no log line.
const MAX_LINE: usize = 4 << 20;

/// Opens a file, or the standard input for `-`.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    // Opening a directory succeeds on Linux and reading it fails; say it at once.
    if path.is_dir() {
        return Err(io::Error::other("is a directory"));
    }
    Ok(Box::new(BufReader::with_capacity(64 << 10, std::fs::File::open(path)?)))
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its text, without the line end.
    Text(String),
    /// It is longer than 4 MiB; it has been skipped.
    TooLong,
}

/// Numbered lines of a reader.
pub(crate) struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, number: 0 }
    }

    /// The next line with its number, from 1. Bytes that are no UTF-8 become replacement
    /// characters, which no JSON outside its strings allows.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line)>> {
        let mut bytes = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        if self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.len() > MAX_LINE && bytes.last() != Some(&b'\n') {
            self.skip_rest()?;
            return Ok(Some((self.number, Line::TooLong)));
        }
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Some((self.number, Line::Text(text))))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(used);
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_too_long_is_skipped_and_the_next_is_read() {
        let mut text = vec![b'x'; MAX_LINE + 10];
        text.extend_from_slice(b"\nnext\r\n\xff\nlast");
        let mut lines = Lines::new(text.as_slice());
        assert_eq!(lines.next().unwrap(), Some((1, Line::TooLong)));
        assert_eq!(lines.next().unwrap(), Some((2, Line::Text("next".into()))));
        assert_eq!(lines.next().unwrap(), Some((3, Line::Text("\u{fffd}".into()))));
        assert_eq!(lines.next().unwrap(), Some((4, Line::Text("last".into()))));
        assert_eq!(lines.next().unwrap(), None);
    }
}
