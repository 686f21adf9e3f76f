//! Gathering must never change what a request is told: compared with a log that gets each request in a batch of its own.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{
    answers::{Answered, answer},
    gather::{Fit, Gather, Gathered, Item},
};
use crate::{
    actors::committer::{Committed, ProposeError},
    record_set,
    storage::{
        Sequencer,
        entry::{Batch, ProducerStamp},
    },
    types::{LogIndex, Offset},
};

const BYTES_MAX: usize = 400;

/// A set of `count` records; `seed` makes it one of a kind.
fn set(count: u32, seed: usize) -> Bytes {
    let mut records = BytesMut::new();
    for number in 0..count {
        let value = format!("request {seed} record {number}");
        record_set::push(&mut records, &record(&value)).unwrap();
    }
    records.freeze()
}

/// An encoded record with one field, its value.
fn record(value: &str) -> Vec<u8> {
    let mut record = vec![1 << 3 | 2, u8::try_from(value.len()).unwrap()];
    record.extend_from_slice(value.as_bytes());
    record
}

fn batch(count: u32, seed: usize) -> Batch {
    Batch {
        producer: None,
        expected_offset: None,
        record_count: count,
        records: set(count, seed),
    }
}

fn stamped(sequence: u64, count: u32, seed: usize) -> Batch {
    let producer = Some(ProducerStamp {
        id: 7,
        epoch: 1,
        sequence,
    });
    Batch {
        producer,
        ..batch(count, seed)
    }
}

/// What a request is told, in comparable form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Offsets { first: u64, next: u64, repeated: bool },
    Refused(String),
}

fn told(answered: Answered) -> Vec<Told> {
    match answered {
        Answered::Stored {
            offsets,
            requests,
            repeated,
        } => {
            let mut next = offsets.start;
            let offsets_of = |count| {
                let first = next;
                next += u64::from(count);
                Told::Offsets {
                    first,
                    next,
                    repeated,
                }
            };
            requests.into_iter().map(offsets_of).collect()
        }
        Answered::Refused { refusal, requests } => {
            vec![Told::Refused(refusal.into_failure().reason); requests]
        }
    }
}

/// A log, as far as answers go.
#[derive(Default)]
struct Log {
    sequencer: Sequencer,
    entries: u64,
}

impl Log {
    fn commit(&mut self, batch: &Batch) -> Result<Committed, ProposeError> {
        self.entries += 1;
        let log_index = LogIndex(self.entries);
        let outcome = self.sequencer.apply(log_index, &batch.stamp());
        Ok(Committed {
            log_index,
            outcome,
            record_count: batch.record_count,
        })
    }
}

/// A stream's half: gathers, commits, and learns the answers some time later.
struct Gathering {
    gather: Gather,
    log: Log,
    unanswered: VecDeque<(Gathered, Result<Committed, ProposeError>)>,
    told: Vec<Told>,
    stored: Vec<u8>,
}

impl Gathering {
    fn on(log: Log) -> Self {
        Self {
            gather: Gather::new(BYTES_MAX),
            log,
            unanswered: VecDeque::new(),
            told: Vec::new(),
            stored: Vec::new(),
        }
    }

    fn push(&mut self, item: Item) {
        if self.gather.fit(&item) != Fit::Joins {
            self.seal();
        }
        self.gather.push(item).unwrap();
    }

    fn seal(&mut self) {
        let Some(gathered) = self.gather.seal() else {
            return;
        };
        let Batch {
            record_count,
            records,
            ..
        } = &gathered.batch;
        assert_eq!(record_set::check(records), Ok(*record_count));
        assert_eq!(gathered.requests.iter().sum::<u32>(), *record_count);
        assert!(
            gathered.requests.len() == 1 || records.len() <= BYTES_MAX,
            "{} bytes",
            records.len()
        );
        assert!(
            records.len() <= gathered.bytes,
            "more bytes than were accounted for"
        );
        self.stored.extend_from_slice(records);
        let committed = self.log.commit(&gathered.batch);
        self.unanswered.push_back((gathered, committed));
    }

    fn answer_oldest(&mut self) {
        let Some((gathered, committed)) = self.unanswered.pop_front() else {
            return;
        };
        let chain = gathered.chain;
        let answered = answer(gathered.requests, committed);
        match &answered {
            Answered::Stored { repeated: false, .. } => self.gather.stored(chain),
            Answered::Stored { repeated: true, .. } => {}
            Answered::Refused { .. } => self.gather.not_stored(),
        }
        self.told.extend(told(answered));
    }

    fn finish(&mut self) {
        self.seal();
        while !self.unanswered.is_empty() {
            self.answer_oldest();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Plain { count: u32 },
    Record,
    Conditional { count: u32, behind: u64 },
    Continue { producer: usize, count: u32 },
    Back { producer: usize, by: u64 },
    Skip { producer: usize },
    Seal,
    Answer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u32..4).prop_map(|count| Step::Plain { count }),
        3 => Just(Step::Record),
        1 => (1_u32..3, 0_u64..3).prop_map(|(count, behind)| Step::Conditional { count, behind }),
        9 => (0_usize..2, 1_u32..4).prop_map(|(producer, count)| Step::Continue { producer, count }),
        1 => (0_usize..2, 1_u64..8).prop_map(|(producer, by)| Step::Back { producer, by }),
        1 => (0_usize..2).prop_map(|producer| Step::Skip { producer }),
        3 => Just(Step::Seal),
        4 => Just(Step::Answer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn gathering_changes_nothing_that_a_request_is_told(
        earlier_try in prop::collection::vec((0_usize..2, 1_u32..5), 0..6),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let (mut one_by_one, mut before) = (Log::default(), Log::default());
        let mut earlier_sequences = [0_u64; 2];
        for (producer, count) in earlier_try {
            let sequence = earlier_sequences[producer];
            let producer_stamp = ProducerStamp { id: producer as u64 + 1, epoch: 1, sequence };
            let earlier = Batch { producer: Some(producer_stamp), ..batch(count, 0) };
            one_by_one.commit(&earlier).unwrap();
            before.commit(&earlier).unwrap();
            earlier_sequences[producer] += u64::from(count);
        }

        let mut gathering = Gathering::on(before);
        let mut expected = Vec::new();
        let mut bytes = Vec::new();
        let mut sequences = [0_u64; 2];
        for (seed, step) in steps.into_iter().enumerate() {
            let item = match step {
                Step::Seal => { gathering.seal(); continue }
                Step::Answer => { gathering.answer_oldest(); continue }
                Step::Back { producer, by } => {
                    sequences[producer] = sequences[producer].saturating_sub(by);
                    continue;
                }
                Step::Skip { producer } => { sequences[producer] += 1; continue }
                Step::Plain { count } => Item::Batch(batch(count, seed)),
                Step::Record => Item::Record(Bytes::from(record(&format!("bare record {seed}")))),
                Step::Conditional { count, behind } => {
                    let next = one_by_one.sequencer.next_offset().get();
                    let expected_offset = Some(Offset(next.saturating_sub(behind)));
                    Item::Batch(Batch { expected_offset, ..batch(count, seed) })
                }
                Step::Continue { producer, count } => {
                    let stamp = ProducerStamp { id: producer as u64 + 1, epoch: 1, sequence: sequences[producer] };
                    sequences[producer] += u64::from(count);
                    Item::Batch(Batch { producer: Some(stamp), ..batch(count, seed) })
                }
            };
            let alone = item.clone().into_batch().unwrap();
            bytes.extend_from_slice(&alone.records);
            let committed = one_by_one.commit(&alone);
            expected.extend(told(answer(vec![alone.record_count], committed)));
            gathering.push(item);
        }
        gathering.finish();
        prop_assert_eq!(gathering.told, expected);
        prop_assert_eq!(gathering.stored, bytes);
    }
}

#[test]
fn requests_without_conditions_share_a_batch() {
    let mut gathering = Gathering::on(Log::default());
    for seed in 0..5 {
        gathering.push(Item::Batch(batch(2, seed)));
    }
    gathering.finish();
    assert_eq!(gathering.log.entries, 1);
    assert_eq!(
        gathering.told[4],
        Told::Offsets {
            first: 8,
            next: 10,
            repeated: false
        }
    );
}

#[test]
fn a_producer_shares_batches_once_something_of_it_was_freshly_stored() {
    let mut gathering = Gathering::on(Log::default());
    gathering.push(Item::Batch(stamped(0, 2, 0)));
    gathering.push(Item::Batch(stamped(2, 2, 1)));
    gathering.finish();
    assert_eq!(gathering.log.entries, 2, "the first ones may be retries");
    gathering.push(Item::Batch(stamped(4, 2, 2)));
    gathering.push(Item::Batch(stamped(6, 2, 3)));
    gathering.finish();
    assert_eq!(gathering.log.entries, 3, "what follows cannot be");
}

#[test]
fn a_retry_of_a_merged_batch_in_other_pieces_is_recognised() {
    let mut gathering = Gathering::on(Log::default());
    gathering.push(Item::Batch(stamped(0, 1, 0)));
    gathering.finish();
    for sequence in [1, 3, 5] {
        gathering.push(Item::Batch(stamped(sequence, 2, 1)));
    }
    gathering.finish();
    assert_eq!(gathering.log.entries, 2);

    let mut retry = Gathering::on(gathering.log);
    for sequence in [1, 3, 5] {
        retry.push(Item::Batch(stamped(sequence, 2, 1)));
    }
    retry.finish();
    let repeated = |first| Told::Offsets {
        first,
        next: first + 2,
        repeated: true,
    };
    assert_eq!(retry.told, [repeated(1), repeated(3), repeated(5)]);
}

#[test]
fn a_conditional_request_is_alone_in_its_batch() {
    let mut gather = Gather::new(BYTES_MAX);
    let conditional = Item::Batch(Batch {
        expected_offset: Some(Offset(1)),
        ..batch(1, 0)
    });
    gather.push(Item::Batch(batch(1, 1))).unwrap();
    assert!(gather.fit(&conditional) == Fit::Apart);
    gather.seal();
    gather.push(conditional).unwrap();
    assert!(gather.fit(&Item::Batch(batch(1, 2))) == Fit::Apart);
}

#[test]
fn a_batch_has_only_so_many_requests_however_small_they_are() {
    let mut gather = Gather::new(1 << 20);
    let tiny = || Item::Record(Bytes::new());
    while gather.fit(&tiny()) == Fit::Joins {
        gather.push(tiny()).unwrap();
    }
    assert_eq!(gather.seal().unwrap().requests.len(), 16_384);
}

#[test]
fn a_large_request_is_passed_on_without_a_copy() {
    let large = Bytes::from(vec![0; 100 << 10]);
    let item = Item::Batch(Batch {
        records: large.clone(),
        ..batch(1, 0)
    });
    let mut gather = Gather::new(1 << 20);
    gather.push(item.clone()).unwrap();
    assert!(gather.fit(&item) == Fit::Apart);
    let gathered = gather.seal().unwrap();
    assert_eq!(gathered.batch.records.as_ptr(), large.as_ptr());
}

#[test]
fn a_bare_record_that_is_malformed_leaves_the_others_alone() {
    let mut gather = Gather::new(BYTES_MAX);
    gather.push(Item::Record(Bytes::from(record("good")))).unwrap();
    gather
        .push(Item::Record(Bytes::from_static(&[0x0a, 0xff])))
        .unwrap_err();
    gather
        .push(Item::Record(Bytes::from(record("good too"))))
        .unwrap();
    let gathered = gather.seal().unwrap();
    assert_eq!(record_set::check(&gathered.batch.records), Ok(2));
    assert_eq!(gathered.requests, [1, 1]);
}

#[test]
fn a_small_batch_does_not_keep_the_room_of_a_large_one() {
    let mut gather = Gather::new(1 << 20);
    for number in 0..5000 {
        gather
            .push(Item::Record(Bytes::from(record(&format!("record {number}")))))
            .unwrap();
    }
    gather.seal().unwrap();
    gather.push(Item::Record(Bytes::from(record("small")))).unwrap();
    let small = gather.seal().unwrap().batch.records;
    // A unique `Bytes` turns back into its buffer, whose capacity is what is really held.
    let held = BytesMut::from(small).capacity();
    assert!(held < 64, "{held} bytes are held for one small record");
}
