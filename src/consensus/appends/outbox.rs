//! Bytes on their way out: small things are put together, large ones stay where they are.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::parcel::{APPEND, put_head};
use crate::{
    consensus::{codec, messages::AppendRequest},
    proto::peer::{self, entry::Content},
};

/// Records of so many bytes and more are written from where they are; fewer are copied, which costs less than a place of their own in
/// the write.
const IN_PLACE_BYTES: usize = 4 << 10;

/// Numbers of the fields that hold the entries of a request, the batch of an entry, and the records of a batch. Each is the last of its
/// message, so that what is large can be written behind everything else.
const ENTRIES_FIELD: u32 = 5;
const BATCH_FIELD: u32 = 4;
const RECORDS_FIELD: u32 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What goes first.
    whole: VecDeque<Bytes>,
    whole_bytes: usize,
    /// What goes behind it, and may still grow.
    tail: BytesMut,
}

impl Outbox {
    /// Where to put what is small.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Puts these bytes behind all others, without copying them.
    fn put_in_place(&mut self, bytes: Bytes) {
        self.close_tail();
        self.whole_bytes += bytes.len();
        self.whole.push_back(bytes);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.whole_bytes += self.tail.len();
            self.whole.push_back(self.tail.split().freeze());
        }
    }

    /// How many bytes have not been written.
    pub(super) fn bytes(&self) -> usize {
        self.whole_bytes + self.tail.len()
    }

    /// The first of them, in as many pieces as there is room for; how many pieces.
    pub(super) fn pieces<'b>(&'b self, room: &mut [IoSlice<'b>]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let pieces = self.whole.iter().map(|bytes| &bytes[..]).chain(tail);
        let filled = room.iter_mut().zip(pieces);
        filled.map(|(place, piece)| *place = IoSlice::new(piece)).count()
    }

    /// So many have been written.
    pub(super) fn written(&mut self, mut bytes: usize) {
        while let Some(first) = self.whole.front_mut() {
            let taken = bytes.min(first.len());
            first.advance(taken);
            bytes -= taken;
            self.whole_bytes -= taken;
            if !first.is_empty() {
                return;
            }
            self.whole.pop_front();
        }
        self.tail.advance(bytes);
    }

    /// Puts a request of a stream; how many bytes it has.
    pub(super) fn put_append(&mut self, stream: u32, log: &str, request: AppendRequest) -> usize {
        let mut request = codec::append_request(log, request);
        let bytes = request.encoded_len();
        put_head(&mut self.tail, APPEND, stream, bytes);
        let entries = std::mem::take(&mut request.entries);
        request.encode_raw(&mut self.tail);
        for entry in entries {
            encode_key(ENTRIES_FIELD, WireType::LengthDelimited, &mut self.tail);
            encode_varint(entry.encoded_len() as u64, &mut self.tail);
            self.put_entry(entry);
        }
        bytes
    }

    fn put_entry(&mut self, mut entry: peer::Entry) {
        let records = match &mut entry.content {
            Some(Content::Records(batch)) if batch.records.len() >= IN_PLACE_BYTES => {
                std::mem::take(&mut batch.records)
            }
            _ => return entry.encode_raw(&mut self.tail),
        };
        let Some(Content::Records(batch)) = entry.content.take() else {
            return;
        };
        let records_bytes = key_len(RECORDS_FIELD) + encoded_len_varint(records.len() as u64) + records.len();
        entry.encode_raw(&mut self.tail);
        encode_key(BATCH_FIELD, WireType::LengthDelimited, &mut self.tail);
        encode_varint((batch.encoded_len() + records_bytes) as u64, &mut self.tail);
        batch.encode_raw(&mut self.tail);
        encode_key(RECORDS_FIELD, WireType::LengthDelimited, &mut self.tail);
        encode_varint(records.len() as u64, &mut self.tail);
        self.put_in_place(records);
    }
}
