//! Records as they travel: the protobuf `RecordSet` of `proto/annals/v1/log.proto`, walked without building objects.
//!
//! A producer encodes its records once; the same bytes go through the server to disk, to other nodes and to consumers.
//! So [`check()`] must refuse whatever some consumer could not decode: nobody looks at the bytes again.

mod log_v1;
mod walk;
mod wire;

#[cfg(test)]
mod tests;

pub use log_v1::{RecordParts, push};
pub use walk::{Records, records, skip, take};

use crate::error::Disposition;

use self::wire::{Body, Cursor, Fault, Field};

/// The tag of `RecordSet.records`: field 1, length-delimited.
const RECORDS_TAG: u8 = 1 << 3 | 2;

/// Bytes that are not a set of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordSetError {
    /// There is no record.
    #[error("the request holds no record; send at least one")]
    Empty,
    /// There are more records than a batch can count.
    #[error("the request holds more than {} records; send fewer at a time", u32::MAX)]
    TooMany,
    /// A record is not well-formed.
    #[error("record {record} is malformed at byte {position}: {problem}")]
    Malformed {
        /// Which record, counted from 0.
        record: u32,
        /// Where, counted from the beginning of the set.
        position: usize,
        /// What is wrong there.
        problem: Malformation,
    },
}

impl RecordSetError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Empty | Self::TooMany | Self::Malformed { .. } => Disposition::Reject,
        }
    }

    fn malformed(record: u32) -> impl Fn(Fault) -> Self {
        move |fault| Self::Malformed {
            record,
            position: fault.position,
            problem: fault.problem,
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// The set holds something that is not a record.
    #[error("the tag byte is {found:#04x}, but each record begins with {RECORDS_TAG:#04x}")]
    NotARecord {
        /// What stands where a record's tag should.
        found: u8,
    },
    /// The bytes end in the middle of a field.
    #[error("the bytes end in the middle of a field")]
    Cut,
    /// A field reaches past what it is in.
    #[error("a field is {length} bytes long, but only {left} are left")]
    Length {
        /// Bytes that the field claims.
        length: u64,
        /// Bytes that are there.
        left: u64,
    },
    /// A number does not end within 64 bits.
    #[error("a number is longer than 64 bits")]
    Varint,
    /// A field's number is 0 or above 2^29 - 1.
    #[error("a field number is 0 or above 536870911")]
    FieldNumber,
    /// A field's wire type is a group's (3 or 4) or none at all.
    #[error("wire type {wire_type} is not accepted")]
    UnknownWireType {
        /// The wire type.
        wire_type: u8,
    },
    /// A field that is known has another type.
    #[error("field {field} does not have the type that the schema gives it")]
    WireType {
        /// The field's number.
        field: u32,
    },
    /// A field that the schema reserves.
    #[error("field {field} is reserved and must not be sent")]
    Reserved {
        /// The field's number.
        field: u32,
    },
    /// A header's name is not text.
    #[error("a header's name is not UTF-8")]
    HeaderName,
}

/// Counts the records of a `RecordSet` and makes sure that everyone can decode them.
///
/// Stricter than protobuf asks: outside records nothing may stand, inside no group and no reserved field. Fields that
/// the schema does not know are kept, for clients that are newer than this server.
///
/// Errors: the first thing that is wrong, with the record's number and the byte.
pub fn check(record_set: &[u8]) -> Result<u32, RecordSetError> {
    let mut outer = Cursor::new(record_set, 0..record_set.len());
    let mut count = 0_u32;
    while !outer.is_at_end() {
        check_next(record_set, &mut outer).map_err(RecordSetError::malformed(count))?;
        count = count.checked_add(1).ok_or(RecordSetError::TooMany)?;
    }
    if count == 0 {
        Err(RecordSetError::Empty)
    } else {
        Ok(count)
    }
}

#[inline]
fn check_next(record_set: &[u8], outer: &mut Cursor<'_>) -> Result<(), Fault> {
    let record = outer.record()?;
    let mut fields = Cursor::new(record_set, record);
    while !fields.is_at_end() {
        let field = fields.field()?;
        check_field(record_set, &field)?;
    }
    Ok(())
}

/// A field of a record.
#[inline]
fn check_field(bytes: &[u8], field: &Field) -> Result<(), Fault> {
    let fault = |problem| {
        Err(Fault {
            position: field.start,
            problem,
        })
    };
    match (field.number, &field.body) {
        // value, key; type, timestamp_ms.
        (1 | 5, Body::Delimited(_)) | (4 | 7, Body::Varint(_)) => Ok(()),
        (6, Body::Delimited(header)) => check_header(bytes, Cursor::new(bytes, header.clone())),
        (1 | 4..=7, _) => fault(Malformation::WireType { field: field.number }),
        (2 | 3, _) => fault(Malformation::Reserved { field: field.number }),
        _ => Ok(()),
    }
}

fn check_header(bytes: &[u8], mut fields: Cursor<'_>) -> Result<(), Fault> {
    while !fields.is_at_end() {
        let field = fields.field()?;
        let problem = match (field.number, &field.body) {
            // name; value.
            (1, Body::Delimited(name)) if std::str::from_utf8(&bytes[name.clone()]).is_ok() => continue,
            (1, Body::Delimited(_)) => Malformation::HeaderName,
            (2, Body::Delimited(_)) => continue,
            (1 | 2, _) => Malformation::WireType { field: field.number },
            _ => continue,
        };
        return Err(Fault {
            position: field.start,
            problem,
        });
    }
    Ok(())
}
