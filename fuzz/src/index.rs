//! Index files.

use crc32c::crc32c;

use crate::format::put;

const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 16;

/// Makes an index file whole for a store: right count, right checksums, whatever its entries say.
pub fn seal(index: &mut Vec<u8>, salt: u64, store_bytes: u64) {
    if index.len() < HEADER_BYTES {
        return;
    }
    let count = (index.len() - HEADER_BYTES) / ENTRY_BYTES;
    index.truncate(HEADER_BYTES + count * ENTRY_BYTES);
    put(index, 0, b"ANNALIDX\x01\0\0\0");
    let crc = crc32c(&index[HEADER_BYTES..]);
    put(index, 12, &crc.to_le_bytes());
    for (at, number) in [(16, salt), (24, store_bytes), (32, count as u64)] {
        put(index, at, &number.to_le_bytes());
    }
    let crc = crc32c(&index[..HEADER_BYTES - 4]);
    put(index, HEADER_BYTES - 4, &crc.to_le_bytes());
}
