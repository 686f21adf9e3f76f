//! The newest frames in memory, so that live readers and replication do not touch the file.
//!
//! A ring of group commits: one writer pushes, readers look without a lock. What falls out of the ring is read from
//! the file.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::types::Offset;

use super::{
    frame::{FrameHeader, FrameKind},
    view::{Chunk, StoredBatch},
};

/// Group commits in the ring. A lone writer in lockstep makes one for each record; 4096 of them are about a second.
const SLOTS: u64 = 4096;
/// What a cached frame takes beside its payload, about.
const FRAME_COST: usize = 160;

/// A frame in memory.
#[derive(Clone, Debug)]
pub(super) struct CachedFrame {
    pub(super) header: FrameHeader,
    /// The payload behind the attributes.
    pub(super) content: Bytes,
}

impl CachedFrame {
    /// The batch, when the frame holds one.
    pub(super) fn batch(&self) -> Option<StoredBatch> {
        batch_of(&self.header, || self.content.clone())
    }
}

/// The batch of a frame that holds one; `content` gives the payload behind the attributes.
pub(super) fn batch_of(header: &FrameHeader, content: impl FnOnce() -> Bytes) -> Option<StoredBatch> {
    (header.kind == FrameKind::Records && header.record_count > 0).then(|| StoredBatch {
        base_offset: header.base_offset,
        record_count: header.record_count,
        timestamp: header.timestamp,
        term: header.term,
        log_index: header.log_index,
        records: content(),
    })
}

#[derive(Debug)]
struct Commit {
    number: u64,
    first_offset: Offset,
    next_offset: Offset,
    frames: Vec<CachedFrame>,
    bytes: usize,
}

/// The ring.
#[derive(Debug)]
pub(super) struct TailCache {
    slots: Box<[ArcSwapOption<Commit>]>,
    /// The commits in the ring are those numbered `[oldest, next)`.
    oldest: AtomicU64,
    next: AtomicU64,
    bytes_max: usize,
    /// The writer's: bytes in the ring.
    bytes: Mutex<usize>,
}

impl TailCache {
    /// A cache of up to `bytes_max`; one of 0 holds nothing and costs nothing.
    pub(super) fn new(bytes_max: usize) -> Self {
        let slots = if bytes_max == 0 { 0 } else { SLOTS };
        Self {
            slots: (0..slots).map(|_| ArcSwapOption::empty()).collect(),
            oldest: AtomicU64::new(0),
            next: AtomicU64::new(0),
            bytes_max,
            bytes: Mutex::new(0),
        }
    }

    /// Adds the frames of a group commit, and drops the oldest commits above the limit. One that is larger than the
    /// limit by itself empties the cache.
    pub(super) fn push(&self, frames: Vec<CachedFrame>) {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return;
        };
        if self.bytes_max == 0 {
            return;
        }
        let bytes = frames.iter().map(|frame| frame.content.len() + FRAME_COST).sum();
        let number = self.next.load(Ordering::Relaxed);
        let commit = Commit {
            number,
            first_offset: first.header.base_offset,
            next_offset: last.header.next_offset(),
            bytes,
            frames,
        };
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *held += bytes;
        let mut oldest = self.oldest.load(Ordering::Relaxed);
        while oldest < number && (*held > self.bytes_max || number - oldest >= SLOTS) {
            *held -= self.drop_commit(oldest);
            oldest += 1;
        }
        self.oldest.store(oldest, Ordering::Release);
        if *held > self.bytes_max {
            *held -= bytes;
            self.oldest.store(number, Ordering::Release);
            return;
        }
        self.slot(number).store(Some(Arc::new(commit)));
        self.next.store(number + 1, Ordering::Release);
    }

    /// Forgets everything: the log was truncated.
    pub(super) fn clear(&self) {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.next.load(Ordering::Relaxed);
        for number in self.oldest.load(Ordering::Relaxed)..next {
            self.drop_commit(number);
        }
        self.oldest.store(next, Ordering::Release);
        *held = 0;
    }

    fn drop_commit(&self, number: u64) -> usize {
        self.slot(number).swap(None).map_or(0, |commit| commit.bytes)
    }

    fn slot(&self, number: u64) -> &ArcSwapOption<Commit> {
        &self.slots[usize::try_from(number % SLOTS).expect("SLOTS is small")]
    }

    /// `None` when it has left the ring meanwhile.
    fn commit(&self, number: u64) -> Option<Arc<Commit>> {
        self.slot(number)
            .load_full()
            .filter(|commit| commit.number == number)
    }

    /// Batches from the one that holds `from` on, as [`super::LogView::read`] gives them; `None` when it is not here.
    pub(super) fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Option<Chunk> {
        let next = self.next.load(Ordering::Acquire);
        let (mut low, mut high) = (self.oldest.load(Ordering::Acquire), next);
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.commit(middle)?.next_offset <= from {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let mut chunk = Chunk {
            batches: Vec::new(),
            next_offset: from,
        };
        let mut bytes = 0;
        for number in low..next {
            let Some(commit) = self.commit(number) else { break };
            if chunk.batches.is_empty() && commit.first_offset > from {
                return None;
            }
            let skip = commit
                .frames
                .partition_point(|frame| frame.header.next_offset() <= from);
            for frame in &commit.frames[skip..] {
                let enough = bytes >= bytes_max && !chunk.batches.is_empty();
                if frame.header.base_offset >= below || enough {
                    return non_empty(chunk);
                }
                let Some(batch) = frame.batch() else { continue };
                bytes += batch.records.len();
                chunk.next_offset = frame.header.next_offset().min(below);
                chunk.batches.push(batch);
            }
        }
        non_empty(chunk)
    }
}

fn non_empty(chunk: Chunk) -> Option<Chunk> {
    (!chunk.batches.is_empty()).then_some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, Term, TimestampMs};

    fn frame(base: u64, count: u32, bytes: usize) -> CachedFrame {
        let header = FrameHeader {
            kind: FrameKind::Records,
            encoding: 1,
            flags: 0,
            payload_crc: 0,
            payload_len: 0,
            log_index: LogIndex(base + 1),
            term: Term(1),
            base_offset: Offset(base),
            record_count: count,
            submitted_count: count,
            synced_to: 0,
            timestamp: TimestampMs(0),
        };
        CachedFrame {
            header,
            content: Bytes::from(vec![7; bytes]),
        }
    }

    fn bases(chunk: &Chunk) -> Vec<u64> {
        chunk
            .batches
            .iter()
            .map(|batch| batch.base_offset.get())
            .collect()
    }

    #[test]
    fn a_read_begins_with_the_batch_that_holds_the_offset_and_ends_below_the_limit() {
        let cache = TailCache::new(1 << 20);
        for commit in 0..10 {
            cache.push(vec![
                frame(commit * 20, 10, 100),
                frame(commit * 20 + 10, 10, 100),
            ]);
        }
        let chunk = cache.read(Offset(35), Offset(62), 1 << 20).unwrap();
        assert_eq!(
            (bases(&chunk), chunk.next_offset),
            (vec![30, 40, 50, 60], Offset(62))
        );
        let chunk = cache.read(Offset(0), Offset(200), 150).unwrap();
        assert_eq!((bases(&chunk), chunk.next_offset), (vec![0, 10], Offset(20)));
        assert_eq!(cache.read(Offset(200), Offset(300), 1), None);
    }

    #[test]
    fn the_oldest_commits_leave_first_and_are_then_not_found() {
        let cache = TailCache::new(10 * (100 + FRAME_COST));
        for base in 0..25 {
            cache.push(vec![frame(base, 1, 100)]);
        }
        assert_eq!(cache.read(Offset(14), Offset(25), 1), None);
        assert_eq!(
            cache
                .read(Offset(15), Offset(25), usize::MAX)
                .unwrap()
                .batches
                .len(),
            10
        );
    }

    #[test]
    fn the_ring_holds_a_bounded_number_of_commits() {
        let cache = TailCache::new(usize::MAX / 2);
        for base in 0..SLOTS + 5 {
            cache.push(vec![frame(base, 1, 1)]);
        }
        assert_eq!(cache.read(Offset(4), Offset(u64::MAX), 1), None);
        assert_eq!(bases(&cache.read(Offset(5), Offset(u64::MAX), 1).unwrap()), [5]);
    }

    #[test]
    fn a_cache_of_no_bytes_takes_nothing() {
        let cache = TailCache::new(0);
        cache.push(vec![frame(0, 1, 0)]);
        cache.clear();
        assert_eq!(cache.read(Offset(0), Offset(1), 1), None);
    }

    #[test]
    fn a_commit_above_the_limit_empties_the_cache_and_a_cleared_one_starts_again() {
        let cache = TailCache::new(1000);
        cache.push(vec![frame(0, 1, 10)]);
        cache.push(vec![frame(1, 1, 5000)]);
        assert_eq!(cache.read(Offset(0), Offset(2), 1), None);
        cache.push(vec![frame(2, 1, 10)]);
        assert_eq!(bases(&cache.read(Offset(2), Offset(3), 1).unwrap()), [2]);
        cache.clear();
        assert_eq!(cache.read(Offset(2), Offset(3), 1), None);
        cache.push(vec![frame(2, 1, 10)]);
        assert_eq!(bases(&cache.read(Offset(2), Offset(3), 1).unwrap()), [2]);
    }
}
