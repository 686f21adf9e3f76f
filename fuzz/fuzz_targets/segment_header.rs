//! A segment header that is read is one that can be written: it comes back the same, and begins with the entry and the
//! offset that its checkpoint leads to. A flipped bit in it is found.
//!
//! Input: which bit to flip, whether the checksums are right, the header.

#![no_main]

use annals::storage::SegmentHeader;
use annals_fuzz::{
    format::{flipped, u32_at, u64_at},
    seeds,
    store::{FACE_BYTES, packed, seal_header},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::plant("segment_header", seeds()), |input: &[u8]| {
    if let [low, high, sealed, bytes @ ..] = input {
        check(u16::from_le_bytes([*low, *high]), sealed % 2 == 1, bytes.to_vec());
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let header = &packed(&seeds::golden_store())[..216];
    [0, 1].map(|sealed| [&[9, 0, sealed], header].concat()).to_vec()
}

fn check(flip: u16, sealed: bool, mut bytes: Vec<u8>) {
    if sealed {
        seal_header(&mut bytes);
    }
    let Ok(header) = SegmentHeader::decode(&bytes) else {
        return;
    };
    let again = header.encode();
    assert_eq!(SegmentHeader::decode(&again), Ok(header.clone()));
    assert_eq!(again.len() % 4096, 0, "frames begin on a page");
    let says = (u64_at(&bytes, 56), u64_at(&bytes, 64), u64_at(&bytes, 72));
    let leads_to = (
        header.first_log_index().get(),
        header.first_offset().get(),
        header.checkpoint.last_timestamp().0,
    );
    assert_eq!(says, leads_to, "header and checkpoint contradict each other");
    let end = FACE_BYTES + u32_at(&bytes, 16) as usize;
    assert!(
        SegmentHeader::decode(&flipped(&bytes[..end], usize::from(flip))).is_err(),
        "a flipped bit is not found"
    );
}
