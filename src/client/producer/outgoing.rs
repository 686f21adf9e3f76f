//! A batch on its way: its records, and who is told what became of them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::client::error::Error;

use super::ticket::Promise;

/// A batch that is not acknowledged.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// An encoded `RecordSet`.
    pub(super) records: Bytes,
    /// How many records it has.
    pub(super) count: u64,
    /// What it takes of the batcher's room.
    pub(super) room: usize,
    /// Nothing else goes with it: its records are stored together or not at all.
    is_whole: bool,
    parts: Vec<Part>,
}

/// Records that were taken together.
#[derive(Debug)]
struct Part {
    count: u64,
    promise: Promise,
}

impl Outgoing {
    /// Records that were sent as one.
    pub(super) fn whole(records: Bytes, count: u64, room: usize, promise: Promise) -> Self {
        Self {
            records,
            count,
            room,
            is_whole: true,
            parts: vec![Part { count, promise }],
        }
    }

    /// Records that were sent one by one.
    pub(super) fn of_singles(records: Bytes, count: u64, room: usize, promise: Promise) -> Self {
        Self {
            is_whole: false,
            ..Self::whole(records, count, room, promise)
        }
    }

    /// Takes the first of them, joined with as many behind it as stay within `bytes_max` and need not go alone.
    pub(super) fn join(waiting: &mut VecDeque<Self>, bytes_max: usize) -> Option<Self> {
        let mut first = waiting.pop_front()?;
        let mut bytes = first.records.len();
        let behind = waiting.iter().take_while(|next| {
            bytes += next.records.len();
            !first.is_whole && !next.is_whole && bytes <= bytes_max
        });
        let joined = behind.count();
        if joined == 0 {
            return Some(first);
        }
        // Sets one behind the other are one set.
        let mut records = BytesMut::with_capacity(bytes_max.min(bytes));
        records.extend_from_slice(&first.records);
        for next in waiting.drain(..joined) {
            records.extend_from_slice(&next.records);
            first.count += next.count;
            first.room += next.room;
            first.parts.extend(next.parts);
        }
        first.records = records.freeze();
        Some(first)
    }

    /// Tells whoever waits what became of it: the first offset, or why it is not stored.
    pub(super) fn settle(self, mut result: Result<u64, Error>) {
        for Part { count, promise } in self.parts {
            // All its tickets may have been dropped.
            drop(promise.send(result.clone()));
            if let Ok(first_offset) = &mut result {
                *first_offset += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::client::producer::ticket::{Answer, promise};

    /// So many records of a byte each.
    fn singles(count: u64) -> (Outgoing, Answer) {
        let (promise, answer) = promise();
        let records = Bytes::from(vec![7; usize::try_from(count).unwrap()]);
        (Outgoing::of_singles(records, count, 10, promise), answer)
    }

    fn told(answer: Answer) -> u64 {
        answer.now_or_never().unwrap().unwrap().unwrap()
    }

    #[test]
    fn what_is_joined_is_told_each_its_own_offsets_and_gives_all_its_room_back() {
        let (parts, answers): (VecDeque<_>, Vec<_>) = [2, 3, 4, 1].map(singles).into_iter().unzip();
        let mut waiting = parts;
        let joined = Outgoing::join(&mut waiting, 9).unwrap();
        assert_eq!((joined.records.len(), joined.count, joined.room), (9, 9, 30));
        assert_eq!(waiting.len(), 1, "more would be too large");
        joined.settle(Ok(100));
        Outgoing::join(&mut waiting, 9).unwrap().settle(Ok(500));
        let offsets: Vec<u64> = answers.into_iter().map(told).collect();
        assert_eq!(offsets, [100, 102, 105, 500]);
        assert!(Outgoing::join(&mut waiting, 9).is_none());
    }

    #[test]
    fn what_was_sent_as_one_is_joined_with_nothing() {
        let whole = || {
            let (promise, _) = promise();
            Outgoing::whole(Bytes::from_static(b"w"), 1, 1, promise)
        };
        let mut waiting = VecDeque::from([singles(1).0, whole(), singles(1).0, singles(1).0]);
        let counts = std::iter::from_fn(|| Outgoing::join(&mut waiting, 100)).map(|batch| batch.count);
        assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 2]);
    }
}
