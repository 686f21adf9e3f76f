//! Portions against a plain list of records.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;

use super::portion::{BATCH_FRAMING_BYTES, Limits, Room, response_bytes_max, take_portion, trimmed};
use crate::{
    proto::{annals::v1::Record, raw::annals::v1 as raw},
    record_set,
    storage::StoredBatch,
    types::{LogIndex, Offset, Term, TimestampMs},
};

/// A batch whose records have values of these lengths.
fn batch(base_offset: u64, lengths: &[u8]) -> StoredBatch {
    let mut records = BytesMut::new();
    for length in lengths {
        let value = Bytes::from(vec![0x61; usize::from(*length)]);
        let record = Record {
            value,
            ..Record::default()
        }
        .encode_to_vec();
        record_set::push(&mut records, &record).unwrap();
    }
    StoredBatch {
        base_offset: Offset(base_offset),
        record_count: u32::try_from(lengths.len()).unwrap(),
        timestamp: TimestampMs(0),
        term: Term(1),
        log_index: LogIndex(1),
        records: records.freeze(),
    }
}

/// Every record of the batches, with its offset.
fn flat(batches: &[StoredBatch]) -> Vec<(u64, Bytes)> {
    let records = |batch: &StoredBatch| {
        let base_offset = batch.base_offset.get();
        let records: Vec<Bytes> = record_set::records(&batch.records).collect();
        assert_eq!(records.len(), batch.record_count as usize);
        (base_offset..).zip(records).collect::<Vec<_>>()
    };
    batches.iter().flat_map(records).collect()
}

/// What a record takes in a set.
fn size(record: &Bytes) -> usize {
    record.len() + 1 + if record.len() < 128 { 1 } else { 2 }
}

/// What the limits allow, record by record.
fn model(all: &[(u64, Bytes)], limits: Limits) -> Vec<(u64, Bytes)> {
    let mut allowed = Vec::new();
    let mut bytes = 0_u64;
    for (offset, record) in all {
        bytes += size(record) as u64;
        let too_many = limits.records_left.is_some_and(|max| allowed.len() as u64 >= max);
        let too_large = limits
            .bytes_left
            .is_some_and(|max| bytes > max && !allowed.is_empty());
        let too_far = limits.end_offset.is_some_and(|end| *offset >= end.get());
        if too_many || too_large || too_far {
            break;
        }
        allowed.push((*offset, record.clone()));
    }
    allowed
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn portions_are_what_the_limits_allow_and_no_larger_than_asked(
        lengths in prop::collection::vec(prop::collection::vec(0_u8..200, 1..6), 1..6),
        records_max in prop::option::of(1_u64..12),
        bytes_max in prop::option::of(1_u64..900),
        end in prop::option::of(0_u64..20),
        portion_bytes in 1_usize..600,
    ) {
        let mut ready = VecDeque::new();
        let mut next = 0;
        for lengths in &lengths {
            ready.push_back(batch(next, lengths));
            next += lengths.len() as u64;
        }
        let limits = Limits {
            records_left: records_max,
            bytes_left: bytes_max,
            end_offset: end.map(Offset),
            started: false,
        };
        let all = flat(&ready.iter().cloned().collect::<Vec<_>>());

        let mut left = limits;
        let mut got = Vec::new();
        loop {
            let portion = take_portion(&mut ready, &mut Room::new(portion_bytes), &mut left);
            if portion.is_empty() {
                break;
            }
            let records = flat(&portion);
            let bytes: usize = records.iter().map(|(_, record)| size(record)).sum();
            let bytes = bytes + portion.len() * BATCH_FRAMING_BYTES;
            prop_assert!(bytes <= portion_bytes || records.len() == 1, "{bytes} of {portion_bytes} bytes");
            got.extend(records);
        }
        prop_assert_eq!(got, model(&all, limits));
    }

    #[test]
    fn a_trimmed_batch_has_the_records_of_the_range(from in 0_u64..12, below in 0_u64..12) {
        let whole = batch(3, &[1, 2, 3, 4, 5]);
        let expected: Vec<_> =
            flat(std::slice::from_ref(&whole)).into_iter().filter(|(offset, _)| (from..below).contains(offset)).collect();
        let got = trimmed(whole, Offset(from), Offset(below));
        prop_assert_eq!(flat(&got.into_iter().collect::<Vec<_>>()), expected);
    }
}

#[test]
fn a_whole_batch_is_passed_on_without_a_copy() {
    let whole = batch(0, &[10, 20]);
    let address = whole.records.as_ptr();
    let mut ready = VecDeque::from([whole]);
    let portion = take_portion(&mut ready, &mut Room::new(1 << 10), &mut Limits::default());
    assert_eq!(portion[0].records.as_ptr(), address);
}

#[test]
fn a_response_with_the_largest_numbers_is_no_larger_than_what_was_accounted_for() {
    let largest = raw::Batch {
        base_offset: u64::MAX,
        record_count: u32::MAX,
        timestamp_ms: u64::MAX,
        term: u64::MAX,
        records: Some(Bytes::new()),
    };
    // Of lengths, the largest have five bytes; this message is too short to have one.
    assert_eq!(largest.encoded_len() + 1 + 5 + 4, BATCH_FRAMING_BYTES);

    let rest = raw::ConsumeResponse {
        header: Some(raw::ResponseHeader {
            cluster_id: "x".repeat(64),
            node_id: u64::MAX,
            leader_id: u64::MAX,
            term: u64::MAX,
            high_watermark: u64::MAX,
        }),
        batches: Vec::new(),
        next_offset: u64::MAX,
    };
    for message_bytes_max in [64 << 10, 4 << 20, 16 << 20] {
        let whole = response_bytes_max(message_bytes_max) + rest.encoded_len();
        assert!(whole <= message_bytes_max.min(4 << 20));
    }
}

#[test]
fn a_response_in_several_portions_is_as_full_as_one() {
    let mut ready: VecDeque<_> = (0..10).map(|number| batch(number, &[10])).collect();
    let mut room = Room::new(3 * (BATCH_FRAMING_BYTES + 14));
    let first = ready.split_off(2);
    let mut portion = take_portion(&mut ready, &mut room, &mut Limits::default());
    ready.extend(first);
    portion.extend(take_portion(&mut ready, &mut room, &mut Limits::default()));
    assert_eq!(portion.len(), 3);
    assert!(take_portion(&mut ready, &mut room, &mut Limits::default()).is_empty());
}
