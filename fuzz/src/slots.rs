//! Files that hold the same thing twice: `vote` and `committed`.

use crate::format::{put, seal, u64_at};

/// Where the second copy of a vote is.
pub const VOTE_PAGE_BYTES: usize = 4096;
/// What means something of a copy.
pub const VOTE_BYTES: usize = 64;
/// Room for a note.
pub const NOTE_SLOT_BYTES: usize = 16 << 10;
/// Bytes of a note before its membership.
pub const NOTE_HEADER_BYTES: usize = 64;

/// A copy of a vote for its place in the file.
pub fn vote(at: usize, sequence: u64, term: u64, voted_for: u64, committed: u8) -> Vec<u8> {
    let mut bytes = b"ANNALVOT\0\0\0\0\x01\0\0\0".to_vec();
    for number in [sequence, term, voted_for] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.push(committed);
    bytes.resize(VOTE_BYTES, 0);
    seal_vote(&mut bytes, at);
    bytes
}

/// Puts the right checksum into a copy of a vote.
pub fn seal_vote(copy: &mut [u8], at: usize) {
    if let Some(copy) = copy.get_mut(..VOTE_BYTES) {
        seal(copy, 8, &(at as u64).to_le_bytes(), 12);
    }
}

/// A note of what is committed, without a membership.
pub fn note(sequence: u64, log_index: u64, term: u64) -> Vec<u8> {
    let mut bytes = b"ANNALCOM\0\0\0\0\x01\0\0\0".to_vec();
    for number in [sequence, log_index, term] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.resize(NOTE_HEADER_BYTES, 0);
    seal_note(&mut bytes);
    bytes
}

/// Puts the right length of its membership and the right checksum into a note that ends with `bytes`.
pub fn seal_note(bytes: &mut [u8]) {
    if let Some(membership) = bytes.len().checked_sub(NOTE_HEADER_BYTES) {
        put(bytes, 56, &(membership as u32).to_le_bytes());
        let slot = [u8::from(u64_at(bytes, 16) % 2 == 1)];
        seal(bytes, 8, &slot, 12);
    }
}
