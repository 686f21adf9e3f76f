//! How much is read for a stream at a time, and what it may keep of it. A client that takes nothing is to cost little, and it shows only as time
//! goes by: so a stream begins small, and what it has taken is what it may have.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is read at a time at least: below it each read costs more than what it brings.
pub const CHUNK_BYTES_MIN: usize = 16 << 10;
/// What all streams together may keep of large batches that were read and do not fit into one response.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// How much one stream has taken.
#[derive(Debug, Default)]
pub struct Pace {
    taken: usize,
}

impl Pace {
    /// So much more was taken.
    pub fn take(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
    }

    /// How much to read at a time, `most` at most: a quarter of what was taken, so that no more than that waits in vain when the client
    /// stops.
    #[must_use]
    pub fn chunk_bytes(&self, most: usize) -> usize {
        (self.taken / 4).max(CHUNK_BYTES_MIN).min(most)
    }

    /// Whether the client has shown that it is worth so much.
    #[must_use]
    pub fn is_worth(&self, bytes: usize) -> bool {
        self.taken >= bytes
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
        for _ in 0..40 {
            let chunk = pace.chunk_bytes(most);
            assert!(chunk <= CHUNK_BYTES_MIN.max(pace.taken / 4));
            chunks.push(chunk);
            pace.take(chunk);
        }
        assert!(chunks.is_sorted());
        assert_eq!((chunks[0], chunks[39]), (CHUNK_BYTES_MIN, most));
        // The configuration may want less.
        assert_eq!(Pace::default().chunk_bytes(4 << 10), 4 << 10);
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
