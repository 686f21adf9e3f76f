//! What readers see: an immutable picture of the log, read without asking any actor.

use bytes::Bytes;

use crate::types::{LogIndex, Offset, Term, TimestampMs};

use super::ReadError;

/// A batch as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// How many records it holds; at least 1.
    pub record_count: u32,
    /// When the leader took it.
    pub timestamp: TimestampMs,
    /// The term it was appended in.
    pub term: Term,
    /// Number of the entry that carries it.
    pub log_index: LogIndex,
    /// A protobuf `RecordSet`, byte for byte as the producer sent it.
    pub records: Bytes,
}

/// What one read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whole batches in order. The first may begin before the offset asked for, the last may reach past `below`.
    pub batches: Vec<StoredBatch>,
    /// Where to go on; at most `below`.
    pub next_offset: Offset,
}

/// An immutable picture of the log's segments.
#[derive(Debug)]
pub struct LogView {}

impl LogView {
    /// The oldest readable offset.
    #[must_use]
    pub fn earliest(&self) -> Offset {
        unimplemented!()
    }

    /// Batches that hold records of `[from, below)`, up to about `bytes_max` of records but at least one batch.
    /// Empty when `from >= below`.
    ///
    /// Blocking: reads files. Errors: `ReadError::Trimmed` when `from` is below the earliest offset; `ReadError::Corrupt`.
    pub fn read(&self, _from: Offset, _below: Offset, _bytes_max: usize) -> Result<Chunk, ReadError> {
        unimplemented!()
    }

    /// The same from memory alone; `None` when the batch at `from` is not in the tail cache. Never blocks.
    #[must_use]
    pub fn read_cached(&self, _from: Offset, _below: Offset, _bytes_max: usize) -> Option<Chunk> {
        unimplemented!()
    }

    /// First offset of the first batch below `below` whose timestamp is `at` or later; `below` when there is none.
    ///
    /// Blocking: reads files.
    pub fn offset_at(&self, _at: TimestampMs, _below: Offset) -> Result<Offset, ReadError> {
        unimplemented!()
    }

    /// The segments, oldest first.
    ///
    /// Blocking: may read segment headers.
    pub fn describe(&self) -> Result<Vec<SegmentDescription>, ReadError> {
        unimplemented!()
    }
}

/// One segment, as told to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDescription {
    /// Its first entry; also its name.
    pub first_log_index: LogIndex,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Bytes of its store that hold data.
    pub bytes: u64,
    /// Whether it takes appends.
    pub active: bool,
    /// When it was made.
    pub created: TimestampMs,
}
