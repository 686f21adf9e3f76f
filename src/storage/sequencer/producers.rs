//! What is remembered of each producer, so that a retry is told from a new batch.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap, VecDeque, binary_heap::PeekMut},
};

use crate::{
    storage::entry::{ProducerStamp, VoidReason},
    types::{LogIndex, Offset},
};

/// How many producers are remembered. When one more comes, the one whose last stored batch is the oldest is forgotten.
///
/// Part of the format: nodes that disagree about it would disagree about offsets. 10 000 is far above the number of
/// producers that write at the same time to one log, and keeps a full checkpoint below 3 MB.
pub const PRODUCERS_MAX: usize = 10_000;

/// How many ranges of offsets are remembered of one producer; a retry of an older batch is known to be one, but not
/// where its records are.
///
/// Part of the format, as `PRODUCERS_MAX`. A producer whose batches are interleaved with others' uses one range for
/// each batch, and retries only what is unanswered; few have more than 5 requests in flight.
pub const RANGES_MAX: usize = 16;

/// The producers heard of most recently.
#[derive(Clone, Debug)]
pub(super) struct Producers {
    table: HashMap<u64, History>,
    /// Each producer once, with the log index of some batch of its, not always the last: it is brought up to date only
    /// when its turn to be forgotten seems to have come. So a batch of a known producer costs nothing here, and
    /// forgetting costs O(log n), paid for by the batches since.
    by_age: BinaryHeap<Reverse<(LogIndex, u64)>>,
    producers_max: usize,
}

impl Producers {
    /// None yet. `producers_max` is [`PRODUCERS_MAX`] but in tests.
    pub(super) fn new(producers_max: usize) -> Self {
        Self {
            table: HashMap::new(),
            by_age: BinaryHeap::new(),
            producers_max,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// What is known of a producer.
    pub(super) fn get(&self, id: u64) -> Option<&History> {
        self.table.get(&id)
    }

    /// The same, to record a batch in it.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut History> {
        self.table.get_mut(&id)
    }

    /// Adds a producer that is not in the table; forgets the oldest one when the table is full.
    pub(super) fn admit(&mut self, id: u64, history: History) {
        if self.table.len() >= self.producers_max {
            self.forget_oldest();
        }
        self.by_age.push(Reverse((history.last_log_index, id)));
        self.table.insert(id, history);
    }

    fn forget_oldest(&mut self) {
        while let Some(mut oldest) = self.by_age.peek_mut() {
            let Reverse((noted, id)) = *oldest;
            let last = self.table.get(&id).map(|history| history.last_log_index);
            match last {
                Some(last) if last != noted => *oldest = Reverse((last, id)),
                Some(_) | None => {
                    PeekMut::pop(oldest);
                    self.table.remove(&id);
                    return;
                }
            }
        }
    }

    /// All of them, by id: the same order on every node.
    pub(super) fn sorted(&self) -> Vec<(u64, &History)> {
        let mut all: Vec<_> = self.table.iter().map(|(id, history)| (*id, history)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

/// `by_age` is left out: how far it lags behind is no part of the state.
impl PartialEq for Producers {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

/// Whether a batch follows on what is known of its producer; the reason why not otherwise.
pub(super) fn judge(
    known: Option<&History>,
    stamp: ProducerStamp,
    record_count: u32,
) -> Result<(), VoidReason> {
    match known {
        Some(history) => history.judge(stamp, u64::from(record_count)),
        None if stamp.sequence == 0 => Ok(()),
        None => Err(VoidReason::UnknownProducer),
    }
}

/// What is remembered of one producer: its current epoch, and where the records of that epoch are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct History {
    pub(super) epoch: u32,
    /// The sequence that the next batch of this epoch must begin with.
    pub(super) next_sequence: u64,
    /// The entry of its last stored batch.
    pub(super) last_log_index: LogIndex,
    /// Where its records are, oldest first; never empty. Each range ends in sequence where the next one begins, the last
    /// at `next_sequence`; in offsets there is a gap between any two, since ranges that touch are one.
    pub(super) ranges: VecDeque<Range>,
}

/// Consecutive records of one producer that have consecutive offsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) first_sequence: u64,
    pub(super) first_offset: Offset,
}

impl History {
    /// Of a producer, or an epoch, whose first batch is stored at `base_offset`.
    pub(super) fn begin(epoch: u32, record_count: u32, base_offset: Offset, log_index: LogIndex) -> Self {
        Self {
            epoch,
            next_sequence: u64::from(record_count),
            last_log_index: log_index,
            ranges: VecDeque::from([Range {
                first_sequence: 0,
                first_offset: base_offset,
            }]),
        }
    }

    /// Takes note of a batch that [`judge`] let pass and that is stored at `base_offset`.
    pub(super) fn record(&mut self, epoch: u32, record_count: u32, base_offset: Offset, log_index: LogIndex) {
        if epoch != self.epoch {
            *self = Self::begin(epoch, record_count, base_offset, log_index);
            return;
        }
        if self.end_offset() != Some(base_offset) {
            if self.ranges.len() == RANGES_MAX {
                self.ranges.pop_front();
            }
            self.ranges.push_back(Range {
                first_sequence: self.next_sequence,
                first_offset: base_offset,
            });
        }
        self.next_sequence += u64::from(record_count);
        self.last_log_index = log_index;
    }

    /// The offset behind its newest record.
    fn end_offset(&self) -> Option<Offset> {
        let last = self.ranges.back()?;
        Some(last.first_offset.plus(self.next_sequence - last.first_sequence))
    }

    fn judge(&self, stamp: ProducerStamp, record_count: u64) -> Result<(), VoidReason> {
        match stamp.epoch.cmp(&self.epoch) {
            Ordering::Less => Err(VoidReason::Fenced {
                current_epoch: self.epoch,
            }),
            Ordering::Greater if stamp.sequence == 0 => Ok(()),
            Ordering::Greater => Err(VoidReason::OutOfOrder { expected_sequence: 0 }),
            Ordering::Equal => {
                // A sequence that would pass 2^64 cannot follow on anything.
                match stamp.sequence.checked_add(record_count) {
                    Some(_) if stamp.sequence == self.next_sequence => Ok(()),
                    Some(end) if end <= self.next_sequence => Err(self.find(stamp.sequence, end)),
                    Some(_) | None => Err(self.out_of_order()),
                }
            }
        }
    }

    /// Where the records `[sequence, end)`, all stored already, are. No batch was ever stored across two ranges, so what
    /// asks for that is no retry.
    fn find(&self, sequence: u64, end: u64) -> VoidReason {
        let mut range_end = self.next_sequence;
        for range in self.ranges.iter().rev() {
            if sequence >= range.first_sequence {
                if end > range_end {
                    return self.out_of_order();
                }
                let base_offset = range.first_offset.plus(sequence - range.first_sequence);
                return VoidReason::Repeated { base_offset };
            }
            range_end = range.first_sequence;
        }
        if end > range_end {
            self.out_of_order()
        } else {
            VoidReason::RepeatedLongAgo
        }
    }

    fn out_of_order(&self) -> VoidReason {
        VoidReason::OutOfOrder {
            expected_sequence: self.next_sequence,
        }
    }
}
