//! Where in a store which entry lies: one entry about every 4 KiB of store.
//!
//! An index is a cache. That of the active segment lives in memory, since start-up scans that segment in any case (ADR
//! 0003); that of a sealed one is a file, mapped for reading, checked when it is opened and rebuilt when it is missing
//! or wrong. Searches by offset, log index and time are all one: none of the three falls along the log.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::types::{LogIndex, Offset, Position, TimestampMs};

use super::{
    frame::{FrameHeader, FrameKind},
    fs::Mapping,
    segment_header::SegmentFace,
};

/// Bytes of store between two index entries. 16 bytes for every 4096 keep a 64 MiB segment's index at 256 KiB, and a
/// lookup reads one page of store more than it needs.
pub(super) const INDEX_STRIDE: u64 = 4096;

const MAGIC: [u8; 8] = *b"ANNALIDX";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 64;
const ENTRY_LEN: usize = 16;

/// What the entries of an index are relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Base {
    log_index: LogIndex,
    offset: Offset,
    timestamp: TimestampMs,
}

impl Base {
    fn of(face: &SegmentFace) -> Self {
        Self {
            log_index: face.first_log_index,
            offset: face.first_offset,
            timestamp: face.previous_timestamp,
        }
    }
}

/// An index entry: the first frame at or behind each stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexEntry {
    log_index: u32,
    offset: u32,
    position: u32,
    /// `u32::MAX`: 49 days or more; a search by time does not rely on it.
    timestamp: u32,
}

impl IndexEntry {
    fn new(base: Base, header: &FrameHeader, position: u64) -> Option<Self> {
        let small = |distance: u64| u32::try_from(distance).ok();
        let timestamp = header.timestamp.0.saturating_sub(base.timestamp.0);
        Some(Self {
            log_index: small(header.log_index.distance_from(base.log_index))?,
            offset: small(header.base_offset.distance_from(base.offset))?,
            position: small(position)?,
            timestamp: small(timestamp).unwrap_or(u32::MAX),
        })
    }

    fn words(self) -> [u64; 2] {
        [
            u64::from(self.log_index) | u64::from(self.offset) << 32,
            u64::from(self.position) | u64::from(self.timestamp) << 32,
        ]
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "takes the halves apart that `words` put together"
    )]
    fn of_words(words: [u64; 2]) -> Self {
        Self {
            log_index: words[0] as u32,
            offset: (words[0] >> 32) as u32,
            position: words[1] as u32,
            timestamp: (words[1] >> 32) as u32,
        }
    }
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// The frame that holds this record.
    Offset(Offset),
    /// The frame of this entry.
    LogIndex(LogIndex),
    /// The first frame that is not older.
    Time(TimestampMs),
}

/// Searches `len` entries for the last that is surely not behind the target.
fn search(base: Base, len: usize, entry: impl Fn(usize) -> IndexEntry, target: Target) -> Option<Position> {
    let not_behind = |entry: IndexEntry| match target {
        Target::Offset(offset) => u64::from(entry.offset) <= offset.distance_from(base.offset),
        Target::LogIndex(index) => u64::from(entry.log_index) <= index.distance_from(base.log_index),
        Target::Time(at) => {
            entry.timestamp != u32::MAX && base.timestamp.0.saturating_add(u64::from(entry.timestamp)) < at.0
        }
    };
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if not_behind(entry(middle)) {
            low = middle + 1
        } else {
            high = middle
        }
    }
    low.checked_sub(1)
        .map(|last| Position(u64::from(entry(last).position)))
}

/// The index of the active segment: one writer appends, readers see what it has published.
#[derive(Debug)]
pub(super) struct ActiveIndex {
    base: Base,
    entries: Box<[[AtomicU64; 2]]>,
    len: AtomicUsize,
    /// The writer's own: where the next entry is due.
    next_due: AtomicU64,
}

impl ActiveIndex {
    /// An empty index for a segment of up to `segment_bytes`.
    pub(super) fn new(face: &SegmentFace, segment_bytes: u64) -> Self {
        let capacity = usize::try_from(segment_bytes / INDEX_STRIDE + 2).expect("segments are at most 1 GiB");
        let entries = (0..capacity)
            .map(|_| [AtomicU64::new(0), AtomicU64::new(0)])
            .collect();
        Self {
            base: Base::of(face),
            entries,
            len: AtomicUsize::new(0),
            next_due: AtomicU64::new(0),
        }
    }

    /// Takes note of a frame; called by the one writer, in the order of the frames, once they are readable.
    ///
    /// A full index takes no more: the search then reads on from its last entry. A mark is left out: it has the log index
    /// of the entry before it, and a search for that entry would begin behind it.
    pub(super) fn note(&self, header: &FrameHeader, position: u64) {
        if header.kind == FrameKind::Mark || position < self.next_due.load(Ordering::Relaxed) {
            return;
        }
        let len = self.len.load(Ordering::Relaxed);
        let (Some(slot), Some(entry)) = (
            self.entries.get(len),
            IndexEntry::new(self.base, header, position),
        ) else {
            return;
        };
        for (word, value) in slot.iter().zip(entry.words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.next_due.store(position + INDEX_STRIDE, Ordering::Relaxed);
        // Release: whoever sees the new length sees the entry.
        self.len.store(len + 1, Ordering::Release);
    }

    fn entry(&self, number: usize) -> IndexEntry {
        let [low, high] = &self.entries[number];
        IndexEntry::of_words([low.load(Ordering::Relaxed), high.load(Ordering::Relaxed)])
    }

    /// Where to begin to look for the target; `None`: at the first frame.
    pub(super) fn find(&self, target: Target) -> Option<Position> {
        search(
            self.base,
            self.len.load(Ordering::Acquire),
            |number| self.entry(number),
            target,
        )
    }

    /// The bytes of the index file of the segment once it is sealed with `store_len` bytes.
    pub(super) fn encode(&self, salt: u64, store_len: u64) -> Vec<u8> {
        let len = self.len.load(Ordering::Acquire);
        let mut entries = Vec::with_capacity(len * ENTRY_LEN);
        for number in 0..len {
            let words = self.entry(number).words();
            entries.extend(words.into_iter().flat_map(u64::to_le_bytes));
        }
        let mut bytes = Vec::with_capacity(HEADER_LEN + entries.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&entries).to_le_bytes());
        bytes.extend_from_slice(&salt.to_le_bytes());
        bytes.extend_from_slice(&store_len.to_le_bytes());
        bytes.extend_from_slice(&(len as u64).to_le_bytes());
        bytes.resize(HEADER_LEN - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&entries);
        bytes
    }
}

/// The index of a sealed segment.
pub(super) struct SealedIndex {
    base: Base,
    mapping: Mapping,
    len: usize,
}

impl std::fmt::Debug for SealedIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedIndex")
            .field("base", &self.base)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl SealedIndex {
    /// The index in `mapping`, if it is whole and belongs to this store; else `None`: rebuild it.
    pub(super) fn open(face: &SegmentFace, store_len: u64, mapping: Mapping) -> Option<Self> {
        let bytes = (*mapping).as_ref();
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let u32_at = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("inside HEADER_LEN"));
        let u64_at = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("inside HEADER_LEN"));
        let len = usize::try_from(u64_at(32)).ok()?;
        let entries = &bytes[HEADER_LEN..];
        let whole = header[..8] == MAGIC
            && u32_at(8) == VERSION
            && crc32c::crc32c(&header[..HEADER_LEN - 4]) == u32_at(HEADER_LEN - 4)
            && (u64_at(16), u64_at(24)) == (face.salt, store_len)
            && len.checked_mul(ENTRY_LEN) == Some(entries.len())
            && crc32c::crc32c(entries) == u32_at(12);
        whole.then(|| Self {
            base: Base::of(face),
            mapping: mapping.clone(),
            len,
        })
    }

    /// Where to begin to look for the target; `None`: at the first frame.
    pub(super) fn find(&self, target: Target) -> Option<Position> {
        search(self.base, self.len, |number| self.entry(number), target)
    }

    fn entry(&self, number: usize) -> IndexEntry {
        let at = HEADER_LEN + number * ENTRY_LEN;
        let bytes = (*self.mapping).as_ref();
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("length was checked"));
        IndexEntry::of_words([word(at), word(at + 8)])
    }

    /// To be shown the frames of the store in order.
    pub(super) fn compared(&self) -> Comparison<'_> {
        Comparison {
            index: self,
            next: 0,
            agrees: true,
        }
    }
}

/// Whether an index is that of the frames that are shown to it: one that is whole may still lead astray.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    index: &'a SealedIndex,
    next: usize,
    agrees: bool,
}

impl Comparison<'_> {
    /// The next frame, and where it lies.
    pub(super) fn see(&mut self, header: &FrameHeader, position: u64) {
        if header.kind == FrameKind::Mark || self.next == self.index.len {
            return;
        }
        let entry = self.index.entry(self.next);
        if position < u64::from(entry.position) {
            return;
        }
        self.agrees &= IndexEntry::new(self.index.base, header, position) == Some(entry);
        self.next += 1;
    }

    /// Whether each of its entries was that of a frame.
    pub(super) fn agrees(self) -> bool {
        self.agrees && self.next == self.index.len
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::{checkpoint::Checkpoint, segment_header::SegmentHeader};
    use crate::types::{ClusterId, Term};

    fn face() -> SegmentFace {
        let header = SegmentHeader {
            salt: 3,
            cluster_id: ClusterId(1),
            created: TimestampMs(0),
            checkpoint: Checkpoint::new(),
        };
        SegmentFace::decode(&header.encode()).unwrap()
    }

    fn frame(number: u64, timestamp: u64) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Records,
            encoding: 1,
            flags: 0,
            payload_crc: 0,
            payload_len: 0,
            log_index: LogIndex(1 + number),
            term: Term(1),
            base_offset: Offset(number * 10),
            record_count: 10,
            submitted_count: 10,
            synced_to: 0,
            timestamp: TimestampMs(timestamp),
        }
    }

    fn filled() -> ActiveIndex {
        let index = ActiveIndex::new(&face(), 1 << 20);
        for number in 0..100 {
            index.note(&frame(number, 1000 + number), 4096 + number * 2048);
        }
        index
    }

    #[test]
    fn a_search_lands_at_or_before_the_target_and_less_than_a_stride_and_a_frame_before_it() {
        let index = filled();
        let bytes = index.encode(3, 999);
        let mapping: Mapping = Arc::new(bytes);
        let sealed = SealedIndex::open(&face(), 999, mapping).unwrap();
        for number in 0..100_u64 {
            let position = 4096 + number * 2048;
            for target in [
                Target::Offset(Offset(number * 10 + 9)),
                Target::LogIndex(LogIndex(1 + number)),
                Target::Time(TimestampMs(1001 + number)),
            ] {
                let found = index.find(target).unwrap();
                assert!(
                    found.get() <= position && position - found.get() < INDEX_STRIDE,
                    "{target:?}"
                );
                assert_eq!(sealed.find(target), Some(found));
            }
        }
        assert_eq!(index.find(Target::Time(TimestampMs(1000))), None);
    }

    #[test]
    fn an_index_that_is_not_whole_or_not_this_stores_is_not_opened() {
        let bytes = filled().encode(3, 999);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                SealedIndex::open(&face(), 999, Arc::new(flipped)).is_none(),
                "bit {bit}"
            );
        }
        for cut in 0..bytes.len() {
            assert!(
                SealedIndex::open(&face(), 999, Arc::new(bytes[..cut].to_vec())).is_none(),
                "cut at {cut}"
            );
        }
        assert!(SealedIndex::open(&face(), 1000, Arc::new(bytes)).is_none());
    }

    #[test]
    fn times_too_far_apart_for_an_entry_do_not_mislead() {
        let index = ActiveIndex::new(&face(), 1 << 20);
        index.note(&frame(0, 5), 4096);
        index.note(&frame(1, u64::from(u32::MAX) + 50), 8192);
        assert_eq!(
            index.find(Target::Time(TimestampMs(u64::from(u32::MAX) + 60))),
            Some(Position(4096))
        );
    }

    /// Recovery noted marks, and the search for an entry before a mark began at the mark.
    #[test]
    fn an_entry_before_a_mark_is_found() {
        let index = ActiveIndex::new(&face(), 1 << 20);
        index.note(&frame(0, 1000), 4096);
        index.note(&frame(1, 1000), 6000);
        let mark = FrameHeader {
            kind: FrameKind::Mark,
            record_count: 0,
            base_offset: Offset(20),
            ..frame(1, 1000)
        };
        index.note(&mark, 9000);
        assert_eq!(index.find(Target::LogIndex(LogIndex(2))), Some(Position(4096)));
    }

    #[test]
    fn a_full_index_takes_no_more_and_still_finds() {
        let index = ActiveIndex::new(&face(), 0);
        for number in 0..100 {
            index.note(&frame(number, 1000), 4096 + number * 4096);
        }
        assert_eq!(index.find(Target::Offset(Offset(999))), Some(Position(8192)));
    }
}
