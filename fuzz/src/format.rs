//! Numbers and checksums in bytes, as every format of ours has them.

use crc32c::{crc32c, crc32c_append};

/// The four bytes at `at`, which are there.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The eight bytes at `at`, which are there.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Writes over what is at `at`, as far as it is there.
pub fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(there) = bytes.get_mut(at..at + what.len()) {
        there.copy_from_slice(what);
    }
}

/// Puts the checksum of `place` and of all bytes from `from` on at `at`; does nothing when they are not there.
pub fn seal(bytes: &mut [u8], at: usize, place: &[u8], from: usize) {
    if let Some(covered) = bytes.get(from..) {
        let crc = crc32c_append(crc32c(place), covered);
        put(bytes, at, &crc.to_le_bytes());
    }
}

/// The bytes with one bit the other way round; `which` counts from the first, round and round.
pub fn flipped(bytes: &[u8], which: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let bit = which % (bytes.len() * 8);
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}
