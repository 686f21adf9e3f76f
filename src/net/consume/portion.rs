//! How much of what was read goes into one response. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{record_set, storage::StoredBatch, types::Offset};

/// What the encoding of a response adds to the records of each batch, at most: five tags, three numbers of ten bytes, one
/// of five and a length of five, and around the batch a tag and a length.
pub const BATCH_FRAMING_BYTES: usize = 5 + 3 * 10 + 5 + 5 + 6;

/// Room for the rest of a response: header, next offset, and slack.
const RESPONSE_FRAMING_BYTES: usize = 4 << 10;

/// What gRPC clients accept when nobody tells them otherwise.
const CLIENT_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How much the batches of one response may take, so that it can be sent and any client can take it.
#[must_use]
pub fn response_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max
        .min(CLIENT_MESSAGE_BYTES_MAX)
        .saturating_sub(RESPONSE_FRAMING_BYTES)
}

/// What is left of one response.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of batches, with their framing.
    bytes: usize,
    /// Nothing is in it yet: the first record goes in even when it has more bytes.
    is_empty: bool,
}

impl Room {
    /// For `bytes` of batches, framing included.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes,
            is_empty: true,
        }
    }

    /// Bytes of batches that are left, with their framing.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes the records of the next batch may have.
    fn for_records(&self) -> usize {
        self.bytes.saturating_sub(BATCH_FRAMING_BYTES)
    }

    fn spend(&mut self, batch: &StoredBatch) {
        self.bytes = self
            .bytes
            .saturating_sub(batch.records.len() + BATCH_FRAMING_BYTES);
        self.is_empty = false;
    }
}

/// What is left of a read's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Records; `None`: no limit.
    pub records_left: Option<u64>,
    /// Bytes of records; `None`: no limit. The first record of a read comes even when it has more.
    pub bytes_left: Option<u64>,
    /// Stop before this offset.
    pub end_offset: Option<Offset>,
    /// Whether the first record is out.
    pub started: bool,
}

impl Limits {
    /// Whether nothing more may be sent from `next` on.
    #[must_use]
    pub fn is_reached(&self, next: Offset) -> bool {
        self.records_left == Some(0)
            || self.end_offset.is_some_and(|end| next >= end)
            || (self.started && self.bytes_left == Some(0))
    }

    fn spend(&mut self, batch: &StoredBatch) {
        let bytes = batch.records.len() as u64;
        self.records_left = self
            .records_left
            .map(|left| left.saturating_sub(u64::from(batch.record_count)));
        self.bytes_left = self.bytes_left.map(|left| left.saturating_sub(bytes));
        self.started = true;
    }
}

/// The part of `batch` that lies in `[from, below)`; `None` when that is nothing. Shares the batch's memory.
#[must_use]
pub fn trimmed(batch: StoredBatch, from: Offset, below: Offset) -> Option<StoredBatch> {
    let end = batch.base_offset.plus(u64::from(batch.record_count));
    let first = batch.base_offset.max(from);
    let next = end.min(below);
    if first >= next {
        return None;
    }
    // Both fit: they are at most the batch's own record count.
    let skipped = u32::try_from(first.distance_from(batch.base_offset)).ok()?;
    let record_count = u32::try_from(next.distance_from(first)).ok()?;
    let mut records = batch.records;
    if skipped > 0 {
        records = record_set::skip(&records, skipped);
    }
    if next < end {
        records = record_set::take(&records, record_count);
    }
    Some(StoredBatch {
        base_offset: first,
        record_count,
        records,
        ..batch
    })
}

/// Takes the next batches of a response out of `ready`: as many as there is `room` for, but at least its first record, and
/// no more than `limits` allow. Empty when nothing more may go in.
///
/// A batch larger than that is cut at a record's boundary, so that a response never grows with the batch that some
/// producer chose.
pub fn take_portion(
    ready: &mut VecDeque<StoredBatch>,
    room: &mut Room,
    limits: &mut Limits,
) -> Vec<StoredBatch> {
    let mut portion = Vec::new();
    while let Some(batch) = ready.pop_front() {
        if limits.is_reached(batch.base_offset) {
            ready.push_front(batch);
            break;
        }
        let take = fitting(&batch, *room, limits);
        if take == 0 {
            ready.push_front(batch);
            break;
        }
        let cut = batch.base_offset.plus(u64::from(take));
        let whole = take == batch.record_count;
        let rest = if whole {
            None
        } else {
            trimmed(batch.clone(), cut, Offset(u64::MAX))
        };
        let Some(taken) = (if whole {
            Some(batch)
        } else {
            trimmed(batch, Offset::ZERO, cut)
        }) else {
            break;
        };
        room.spend(&taken);
        limits.spend(&taken);
        portion.push(taken);
        if let Some(rest) = rest {
            ready.push_front(rest);
            break;
        }
    }
    portion
}

/// How many records of `batch` may go out.
fn fitting(batch: &StoredBatch, room: Room, limits: &mut Limits) -> u32 {
    let first_of_response = room.is_empty;
    let room = room.for_records();
    let mut take = batch.record_count;
    if let Some(left) = limits.records_left {
        take = take.min(u32::try_from(left).unwrap_or(u32::MAX));
    }
    if let Some(end) = limits.end_offset {
        take = take.min(u32::try_from(end.distance_from(batch.base_offset)).unwrap_or(u32::MAX));
    }
    let allowed = limits
        .bytes_left
        .map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
    let bytes = room.min(allowed);
    if batch.records.len() <= bytes {
        return take;
    }
    if !first_of_response && room < allowed {
        // The response is full enough; the batch may go out whole in the next one.
        return 0;
    }
    let within = records_within(&batch.records, bytes);
    if within > 0 {
        return take.min(within);
    }
    // Not even one record fits. It goes out alone where only the response's size speaks against it, or when the read
    // would otherwise never begin.
    let first_fits = records_within(&batch.records, allowed) > 0;
    if first_of_response && (first_fits || !limits.started) {
        return take.min(1);
    }
    if first_of_response {
        limits.bytes_left = Some(0);
    }
    0
}

/// How many records at the beginning of a set fit into `bytes_max`.
fn records_within(record_set: &Bytes, bytes_max: usize) -> u32 {
    let mut bytes = 0_usize;
    let mut count = 0;
    for record in record_set::records(record_set) {
        bytes += record.len() + 1 + prost::length_delimiter_len(record.len());
        if bytes > bytes_max {
            break;
        }
        count += 1;
    }
    count
}
