//! What a store file begins with: who it belongs to, where in the log it stands, and the log's state before it.

use crate::types::{ClusterId, LogIndex, Offset, TimestampMs};

use super::{
    checkpoint::{Checkpoint, CheckpointError},
    frame::FRAME_HEADER_LEN,
};

/// Version of all that this module and `frame` write.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"ANNALSEG";
const FIXED_LEN: usize = 96;
/// Frames begin on a page, so that writing them never rewrites the header's page.
const HEADER_ALIGN: usize = 4096;
/// A checkpoint is a few megabytes at most (10,000 producers with 16 ranges each); more is damage.
const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// The header of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentHeader {
    /// Random; goes into every checksum of the segment's frames.
    pub salt: u64,
    /// The cluster whose log this is.
    pub cluster_id: ClusterId,
    /// When the segment was made.
    pub created: TimestampMs,
    /// The state of the log before this segment.
    pub checkpoint: Checkpoint,
}

/// Why bytes are not a segment header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentHeaderError {
    /// The file ends inside.
    #[error("the file ends inside the segment header ({found} of {needed} bytes)")]
    Short {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        needed: usize,
    },
    /// It is something else.
    #[error("this is not a segment of Annals (wrong magic)")]
    Magic,
    /// Another version of Annals wrote it.
    #[error(
        "segment has format version {found}, this program reads {FORMAT_VERSION}: use the annals that wrote it"
    )]
    Version {
        /// What it says.
        found: u32,
    },
    /// Its frames begin with another header than those of this version.
    #[error(
        "segment has frame headers of {found} bytes, this program reads {FRAME_HEADER_LEN}: use the annals that wrote it"
    )]
    FrameHeaderLen {
        /// What it says.
        found: u32,
    },
    /// It is not what was written.
    #[error("segment header checksum does not match")]
    Checksum,
    /// The checkpoint in it is not what was written.
    #[error("checkpoint checksum does not match")]
    CheckpointChecksum,
    /// The checkpoint cannot be understood.
    #[error("checkpoint cannot be read")]
    Checkpoint(#[source] CheckpointError),
    /// The segment does not begin with the entry, the offset and the time that the checkpoint leads to.
    #[error("header and checkpoint contradict each other")]
    Contradiction,
}

/// The fixed part: all that a reader needs, without the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFace {
    pub(super) salt: u64,
    pub(super) cluster_id: ClusterId,
    pub(super) created: TimestampMs,
    pub(super) first_log_index: LogIndex,
    pub(super) first_offset: Offset,
    /// Timestamp of the entry before the segment.
    pub(super) previous_timestamp: TimestampMs,
    checkpoint_len: usize,
    checkpoint_crc: u32,
}

impl SegmentFace {
    /// Bytes to read for it.
    pub(super) const LEN: usize = FIXED_LEN;

    /// Where the first frame begins.
    pub(super) fn header_len(&self) -> u64 {
        encoded_len(self.checkpoint_len) as u64
    }
}

impl SegmentHeader {
    /// Number of the segment's first entry.
    #[must_use]
    pub fn first_log_index(&self) -> LogIndex {
        self.checkpoint.last_log_index().plus(1)
    }

    /// Offset of the segment's first record.
    #[must_use]
    pub fn first_offset(&self) -> Offset {
        self.checkpoint.next_offset()
    }

    /// Its bytes; their length is where the first frame begins.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let checkpoint = self.checkpoint.encode();
        let checkpoint_len = u32::try_from(checkpoint.len()).expect("checkpoints stay far below 4 GiB");
        let mut bytes = Vec::with_capacity(encoded_len(checkpoint.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(FRAME_HEADER_LEN as u32).to_le_bytes());
        bytes.extend_from_slice(&checkpoint_len.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&checkpoint).to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.cluster_id.0.to_le_bytes());
        bytes.extend_from_slice(&self.created.0.to_le_bytes());
        bytes.extend_from_slice(&self.first_log_index().get().to_le_bytes());
        bytes.extend_from_slice(&self.first_offset().get().to_le_bytes());
        bytes.extend_from_slice(&self.checkpoint.last_timestamp().0.to_le_bytes());
        bytes.resize(FIXED_LEN - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&checkpoint);
        bytes.resize(encoded_len(checkpoint.len()), 0);
        bytes
    }

    /// Reads what [`SegmentHeader::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let fixed = SegmentFace::decode(bytes)?;
        let end = FIXED_LEN + fixed.checkpoint_len;
        let short = SegmentHeaderError::Short {
            found: bytes.len(),
            needed: end,
        };
        let checkpoint = bytes.get(FIXED_LEN..end).ok_or(short)?;
        if crc32c::crc32c(checkpoint) != fixed.checkpoint_crc {
            return Err(SegmentHeaderError::CheckpointChecksum);
        }
        let header = Self {
            salt: fixed.salt,
            cluster_id: fixed.cluster_id,
            created: fixed.created,
            checkpoint: Checkpoint::decode(checkpoint).map_err(SegmentHeaderError::Checkpoint)?,
        };
        let says = (
            fixed.first_log_index,
            fixed.first_offset,
            fixed.previous_timestamp,
        );
        let before = header.checkpoint.last_timestamp();
        if says != (header.first_log_index(), header.first_offset(), before) {
            return Err(SegmentHeaderError::Contradiction);
        }
        Ok(header)
    }
}

fn encoded_len(checkpoint_len: usize) -> usize {
    (FIXED_LEN + checkpoint_len).next_multiple_of(HEADER_ALIGN)
}

impl SegmentFace {
    /// Reads the fixed part at the front of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let short = SegmentHeaderError::Short {
            found: bytes.len(),
            needed: FIXED_LEN,
        };
        let fixed = bytes.first_chunk::<FIXED_LEN>().ok_or(short)?;
        let u32_at = |at: usize| u32::from_le_bytes(*fixed[at..].first_chunk().expect("inside FIXED_LEN"));
        let u64_at = |at: usize| u64::from_le_bytes(*fixed[at..].first_chunk().expect("inside FIXED_LEN"));
        if fixed[..8] != MAGIC {
            return Err(SegmentHeaderError::Magic);
        }
        // Every version keeps its checksum here, so that a damaged number is told from that of a newer program.
        if crc32c::crc32c(&fixed[..FIXED_LEN - 4]) != u32_at(FIXED_LEN - 4) {
            return Err(SegmentHeaderError::Checksum);
        }
        let found = u32_at(8);
        if found != FORMAT_VERSION {
            return Err(SegmentHeaderError::Version { found });
        }
        let checkpoint_len = u32_at(16) as usize;
        if checkpoint_len > CHECKPOINT_BYTES_MAX {
            return Err(SegmentHeaderError::Checksum);
        }
        let found = u32_at(12);
        if found as usize != FRAME_HEADER_LEN {
            return Err(SegmentHeaderError::FrameHeaderLen { found });
        }
        Ok(Self {
            salt: u64_at(24),
            cluster_id: ClusterId(u128::from(u64_at(32)) | u128::from(u64_at(40)) << 64),
            created: TimestampMs(u64_at(48)),
            first_log_index: LogIndex(u64_at(56)),
            first_offset: Offset(u64_at(64)),
            previous_timestamp: TimestampMs(u64_at(72)),
            checkpoint_len,
            checkpoint_crc: u32_at(20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            salt: 77,
            cluster_id: ClusterId(u128::MAX - 5),
            created: TimestampMs(123),
            checkpoint: Checkpoint::new(),
        }
    }

    #[test]
    fn a_header_comes_back_from_its_bytes_which_fill_whole_pages() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(
            SegmentFace::decode(&bytes).map(|face| face.header_len()),
            Ok(4096)
        );
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_that_means_something_is_found() {
        let bytes = header().encode();
        let end = FIXED_LEN + header().checkpoint.encode().len();
        for bit in 0..end * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    fn seal(bytes: &mut [u8]) {
        let crc = crc32c::crc32c(&bytes[..FIXED_LEN - 4]);
        bytes[FIXED_LEN - 4..FIXED_LEN].copy_from_slice(&crc.to_le_bytes());
    }

    /// Flipped bits of the version were reported as a newer program's segment, for which nobody looks at the disk.
    #[test]
    fn a_damaged_version_is_called_damage() {
        for bit in 0..32 {
            let mut bytes = header().encode();
            bytes[8 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(SegmentHeaderError::Checksum));
        }
    }

    /// Found by fuzzing: a log opened with such a header, and looked for its records at offsets that it did not give them.
    #[test]
    fn a_header_that_contradicts_its_checkpoint_is_refused() {
        for number in [56, 64, 72] {
            let mut bytes = header().encode();
            bytes[number] += 1;
            seal(&mut bytes);
            assert_eq!(
                SegmentHeader::decode(&bytes),
                Err(SegmentHeaderError::Contradiction),
                "at {number}"
            );
        }
    }

    #[test]
    fn another_version_is_named_and_not_called_damage() {
        for found in [0, 2] {
            let mut bytes = header().encode();
            bytes[8] = found;
            seal(&mut bytes);
            assert_eq!(
                SegmentHeader::decode(&bytes),
                Err(SegmentHeaderError::Version {
                    found: u32::from(found)
                })
            );
        }
    }

    #[test]
    fn frame_headers_of_another_length_are_refused() {
        let mut bytes = header().encode();
        bytes[12] = 72;
        seal(&mut bytes);
        assert_eq!(
            SegmentHeader::decode(&bytes),
            Err(SegmentHeaderError::FrameHeaderLen { found: 72 })
        );
    }
}
