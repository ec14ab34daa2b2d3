//! One file that holds what the database and its log hold together, made without SQLite, so that
//! looking at a broken database changes nothing about it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use url::Url;

use super::StateError;
use super::pages::{DATABASE, LOG, PAGE_SIZE, PageSums};
use super::wal::{Frame, WalReader};

/// A file that is removed when this is dropped.
pub(super) struct TemporaryFile(pub(super) PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What cannot be removed stays, under a name that says what it is.
        _ = std::fs::remove_file(&self.0);
    }
}

/// Copies the database to `target` and applies every committed transaction of its log, sound or
/// not: the row checksums tell what is to be believed. With `sums`, a page in which one byte is
/// wrong is put right. Returns the pages put right.
pub(super) fn build(
    directory: &Path,
    target: &Path,
    sums: Option<&PageSums>,
) -> io::Result<Vec<usize>> {
    std::fs::copy(directory.join(DATABASE), target)?;
    let mut file = File::options().read(true).write(true).open(target)?;
    let mut repaired = Vec::new();
    if let Some(sums) = sums {
        let mut content = [0; PAGE_SIZE];
        for (index, sum) in sums.sums.iter().enumerate() {
            let start = SeekFrom::Start((index * PAGE_SIZE) as u64);
            file.seek(start)?;
            if file.read_exact(&mut content).is_err() {
                break;
            }
            if crc32fast::hash(&content) != *sum && put_right(&mut content, *sum) {
                file.seek(start)?;
                file.write_all(&content)?;
                repaired.push(index + 1);
            }
        }
    }
    let pages = file.metadata()?.len() / PAGE_SIZE as u64;
    let Some(mut log) = WalReader::open(&directory.join(LOG))? else { return Ok(repaired) };
    let mut transaction: Vec<Frame> = Vec::new();
    while let Some(frame) = log.next()? {
        let commits = frame.commits;
        // The page number of a broken frame may be anything.
        if (1..=pages + frame.number).contains(&u64::from(frame.page)) {
            transaction.push(frame);
        }
        if commits {
            for frame in transaction.drain(..) {
                let start = (u64::from(frame.page) - 1) * PAGE_SIZE as u64;
                file.seek(SeekFrom::Start(start))?;
                file.write_all(frame.content.as_slice())?;
                repaired.retain(|page| *page as u64 != u64::from(frame.page));
            }
        }
    }
    Ok(repaired)
}

/// Opens a database file that nobody changes, without a lock and without a log.
pub(super) fn open_immutable(path: &Path) -> Result<Connection, StateError> {
    let absolute = std::path::absolute(path).map_err(|error| StateError::read(path, &error))?;
    let mut url = Url::from_file_path(&absolute).map_err(|()| {
        let reason = "its path is no text".to_owned();
        StateError::Read { path: path.to_owned(), reason }
    })?;
    url.set_query(Some("mode=ro&immutable=1"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(url.as_str(), flags)
        .map_err(|error| StateError::database(path, "cannot open it", error))
}

/// Finds the one byte whose change gives the page its sum, and changes it. `false` if there is
/// none, or more than one. Works backwards from the end: the difference of the sums, taken back
/// through the bytes after the wrong one, is the table's entry for the difference of that byte.
fn put_right(content: &mut [u8; PAGE_SIZE], sum: u32) -> bool {
    let table = crc_table();
    let mut by_top = [0_u8; 256];
    for (index, entry) in (0_u8..=255).zip(table) {
        by_top[(entry >> 24) as usize] = index;
    }
    let mut difference = crc32fast::hash(content) ^ sum;
    let mut found = None;
    for place in (0..PAGE_SIZE).rev() {
        let index = by_top[(difference >> 24) as usize];
        let entry = table[usize::from(index)];
        if entry == difference && index != 0 {
            if found.is_some() {
                return false;
            }
            found = Some((place, index));
        }
        difference = ((difference ^ entry) << 8) | u32::from(index);
    }
    let Some((place, index)) = found else { return false };
    content[place] ^= index;
    crc32fast::hash(content) == sum
}

fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    for (entry, index) in table.iter_mut().zip(0_u32..) {
        *entry = (0..8).fold(
            index,
            |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
            },
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_byte_anywhere_in_a_page_is_put_right_and_two_are_not() {
        let mut page = [0; PAGE_SIZE];
        for (index, byte) in page.iter_mut().enumerate() {
            *byte = u8::try_from(index * 31 % 251).unwrap();
        }
        let sum = crc32fast::hash(&page);
        for place in [0, 1, 17, 1024, PAGE_SIZE - 2, PAGE_SIZE - 1] {
            for flip in [1, 0x80, 0xff] {
                let mut broken = page;
                broken[place] ^= flip;
                assert!(put_right(&mut broken, sum), "byte {place}, flip {flip}");
                assert!(broken == page);
            }
        }
        let mut broken = page;
        broken[5] ^= 1;
        broken[1500] ^= 1;
        assert!(!put_right(&mut broken, sum));
    }
}
