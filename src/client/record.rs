//! Records, as they are given to a client and as it gives them back.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::{proto::annals::v1 as proto, types::Offset};

/// The tag of `RecordSet.records`: field 1, length-delimited.
const RECORDS_TAG: u8 = 1 << 3 | 2;

/// One datum: a value, and what may go with it.
///
/// ```
/// use annals::client::Record;
///
/// let record = Record::new("paid").key("order-17").header("trace", "4bf92f");
/// assert_eq!(record.value, "paid");
/// assert_eq!(Record::from("paid"), Record::new("paid"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The datum itself.
    pub value: Bytes,
    /// What it is about, for those who look for that; empty when it is about nothing in particular.
    pub key: Bytes,
    /// Names and values, in their order; a name may repeat.
    pub headers: Vec<(String, Bytes)>,
    /// When it happened, by the producer's clock, in milliseconds since 1970. `None`: when it was appended counts.
    pub timestamp_ms: Option<u64>,
}

impl Record {
    /// A record of this value.
    #[must_use]
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            ..Self::default()
        }
    }

    /// The same with this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = key.into();
        self
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same, which happened then. Before 1970 counts as 1970.
    #[must_use]
    pub fn timestamp(mut self, time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.timestamp_ms = Some(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// As it is encoded.
    pub(crate) fn into_proto(self) -> proto::Record {
        let headers = self.headers.into_iter();
        proto::Record {
            value: self.value,
            r#type: 0,
            key: self.key,
            headers: headers
                .map(|(name, value)| proto::Header { name, value })
                .collect(),
            timestamp_ms: self.timestamp_ms,
        }
    }

    fn from_proto(record: proto::Record) -> Self {
        let headers = record.headers.into_iter();
        Self {
            value: record.value,
            key: record.key,
            headers: headers.map(|header| (header.name, header.value)).collect(),
            timestamp_ms: record.timestamp_ms,
        }
    }
}

/// Bytes that the record takes in a set.
pub(crate) fn len_in_set(record: &proto::Record) -> usize {
    let len = record.encoded_len();
    1 + prost::length_delimiter_len(len) + len
}

/// Appends the record to an encoded `RecordSet`.
pub(crate) fn put(set: &mut BytesMut, record: &proto::Record) {
    set.reserve(len_in_set(record));
    set.put_u8(RECORDS_TAG);
    record
        .encode_length_delimited(set)
        .expect("a buffer that grows has room");
}

impl From<Bytes> for Record {
    fn from(value: Bytes) -> Self {
        Self::new(value)
    }
}

impl From<Vec<u8>> for Record {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

impl From<String> for Record {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Record {
    fn from(value: &str) -> Self {
        Self::new(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl From<&[u8]> for Record {
    fn from(value: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(value))
    }
}

/// A record of the log, and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number, the same on every node for ever.
    pub offset: Offset,
    /// When the leader took it, by its clock, in milliseconds since 1970. It never falls along the log.
    pub appended_ms: u64,
    /// The leadership in which it was appended.
    pub term: u64,
    /// The record as it was produced.
    pub record: Record,
}

impl Stored {
    pub(crate) fn new(offset: u64, appended_ms: u64, term: u64, record: proto::Record) -> Self {
        Self {
            offset: Offset(offset),
            appended_ms,
            term,
            record: Record::from_proto(record),
        }
    }

    /// The record's value.
    #[must_use]
    pub fn value(&self) -> &Bytes {
        &self.record.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(set: BytesMut) -> Vec<Record> {
        let set = proto::RecordSet::decode(set.freeze()).expect("it is a record set");
        set.records.into_iter().map(Record::from_proto).collect()
    }

    #[test]
    fn records_of_all_kinds_come_out_of_a_set_as_they_went_in() {
        let long = vec![7; 300];
        let records = [
            Record::new(""),
            Record::new("a"),
            Record::new(long.clone()),
            Record::new("a").key("k"),
            Record::new("").header("n", "v").header("n", ""),
            Record::new(long).timestamp(UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123)),
        ];
        let mut set = BytesMut::new();
        for record in records.clone() {
            let (before, record) = (set.len(), record.into_proto());
            put(&mut set, &record);
            assert_eq!(set.len() - before, len_in_set(&record));
        }
        assert_eq!(decoded(set), records);
    }

    #[test]
    fn a_time_before_1970_counts_as_1970() {
        let before = UNIX_EPOCH - std::time::Duration::from_secs(1);
        assert_eq!(Record::new("").timestamp(before).timestamp_ms, Some(0));
    }
}
