//! A manifest that is read is one that can be received: it comes back the same, its segments follow on one another and hold
//! something each. A flipped bit in it is found.
//!
//! Input: which bit to flip, whether the checksum is right, the manifest.

#![no_main]

use annals::{
    storage::{Checkpoint, Manifest, ManifestSegment},
    types::{ClusterId, LogIndex, Offset},
};
use annals_fuzz::{
    format::{flipped, seal},
    seeds,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::plant("manifest", seeds()), |input: &[u8]| {
    if let [low, high, sealed, bytes @ ..] = input {
        check(u16::from_le_bytes([*low, *high]), sealed % 2 == 1, bytes.to_vec());
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let checkpoint = Checkpoint::decode(&seeds::golden_store()[96..216]).expect("the golden one");
    let segment = |first_log_index, first_offset| ManifestSegment {
        first_log_index: LogIndex(first_log_index),
        first_offset: Offset(first_offset),
        bytes: 4096,
        crc: 7,
    };
    let of = |segments| {
        Manifest {
            cluster_id: ClusterId(9),
            segments,
            checkpoint: checkpoint.clone(),
        }
        .encode()
    };
    let manifests = [of(vec![]), of(vec![segment(1, 0), segment(2, 0)])];
    manifests
        .into_iter()
        .map(|bytes| [&[9, 0, 1], &bytes[..]].concat())
        .collect()
}

fn check(flip: u16, sealed: bool, mut bytes: Vec<u8>) {
    if sealed {
        seal(&mut bytes, 8, &[], 12);
    }
    let Ok(manifest) = Manifest::decode(&bytes) else {
        return;
    };
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
    assert!(
        Manifest::decode(&flipped(&bytes, usize::from(flip))).is_err(),
        "a flipped bit is not found"
    );
    let end = (manifest.last_log_index(), manifest.next_offset());
    let mut next = (LogIndex::ZERO, Offset::ZERO);
    for segment in &manifest.segments {
        assert!(
            segment.first_log_index > next.0 && segment.first_offset >= next.1,
            "{segment:?}"
        );
        next = (segment.first_log_index, segment.first_offset);
    }
    assert!(next.0 <= end.0 && next.1 <= end.1, "{manifest:?}");
    assert!(manifest.bytes() >= 4096 * manifest.segments.len() as u64);
}
