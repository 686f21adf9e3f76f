//! What readers see: an immutable picture of the log, read without asking any actor.

mod log_ids;
mod scrub;
mod segments;

pub(super) use scrub::check_frames;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::types::{LogIndex, Offset, Position, Term, TimestampMs};

use super::{
    Damage, ReadEntriesError, ReadError, entry::Entry, segment::SegmentReader, tail_cache::TailCache,
};

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
pub struct LogView {
    /// Oldest first.
    segments: Vec<Arc<SegmentReader>>,
    begins: Begins,
    trim_point: Offset,
    cache: Arc<TailCache>,
    damage: Option<Damage>,
    kept: Kept,
}

/// Where a log begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begins {
    /// The oldest readable offset.
    pub(super) earliest: Offset,
    /// Nothing before the first segment can be missing; where that is not known, no other node is to begin there.
    pub(super) rightly: bool,
}

/// Which segments have not been trimmed, also since a picture was made; shared by the log and its pictures.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// The first entry of the first segment.
    from: Arc<AtomicU64>,
}

impl Kept {
    /// Segments that begin before `from` are about to be removed.
    pub(super) fn set_from(&self, from: LogIndex) {
        self.from.store(from.get(), Ordering::Release);
    }

    fn from(&self) -> LogIndex {
        LogIndex(self.from.load(Ordering::Acquire))
    }
}

impl LogView {
    pub(super) fn new(
        segments: Vec<Arc<SegmentReader>>,
        begins: Begins,
        cache: Arc<TailCache>,
        damage: Option<Damage>,
        kept: Kept,
    ) -> Self {
        Self {
            segments,
            begins,
            trim_point: Offset::ZERO,
            cache,
            damage,
            kept,
        }
    }

    /// The same of a log that is trimmed below `trim_point`, by what is committed.
    pub(super) fn trimmed_below(self, trim_point: Offset) -> Self {
        Self { trim_point, ..self }
    }

    /// The picture of a log before it is opened: nothing.
    #[must_use]
    pub fn unopened() -> Self {
        let cache = Arc::new(TailCache::new(0));
        let begins = Begins {
            earliest: Offset::ZERO,
            rightly: true,
        };
        Self::new(Vec::new(), begins, cache, None, Kept::default())
    }

    /// The oldest readable offset.
    #[must_use]
    pub fn earliest(&self) -> Offset {
        self.begins.earliest
    }

    /// Entries below this should be there and are not, since the first segments are missing; `None` when none is.
    #[must_use]
    pub fn missing_below(&self) -> Option<LogIndex> {
        let [first, next, ..] = self.segments.as_slice() else {
            return None;
        };
        first.is_missing().then(|| next.first_log_index())
    }

    /// Below this the log is trimmed, by what is committed. The earliest offset may be higher where segments are missing.
    #[must_use]
    pub fn trim_point(&self) -> Offset {
        self.trim_point
    }

    /// Why nothing can be read behind the last record that is: there were more, and they are damaged (G6).
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Batches that hold records of `[from, below)`, up to about `bytes_max` of records but at least one batch.
    /// Empty when `from >= below`. `below` is at most the high watermark (LOG-4).
    ///
    /// Blocking: reads files. Errors: `ReadError::Trimmed` when `from` is below the earliest offset; `ReadError::Corrupt`.
    pub fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<Chunk, ReadError> {
        if from < self.begins.earliest {
            return Err(ReadError::Trimmed {
                offset: from,
                earliest: self.begins.earliest,
            });
        }
        if from >= below {
            return Ok(Chunk {
                batches: Vec::new(),
                next_offset: from,
            });
        }
        let mut number = self.segment_of(from);
        while let Some(segment) = self.segments.get(number) {
            let chunk = segment
                .read(from, below, bytes_max)
                .map_err(|error| self.gone(segment, error, from))?;
            if !chunk.batches.is_empty() {
                return Ok(chunk);
            }
            number += 1;
            let Some(next) = self.segments.get(number) else {
                break;
            };
            let face = next.face().map_err(|error| self.gone(next, error, from))?;
            if face.first_offset > from {
                return Err(self.missing(segment, from));
            }
        }
        match self.segments.last() {
            Some(last) => Err(self.missing(last, from)),
            None => Err(ReadError::Trimmed {
                offset: from,
                earliest: self.begins.earliest,
            }),
        }
    }

    /// The same from memory alone; `None` when the batch at `from` is not in the tail cache. Never blocks.
    #[must_use]
    pub fn read_cached(&self, from: Offset, below: Offset, bytes_max: usize) -> Option<Chunk> {
        if from < self.begins.earliest || from >= below {
            return None;
        }
        self.cache.read(from, below, bytes_max)
    }

    /// The same from memory, the page cache included; `None` when that does not suffice, and when anything is wrong: then
    /// [`LogView::read`] tells. Never waits for the disk, so it may be called where blocking is not allowed; it works for
    /// some tens of microseconds.
    #[must_use]
    pub fn read_resident(&self, from: Offset, below: Offset, bytes_max: usize) -> Option<Chunk> {
        if from < self.begins.earliest || from >= below {
            return None;
        }
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let starts_before = self.segments[middle].known_face()?.first_offset <= from;
            if starts_before {
                low = middle + 1
            } else {
                high = middle
            }
        }
        self.segments
            .get(low.checked_sub(1)?)?
            .read_resident(from, below, bytes_max)
    }

    /// Entries of `[from, below)` in order, void ones included, up to about `bytes_max` of payload but at least one. Each
    /// is as it was appended, but for a timestamp below that of the entry before it, which was raised to that. Empty when
    /// the log ends before `from`, and when `from >= below`.
    ///
    /// What is synced is given, committed or not: this is for replication and tools.
    ///
    /// Blocking: reads files. Errors: `ReadEntriesError::Trimmed` when `from` lies before the first entry there is;
    /// `ReadError::Corrupt`.
    pub fn read_entries(
        &self,
        from: LogIndex,
        below: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, ReadEntriesError> {
        let first = self.segments.first().map(|segment| segment.first_log_index());
        let trimmed = |first| ReadEntriesError::Trimmed {
            log_index: from,
            first,
        };
        let Some(first) = first.filter(|_| from < below) else {
            return Ok(Vec::new());
        };
        if from < first {
            return Err(trimmed(first));
        }
        let behind = self
            .segments
            .partition_point(|segment| segment.first_log_index() <= from);
        let segment = &self.segments[behind - 1];
        let entries = match segment.entries(from, below, bytes_max) {
            Ok(entries) => entries,
            Err(error) if self.was_trimmed(segment, &error) => return Err(trimmed(self.kept.from())),
            Err(error) => return Err(error.into()),
        };
        // Where another segment follows, this one reaches up to it.
        if entries.is_empty() && behind < self.segments.len() {
            return Err(ReadEntriesError::Read(ReadError::Corrupt {
                path: segment.path().to_owned(),
                position: Position(segment.end()?),
                what: format!("the segment ends before entry {from}, which it should hold"),
            }));
        }
        Ok(entries)
    }

    /// First offset of the first batch below `below` whose timestamp is `at` or later; `below` when there is none.
    ///
    /// Blocking: reads files.
    pub fn offset_at(&self, at: TimestampMs, below: Offset) -> Result<Offset, ReadError> {
        // The last segment whose entries before it are all older than `at`: the batch is in it or behind it.
        let number = self.partition_point(|segment| Ok(segment.face()?.previous_timestamp < at));
        for segment in &self.segments[number.saturating_sub(1)..] {
            match segment.offset_at(at) {
                Ok(None) => {}
                Ok(Some(offset)) => return Ok(offset.min(below).max(self.begins.earliest)),
                Err(error) if self.was_trimmed(segment, &error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(below)
    }

    /// The segments, oldest first.
    ///
    /// Blocking: may read segment headers.
    pub fn describe(&self) -> Result<Vec<SegmentDescription>, ReadError> {
        self.segments.iter().map(|segment| segment.describe()).collect()
    }

    /// Number of the segment that holds `offset`.
    fn segment_of(&self, offset: Offset) -> usize {
        let behind = self.partition_point(|segment| Ok(segment.face()?.first_offset <= offset));
        behind.saturating_sub(1)
    }

    /// As `slice::partition_point`, over segments whose headers may have to be read: only those that are looked at are.
    /// One that was trimmed while this picture was held is older than all that are left, hence "before". One whose header
    /// cannot be read counts as the next one does, so that it keeps nobody from the segments around it.
    fn partition_point(&self, is_before: impl Fn(&SegmentReader) -> Result<bool, ReadError>) -> usize {
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let readable = (middle..high).find_map(|number| match is_before(&self.segments[number]) {
                Ok(before) => Some((number, before)),
                Err(error) => self
                    .was_trimmed(&self.segments[number], &error)
                    .then_some((number, true)),
            });
            match readable {
                Some((number, true)) => low = number + 1,
                Some((_, false)) | None => high = middle,
            }
        }
        low
    }

    /// Says so when the segment was trimmed.
    fn gone(&self, segment: &SegmentReader, error: ReadError, offset: Offset) -> ReadError {
        if self.was_trimmed(segment, &error) {
            let earliest = self.begins.earliest;
            return ReadError::Trimmed { offset, earliest };
        }
        error
    }

    /// Whether the segment cannot be read since it was trimmed while the picture was held. One that somebody else has
    /// removed is missing.
    fn was_trimmed(&self, segment: &SegmentReader, error: &ReadError) -> bool {
        let is_gone = match error {
            ReadError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            ReadError::Replaced { .. } => true,
            ReadError::Trimmed { .. } | ReadError::Corrupt { .. } => false,
        };
        is_gone && segment.first_log_index() < self.kept.from()
    }

    fn missing(&self, segment: &SegmentReader, offset: Offset) -> ReadError {
        let position = segment.end().unwrap_or(0);
        ReadError::Corrupt {
            path: segment.path().to_owned(),
            position: Position(position),
            what: format!("the segment ends before offset {offset}, which it should hold"),
        }
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
