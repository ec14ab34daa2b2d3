//! Row checksums: a CRC-32 over a canonical encoding of the table, the key and every column.

use std::borrow::Cow;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// One column of one row. Tables are strict and hold nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
}

impl<'a> Cell<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn optional(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// `None` if the column holds what no strict table of ours can hold.
    pub(super) fn read(value: ValueRef<'a>) -> Option<Self> {
        match value {
            ValueRef::Null => Some(Self::Null),
            ValueRef::Integer(number) => Some(Self::Integer(number)),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(Self::text),
            ValueRef::Real(_) | ValueRef::Blob(_) => None,
        }
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The checksum of a row. Lengths are part of the encoding, so no two rows share one encoding.
pub(super) fn row_checksum(table: &str, cells: &[Cell<'_>]) -> u32 {
    // One buffer and one pass: the hash is slow to start and quick to run.
    let mut encoded = Vec::with_capacity(512);
    let text = |tag: u8, bytes: &[u8], encoded: &mut Vec<u8>| {
        encoded.push(tag);
        encoded.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        encoded.extend_from_slice(bytes);
    };
    text(3, table.as_bytes(), &mut encoded);
    for cell in cells {
        match cell {
            Cell::Null => encoded.push(0),
            Cell::Integer(number) => {
                encoded.push(1);
                encoded.extend_from_slice(&number.to_le_bytes());
            }
            Cell::Text(value) => text(2, value.as_bytes(), &mut encoded),
        }
    }
    crc32fast::hash(&encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_key_order_and_kind_of_column_all_count() {
        let row = [Cell::text("a"), Cell::Integer(1), Cell::Null];
        let sum = row_checksum("orders", &row);
        assert_eq!(sum, row_checksum("orders", &row));
        assert_ne!(sum, row_checksum("fills", &row));
        let swapped = [Cell::Integer(1), Cell::text("a"), Cell::Null];
        assert_ne!(sum, row_checksum("orders", &swapped));
        assert_ne!(sum, row_checksum("orders", &row[..2]));
        assert_ne!(
            row_checksum("t", &[Cell::text("ab"), Cell::text("c")]),
            row_checksum("t", &[Cell::text("a"), Cell::text("bc")])
        );
    }
}
