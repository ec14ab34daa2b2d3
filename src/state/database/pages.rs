//! Checksums of every page of the database file, in a file beside it.
//!
//! SQLite's own check and the row checksums leave gaps: free space, free pages, header fields that
//! nothing depends on. The sums cover every byte. They are true because only a checkpoint writes to
//! the database file, and a page that differs from its sum is right if the log still holds it: the
//! sums are brought up to date while the log cannot be overwritten.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Damage;
use super::directory::replace_file;
use super::wal::WalReader;

/// Every database has pages of this size, in bytes. A commit of one order writes three whole pages
/// and a checksum of each, so half of SQLite's usual size is quicker; rows still fit.
pub(super) const PAGE_SIZE: usize = 2048;

pub(super) const DATABASE: &str = "gateway.db";
pub(super) const LOG: &str = "gateway.db-wal";
pub(super) const SUMS: &str = "gateway.db-sums";

const MAGIC: &[u8; 8] = b"EGPSUMS1";

/// Broken pages and frames that are named one by one.
const NAMED: usize = 50;

/// The sums as last saved.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct PageSums {
    pub(super) sums: Vec<u32>,
}

impl PageSums {
    /// `Ok(None)` if there is no such file, an error of kind `InvalidData` if it is broken.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let body = bytes.strip_prefix(MAGIC).filter(|rest| rest.len() % 4 == 0);
        let words = body.map(|body| body.as_chunks::<4>().0);
        let sums = words.and_then(|words| words.split_last()).and_then(|(last, words)| {
            let covered = &bytes[..bytes.len() - 4];
            (crc32fast::hash(covered) == u32::from_le_bytes(*last))
                .then(|| words.iter().map(|word| u32::from_le_bytes(*word)).collect())
        });
        let broken = || io::Error::new(ErrorKind::InvalidData, "its own checksum is wrong");
        sums.map(|sums| Some(Self { sums })).ok_or_else(broken)
    }

    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(12 + self.sums.len() * 4);
        bytes.extend_from_slice(MAGIC);
        for sum in &self.sums {
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        replace_file(path, &bytes)
    }

    /// The sums of a database file as it is.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut sums = Vec::new();
        each_page(path, |_, content| sums.push(crc32fast::hash(content)))?;
        Ok(Self { sums })
    }
}

/// Calls `page` with the number, from 1, and the bytes of every page; the last may be short.
fn each_page(path: &Path, mut page: impl FnMut(usize, &[u8])) -> io::Result<()> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut content = Vec::with_capacity(PAGE_SIZE);
    for number in 1.. {
        content.clear();
        file.by_ref().take(PAGE_SIZE as u64).read_to_end(&mut content)?;
        if content.is_empty() {
            break;
        }
        page(number, &content);
    }
    Ok(())
}

/// Reads single pages.
pub(super) struct PageFile {
    file: File,
}

impl PageFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)? })
    }

    pub(super) fn pages(&self) -> io::Result<usize> {
        let pages = self.file.metadata()?.len() / PAGE_SIZE as u64;
        usize::try_from(pages).map_err(io::Error::other)
    }

    /// The sum of a page, counted from 1.
    pub(super) fn sum(&mut self, page: usize) -> io::Result<u32> {
        let mut content = [0; PAGE_SIZE];
        self.file.seek(SeekFrom::Start((page as u64 - 1) * PAGE_SIZE as u64))?;
        self.file.read_exact(&mut content)?;
        Ok(crc32fast::hash(&content))
    }
}

/// How the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LogState {
    /// As it should, or within a transaction that nobody was told of.
    #[default]
    Sound,
    /// With frames that are broken and nothing sound after them: power was lost, or bits flipped.
    Torn,
    /// Sound frames follow broken ones: bits flipped, and SQLite would drop what follows.
    Broken,
}

/// What the bytes of the files say, without SQLite.
#[derive(Debug, Default)]
pub(super) struct RawCheck {
    pub(super) pages: u64,
    pub(super) frames: u64,
    pub(super) damaged: Vec<Damage>,
    pub(super) notes: Vec<String>,
    pub(super) log: LogState,
    /// The sums as saved, if they are there and sound.
    pub(super) sums: Option<PageSums>,
}

/// Checks every byte of the database, its log and its sums in a directory.
pub(super) fn check(directory: &Path) -> Result<RawCheck, (PathBuf, io::Error)> {
    let mut check = RawCheck::default();
    let log = directory.join(LOG);
    let newer = check.read_log(&log).map_err(|error| (log, error))?;

    let path = directory.join(SUMS);
    check.sums = match PageSums::load(&path) {
        Ok(Some(sums)) => Some(sums),
        Ok(None) => {
            let reason = "the page checksums are missing: they were removed, or an older copy of \
                the directory was put in place";
            check.damaged.push(Damage::file(SUMS, reason));
            None
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            check.damaged.push(Damage::file(SUMS, error.to_string()));
            None
        }
        Err(error) => return Err((path, error)),
    };
    let path = directory.join(DATABASE);
    check.read_pages(&path, &newer).map_err(|error| (path, error))?;
    Ok(check)
}

impl RawCheck {
    fn damage(&mut self, damage: Damage) {
        if self.damaged.len() < NAMED {
            self.damaged.push(damage);
        }
    }

    /// Reads the log and returns, for each page in it, the sums that it may have.
    fn read_log(&mut self, path: &Path) -> io::Result<HashMap<u32, Vec<u32>>> {
        let mut newer: HashMap<u32, Vec<u32>> = HashMap::new();
        let Some(mut reader) = WalReader::open(path)? else {
            if path.metadata().is_ok_and(|file| file.len() > 0) {
                self.notes.push("the log ends within its header: it holds nothing".to_owned());
            }
            return Ok(newer);
        };
        if !reader.header_is_sound() {
            self.log = LogState::Broken;
            self.damage(Damage::log(
                "header",
                "the log's header is broken: SQLite ignores the log",
            ));
        }
        let mut open = Vec::new();
        while let Some(frame) = reader.next()? {
            self.frames = frame.number;
            if !frame.sound {
                if self.log == LogState::Sound {
                    self.log = LogState::Torn;
                }
                let reason = format!("wrong checksum of a copy of page {}", frame.page);
                self.damage(Damage::log(&format!("frame {}", frame.number), reason));
                continue;
            }
            if self.log == LogState::Torn {
                self.log = LogState::Broken;
            }
            open.push((frame.page, crc32fast::hash(frame.content.as_slice())));
            if frame.commits {
                for (page, sum) in open.drain(..) {
                    newer.entry(page).or_default().push(sum);
                }
            }
        }
        if !open.is_empty() || reader.rest > 0 {
            let frames = open.len();
            self.notes.push(format!(
                "the log ends within a transaction ({frames} frames and {} bytes), which nobody \
                 was told of",
                reader.rest
            ));
        }
        Ok(newer)
    }

    fn read_pages(&mut self, path: &Path, newer: &HashMap<u32, Vec<u32>>) -> io::Result<()> {
        let sums = self.sums.clone();
        let mut pages = 0;
        each_page(path, |number, content| {
            pages = number;
            let Some(sums) = &sums else { return };
            let sum = crc32fast::hash(content);
            let whole = content.len() == PAGE_SIZE;
            if whole && sums.sums.get(number - 1) == Some(&sum) {
                return;
            }
            let in_log = u32::try_from(number).ok().and_then(|number| newer.get(&number));
            match in_log {
                Some(sums) if sums.contains(&sum) => {}
                Some(_) => self.notes.push(format!(
                    "page {number} differs from its checksum; the log holds a newer one, which \
                     replaces it"
                )),
                None => self.damage(Damage::page(number, "differs from its checksum")),
            }
        })?;
        let expected = sums.map_or(0, |sums| sums.sums.len());
        if pages < expected {
            self.damage(Damage::page(
                pages + 1,
                format!("the file ends before it; it had {expected} pages"),
            ));
        }
        self.pages = pages as u64;
        Ok(())
    }
}
