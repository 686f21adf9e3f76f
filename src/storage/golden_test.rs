//! The bytes on disk stay as they are: a segment, its index, and where a log begins, against files that are written by hand once and for all.
//!
//! A file shows 16 bytes a line behind their position; `*` stands for lines of zeros. Changing one is changing the
//! format: it needs a new `FORMAT_VERSION` and code that still reads the old one.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;

use super::{
    beginning,
    checkpoint::Checkpoint,
    control::Control,
    entry::{Batch, Entry, Payload, ProducerStamp},
    frame::{self, FRAME_HEADER_LEN, FrameHeader, FrameKind},
    fs::Mapping,
    index::{ActiveIndex, SealedIndex},
    segment_header::{SegmentFace, SegmentHeader},
};
use crate::types::{ClusterId, LogIndex, Offset, Position, Term, TimestampMs};

const SALT: u64 = 0x5a5a_0000_1111_a5a5;
const SEGMENT: &str = include_str!("../../tests/storage/golden/segment.hex");
const INDEX: &str = include_str!("../../tests/storage/golden/index.hex");
const BEGINNING: &str = include_str!("../../tests/storage/golden/beginning.hex");

/// As a golden file shows bytes.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut skipping = false;
    for (number, line) in bytes.chunks(16).enumerate() {
        let zeros = line.iter().all(|byte| *byte == 0);
        if !zeros {
            write!(text, "{:06x}", number * 16).unwrap();
            for byte in line {
                write!(text, " {byte:02x}").unwrap();
            }
            text.push('\n');
        } else if !skipping {
            text.push_str("*\n");
        }
        skipping = zeros;
    }
    writeln!(text, "{:06x}", bytes.len()).unwrap();
    text
}

fn batch(records: &'static [u8], record_count: u32) -> Batch {
    Batch {
        producer: None,
        expected_offset: None,
        record_count,
        records: Bytes::from_static(records),
    }
}

fn stamped() -> Batch {
    let stamp = ProducerStamp {
        id: 0x0708,
        epoch: 2,
        sequence: 0,
    };
    Batch {
        producer: Some(stamp),
        ..batch(b"\x0a\x03\x0a\x01a\x0a\x03\x0a\x01b", 2)
    }
}

/// What the log held before the segment: entries 1 to 3.
fn before() -> Vec<Payload> {
    vec![
        Payload::Blank,
        Payload::Membership(Bytes::from_static(b"node-0")),
        Payload::Records(stamped()),
    ]
}

/// What the segment holds: a frame of each kind, with each attribute.
fn inside() -> Vec<Payload> {
    let conditional = Batch {
        expected_offset: Some(Offset(3)),
        ..batch(b"\x0a\x03\x0a\x01d", 1)
    };
    vec![
        Payload::Blank,
        Payload::Membership(Bytes::from_static(b"node-0 node-1")),
        Payload::Control(Control::Trim { below: Offset(2) }.encode()),
        Payload::Records(batch(b"\x0a\x03\x0a\x01c", 1)),
        Payload::Records(conditional),
        // A repeat of entry 3, with a condition besides: void.
        Payload::Records(Batch {
            expected_offset: Some(Offset(0)),
            ..stamped()
        }),
    ]
}

fn entry(after: &Checkpoint, payload: Payload) -> Entry {
    let log_index = after.last_log_index().plus(1);
    Entry {
        log_index,
        term: Term(1 + log_index.get() / 4),
        timestamp: TimestampMs(1_700_000_000_000 + log_index.get()),
        payload,
    }
}

fn header() -> SegmentHeader {
    let mut checkpoint = Checkpoint::new();
    for payload in before() {
        checkpoint.place(entry(&checkpoint, payload)).unwrap();
    }
    SegmentHeader {
        salt: SALT,
        cluster_id: ClusterId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        created: TimestampMs(1_700_000_000_777),
        checkpoint,
    }
}

/// The segment, and its index.
fn written() -> (Vec<u8>, Vec<u8>) {
    let mut bytes = header().encode();
    let index = ActiveIndex::new(&SegmentFace::decode(&bytes).unwrap(), 1 << 20);
    let mut checkpoint = header().checkpoint;
    let mut last = None;
    let synced_to = u32::try_from(bytes.len()).unwrap();
    for payload in inside() {
        let (placed, _) = checkpoint.place(entry(&checkpoint, payload)).unwrap();
        let position = Position(bytes.len() as u64);
        let encoded = frame::encode(&placed, SALT, position, synced_to);
        index.note(&encoded.header, position.get());
        bytes.extend_from_slice(encoded.head.as_slice());
        bytes.extend_from_slice(encoded.payload);
        bytes.resize(bytes.len() + encoded.padding, 0);
        last = Some(encoded.header);
    }
    let end = u32::try_from(bytes.len()).unwrap();
    let mark = frame::encode_mark(&last.unwrap(), SALT, Position(u64::from(end)), end);
    bytes.extend_from_slice(&mark);
    let index = index.encode(SALT, bytes.len() as u64);
    (bytes, index)
}

#[test]
fn a_segment_is_written_as_it_always_was() {
    let (segment, index) = written();
    assert_eq!(shown(&segment), SEGMENT);
    assert_eq!(shown(&index), INDEX);
}

#[test]
fn where_a_log_begins_is_written_and_read_as_it_always_was() {
    let SegmentHeader {
        cluster_id,
        checkpoint,
        ..
    } = header();
    let bytes = beginning::encode(cluster_id, &checkpoint);
    assert_eq!(shown(&bytes), BEGINNING);
    assert_eq!(beginning::decode(&bytes), Ok((cluster_id, checkpoint)));
}

#[test]
fn a_segment_is_read_as_it_always_was() {
    let (segment, index) = written();
    assert_eq!(SegmentHeader::decode(&segment), Ok(header()));
    let face = SegmentFace::decode(&segment).unwrap();
    let mut at = usize::try_from(face.header_len()).unwrap();
    let mut checkpoint = header().checkpoint;
    for payload in inside() {
        let expected = entry(&checkpoint, payload);
        let header = FrameHeader::decode(&segment[at..], SALT, Position(at as u64)).unwrap();
        let payload = &segment[at + FRAME_HEADER_LEN..][..header.payload_len as usize];
        header.check_payload(payload).unwrap();
        checkpoint.replay(&header, payload).unwrap();
        let payload = Bytes::copy_from_slice(payload);
        assert_eq!(header.entry(&payload), Some(expected));
        at += usize::try_from(header.frame_len()).unwrap();
    }
    let mark = FrameHeader::decode(&segment[at..], SALT, Position(at as u64)).unwrap();
    assert_eq!(
        (mark.kind, u64::from(mark.synced_to)),
        (FrameKind::Mark, at as u64)
    );
    assert_eq!(segment.len(), at + FRAME_HEADER_LEN);
    assert_eq!(checkpoint.last_log_index(), LogIndex(9));
    let mapping: Mapping = Arc::new(index);
    assert!(SealedIndex::open(&face, segment.len() as u64, mapping).is_some());
}
