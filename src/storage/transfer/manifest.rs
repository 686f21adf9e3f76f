//! What a snapshot consists of: the sealed segments, and the state of the log behind the last of them.

use bytes::BufMut;

use super::ManifestError;
use crate::{
    storage::{LogView, ReadEntriesError, StoredMembership, checkpoint::Checkpoint},
    types::{ClusterId, LogIndex, Offset, STORED_NUMBER_MAX, Term},
};

const MAGIC: [u8; 8] = *b"ANNALMAN";
const VERSION: u32 = 1;
const CRC_AT: usize = 8;
const VERSION_AT: usize = 12;
const HEADER_LEN: usize = 40;
const SEGMENT_LEN: usize = 32;
/// 64 TiB of log in segments of the default size; their list has 32 MiB then.
const SEGMENTS_MAX: usize = 1 << 20;
/// A header's page is the least a store has; positions have 32 bits.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4096..=1 << 32;

/// All segments of a log up to some entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The cluster whose log it is.
    pub cluster_id: ClusterId,
    /// The segments, oldest first. There may be none: then all before the state's last entry was trimmed.
    pub segments: Vec<ManifestSegment>,
    /// What the log up to its end amounts to.
    pub checkpoint: Checkpoint,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestSegment {
    /// Its first entry, which also gives the file's name.
    pub first_log_index: LogIndex,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Length of its store.
    pub bytes: u64,
    /// CRC-32C of the whole store.
    pub crc: u32,
}

impl Manifest {
    /// The last entry.
    #[must_use]
    pub fn last_log_index(&self) -> LogIndex {
        self.checkpoint.last_log_index()
    }

    /// Its term.
    #[must_use]
    pub fn last_term(&self) -> Term {
        self.checkpoint.last_term()
    }

    /// The offset behind the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.checkpoint.next_offset()
    }

    /// The membership in force at the last entry.
    #[must_use]
    pub fn membership(&self) -> Option<&StoredMembership> {
        self.checkpoint.membership()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Where the entries and offsets of a segment end: where the next begins, or the state at the end.
    pub(super) fn end_of(&self, number: usize) -> (LogIndex, Offset) {
        match self.segments.get(number + 1) {
            Some(next) => (next.first_log_index, next.first_offset),
            None => (self.last_log_index().plus(1), self.next_offset()),
        }
    }

    /// Its bytes, for a peer and for the disk. As large as the state of all producers (3 MB at most) and 32 bytes for each
    /// segment.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let checkpoint = self.checkpoint.encode();
        let length = |length: usize| u32::try_from(length).expect("manifests stay far below 4 GiB");
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.segments.len() * SEGMENT_LEN + checkpoint.len());
        bytes.put_slice(&MAGIC);
        bytes.put_u32_le(0);
        bytes.put_u32_le(VERSION);
        bytes.put_u128_le(self.cluster_id.0);
        bytes.put_u32_le(length(self.segments.len()));
        bytes.put_u32_le(length(checkpoint.len()));
        for segment in &self.segments {
            bytes.put_u64_le(segment.first_log_index.get());
            bytes.put_u64_le(segment.first_offset.get());
            bytes.put_u64_le(segment.bytes);
            bytes.put_u32_le(segment.crc);
            bytes.put_u32_le(0);
        }
        bytes.put_slice(&checkpoint);
        let crc = crc32c::crc32c(&bytes[VERSION_AT..]);
        bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`Manifest::encode`] made, from whoever says so: no bytes make it take more memory than a few times
    /// their length, and nothing but numbers in range comes out.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (header, rest) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ManifestError::Damaged)?;
        let u32_at = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("inside HEADER_LEN"));
        if header[..CRC_AT] != MAGIC || crc32c::crc32c(&bytes[VERSION_AT..]) != u32_at(CRC_AT) {
            return Err(ManifestError::Damaged);
        }
        match u32_at(VERSION_AT) {
            VERSION => {}
            found => return Err(ManifestError::Version { found }),
        }
        let (count, checkpoint_len) = (u32_at(32) as usize, u32_at(36) as usize);
        let fits =
            count <= SEGMENTS_MAX && rest.len().checked_sub(count * SEGMENT_LEN) == Some(checkpoint_len);
        if !fits {
            return Err(ManifestError::Damaged);
        }
        let (segments, checkpoint) = rest.split_at(count * SEGMENT_LEN);
        let manifest = Self {
            cluster_id: ClusterId(u128::from_le_bytes(
                *header[16..].first_chunk().expect("inside HEADER_LEN"),
            )),
            segments: segments
                .chunks_exact(SEGMENT_LEN)
                .map(ManifestSegment::decode)
                .collect(),
            checkpoint: Checkpoint::decode(checkpoint).map_err(ManifestError::Checkpoint)?,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let require = |holds: bool, what| {
            if holds {
                Ok(())
            } else {
                Err(ManifestError::Impossible { what })
            }
        };
        require(self.last_log_index() > LogIndex::ZERO, "it has no entry")?;
        for (number, segment) in self.segments.iter().enumerate() {
            let (end, next_offset) = self.end_of(number);
            let first = segment.first_log_index;
            require(first > LogIndex::ZERO && first < end, "a segment holds no entry")?;
            require(segment.first_offset <= next_offset, "offsets fall")?;
            let number = first.get().max(segment.first_offset.get());
            require(number <= STORED_NUMBER_MAX, "no log gets that far")?;
            require(
                SEGMENT_BYTES.contains(&segment.bytes),
                "a segment has an impossible length",
            )?;
        }
        Ok(())
    }
}

impl ManifestSegment {
    fn decode(bytes: &[u8]) -> Self {
        let u64_at = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("inside SEGMENT_LEN"));
        Self {
            first_log_index: LogIndex(u64_at(0)),
            first_offset: Offset(u64_at(8)),
            bytes: u64_at(16),
            crc: u32::from_le_bytes(*bytes[24..].first_chunk().expect("inside SEGMENT_LEN")),
        }
    }
}

impl LogView {
    /// The manifest of all sealed segments whose entries are all at or below `committed`; `None` when the log has nothing
    /// before the first segment that goes further.
    ///
    /// Blocking: reads each of these segments once in the life of the process, for its checksum. Errors: `Trimmed` when
    /// one is trimmed meanwhile; `Read` names one that is damaged or missing, since whoever got the others would lack it too.
    pub fn manifest(&self, committed: LogIndex) -> Result<Option<Manifest>, ReadEntriesError> {
        let firsts = self.segment_firsts();
        let behind = firsts.partition_point(|first| first.get() - 1 <= committed.get());
        let Some(next) = behind.checked_sub(1).map(|number| firsts[number]) else {
            return Ok(None);
        };
        let Some(header) = self.header_of_segment(next)?.filter(|_| next > LogIndex(1)) else {
            return Ok(None);
        };
        self.check_begins_rightly()?;
        let mut segments = Vec::with_capacity(behind - 1);
        for pair in firsts[..behind].windows(2) {
            self.check_leads_to(pair[0], pair[1])?;
            segments.extend(self.manifest_segment(pair[0])?);
        }
        Ok(Some(Manifest {
            cluster_id: header.cluster_id,
            segments,
            checkpoint: header.checkpoint,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::entry::{Entry, Payload};
    use crate::types::TimestampMs;
    use bytes::Bytes;

    fn manifest() -> Manifest {
        let mut checkpoint = Checkpoint::new();
        for log_index in 1..=9 {
            let entry = Entry {
                log_index: LogIndex(log_index),
                term: Term(2),
                timestamp: TimestampMs(5),
                payload: Payload::Membership(Bytes::from_static(b"node-0")),
            };
            checkpoint.place(entry).unwrap();
        }
        let segment = |first_log_index| ManifestSegment {
            first_log_index: LogIndex(first_log_index),
            first_offset: Offset(0),
            bytes: 4096 + first_log_index,
            crc: 0x0102_0304,
        };
        Manifest {
            cluster_id: ClusterId(0x0f0e),
            segments: vec![segment(2), segment(5)],
            checkpoint,
        }
    }

    #[test]
    fn a_manifest_is_written_as_it_always_was() {
        let bytes = manifest().encode();
        let mut expected = b"ANNALMAN....".to_vec();
        expected[8..].copy_from_slice(&[8, 232, 137, 214]);
        for number in [1_u32, 0x0f0e, 0, 0, 0, 2] {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        let checkpoint = manifest().checkpoint.encode();
        expected.extend_from_slice(&u32::try_from(checkpoint.len()).unwrap().to_le_bytes());
        for first in [2_u32, 5] {
            for number in [first, 0, 0, 0, 4096 + first, 0, 0x0102_0304, 0] {
                expected.extend_from_slice(&number.to_le_bytes());
            }
        }
        expected.extend_from_slice(&checkpoint);
        assert_eq!(bytes, expected);
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    /// Whoever can make a checksum can say anything.
    #[test]
    fn impossible_manifests_are_refused_though_their_checksum_is_right() {
        let impossible: [fn(&mut Manifest); 9] = [
            |manifest| manifest.checkpoint = Checkpoint::new(),
            |manifest| manifest.segments[0].first_log_index = LogIndex(0),
            |manifest| manifest.segments[0].first_log_index = LogIndex(5),
            |manifest| manifest.segments[1].first_log_index = LogIndex(10),
            |manifest| manifest.segments[1].first_log_index = LogIndex(u64::MAX),
            |manifest| manifest.segments[0].first_offset = Offset(1),
            |manifest| manifest.segments[1].first_offset = Offset(u64::MAX),
            |manifest| manifest.segments[0].bytes = 4095,
            |manifest| manifest.segments[0].bytes = u64::MAX,
        ];
        for (number, change) in impossible.into_iter().enumerate() {
            let mut manifest = manifest();
            change(&mut manifest);
            let refused = Manifest::decode(&manifest.encode());
            assert!(
                matches!(refused, Err(ManifestError::Impossible { .. })),
                "change {number}: {refused:?}"
            );
        }
    }

    #[test]
    fn lengths_that_lie_take_no_memory() {
        let mut bytes = manifest().encode();
        bytes.truncate(HEADER_LEN);
        for (count, checkpoint_len) in [(u32::MAX, 0), (0, u32::MAX), (1 << 20, 0), (u32::MAX, u32::MAX)] {
            bytes[32..36].copy_from_slice(&count.to_le_bytes());
            bytes[36..40].copy_from_slice(&checkpoint_len.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[VERSION_AT..]);
            bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Damaged));
        }
    }
}
