//! The sequencer beside a model that keeps every stored record and searches them one by one.

use proptest::prelude::*;

use super::*;

/// Few producers, so that they are forgotten often.
const MODEL_PRODUCERS_MAX: usize = 4;

struct StoredRecord {
    producer: Option<(u64, u32, u64)>,
    log_index: LogIndex,
}

/// All that was ever stored; the offset is the place in the list.
#[derive(Default)]
struct Model {
    records: Vec<StoredRecord>,
    known: Vec<u64>,
}

impl Model {
    fn epoch(&self, id: u64) -> Option<u32> {
        if !self.known.contains(&id) {
            return None;
        }
        let of_id = self.records.iter().rev().filter_map(|record| record.producer);
        of_id
            .filter(|(known, _, _)| *known == id)
            .map(|(_, epoch, _)| epoch)
            .next()
    }

    /// Offsets of the records of the producer's last life in this epoch, by sequence.
    fn offsets(&self, id: u64, epoch: u32) -> Vec<u64> {
        let mut offsets = Vec::new();
        for (offset, record) in self.records.iter().enumerate() {
            if let Some((known, known_epoch, sequence)) = record.producer
                && (known, known_epoch) == (id, epoch)
            {
                if sequence == 0 {
                    offsets.clear();
                }
                assert_eq!(
                    sequence,
                    offsets.len() as u64,
                    "a gap in a producer's sequence was stored"
                );
                offsets.push(offset as u64);
            }
        }
        offsets
    }

    fn producer_reason(&self, stamp: ProducerStamp, count: u64) -> Option<VoidReason> {
        let Some(epoch) = self.epoch(stamp.id) else {
            return (stamp.sequence != 0).then_some(VoidReason::UnknownProducer);
        };
        if stamp.epoch < epoch {
            return Some(VoidReason::Fenced { current_epoch: epoch });
        }
        if stamp.epoch > epoch {
            return (stamp.sequence != 0).then_some(VoidReason::OutOfOrder { expected_sequence: 0 });
        }
        let offsets = self.offsets(stamp.id, epoch);
        let stored = offsets.len() as u64;
        let out_of_order = VoidReason::OutOfOrder {
            expected_sequence: stored,
        };
        let end = u128::from(stamp.sequence) + u128::from(count);
        if stamp.sequence == stored {
            return None;
        }
        if end > u128::from(stored) {
            return Some(out_of_order);
        }
        let (from, to) = (stamp.sequence as usize, end as usize);
        let breaks: Vec<usize> = (1..offsets.len())
            .filter(|&i| offsets[i] != offsets[i - 1] + 1)
            .collect();
        let remembered_from = if breaks.len() >= RANGES_MAX {
            breaks[breaks.len() - RANGES_MAX]
        } else {
            0
        };
        if to <= remembered_from {
            return Some(VoidReason::RepeatedLongAgo);
        }
        let consecutive = (from + 1..to).all(|i| offsets[i] == offsets[i - 1] + 1);
        if from < remembered_from || !consecutive {
            return Some(out_of_order);
        }
        Some(VoidReason::Repeated {
            base_offset: Offset(offsets[from]),
        })
    }

    fn apply(&mut self, log_index: LogIndex, stamp: &BatchStamp) -> Outcome {
        let next_offset = Offset(self.records.len() as u64);
        let count = u64::from(stamp.record_count);
        if let Some(reason) = stamp
            .producer
            .and_then(|producer| self.producer_reason(producer, count))
        {
            return Outcome::Void(reason);
        }
        if stamp
            .expected_offset
            .is_some_and(|expected| expected != next_offset)
        {
            return Outcome::Void(VoidReason::ConditionFailed { next_offset });
        }
        if let Some(producer) = stamp.producer
            && !self.known.contains(&producer.id)
        {
            if self.known.len() == MODEL_PRODUCERS_MAX {
                let of = |id: u64| {
                    let last = self
                        .records
                        .iter()
                        .rev()
                        .find(|record| record.producer.is_some_and(|p| p.0 == id));
                    last.map(|record| record.log_index)
                };
                let oldest = self
                    .known
                    .iter()
                    .copied()
                    .min_by_key(|id| of(*id))
                    .expect("there are some");
                self.known.retain(|id| *id != oldest);
            }
            self.known.push(producer.id);
        }
        for i in 0..count {
            let producer = stamp.producer.map(|p| (p.id, p.epoch, p.sequence + i));
            self.records.push(StoredRecord { producer, log_index });
        }
        Outcome::Stored {
            base_offset: next_offset,
        }
    }
}

/// A batch, told in relation to what its producer did before, so that most are near to something interesting.
#[derive(Clone, Debug)]
struct Step {
    producer: Option<(u64, i8)>,
    sequence: SequenceChoice,
    expected_offset: Option<i8>,
    record_count: u32,
    reopen: bool,
}

#[derive(Clone, Debug)]
enum SequenceChoice {
    Next,
    Zero,
    Back(u64),
    Ahead(u64),
    Huge,
}

fn step() -> impl Strategy<Value = Step> {
    let sequence = prop_oneof![
        8 => Just(SequenceChoice::Next),
        1 => Just(SequenceChoice::Zero),
        4 => (1..40_u64).prop_map(SequenceChoice::Back),
        1 => (1..3_u64).prop_map(SequenceChoice::Ahead),
        1 => Just(SequenceChoice::Huge),
    ];
    let epoch = prop_oneof![20 => Just(0_i8), 1 => Just(1_i8), 1 => Just(-1_i8)];
    let id = prop_oneof![10 => 1..4_u64, 1 => 4..9_u64];
    let expected = prop_oneof![4 => Just(0_i8), 1 => -2..3_i8];
    (
        proptest::option::weighted(0.8, (id, epoch)),
        sequence,
        proptest::option::weighted(0.2, expected),
        1..4_u32,
        proptest::bool::weighted(0.05),
    )
        .prop_map(
            |(producer, sequence, expected_offset, record_count, reopen)| Step {
                producer,
                sequence,
                expected_offset,
                record_count,
                reopen,
            },
        )
}

fn stamp(step: &Step, model: &Model) -> BatchStamp {
    let producer = step.producer.map(|(id, epoch_step)| {
        let epoch = model.epoch(id).unwrap_or(5);
        let next = model
            .epoch(id)
            .map_or(0, |epoch| model.offsets(id, epoch).len() as u64);
        let epoch = epoch.saturating_add_signed(i32::from(epoch_step));
        let sequence = match step.sequence {
            SequenceChoice::Next if epoch_step == 0 => next,
            SequenceChoice::Next | SequenceChoice::Zero => 0,
            SequenceChoice::Back(by) => next.saturating_sub(by),
            SequenceChoice::Ahead(by) => next + by,
            SequenceChoice::Huge => u64::MAX - 1,
        };
        ProducerStamp { id, epoch, sequence }
    });
    let next_offset = model.records.len() as u64;
    let expected = |by: i8| Offset(next_offset.saturating_add_signed(i64::from(by)));
    BatchStamp {
        producer,
        expected_offset: step.expected_offset.map(expected),
        record_count: step.record_count,
    }
}

fn reopened(sequencer: &Sequencer) -> Sequencer {
    let mut bytes = Vec::new();
    sequencer.encode(&mut bytes);
    let decoded = Sequencer::decode_up_to(MODEL_PRODUCERS_MAX, &bytes).expect("own bytes are readable");
    assert_eq!(&decoded, sequencer);
    let mut again = Vec::new();
    decoded.encode(&mut again);
    assert_eq!(bytes, again, "one state has one encoding");
    decoded
}

fn small() -> Sequencer {
    Sequencer {
        next_offset: Offset::ZERO,
        producers: Producers::new(MODEL_PRODUCERS_MAX),
        cursors: Cursors::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_batch_gets_what_the_model_says_also_after_reopening(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let (mut sequencer, mut model) = (small(), Model::default());
        for (step, log_index) in steps.iter().zip(1..) {
            if step.reopen {
                sequencer = reopened(&sequencer);
            }
            let stamp = stamp(step, &model);
            let before = sequencer.clone();
            let checked = sequencer.check(&stamp);
            prop_assert_eq!(&before, &sequencer, "a check changes nothing");
            let outcome = sequencer.apply(LogIndex(log_index), &stamp);
            prop_assert_eq!(checked, outcome);
            prop_assert_eq!(outcome, model.apply(LogIndex(log_index), &stamp), "step {}: {:?}", log_index, stamp);
            prop_assert_eq!(sequencer.next_offset().get(), model.records.len() as u64);
            if let Outcome::Void(_) = outcome {
                prop_assert_eq!(&before, &sequencer, "a void batch changes nothing");
            }
        }
    }

    #[test]
    fn decode_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = vec![1];
        versioned.extend_from_slice(&bytes);
        // A log without producers, and whatever follows as cursors.
        let cursors = [&[2][..], &[255; 8], &[0; 4], &bytes].concat();
        for bytes in [bytes, versioned, cursors] {
            if let Ok(sequencer) = Sequencer::decode(&bytes) {
                let mut again = Vec::new();
                sequencer.encode(&mut again);
                prop_assert_eq!(bytes, again);
            }
        }
    }

    #[test]
    fn what_decodes_from_mutated_bytes_can_be_used(
        steps in proptest::collection::vec(step(), 1..60),
        at in any::<proptest::sample::Index>(),
        flipped in 1..=255_u8,
        then in proptest::collection::vec(step(), 1..20),
    ) {
        let (mut sequencer, mut model) = (small(), Model::default());
        for (step, log_index) in steps.iter().zip(1..) {
            let stamp = stamp(step, &model);
            sequencer.apply(LogIndex(log_index), &stamp);
            model.apply(LogIndex(log_index), &stamp);
        }
        let mut bytes = Vec::new();
        sequencer.encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flipped;
        let Ok(mut mutated) = Sequencer::decode_up_to(MODEL_PRODUCERS_MAX, &bytes) else { return Ok(()) };
        prop_assume!(mutated.next_offset().get() < u64::MAX - 1000);
        for (step, log_index) in then.iter().zip(1000..) {
            let stamp = stamp(step, &model);
            prop_assert_eq!(mutated.check(&stamp), mutated.apply(LogIndex(log_index), &stamp));
        }
    }
}
