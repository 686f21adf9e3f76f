//! From record to record, and cuts between them.

use bytes::Bytes;

use super::{
    Malformation, RECORDS_TAG,
    wire::{Cursor, Fault},
};

impl Cursor<'_> {
    /// Where the bytes of the next record of a set are; moves past them.
    #[inline]
    pub(super) fn record(&mut self) -> Result<std::ops::Range<usize>, Fault> {
        self.tag(RECORDS_TAG).map_err(|found| Fault {
            position: self.position(),
            problem: found.map_or(Malformation::Cut, |found| Malformation::NotARecord { found }),
        })?;
        self.delimited()
    }
}

/// The records of a set that [`super::check`] accepted, each a protobuf `Record` that shares the set's memory. Ends where
/// the bytes stop being records.
#[must_use]
pub fn records(record_set: &Bytes) -> Records {
    Records {
        record_set: record_set.clone(),
        at: 0,
    }
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records {
    record_set: Bytes,
    at: usize,
}

impl Iterator for Records {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut cursor = Cursor::new(&self.record_set, self.at..self.record_set.len());
        let record = cursor.record().ok()?;
        self.at = cursor.position();
        Some(self.record_set.slice(record))
    }
}

/// The set without its first `count` records; empty when it has no more. Shares the memory.
#[must_use]
pub fn skip(record_set: &Bytes, count: u32) -> Bytes {
    record_set.slice(boundary(record_set, count)..)
}

/// The set's first `count` records; all of it when it has no more. Shares the memory.
#[must_use]
pub fn take(record_set: &Bytes, count: u32) -> Bytes {
    record_set.slice(..boundary(record_set, count))
}

/// The position behind the first `count` records.
fn boundary(record_set: &[u8], count: u32) -> usize {
    let mut cursor = Cursor::new(record_set, 0..record_set.len());
    for _ in 0..count {
        if cursor.record().is_err() {
            return record_set.len();
        }
    }
    cursor.position()
}
