//! Where each batch goes: its base offset, or why it gets none.
//!
//! A pure function of the log before the batch (G2, G3). Every node runs it as it appends, so all of them agree without
//! being told, and a retry is answered exactly even by a leader that never saw the first try. It knows no record, no
//! file and no clock.
//!
//! What it decides, in this order:
//!
//! 1. A batch with a producer's stamp must follow on that producer's last batch. Its `sequence` counts records: the next
//!    batch of an epoch begins where the last one ended; a new producer and a higher epoch begin at 0; a lower epoch is
//!    fenced. A batch that is stored already is a repeat, and is told the offsets it got the first time.
//! 2. `expected_offset`, if set, must be the next offset. Repeats come first, so that a retry of a conditional append
//!    that succeeded is answered with its offsets and not with `ConditionFailed`.
//!
//! A void batch changes nothing, not even how recently its producer was heard of.
//!
//! It judges what is done to cursors too, by their own rules ([`super::cursors`]).

mod checkpoint;
mod producers;

#[cfg(test)]
mod model_test;

pub use checkpoint::CheckpointError;
pub(super) use checkpoint::Reader;
pub use producers::{PRODUCERS_MAX, RANGES_MAX};

use crate::types::{LogIndex, Offset, TimestampMs};

use self::producers::{History, Producers};
use super::{
    cursors::{CommandPlace, CursorCommand, CursorVerdict, Cursors},
    entry::{BatchStamp, Outcome, ProducerStamp, VoidReason},
};

/// The state that a prefix of the log amounts to, as far as offsets, producers and cursors go.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequencer {
    next_offset: Offset,
    producers: Producers,
    cursors: Cursors,
}

impl Sequencer {
    /// The state of an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next_offset: Offset::ZERO,
            producers: Producers::new(PRODUCERS_MAX),
            cursors: Cursors::default(),
        }
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.producers.len()
    }

    /// The offset that the next stored record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// How far each consumer has come.
    #[must_use]
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Decides about what the entry `log_index`, of that time, does to a cursor. It takes no offsets.
    pub fn apply_cursor(
        &mut self,
        log_index: LogIndex,
        timestamp: TimestampMs,
        command: &CursorCommand,
    ) -> CursorVerdict {
        let at = CommandPlace {
            log_index,
            timestamp,
            next_offset: self.next_offset,
        };
        self.cursors.apply(at, command)
    }

    /// What [`Sequencer::apply`] would say now.
    #[must_use]
    pub fn check(&self, stamp: &BatchStamp) -> Outcome {
        let condition = self.condition(stamp);
        let verdict = match stamp.producer {
            None => condition,
            Some(producer) => {
                let known = self.producers.get(producer.id);
                producers::judge(known, producer, stamp.record_count).and(condition)
            }
        };
        self.outcome(verdict)
    }

    /// How many offsets [`Sequencer::apply`] would give the batch now.
    #[must_use]
    pub fn taken_by(&self, stamp: &BatchStamp) -> u32 {
        match self.check(stamp) {
            Outcome::Stored { .. } => stamp.record_count,
            Outcome::Void(_) => 0,
        }
    }

    /// Decides about the entry `log_index` and moves on. Log indexes must rise from call to call.
    ///
    /// Invariant: LOG-1. Panics: when the batch has no record, or after 2^64 records.
    pub fn apply(&mut self, log_index: LogIndex, stamp: &BatchStamp) -> Outcome {
        check!(
            LOG_1,
            stamp.record_count > 0,
            "entry {log_index} is a batch without records"
        );
        let verdict = match stamp.producer {
            None => self.condition(stamp),
            Some(producer) => self.apply_stamped(log_index, producer, stamp),
        };
        let outcome = self.outcome(verdict);
        if verdict.is_ok() {
            self.next_offset = self.next_offset.plus(u64::from(stamp.record_count));
        }
        outcome
    }

    /// The half of `apply` for a batch with a producer: one look-up for a producer that is known.
    fn apply_stamped(
        &mut self,
        log_index: LogIndex,
        producer: ProducerStamp,
        stamp: &BatchStamp,
    ) -> Result<(), VoidReason> {
        let (base_offset, count) = (self.next_offset, stamp.record_count);
        let condition = self.condition(stamp);
        let known = self.producers.get_mut(producer.id);
        producers::judge(known.as_deref(), producer, count).and(condition)?;
        match known {
            Some(history) => history.record(producer.epoch, count, base_offset, log_index),
            None => self.producers.admit(
                producer.id,
                History::begin(producer.epoch, count, base_offset, log_index),
            ),
        }
        Ok(())
    }

    fn condition(&self, stamp: &BatchStamp) -> Result<(), VoidReason> {
        match stamp.expected_offset {
            Some(expected) if expected != self.next_offset => Err(VoidReason::ConditionFailed {
                next_offset: self.next_offset,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn outcome(&self, verdict: Result<(), VoidReason>) -> Outcome {
        match verdict {
            Ok(()) => Outcome::Stored {
                base_offset: self.next_offset,
            },
            Err(reason) => Outcome::Void(reason),
        }
    }
}

impl Default for Sequencer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(record_count: u32) -> BatchStamp {
        BatchStamp {
            producer: None,
            expected_offset: None,
            record_count,
        }
    }

    fn stamped(id: u64, epoch: u32, sequence: u64, record_count: u32) -> BatchStamp {
        BatchStamp {
            producer: Some(ProducerStamp { id, epoch, sequence }),
            ..plain(record_count)
        }
    }

    fn stored(base_offset: u64) -> Outcome {
        Outcome::Stored {
            base_offset: Offset(base_offset),
        }
    }

    fn repeated(base_offset: u64) -> Outcome {
        Outcome::Void(VoidReason::Repeated {
            base_offset: Offset(base_offset),
        })
    }

    fn out_of_order(expected_sequence: u64) -> Outcome {
        Outcome::Void(VoidReason::OutOfOrder { expected_sequence })
    }

    fn applied(stamps: &[BatchStamp]) -> (Sequencer, Vec<Outcome>) {
        let mut sequencer = Sequencer::new();
        let outcomes = stamps
            .iter()
            .zip(1..)
            .map(|(stamp, i)| sequencer.apply(LogIndex(i), stamp))
            .collect();
        (sequencer, outcomes)
    }

    #[test]
    fn batches_without_a_producer_are_stored_one_behind_the_other() {
        let (sequencer, outcomes) = applied(&[plain(1), plain(3), plain(1)]);
        assert_eq!(outcomes, [stored(0), stored(1), stored(4)]);
        assert_eq!(sequencer.next_offset(), Offset(5));
    }

    #[test]
    fn a_condition_holds_only_at_the_next_offset() {
        let at = |offset| BatchStamp {
            expected_offset: Some(Offset(offset)),
            ..plain(2)
        };
        let (_, outcomes) = applied(&[at(0), at(0), at(3), at(2)]);
        let failed = Outcome::Void(VoidReason::ConditionFailed {
            next_offset: Offset(2),
        });
        assert_eq!(outcomes, [stored(0), failed, failed, stored(2)]);
    }

    #[test]
    fn a_retry_of_a_conditional_append_is_told_its_offsets() {
        let conditional = BatchStamp {
            expected_offset: Some(Offset(0)),
            ..stamped(7, 0, 0, 2)
        };
        let (_, outcomes) = applied(&[conditional, conditional]);
        assert_eq!(outcomes, [stored(0), repeated(0)]);
    }

    #[test]
    fn a_failed_condition_does_not_use_up_the_sequence() {
        let conditional = BatchStamp {
            expected_offset: Some(Offset(9)),
            ..stamped(7, 0, 0, 2)
        };
        let (_, outcomes) = applied(&[conditional, stamped(7, 0, 0, 2)]);
        assert_eq!(outcomes[1], stored(0));
    }

    #[test]
    fn retries_are_found_in_the_range_they_were_stored_in() {
        let (_, outcomes) = applied(&[
            stamped(7, 0, 0, 2),
            stamped(7, 0, 2, 2),
            plain(10),
            stamped(7, 0, 4, 1),
            // Both first batches at once have consecutive offsets.
            stamped(7, 0, 0, 4),
            stamped(7, 0, 2, 2),
            stamped(7, 0, 4, 1),
            // These reach across the plain batch, or past what is stored.
            stamped(7, 0, 3, 2),
            stamped(7, 0, 4, 2),
        ]);
        assert_eq!(
            outcomes[3..7],
            [stored(14), repeated(0), repeated(2), repeated(14)]
        );
        assert_eq!(outcomes[7..], [out_of_order(5), out_of_order(5)]);
    }

    #[test]
    fn only_the_newest_ranges_are_remembered() {
        let rounds = RANGES_MAX as u64 + 1;
        let interleaved: Vec<_> = (0..rounds)
            .flat_map(|i| [stamped(7, 0, i, 1), plain(1)])
            .collect();
        let (sequencer, _) = applied(&interleaved);
        assert_eq!(
            sequencer.check(&stamped(7, 0, 0, 1)),
            Outcome::Void(VoidReason::RepeatedLongAgo)
        );
        assert_eq!(sequencer.check(&stamped(7, 0, 0, 2)), out_of_order(rounds));
        assert_eq!(sequencer.check(&stamped(7, 0, 1, 1)), repeated(2));
    }

    #[test]
    fn a_lone_producer_costs_one_range() {
        let batches: Vec<_> = (0..1000).map(|i| stamped(7, 0, i, 1)).collect();
        let (sequencer, _) = applied(&batches);
        assert_eq!(
            sequencer.producers.get(7).map(|history| history.ranges.len()),
            Some(1)
        );
        assert_eq!(sequencer.check(&stamped(7, 0, 0, 1)), repeated(0));
    }

    #[test]
    fn epochs_fence_and_begin_at_zero() {
        let (_, outcomes) = applied(&[
            stamped(7, 3, 0, 2),
            stamped(7, 4, 2, 1),
            stamped(7, 4, 0, 1),
            stamped(7, 3, 2, 1),
            stamped(8, u32::MAX, 0, 1),
            stamped(8, 0, 0, 1),
        ]);
        let fenced = |current_epoch| Outcome::Void(VoidReason::Fenced { current_epoch });
        let expected = [
            stored(0),
            out_of_order(0),
            stored(2),
            fenced(4),
            stored(3),
            fenced(u32::MAX),
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn a_sequence_that_would_overflow_follows_on_nothing() {
        let (_, outcomes) = applied(&[
            stamped(7, 0, u64::MAX, 1),
            stamped(7, 0, 0, 1),
            stamped(7, 0, u64::MAX, u32::MAX),
            stamped(7, 1, u64::MAX, u32::MAX),
        ]);
        let unknown = Outcome::Void(VoidReason::UnknownProducer);
        assert_eq!(outcomes, [unknown, stored(0), out_of_order(1), out_of_order(0)]);
    }

    #[test]
    fn the_producer_heard_of_longest_ago_is_forgotten() {
        let limit = PRODUCERS_MAX as u64;
        let mut sequencer = Sequencer::new();
        let mut log_index = 0;
        let mut apply = |sequencer: &mut Sequencer, stamp| {
            log_index += 1;
            sequencer.apply(LogIndex(log_index), &stamp)
        };
        for id in 1..=limit {
            apply(&mut sequencer, stamped(id, 0, 0, 1));
        }
        apply(&mut sequencer, stamped(1, 0, 1, 1));
        // A void batch of 2 does not keep it.
        apply(&mut sequencer, stamped(2, 0, 0, 1));
        apply(&mut sequencer, stamped(limit + 1, 0, 0, 1));
        assert_eq!(sequencer.check(&stamped(1, 0, 1, 1)), repeated(limit));
        assert_eq!(
            sequencer.check(&stamped(2, 0, 1, 1)),
            Outcome::Void(VoidReason::UnknownProducer)
        );
        assert_eq!(sequencer.check(&stamped(3, 0, 0, 1)), repeated(2));
        // A flood of new ones leaves only the newest.
        for id in 0..3 * limit {
            apply(&mut sequencer, stamped(1_000_000 + id, 0, 0, 1));
        }
        assert_eq!(sequencer.producers.len(), PRODUCERS_MAX);
        assert_eq!(
            sequencer.check(&stamped(1, 0, 2, 1)),
            Outcome::Void(VoidReason::UnknownProducer)
        );
    }
}
