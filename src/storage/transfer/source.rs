//! Gives the bytes of sealed segments to whoever sends them.

use bytes::Bytes;

use super::{ManifestSegment, TransferError};
use crate::storage::{LogView, ReadEntriesError};

impl LogView {
    /// Up to `bytes_max` bytes of the segment's store from `position` on, as they lie on the disk; fewer only at its end.
    ///
    /// Blocking: reads the file. Errors: `Trimmed` and `Changed` when the log is not as it was when the manifest was made.
    pub fn read_segment(
        &self,
        segment: &ManifestSegment,
        position: u64,
        bytes_max: usize,
    ) -> Result<Bytes, TransferError> {
        let first = segment.first_log_index;
        let as_it_was = match self.manifest_segment_if_known(first) {
            Ok(Some((bytes, crc))) => bytes == segment.bytes && crc.is_none_or(|crc| crc == segment.crc),
            Ok(None) if self.first_log_index().is_some_and(|kept| first < kept) => {
                return Err(TransferError::Trimmed { first });
            }
            Ok(None) => false,
            Err(error) => return Err(of_read(error)),
        };
        if !as_it_was {
            return Err(TransferError::Changed { first });
        }
        self.raw_of_segment(first, position, bytes_max).map_err(of_read)
    }
}

fn of_read(error: ReadEntriesError) -> TransferError {
    match error {
        ReadEntriesError::Trimmed { log_index, .. } => TransferError::Trimmed { first: log_index },
        ReadEntriesError::Read(error) => TransferError::Read(error),
    }
}
