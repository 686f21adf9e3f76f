//! How records and answers are printed.

use std::{
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;

use crate::{
    client::ProtocolError,
    proto::{annals::v1 as proto, raw::annals::v1::Batch},
    record_set::{self, RecordParts},
    types::Offset,
};

use super::{error::CliError, style};

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// How a record is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RecordFormat {
    /// The value's bytes and a newline
    Value,
    /// A JSON object in a line
    Json,
}

/// One JSON object in a line.
pub(super) fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A time in milliseconds since 1970, to the second, in UTC. One that no calendar has is printed as the number it is.
pub(super) fn time_text(ms: u64) -> String {
    /// 9999-12-31T23:59:59Z, the last time that RFC 3339 can write.
    const LAST_MS: u64 = 253_402_300_799_000;
    if ms > LAST_MS {
        return ms.to_string();
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// Columns as wide as what is in them; no blanks at the end of a line.
pub(super) fn write_table<const N: usize>(
    out: &mut impl Write,
    titles: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| style::width(&row[column]));
        cells.chain([titles[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let titles = titles.map(str::to_owned);
    for row in std::iter::once(&titles).chain(rows) {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{:1$}", "", width - style::width(cell)));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints the records of a batch; `ends` hears the offset behind each once it is printed.
///
/// Errors: `Protocol` when they cannot be decoded; `Write`, `BrokenPipe`.
pub(super) fn write_batch<W: Write>(
    out: &mut W,
    batch: &Batch,
    format: RecordFormat,
    ends: impl FnMut(&W, Offset),
) -> Result<(), CliError> {
    write_stored(out, batch, format, Offset::ZERO, ends)
}

/// The same of a batch as it lies on a disk, where a log may have records that it is trimmed of: those below that offset.
///
/// Errors: as [`write_batch`].
pub(super) fn write_stored<W: Write>(
    out: &mut W,
    batch: &Batch,
    format: RecordFormat,
    trimmed_below: Offset,
    mut ends: impl FnMut(&W, Offset),
) -> Result<(), CliError> {
    let mut offset = batch.base_offset;
    for record in batch.records.iter().flat_map(record_set::records) {
        match format {
            RecordFormat::Value => {
                let value = RecordParts::of(&record).value;
                out.write_all(&value)
                    .and_then(|()| out.write_all(b"\n"))
                    .map_err(CliError::from_write)?;
            }
            RecordFormat::Json => {
                let trimmed = Offset(offset) < trimmed_below;
                write_json_record(out, batch, offset, record, trimmed)?;
            }
        }
        offset += 1;
        ends(out, Offset(offset));
    }
    if offset - batch.base_offset != u64::from(batch.record_count) {
        return Err(undecodable(batch));
    }
    Ok(())
}

fn undecodable(batch: &Batch) -> CliError {
    CliError::from(ProtocolError::Undecodable {
        base_offset: batch.base_offset,
    })
}

fn write_json_record(
    out: &mut impl Write,
    batch: &Batch,
    offset: u64,
    record: Bytes,
    trimmed: bool,
) -> Result<(), CliError> {
    let record = proto::Record::decode(record).map_err(|_| undecodable(batch))?;
    let record = JsonRecord::new(&record, offset, batch.timestamp_ms);
    write_json(out, &JsonRecord { trimmed, ..record }).map_err(CliError::from_write)
}

/// A record as a line of JSON. Bytes that are UTF-8 are a string in `key` or `value`; others are base64, in
/// `key_base64` or `value_base64` instead.
#[derive(Serialize)]
struct JsonRecord<'a> {
    offset: u64,
    timestamp_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<JsonHeader<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// It lies there, and is no part of the log any more.
    #[serde(skip_serializing_if = "is_false")]
    trimmed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

/// A header, in the order of the record's.
#[derive(Serialize)]
struct JsonHeader<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// As text if it is text, in base64 if not.
fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

impl<'a> JsonRecord<'a> {
    fn new(record: &'a proto::Record, offset: u64, appended_ms: u64) -> Self {
        let (key, key_base64) = text_or_base64(&record.key);
        let (value, value_base64) = text_or_base64(&record.value);
        Self {
            offset,
            timestamp_ms: record.timestamp_ms.unwrap_or(appended_ms),
            // The schema cannot tell an empty key from none.
            key: key.filter(|key| !key.is_empty()),
            key_base64,
            headers: record.headers.iter().map(JsonHeader::new).collect(),
            value,
            value_base64,
            trimmed: false,
        }
    }
}

impl<'a> JsonHeader<'a> {
    fn new(header: &'a proto::Header) -> Self {
        let (value, value_base64) = text_or_base64(&header.value);
        Self {
            name: &header.name,
            value,
            value_base64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: Vec<proto::Record>) -> Batch {
        Batch {
            base_offset: 7,
            record_count: u32::try_from(records.len()).expect("few"),
            timestamp_ms: 1_000,
            term: 1,
            records: Some(proto::RecordSet { records }.encode_to_vec().into()),
        }
    }

    fn printed(batch: &Batch, format: RecordFormat) -> Vec<u8> {
        let mut out = Vec::new();
        write_batch(&mut out, batch, format, |_, _| ()).expect("the batch is well-formed");
        out
    }

    fn value(value: &'static [u8]) -> proto::Record {
        proto::Record {
            value: Bytes::from_static(value),
            ..Default::default()
        }
    }

    #[test]
    fn values_are_printed_byte_for_byte() {
        let batch = batch(vec![value(b"a"), value(b""), value(b"\xff\x00\r")]);
        assert_eq!(printed(&batch, RecordFormat::Value), b"a\n\n\xff\x00\r\n");
    }

    #[test]
    fn json_has_text_as_text_and_bytes_as_base64() {
        let full = proto::Record {
            value: Bytes::from_static(b"\xff\x00"),
            key: Bytes::from_static(b"k"),
            timestamp_ms: Some(5),
            headers: vec![proto::Header {
                name: "h".into(),
                value: Bytes::from_static(b"v"),
            }],
            ..Default::default()
        };
        let wanted = concat!(
            r#"{"offset":7,"timestamp_ms":5,"key":"k","headers":[{"name":"h","value":"v"}],"value_base64":"/wA="}"#,
            "\n",
            r#"{"offset":8,"timestamp_ms":1000,"value":"\"quoted\" ü"}"#,
            "\n",
        );
        let batch = batch(vec![full, value("\"quoted\" ü".as_bytes())]);
        assert_eq!(
            String::from_utf8_lossy(&printed(&batch, RecordFormat::Json)),
            wanted
        );
    }

    #[test]
    fn a_batch_with_another_count_than_it_says_is_an_error() {
        let mut batch = batch(vec![value(b"a")]);
        batch.record_count = 2;
        let result = write_batch(&mut Vec::new(), &batch, RecordFormat::Value, |_, _| ());
        let error = result.unwrap_err().to_string();
        assert_eq!(
            error,
            "the node broke the protocol: the records at offset 7 cannot be decoded"
        );
    }
}
