//! A frame: one entry of the log as bytes in a store file. `docs/format.md` has the table of bytes.
//!
//! A frame's checksum covers its own position and the salt of its segment, so that bytes which merely look like a
//! frame (a client's payload, a copy from elsewhere) are never taken for one.

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::{LogIndex, Offset, Position, STORED_NUMBER_MAX, Term, TimestampMs};

use super::entry::{Batch, BatchStamp, Entry, Payload, ProducerStamp};

/// Length of a frame's header.
pub const FRAME_HEADER_LEN: usize = 64;
/// Frames begin at multiples of this, so that a reader can look for the next intact one behind a damaged one.
pub const FRAME_ALIGN: u64 = 8;
/// The most that a frame may carry behind its header. Recovery looks this far behind a damaged frame.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Code of payloads that are a protobuf `RecordSet`.
pub const ENCODING_RECORD_SET: u8 = 1;
/// Code of payloads that storage does not look into.
pub const ENCODING_OPAQUE: u8 = 0;

const HAS_PRODUCER: u16 = 1;
const HAS_EXPECTED_OFFSET: u16 = 2;
const FLAGS_KNOWN: u16 = HAS_PRODUCER | HAS_EXPECTED_OFFSET;
const PRODUCER_LEN: usize = 24;
const EXPECTED_OFFSET_LEN: usize = 8;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Records.
    Records = 1,
    /// A membership.
    Membership = 2,
    /// A control command.
    Control = 3,
    /// An entry without content.
    Blank = 4,
    /// No entry: says only how far the file was synced before it.
    Mark = 5,
}

impl FrameKind {
    fn decode(code: u8) -> Option<Self> {
        [
            Self::Records,
            Self::Membership,
            Self::Control,
            Self::Blank,
            Self::Mark,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it holds.
    pub kind: FrameKind,
    /// How its payload is coded.
    pub encoding: u8,
    /// Which attributes precede the payload.
    pub flags: u16,
    /// CRC-32C of attributes and payload.
    pub payload_crc: u32,
    /// Bytes of attributes and payload, without padding.
    pub payload_len: u32,
    /// Number of the entry; of a mark, that of the entry before it.
    pub log_index: LogIndex,
    /// Term of the entry.
    pub term: Term,
    /// Offset of the first record; without records, the next offset.
    pub base_offset: Offset,
    /// How many offsets it takes: 0 when void, and in frames without records.
    pub record_count: u32,
    /// How many records its payload holds.
    pub submitted_count: u32,
    /// Position up to which the file was known to be synced when the frame was made.
    pub synced_to: u32,
    /// When the leader made the entry; never falls along the log.
    pub timestamp: TimestampMs,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Nothing was written here.
    #[error("zeros where a frame should be")]
    Zeros,
    /// The file ends inside.
    #[error("the file ends inside a frame")]
    Short,
    /// The header is not what was written.
    #[error("frame header checksum does not match")]
    HeaderChecksum,
    /// The header is intact but says what no writer of this version says.
    #[error("frame header holds an unknown kind, flag, length or number")]
    HeaderContent,
    /// The payload is not what was written.
    #[error("frame payload checksum does not match")]
    PayloadChecksum,
}

impl FrameHeader {
    /// Length of the frame in the file, with header and padding.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        frame_len(self.payload_len as usize)
    }

    /// The offset behind its last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.record_count))
    }

    /// Bytes of attributes in front of the payload.
    #[must_use]
    pub fn attributes_len(&self) -> usize {
        let producer = if self.flags & HAS_PRODUCER != 0 {
            PRODUCER_LEN
        } else {
            0
        };
        let expected = if self.flags & HAS_EXPECTED_OFFSET != 0 {
            EXPECTED_OFFSET_LEN
        } else {
            0
        };
        producer + expected
    }

    fn encode(&self, salt: u64, position: Position) -> [u8; FRAME_HEADER_LEN] {
        let mut bytes = [0; FRAME_HEADER_LEN];
        bytes[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes[13] = self.encoding;
        bytes[14..16].copy_from_slice(&self.flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.log_index.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.term.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base_offset.get().to_le_bytes());
        bytes[40..44].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.submitted_count.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.timestamp.0.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.synced_to.to_le_bytes());
        let crc = header_crc(&bytes, salt, position);
        bytes[0..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the front of `bytes`, which lie at `position` of the segment with `salt`.
    pub fn decode(bytes: &[u8], salt: u64, position: Position) -> Result<Self, FrameFault> {
        let Some(bytes) = bytes.first_chunk::<FRAME_HEADER_LEN>() else {
            return Err(if bytes.iter().all(|byte| *byte == 0) {
                FrameFault::Zeros
            } else {
                FrameFault::Short
            });
        };
        if u32_at(bytes, 0) != header_crc(bytes, salt, position) {
            let zeros = bytes.iter().all(|byte| *byte == 0);
            return Err(if zeros {
                FrameFault::Zeros
            } else {
                FrameFault::HeaderChecksum
            });
        }
        let flags = u16::from_le_bytes([bytes[14], bytes[15]]);
        let payload_len = u32_at(bytes, 8);
        let kind = FrameKind::decode(bytes[12]).ok_or(FrameFault::HeaderContent)?;
        if flags & !FLAGS_KNOWN != 0 || payload_len as usize > PAYLOAD_BYTES_MAX {
            return Err(FrameFault::HeaderContent);
        }
        let header = Self {
            kind,
            encoding: bytes[13],
            flags,
            payload_crc: u32_at(bytes, 4),
            payload_len,
            log_index: LogIndex(u64_at(bytes, 16)),
            term: Term(u64_at(bytes, 24)),
            base_offset: Offset(u64_at(bytes, 32)),
            record_count: u32_at(bytes, 40),
            submitted_count: u32_at(bytes, 44),
            timestamp: TimestampMs(u64_at(bytes, 48)),
            synced_to: u32_at(bytes, 56),
        };
        let number = header.log_index.get().max(header.base_offset.get());
        let holds_none = kind == FrameKind::Records && header.submitted_count == 0;
        if header.attributes_len() > payload_len as usize || number > STORED_NUMBER_MAX || holds_none {
            return Err(FrameFault::HeaderContent);
        }
        Ok(header)
    }

    /// Whether `payload` (with attributes, without padding) is what was written.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), FrameFault> {
        if crc32c::crc32c(payload) == self.payload_crc {
            Ok(())
        } else {
            Err(FrameFault::PayloadChecksum)
        }
    }

    /// What the sequencer is to be asked when the log is replayed.
    #[must_use]
    pub fn stamp(&self, payload: &[u8]) -> BatchStamp {
        let (producer, rest) = if self.flags & HAS_PRODUCER == 0 {
            (None, payload)
        } else {
            let stamp = ProducerStamp {
                id: u64_at(payload, 0),
                sequence: u64_at(payload, 8),
                epoch: u32_at(payload, 16),
            };
            (Some(stamp), &payload[PRODUCER_LEN..])
        };
        let expected_offset = (self.flags & HAS_EXPECTED_OFFSET != 0).then(|| Offset(u64_at(rest, 0)));
        BatchStamp {
            producer,
            expected_offset,
            record_count: self.submitted_count,
        }
    }

    /// The entry that the frame was made of. `payload` is the frame's, with attributes.
    ///
    /// Of a mark, which holds no entry: `None`.
    #[must_use]
    pub fn entry(&self, payload: &Bytes) -> Option<Entry> {
        let content = payload.slice(self.attributes_len()..);
        let payload = match self.kind {
            FrameKind::Mark => return None,
            FrameKind::Blank => Payload::Blank,
            FrameKind::Membership => Payload::Membership(content),
            FrameKind::Control => Payload::Control(content),
            FrameKind::Records => {
                let stamp = self.stamp(payload);
                Payload::Records(Batch {
                    producer: stamp.producer,
                    expected_offset: stamp.expected_offset,
                    record_count: stamp.record_count,
                    records: content,
                })
            }
        };
        Some(Entry {
            log_index: self.log_index,
            term: self.term,
            timestamp: self.timestamp,
            payload,
        })
    }
}

/// Length in the file of a frame with `payload_len` bytes of attributes and payload.
#[must_use]
pub fn frame_len(payload_len: usize) -> u64 {
    ((FRAME_HEADER_LEN + payload_len) as u64).next_multiple_of(FRAME_ALIGN)
}

/// Bytes of attributes and payload that an entry takes.
#[must_use]
pub fn payload_len(payload: &Payload) -> usize {
    match payload {
        Payload::Records(batch) => attributes_len(&batch.stamp()) + batch.records.len(),
        Payload::Membership(bytes) | Payload::Control(bytes) => bytes.len(),
        Payload::Blank => 0,
    }
}

fn attributes_len(stamp: &BatchStamp) -> usize {
    let producer = if stamp.producer.is_some() { PRODUCER_LEN } else { 0 };
    let expected = if stamp.expected_offset.is_some() {
        EXPECTED_OFFSET_LEN
    } else {
        0
    };
    producer + expected
}

/// An entry with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// The entry; its timestamp is already not below that of the entry before it.
    pub entry: Entry,
    /// Offset of its first record; without records or void, the next offset.
    pub base_offset: Offset,
    /// How many offsets it takes.
    pub record_count: u32,
}

/// The head of a frame (header and attributes) made for writing at `position`, and the payload that follows it.
pub(super) struct EncodedFrame<'a> {
    pub(super) header: FrameHeader,
    pub(super) head: FrameHead,
    pub(super) payload: &'a Bytes,
    pub(super) padding: usize,
}

/// Header and attributes.
pub(super) struct FrameHead {
    bytes: [u8; FRAME_HEADER_LEN + PRODUCER_LEN + EXPECTED_OFFSET_LEN],
    len: usize,
}

impl FrameHead {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

static EMPTY: Bytes = Bytes::new();

/// Makes the frame of `placed` for `position` of the segment with `salt`, whose file is synced up to `synced_to`.
pub(super) fn encode<'a>(
    placed: &'a PlacedEntry,
    salt: u64,
    position: Position,
    synced_to: u32,
) -> EncodedFrame<'a> {
    let entry = &placed.entry;
    let mut attributes = BytesMut::new();
    let (kind, encoding, flags, submitted_count, payload) = match &entry.payload {
        Payload::Records(batch) => {
            let flags = encode_attributes(&batch.stamp(), &mut attributes);
            (
                FrameKind::Records,
                ENCODING_RECORD_SET,
                flags,
                batch.record_count,
                &batch.records,
            )
        }
        Payload::Membership(bytes) => (FrameKind::Membership, ENCODING_OPAQUE, 0, 0, bytes),
        Payload::Control(bytes) => (FrameKind::Control, ENCODING_OPAQUE, 0, 0, bytes),
        Payload::Blank => (FrameKind::Blank, ENCODING_OPAQUE, 0, 0, &EMPTY),
    };
    let payload_crc = crc32c::crc32c_append(crc32c::crc32c(&attributes), payload);
    let payload_len = attributes.len() + payload.len();
    let header = FrameHeader {
        kind,
        encoding,
        flags,
        payload_crc,
        payload_len: u32::try_from(payload_len).expect("placing refuses payloads above PAYLOAD_BYTES_MAX"),
        log_index: entry.log_index,
        term: entry.term,
        base_offset: placed.base_offset,
        record_count: placed.record_count,
        submitted_count,
        synced_to,
        timestamp: entry.timestamp,
    };
    let head = head_of(&header, &attributes, salt, position);
    EncodedFrame {
        header,
        head,
        payload,
        padding: padding(payload_len),
    }
}

/// A frame that holds no entry and says that the file is synced up to `synced_to`.
pub(super) fn encode_mark(
    last: &FrameHeader,
    salt: u64,
    position: Position,
    synced_to: u32,
) -> [u8; FRAME_HEADER_LEN] {
    let mark = FrameHeader {
        kind: FrameKind::Mark,
        encoding: ENCODING_OPAQUE,
        flags: 0,
        payload_crc: 0,
        payload_len: 0,
        record_count: 0,
        submitted_count: 0,
        base_offset: last.next_offset(),
        synced_to,
        ..*last
    };
    mark.encode(salt, position)
}

fn head_of(header: &FrameHeader, attributes: &[u8], salt: u64, position: Position) -> FrameHead {
    let mut bytes = [0; FRAME_HEADER_LEN + PRODUCER_LEN + EXPECTED_OFFSET_LEN];
    bytes[..FRAME_HEADER_LEN].copy_from_slice(&header.encode(salt, position));
    bytes[FRAME_HEADER_LEN..FRAME_HEADER_LEN + attributes.len()].copy_from_slice(attributes);
    FrameHead {
        bytes,
        len: FRAME_HEADER_LEN + attributes.len(),
    }
}

fn encode_attributes(stamp: &BatchStamp, into: &mut BytesMut) -> u16 {
    let mut flags = 0;
    if let Some(producer) = stamp.producer {
        flags |= HAS_PRODUCER;
        into.put_u64_le(producer.id);
        into.put_u64_le(producer.sequence);
        into.put_u32_le(producer.epoch);
        into.put_u32_le(0);
    }
    if let Some(expected) = stamp.expected_offset {
        flags |= HAS_EXPECTED_OFFSET;
        into.put_u64_le(expected.get());
    }
    flags
}

fn padding(payload_len: usize) -> usize {
    let unpadded = FRAME_HEADER_LEN + payload_len;
    unpadded.next_multiple_of(FRAME_ALIGN as usize) - unpadded
}

fn header_crc(bytes: &[u8; FRAME_HEADER_LEN], salt: u64, position: Position) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&salt.to_le_bytes());
    place[8..].copy_from_slice(&position.get().to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), &bytes[4..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(payload: Payload) -> PlacedEntry {
        let record_count = if let Payload::Records(batch) = &payload {
            batch.record_count
        } else {
            0
        };
        let entry = Entry {
            log_index: LogIndex(7),
            term: Term(3),
            timestamp: TimestampMs(1_700_000_000_000),
            payload,
        };
        PlacedEntry {
            entry,
            base_offset: Offset(40),
            record_count,
        }
    }

    fn records() -> Payload {
        Payload::Records(Batch {
            producer: Some(ProducerStamp {
                id: 9,
                epoch: 2,
                sequence: 5,
            }),
            expected_offset: Some(Offset(40)),
            record_count: 2,
            records: Bytes::from_static(b"\x0a\x03\x0a\x01a\x0a\x03\x0a\x01b"),
        })
    }

    fn bytes_of(placed: &PlacedEntry, salt: u64, position: Position) -> Vec<u8> {
        let frame = encode(placed, salt, position, 4096);
        let mut bytes = frame.head.as_slice().to_vec();
        bytes.extend_from_slice(frame.payload);
        bytes.resize(bytes.len() + frame.padding, 0);
        assert_eq!(bytes.len() as u64, frame.header.frame_len());
        bytes
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_was() {
        let opaque = Bytes::from_static(b"opaque");
        for payload in [
            records(),
            Payload::Membership(opaque.clone()),
            Payload::Control(opaque),
            Payload::Blank,
        ] {
            let placed = placed(payload);
            let bytes = bytes_of(&placed, 11, Position(4096));
            let header = FrameHeader::decode(&bytes, 11, Position(4096)).unwrap();
            let payload = Bytes::copy_from_slice(
                &bytes[FRAME_HEADER_LEN..FRAME_HEADER_LEN + header.payload_len as usize],
            );
            header.check_payload(&payload).unwrap();
            assert_eq!(header.entry(&payload), Some(placed.entry.clone()));
            assert_eq!(header.next_offset(), Offset(40 + u64::from(placed.record_count)));
        }
    }

    #[test]
    fn every_flipped_bit_of_header_attributes_and_payload_is_found() {
        let bytes = bytes_of(&placed(records()), 11, Position(4096));
        let end = FRAME_HEADER_LEN
            + FrameHeader::decode(&bytes, 11, Position(4096))
                .unwrap()
                .payload_len as usize;
        for bit in 0..end * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let intact = FrameHeader::decode(&flipped, 11, Position(4096))
                .and_then(|header| header.check_payload(&flipped[FRAME_HEADER_LEN..end]));
            assert!(intact.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_counts_only_at_its_own_position_in_its_own_segment() {
        let bytes = bytes_of(&placed(records()), 11, Position(4096));
        assert_eq!(
            FrameHeader::decode(&bytes, 11, Position(4104)),
            Err(FrameFault::HeaderChecksum)
        );
        assert_eq!(
            FrameHeader::decode(&bytes, 12, Position(4096)),
            Err(FrameFault::HeaderChecksum)
        );
    }

    #[test]
    fn numbers_that_no_log_reaches_are_refused_though_their_checksum_is_right() {
        let mut placed = placed(Payload::Blank);
        for (log_index, base_offset, taken) in [
            (STORED_NUMBER_MAX, STORED_NUMBER_MAX, true),
            (STORED_NUMBER_MAX + 1, 0, false),
            (0, u64::MAX, false),
        ] {
            placed.entry.log_index = LogIndex(log_index);
            placed.base_offset = Offset(base_offset);
            let bytes = bytes_of(&placed, 5, Position(4096));
            let decoded = FrameHeader::decode(&bytes, 5, Position(4096));
            assert_eq!(decoded.is_ok(), taken, "{log_index} {base_offset}");
            assert!(taken || decoded == Err(FrameFault::HeaderContent));
        }
    }

    /// Found by fuzzing: such a frame was taken, and replaying it stopped the node, since no batch is without records.
    #[test]
    fn a_frame_of_records_that_holds_none_is_refused_though_its_checksum_is_right() {
        for (record_count, taken) in [(0, false), (1, true)] {
            let batch = Batch {
                producer: None,
                expected_offset: None,
                record_count,
                records: Bytes::new(),
            };
            let bytes = bytes_of(&placed(Payload::Records(batch)), 5, Position(4096));
            let decoded = FrameHeader::decode(&bytes, 5, Position(4096));
            assert!(decoded.is_ok() == taken, "{record_count}: {decoded:?}");
            assert!(taken || decoded == Err(FrameFault::HeaderContent));
        }
    }

    #[test]
    fn zeros_and_short_bytes_are_told_apart() {
        assert_eq!(
            FrameHeader::decode(&[0; 64], 1, Position(0)),
            Err(FrameFault::Zeros)
        );
        assert_eq!(
            FrameHeader::decode(&[0; 10], 1, Position(0)),
            Err(FrameFault::Zeros)
        );
        assert_eq!(
            FrameHeader::decode(&[1; 10], 1, Position(0)),
            Err(FrameFault::Short)
        );
    }
}
