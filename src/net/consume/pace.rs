//! How much is read for a stream at a time, and what it may keep of it. A client that takes nothing is to cost little, and it shows only as time
//! goes by: so a stream begins small, and what it has taken is what it may have.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is read at a time at least: below it each read costs more than what it brings.
pub const CHUNK_BYTES_MIN: usize = 16 << 10;
/// What was given out last may not have reached anybody: it waits in windows and sockets.
const UNDERWAY_BYTES: usize = 256 << 10;
/// How often a large batch is read at most while nothing of it may be kept: for a stream that has taken as much, and for one that has not.
const READS_OF_BATCH: usize = 8;
const READS_OF_BATCH_AT_FIRST: usize = 64;
/// What all streams together may keep of large batches that were read and do not fit into one response.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// How much one stream has taken.
#[derive(Debug, Default)]
pub struct Pace {
    given: usize,
}

impl Pace {
    /// So much more was given out.
    pub fn give(&mut self, bytes: usize) {
        self.given = self.given.saturating_add(bytes);
    }

    /// What the client has taken for certain.
    fn taken(&self) -> usize {
        self.given.saturating_sub(UNDERWAY_BYTES)
    }

    /// How much to read at a time, `most` at most: a quarter of what was taken, so that no more than that waits in vain when the client
    /// stops.
    #[must_use]
    pub fn chunk_bytes(&self, most: usize) -> usize {
        (self.taken() / 4).max(CHUNK_BYTES_MIN).min(most)
    }

    /// How much of a batch of `bytes` is to be given out at a time at least, as it may have to be read again for each portion.
    #[must_use]
    pub fn share_of(&self, bytes: usize) -> usize {
        bytes
            / if self.is_worth(bytes) {
                READS_OF_BATCH
            } else {
                READS_OF_BATCH_AT_FIRST
            }
    }

    /// Whether the client has shown that it is worth so much.
    #[must_use]
    pub fn is_worth(&self, bytes: usize) -> bool {
        self.taken() >= bytes
    }
}

/// The room for the rests of batches, shared by all streams of a node.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Semaphore>);

impl Default for Shelf {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(KEPT_BYTES_MAX)))
    }
}

impl Shelf {
    /// Room for so many bytes, until it is dropped; `None` when there is none. Never waits.
    #[must_use]
    pub fn place(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_what_was_taken() {
        let most = 256 << 10;
        let mut pace = Pace::default();
        let mut chunks = Vec::new();
        for _ in 0..60 {
            let chunk = pace.chunk_bytes(most);
            assert!(chunk <= CHUNK_BYTES_MIN.max(pace.given / 4));
            if pace.given <= UNDERWAY_BYTES {
                assert_eq!(chunk, CHUNK_BYTES_MIN, "nobody may have taken anything");
            }
            chunks.push(chunk);
            pace.give(chunk);
        }
        assert!(chunks.is_sorted());
        assert_eq!((chunks[0], chunks[59]), (CHUNK_BYTES_MIN, most));
        // The configuration may want less.
        assert_eq!(Pace::default().chunk_bytes(4 << 10), 4 << 10);
    }

    #[test]
    fn a_batch_that_cannot_be_kept_is_read_a_few_times_by_who_takes_much() {
        let mut pace = Pace::default();
        let batch = 1 << 20;
        assert_eq!((pace.is_worth(batch), pace.share_of(batch)), (false, 16 << 10));
        pace.give(batch);
        assert!(!pace.is_worth(batch), "a part of it may be underway");
        pace.give(UNDERWAY_BYTES);
        assert_eq!((pace.is_worth(batch), pace.share_of(batch)), (true, 128 << 10));
    }

    #[test]
    fn a_shelf_has_its_room_once() {
        let shelf = Shelf::default();
        let first = shelf.place(KEPT_BYTES_MAX - 1).expect("it is empty");
        let second = shelf.place(1).expect("there is room for one more");
        assert!(shelf.place(1).is_none());
        drop(first);
        assert!(shelf.place(2).is_some());
        drop(second);
        assert!(
            shelf.place(KEPT_BYTES_MAX + 1).is_none(),
            "it is larger than all the room"
        );
    }
}
