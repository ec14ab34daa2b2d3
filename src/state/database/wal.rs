//! The write-ahead log as the file format describes it (<https://sqlite.org/fileformat2.html#walformat>).
//!
//! SQLite takes the first frame whose checksum is wrong for the end of the log, so one flipped bit
//! silently takes back every transaction after it. Here the log is read on: each frame's checksum
//! is chained to the one before, and the stored one of a broken frame leads to the next.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::pages::PAGE_SIZE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: u64 = (FRAME_HEADER + PAGE_SIZE) as u64;

/// Where a reader stands: after a frame whose transaction is committed, or at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    frame: u64,
    seed: (u32, u32),
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    big_endian: bool,
    salts: [u32; 2],
    seed: (u32, u32),
    sound: bool,
}

/// One frame: a page as a transaction left it.
#[derive(Debug)]
pub(super) struct Frame {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) page: u32,
    /// Whether it is the last of its transaction.
    pub(super) commits: bool,
    /// Whether checksum and salts are right.
    pub(super) sound: bool,
    pub(super) content: Box<[u8; PAGE_SIZE]>,
}

/// A log, read frame by frame.
pub(super) struct WalReader {
    file: BufReader<File>,
    header: Header,
    position: Position,
    frames: u64,
    /// Bytes after the last whole frame.
    pub(super) rest: u64,
}

impl WalReader {
    /// `None` if there is no log, or not even its header.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let Some(body) = length.checked_sub(HEADER as u64) else { return Ok(None) };
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut bytes = [0; HEADER];
        file.read_exact(&mut bytes)?;
        let header = Header::read(&bytes);
        let position = Position { frame: 0, seed: header.seed };
        Ok(Some(Self { file, header, position, frames: body / FRAME, rest: body % FRAME }))
    }

    pub(super) fn header_is_sound(&self) -> bool {
        self.header.sound
    }

    /// The next frame, sound or not. `None` at the end of the file, or where what is left is
    /// a remnant of an earlier, finished log.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        if self.position.frame >= self.frames {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEADER];
        let mut content = Box::new([0; PAGE_SIZE]);
        self.file.read_exact(&mut head)?;
        self.file.read_exact(content.as_mut_slice())?;
        let word = |at: usize| be(&head[at..]);
        let salts = [word(8), word(12)];
        let [first, second] = self.header.salts;
        if salts[0] == first.wrapping_sub(1) && salts[1] != second && self.header.sound {
            return Ok(None);
        }
        let stored = (word(16), word(20));
        let endian = self.header.big_endian;
        let sum = checksum(endian, self.position.seed, &head[..8]);
        let sum = checksum(endian, sum, content.as_slice());
        let number = self.position.frame + 1;
        self.position = Position { frame: number, seed: stored };
        Ok(Some(Frame {
            number,
            page: word(0),
            commits: word(4) != 0,
            sound: sum == stored && salts == self.header.salts,
            content,
        }))
    }
}

/// Reads committed frames as they come, for the checkpoints of a running gateway.
#[derive(Debug, Default)]
pub(super) struct WalFollower {
    /// The log and the place in it where the last reading ended.
    known: Option<(Header, Position)>,
}

impl WalFollower {
    /// Calls `seen` with the page and checksum of every frame committed since the last call.
    pub(super) fn follow(&mut self, path: &Path, mut seen: impl FnMut(u32, u32)) -> io::Result<()> {
        let Some(mut reader) = WalReader::open(path)? else { return Ok(()) };
        match self.known {
            Some((header, position)) if header == reader.header => {
                let offset = HEADER as u64 + position.frame * FRAME;
                reader.file.seek(SeekFrom::Start(offset))?;
                reader.position = position;
            }
            _ => self.known = Some((reader.header, reader.position)),
        }
        let mut open = Vec::new();
        while let Some(frame) = reader.next()? {
            if !frame.sound {
                break;
            }
            open.push((frame.page, crc32fast::hash(frame.content.as_slice())));
            if frame.commits {
                self.known = Some((reader.header, reader.position));
                open.drain(..).for_each(|(page, sum)| seen(page, sum));
            }
        }
        Ok(())
    }
}

impl Header {
    fn read(bytes: &[u8; HEADER]) -> Self {
        let word = |at: usize| be(&bytes[at..]);
        let big_endian = word(0) & 1 == 1;
        let seed = checksum(big_endian, (0, 0), &bytes[..24]);
        let sound = matches!(word(0), 0x377f_0682 | 0x377f_0683)
            && word(4) == 3_007_000
            && usize::try_from(word(8)) == Ok(PAGE_SIZE)
            && seed == (word(24), word(28));
        // A broken header still tells, most likely, what the first frame is chained to.
        Self { big_endian, salts: [word(16), word(20)], seed: (word(24), word(28)), sound }
    }
}

fn be(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn checksum(big_endian: bool, seed: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let (mut first, mut second) = seed;
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    (first, second)
}
