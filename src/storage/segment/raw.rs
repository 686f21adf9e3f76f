//! A sealed segment as plain bytes, to be sent to another node.

use bytes::Bytes;

use super::{SegmentReader, buffers::read_into, recovery::for_each_piece};
use crate::storage::ReadError;

impl SegmentReader {
    /// Checksum (CRC-32C) of the whole store; `None` for the active segment, which has none yet.
    ///
    /// Blocking: reads the whole store, the first time.
    pub(in crate::storage) fn crc(&self) -> Result<Option<u32>, ReadError> {
        let Some(known) = self.known_crc() else {
            return Ok(None);
        };
        if let Some(crc) = known.get() {
            return Ok(Some(*crc));
        }
        let (file, end) = (self.file()?, self.end()?);
        let (mut crc, mut read) = (0, 0);
        for_each_piece(&file, 0, end, |_, piece| {
            crc = crc32c::crc32c_append(crc, piece);
            read += piece.len() as u64;
            Ok(())
        })
        .map_err(|error| self.io(error))?;
        if read < end {
            return Err(self.corrupt(read, "the file became shorter while it was read"));
        }
        Ok(Some(*known.get_or_init(|| crc)))
    }

    /// Up to `bytes_max` bytes of the store from `position` on; fewer only at its end.
    ///
    /// Blocking: reads the file.
    pub(in crate::storage) fn raw(&self, position: u64, bytes_max: usize) -> Result<Bytes, ReadError> {
        let file = self.file()?;
        let left = self.end()?.saturating_sub(position);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes_max);
        read_into(len, |into| file.read_at(position, into)).map_err(|error| self.io(error))
    }
}
