//! Between `log.v1.Record` and the records of this log: the same bytes, but for two fields that only answers have.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Malformation, RECORDS_TAG, RecordSetError, check_field,
    wire::{Body, Cursor, Fault, Field},
};

/// What `log.v1` shows of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordParts {
    /// Its value, sharing the record's memory.
    pub value: Bytes,
    /// The field `type`.
    pub kind: u32,
}

impl RecordParts {
    /// Of one record of a set that [`super::check`] accepted. Of other bytes: what stands before the first mistake.
    #[must_use]
    pub fn of(record: &Bytes) -> Self {
        let mut parts = Self::default();
        let mut fields = Cursor::new(record, 0..record.len());
        while !fields.is_at_end()
            && let Ok(field) = fields.field()
        {
            // A field that is there twice counts as its last one.
            match (field.number, field.body) {
                (1, Body::Delimited(value)) => parts.value = record.slice(value),
                // Protobuf cuts a longer number to the type's width.
                (4, Body::Varint(kind)) => parts.kind = kind as u32,
                _ => {}
            }
        }
        parts
    }
}

/// Appends a produced `log.v1.Record` to a set. Its `offset` and `term` are dropped: they are the server's to give.
/// Everything else stays as it is, byte for byte.
///
/// Errors: `Malformed`, with positions in `record`; then nothing was appended.
pub fn push(into: &mut BytesMut, record: &[u8]) -> Result<(), RecordSetError> {
    let dropped = dropped_bytes(record).map_err(RecordSetError::malformed(0))?;
    let length = record.len() - dropped;
    into.reserve(1 + VARINT_BYTES_MAX + length);
    into.put_u8(RECORDS_TAG);
    put_varint(into, length as u64);
    if dropped == 0 {
        into.put_slice(record);
        return Ok(());
    }
    let mut fields = Cursor::new(record, 0..record.len());
    while !fields.is_at_end() {
        let field = fields.field().map_err(RecordSetError::malformed(0))?;
        if !is_dropped(&field) {
            into.put_slice(&record[field.start..fields.position()]);
        }
    }
    Ok(())
}

/// Checks all fields; gives the bytes of those that are not to be kept.
fn dropped_bytes(record: &[u8]) -> Result<usize, Fault> {
    let mut fields = Cursor::new(record, 0..record.len());
    let mut dropped = 0;
    while !fields.is_at_end() {
        let field = fields.field()?;
        match (is_dropped(&field), &field.body) {
            (true, Body::Varint(_)) => dropped += fields.position() - field.start,
            (true, Body::Fixed | Body::Delimited(_)) => {
                let problem = Malformation::WireType { field: field.number };
                return Err(Fault {
                    position: field.start,
                    problem,
                });
            }
            (false, _) => check_field(record, &field)?,
        }
    }
    Ok(dropped)
}

/// `offset` and `term`.
fn is_dropped(field: &Field) -> bool {
    matches!(field.number, 2 | 3)
}

/// 64 bits in groups of 7.
const VARINT_BYTES_MAX: usize = 10;

fn put_varint(into: &mut BytesMut, value: u64) {
    let mut rest = value;
    while rest >= 0x80 {
        into.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.put_u8(rest as u8);
}
