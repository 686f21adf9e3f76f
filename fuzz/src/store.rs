//! Stores: a segment's header, and frames.

use annals::{
    storage::entry::{Batch, Entry, Payload, ProducerStamp},
    types::{LogIndex, Offset, Term, TimestampMs},
};
use bytes::Bytes;
use crc32c::crc32c;

use crate::format::{put, seal, u32_at, u64_at};

/// Bytes of a segment header before its checkpoint.
pub const FACE_BYTES: usize = 96;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// The most that a frame carries behind its header.
const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Frames begin on a page.
const PAGE_BYTES: usize = 4096;
/// Log indexes and offsets are below it: no log gets that far, and what is behind it is not read again.
pub const NUMBER_END: u64 = 1 << 63;

const RECORDS: u8 = 1;
const MEMBERSHIP: u8 = 2;
const CONTROL: u8 = 3;
const BLANK: u8 = 4;
const MARK: u8 = 5;

/// The salt in a store's header; 0 where there is no header.
pub fn salt(store: &[u8]) -> u64 {
    store.get(24..32).map_or(0, |bytes| u64_at(bytes, 0))
}

/// Where the checkpoint in a store's header ends.
fn checkpoint_end(store: &[u8]) -> usize {
    match store.get(16..20) {
        Some(length) => FACE_BYTES
            .saturating_add(u32_at(length, 0) as usize)
            .min(store.len()),
        None => store.len(),
    }
}

/// A store without the zeros between its header and its frames: an input need not carry them.
pub fn packed(store: &[u8]) -> Vec<u8> {
    let end = checkpoint_end(store);
    let frames = end.next_multiple_of(PAGE_BYTES).min(store.len());
    [&store[..end], &store[frames..]].concat()
}

/// The store that was packed, and where its first frame begins.
pub fn unpacked(packed: &[u8]) -> (Vec<u8>, usize) {
    let end = checkpoint_end(packed);
    let mut store = packed[..end].to_vec();
    let first = end.next_multiple_of(PAGE_BYTES);
    store.resize(first, 0);
    store.extend_from_slice(&packed[end..]);
    (store, first)
}

/// Puts right checksums into a store's header.
pub fn seal_header(store: &mut [u8]) {
    let end = checkpoint_end(store);
    if let Some(checkpoint) = store.get(FACE_BYTES..end) {
        let crc = crc32c(checkpoint);
        put(store, 20, &crc.to_le_bytes());
    }
    if let Some(face) = store.get_mut(..FACE_BYTES) {
        let crc = crc32c(&face[..FACE_BYTES - 4]);
        put(face, FACE_BYTES - 4, &crc.to_le_bytes());
    }
}

/// Puts right checksums into all frames of a store but one, counted from 0.
pub fn seal_frames(store: &mut [u8], first: usize, but: usize) {
    let salt = salt(store);
    let (mut position, mut number) = (first, 0);
    while store.len().saturating_sub(position) >= FRAME_HEADER_BYTES {
        let payload = u32_at(store, position + 8) as usize;
        let payload = payload.min(store.len() - position - FRAME_HEADER_BYTES);
        let end = position + FRAME_HEADER_BYTES + payload;
        if number != but {
            seal_frame(&mut store[position..end], salt, position as u64);
        }
        (position, number) = (end.next_multiple_of(8), number + 1);
    }
}

/// Puts right checksums into a frame without its padding.
pub fn seal_frame(frame: &mut [u8], salt: u64, position: u64) {
    let place = [salt.to_le_bytes(), position.to_le_bytes()].concat();
    seal(frame, 4, &[], FRAME_HEADER_BYTES);
    if let Some(header) = frame.get_mut(..FRAME_HEADER_BYTES) {
        seal(header, 0, &place, 4);
    }
}

/// A frame that is what it should be, read as `docs/format.md` says.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where it begins.
    pub position: usize,
    header: &'a [u8],
    /// Attributes and payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes`, which lie at `position`.
    pub fn of(bytes: &'a [u8], salt: u64, position: usize) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let mut sealed = header.to_vec();
        let place = [salt.to_le_bytes(), (position as u64).to_le_bytes()].concat();
        seal(&mut sealed, 0, &place, 4);
        let length = u32_at(header, 8) as usize;
        let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(length)?)?;
        let frame = Self {
            position,
            header,
            payload,
        };
        let whole = sealed == header && u32_at(header, 4) == crc32c(payload);
        (whole && frame.is_possible()).then_some(frame)
    }

    fn is_possible(&self) -> bool {
        let is_records = self.kind() == RECORDS;
        (RECORDS..=MARK).contains(&self.kind())
            && self.flags() < 4
            && self.payload.len() <= PAYLOAD_BYTES_MAX
            && self.attributes() <= self.payload.len()
            && self.log_index().max(self.base_offset()) < NUMBER_END
            && (!is_records || self.submitted_count() > 0)
    }

    /// Its header's bytes.
    pub fn header(&self) -> &'a [u8] {
        self.header
    }

    fn kind(&self) -> u8 {
        self.header[12]
    }

    fn flags(&self) -> u16 {
        u16::from_le_bytes([self.header[14], self.header[15]])
    }

    fn attributes(&self) -> usize {
        usize::from(self.flags() & 1) * 24 + usize::from(self.flags() >> 1 & 1) * 8
    }

    /// Its entry's number.
    pub fn log_index(&self) -> u64 {
        u64_at(self.header, 16)
    }

    /// Its first record's offset.
    pub fn base_offset(&self) -> u64 {
        u64_at(self.header, 32)
    }

    /// Offsets that it takes.
    pub fn record_count(&self) -> u32 {
        u32_at(self.header, 40)
    }

    fn submitted_count(&self) -> u32 {
        u32_at(self.header, 44)
    }

    /// Behind its last byte in the store, padding included.
    pub fn end(&self) -> usize {
        (self.position + FRAME_HEADER_BYTES + self.payload.len()).next_multiple_of(8)
    }

    /// The entry that it holds; a mark holds none.
    pub fn entry(&self) -> Option<Entry> {
        let content = Bytes::copy_from_slice(&self.payload[self.attributes()..]);
        let payload = match self.kind() {
            RECORDS => Payload::Records(self.batch(content)),
            MEMBERSHIP => Payload::Membership(content),
            CONTROL => Payload::Control(content),
            BLANK => Payload::Blank,
            _ => return None,
        };
        Some(Entry {
            log_index: LogIndex(self.log_index()),
            term: Term(u64_at(self.header, 24)),
            timestamp: TimestampMs(u64_at(self.header, 48)),
            payload,
        })
    }

    fn batch(&self, records: Bytes) -> Batch {
        let has_producer = self.flags() & 1 != 0;
        let has_condition = self.flags() & 2 != 0;
        let condition_at = self.attributes().saturating_sub(8);
        Batch {
            producer: has_producer.then(|| ProducerStamp {
                id: u64_at(self.payload, 0),
                sequence: u64_at(self.payload, 8),
                epoch: u32_at(self.payload, 16),
            }),
            expected_offset: has_condition.then(|| Offset(u64_at(self.payload, condition_at))),
            record_count: self.submitted_count(),
            records,
        }
    }
}

/// The frames of a store from `first` on, up to the first that is none.
pub fn frames(store: &[u8], first: usize) -> Vec<Frame<'_>> {
    let salt = salt(store);
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut position = first;
    while let Some(frame) = store
        .get(position..)
        .and_then(|bytes| Frame::of(bytes, salt, position))
    {
        position = frame.end();
        frames.push(frame);
    }
    frames
}
