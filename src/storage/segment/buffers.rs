//! Buffers for reading stores, used again: memory that a process touches for the first time costs more than the read.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Large enough for a consumer's chunk and the step to the next index entry; longer reads are rare, and made for once.
const BUFFER_BYTES: usize = (256 << 10) + 8192;
/// Shorter reads have memory of their own: what waits for a slow reader would keep a whole buffer.
const SHORT_BYTES: usize = 128 << 10;
/// Buffers kept while nobody uses them: as many as may be in use at a time by the few readers that keep a disk busy.
const IDLE_MAX: usize = 16;

static IDLE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer that goes back when the last slice of what was read into it is dropped.
struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// `len` bytes as `read` fills them; it says how many it has filled.
pub(super) fn read_into<E>(len: usize, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Bytes, E> {
    if !(SHORT_BYTES..=BUFFER_BYTES).contains(&len) {
        let mut bytes = vec![0; len];
        let filled = read(&mut bytes)?;
        bytes.truncate(filled);
        return Ok(Bytes::from(bytes));
    }
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut buffer = Buffer {
        bytes: idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()),
        len: 0,
    };
    buffer.len = read(&mut buffer.bytes[..len])?;
    Ok(Bytes::from_owner(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_filled_is_seen_whatever_the_buffer_held_before() {
        let full: Result<Bytes, ()> = read_into(SHORT_BYTES, |bytes| {
            bytes.fill(7);
            Ok(bytes.len())
        });
        assert_eq!(full.unwrap(), vec![7; SHORT_BYTES]);
        for len in [1000, SHORT_BYTES, BUFFER_BYTES, BUFFER_BYTES + 1] {
            let part: Result<Bytes, ()> = read_into(len, |bytes| {
                assert_eq!(bytes.len(), len);
                bytes[..3].fill(9);
                Ok(3)
            });
            assert_eq!(part.unwrap(), vec![9; 3]);
        }
    }

    #[test]
    fn bytes_in_use_are_not_given_out_again() {
        let first: Result<Bytes, ()> = read_into(SHORT_BYTES, |bytes| {
            bytes.fill(1);
            Ok(10)
        });
        let slice = first.unwrap().slice(2..4);
        let second: Result<Bytes, ()> = read_into(SHORT_BYTES, |bytes| {
            bytes.fill(2);
            Ok(10)
        });
        assert_eq!((&slice[..], &second.unwrap()[..2]), (&[1, 1][..], &[2, 2][..]));
    }
}
