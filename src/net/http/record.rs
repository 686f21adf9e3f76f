//! Records as JSON: read into the bytes that are stored, and written out of them.
//!
//! | field | what it is |
//! |---|---|
//! | `value` or `text` | the value: in base64, or as text |
//! | `key` or `key_text` | the same of the key |
//! | `headers` | `[{"name": .., "value" or "text": ..}]`, in their order; a name may repeat |
//! | `timestamp_ms` | when it happened; written, where the producer did not say, as when it was appended |
//! | `type` | that of `log.v1` |
//! | `offset`, `term` | written, and passed over when read: what was read can be appended elsewhere |

use std::{fmt, io::Write as _, ops::Range};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

use super::{json::Object, number::Number};
use crate::proto::annals::v1::{Header, Record};

/// What is read may lack its padding; it is always written.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Field 1, with a length: `RecordSet.records`.
const RECORDS_TAG: u8 = 1 << 3 | 2;

/// How bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// All in base64.
    Base64,
    /// As text where they are, else in base64.
    Text,
}

/// A record as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRecord {
    value: Option<InBase64>,
    text: Option<String>,
    key: Option<InBase64>,
    key_text: Option<String>,
    #[serde(default)]
    headers: Vec<Object<JsonHeader>>,
    timestamp_ms: Option<Number>,
    #[serde(default, rename = "type")]
    kind: u32,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "term")]
    _term: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHeader {
    name: String,
    value: Option<InBase64>,
    text: Option<String>,
}

/// Bytes that are written in base64.
struct InBase64(Bytes);

impl<'de> Deserialize<'de> for InBase64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl Visitor<'_> for Texts {
            type Value = InBase64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<InBase64, E> {
                let bytes = BASE64.decode(text).map_err(|error| {
                    E::custom(format!(
                        "not base64: {error}; what is text goes into \"text\" or \"key_text\""
                    ))
                })?;
                Ok(InBase64(bytes.into()))
            }
        }
        deserializer.deserialize_str(Texts)
    }
}

/// One of the two ways to write bytes.
fn bytes_of<E: Error>(
    names: (&str, &str),
    value: Option<InBase64>,
    text: Option<String>,
) -> Result<Option<Bytes>, E> {
    match (value, text) {
        (Some(_), Some(_)) => Err(E::custom(format!(
            "{:?} and {:?} are both there; leave one out",
            names.0, names.1
        ))),
        (Some(InBase64(bytes)), None) => Ok(Some(bytes)),
        (None, text) => Ok(text.map(Bytes::from)),
    }
}

impl JsonRecord {
    fn into_record<E: Error>(self) -> Result<Record, E> {
        let value = bytes_of(("value", "text"), self.value, self.text)?;
        // Rather than an empty record that nobody meant.
        let value = value.ok_or_else(|| E::custom("the record has neither \"value\" nor \"text\""))?;
        let headers = self
            .headers
            .into_iter()
            .map(|Object(header)| header.into_header());
        Ok(Record {
            value,
            r#type: self.kind,
            key: bytes_of(("key", "key_text"), self.key, self.key_text)?.unwrap_or_default(),
            headers: headers.collect::<Result<_, _>>()?,
            timestamp_ms: self.timestamp_ms.map(|Number(number)| number),
        })
    }
}

impl JsonHeader {
    fn into_header<E: Error>(self) -> Result<Header, E> {
        Ok(Header {
            name: self.name,
            value: bytes_of(("value", "text"), self.value, self.text)?.unwrap_or_default(),
        })
    }
}

/// A `RecordSet` that is being made.
#[derive(Debug, Default)]
pub struct RecordSetWriter(BytesMut);

impl RecordSetWriter {
    /// One record more.
    pub fn push(&mut self, record: &Record) {
        self.0.put_u8(RECORDS_TAG);
        let encoded = record.encode_length_delimited(&mut self.0);
        encoded.expect("the buffer grows as it has to");
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// The record that a value of JSON is.
#[derive(Debug)]
pub struct ReadRecord(pub Record);

impl<'de> Deserialize<'de> for ReadRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(record) = Object::<JsonRecord>::deserialize(deserializer)?;
        record.into_record().map(Self)
    }
}

/// The `RecordSet` that a list of JSON is. Each record is encoded as it is read.
#[derive(Debug)]
pub struct ReadRecordSet(pub Bytes);

impl<'de> Deserialize<'de> for ReadRecordSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = ReadRecordSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ReadRecordSet, A::Error> {
                let mut set = RecordSetWriter::default();
                while let Some(ReadRecord(record)) = list.next_element()? {
                    set.push(&record);
                }
                Ok(ReadRecordSet(set.finish()))
            }
        }
        deserializer.deserialize_seq(Lists)
    }
}

/// Where a record is, and what its batch says of it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its offset.
    pub offset: u64,
    /// The term of its batch.
    pub term: u64,
    /// When its batch was appended, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// Writes a record as an object of JSON, without a newline in it.
pub fn write(into: &mut Vec<u8>, record: &Record, place: Place, encoding: Encoding) {
    let Place {
        offset,
        term,
        timestamp_ms,
    } = place;
    let timestamp_ms = record.timestamp_ms.unwrap_or(timestamp_ms);
    // Memory takes whatever is written.
    drop(write!(
        into,
        r#"{{"offset":{offset},"term":{term},"timestamp_ms":{timestamp_ms},"#
    ));
    write_bytes(into, ("value", "text"), &record.value, encoding);
    // The schema cannot tell an empty key from none.
    if !record.key.is_empty() {
        into.push(b',');
        write_bytes(into, ("key", "key_text"), &record.key, encoding);
    }
    if !record.headers.is_empty() {
        into.extend_from_slice(br#","headers":["#);
        for (number, header) in record.headers.iter().enumerate() {
            into.extend_from_slice(if number == 0 {
                br#"{"name":"#
            } else {
                br#",{"name":"#
            });
            write_text(into, &header.name);
            into.push(b',');
            write_bytes(into, ("value", "text"), &header.value, encoding);
            into.push(b'}');
        }
        into.push(b']');
    }
    if record.r#type != 0 {
        drop(write!(into, r#","type":{}"#, record.r#type));
    }
    into.push(b'}');
}

fn write_bytes(into: &mut Vec<u8>, (name, text_name): (&str, &str), bytes: &[u8], encoding: Encoding) {
    let text = match encoding {
        Encoding::Base64 => None,
        Encoding::Text => std::str::from_utf8(bytes).ok(),
    };
    match text {
        Some(text) => {
            drop(write!(into, r#""{text_name}":"#));
            write_text(into, text);
        }
        None => {
            drop(write!(into, r#""{name}":""#));
            put_base64(into, bytes);
            into.push(b'"');
        }
    }
}

fn put_base64(into: &mut Vec<u8>, bytes: &[u8]) {
    let begin = into.len();
    let room: Range<usize> = begin..begin + bytes.len().div_ceil(3) * 4;
    into.resize(room.end, 0);
    let written = BASE64_STANDARD.encode_slice(bytes, &mut into[room]);
    into.truncate(begin + written.expect("base64 takes four bytes for each three"));
}

fn write_text(into: &mut Vec<u8>, text: &str) {
    // Memory takes whatever is written, and text is always JSON.
    drop(serde_json::to_writer(into, text));
}

#[cfg(test)]
mod tests {
    use super::{super::json::of_body, *};

    const PLACE: Place = Place {
        offset: 7,
        term: 2,
        timestamp_ms: 5,
    };

    fn shown(record: &Record, encoding: Encoding) -> String {
        let mut text = Vec::new();
        write(&mut text, record, PLACE, encoding);
        String::from_utf8(text).unwrap()
    }

    fn full() -> Record {
        Record {
            value: Bytes::from_static(b"one\ntwo"),
            r#type: 3,
            key: Bytes::from_static(b"\xff"),
            headers: vec![
                Header {
                    name: "a\"b".to_owned(),
                    value: Bytes::from_static(b"x"),
                },
                Header {
                    name: "a\"b".to_owned(),
                    value: Bytes::new(),
                },
            ],
            timestamp_ms: Some(u64::MAX),
        }
    }

    #[test]
    fn a_record_is_written_with_all_it_has() {
        assert_eq!(
            shown(&full(), Encoding::Base64),
            r#"{"offset":7,"term":2,"timestamp_ms":18446744073709551615,"value":"b25lCnR3bw==","key":"/w==","headers":[{"name":"a\"b","value":"eA=="},{"name":"a\"b","value":""}],"type":3}"#
        );
        assert_eq!(
            shown(&full(), Encoding::Text),
            r#"{"offset":7,"term":2,"timestamp_ms":18446744073709551615,"text":"one\ntwo","key":"/w==","headers":[{"name":"a\"b","text":"x"},{"name":"a\"b","text":""}],"type":3}"#
        );
        assert_eq!(
            shown(&Record::default(), Encoding::Base64),
            r#"{"offset":7,"term":2,"timestamp_ms":5,"value":""}"#
        );
    }

    #[test]
    fn what_was_written_is_read_as_the_same_record() {
        for encoding in [Encoding::Base64, Encoding::Text] {
            let ReadRecord(read) = serde_json::from_str(&shown(&full(), encoding)).unwrap();
            assert_eq!(read, full());
        }
    }

    #[test]
    fn a_list_of_records_is_a_record_set() {
        let ReadRecordSet(set) =
            serde_json::from_str(r#"[{"text":"a"},{"value":"YQ"},{"value":"YQ==","key_text":"k"}]"#).unwrap();
        let set_of = crate::proto::annals::v1::RecordSet::decode(set.clone()).unwrap();
        let values: Vec<_> = set_of.records.iter().map(|record| &record.value[..]).collect();
        assert_eq!(values, [b"a"; 3]);
        assert_eq!(set_of.records[2].key, "k");
        assert_eq!(crate::record_set::check(&set), Ok(3));
    }

    #[test]
    fn what_is_wrong_with_a_record_is_told_with_its_place() {
        #[derive(Debug, serde::Deserialize)]
        struct Body {
            #[expect(dead_code, reason = "nothing here is ever read as one")]
            records: ReadRecordSet,
        }
        let cases = [
            (
                r#"[{"text":"a"},{"value":"?"}]"#,
                "records[1].value: not base64: Invalid symbol 63, offset 0.; what is text goes into",
            ),
            (
                r#"[{}]"#,
                r#"records[0]: the record has neither "value" nor "text""#,
            ),
            (
                r#"[{"text":"a","value":"YQ=="}]"#,
                r#"records[0]: "value" and "text" are both there"#,
            ),
            (
                r#"[{"text":"a","headers":[{"name":"x","value":"","text":""}]}]"#,
                r#"records[0]: "value" and "text" are both there"#,
            ),
            (r#"[{"txt":"a"}]"#, "records[0]: unknown field `txt`"),
            (
                r#"[{"text":"a","timestamp_ms":-1}]"#,
                "records[0].timestamp_ms: invalid type: a number, expected a whole number",
            ),
            (
                r#"{"text":"a"}"#,
                "records: invalid type: map, expected a list of records",
            ),
            // The story: a list of what the fields would have was taken for a record, and for a header.
            (
                r#"[["YQ==",null,null,null,[],null,0,null,null]]"#,
                "records[0]: invalid type: sequence, expected an object",
            ),
            (
                r#"[{"text":"a","headers":[["h",null,"x"]]}]"#,
                "records[0].headers[0]: invalid type: sequence, expected an object",
            ),
        ];
        for (text, expected) in cases {
            let error = of_body::<Body>(format!("{{\"records\":{text}}}").as_bytes()).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(&format!("as it should be: {expected}")),
                "{text}: {error}"
            );
            assert!(error.contains(" at line 1 column "), "{text}: {error}");
        }
    }
}
