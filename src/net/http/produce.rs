//! `POST /v1/records`: a batch, all or nothing.
//!
//! What the body is, its content type says: JSON with a list of records, a record of JSON on each line, or the bytes of one record. Who
//! retries says who he is, and what he expects, in JSON or in headers.

use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderMap, Response, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json as value;
use tokio::time::Instant;
use tonic::body::Body;

use super::{
    error::HttpError,
    json::{self, Object},
    number::Number,
    query::Query,
    record::{ReadRecord, ReadRecordSet, RecordSetWriter},
    respond,
};
use crate::{
    net::{
        context::Context,
        echo::beginning,
        produce::{check, unary},
        receive::Whole,
        status::Refusal,
    },
    proto::{annals, raw::annals::v1},
};

/// Who produces, by headers; all three or none.
const PRODUCER_ID: &str = "annals-producer-id";
const PRODUCER_EPOCH: &str = "annals-producer-epoch";
const PRODUCER_SEQUENCE: &str = "annals-producer-sequence";
/// The offset that the first record must get.
const EXPECTED_OFFSET: &str = "annals-expected-offset";

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Lines,
    /// Of one record.
    Bytes,
}

impl Kind {
    /// By the content type. There is no usual one: a body that is taken for something else is stored for ever.
    fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let said = headers.get_all(CONTENT_TYPE).iter();
        let said: Vec<_> = said.map(|value| value.to_str().unwrap_or("?")).collect();
        // Two of them are none: the list is no type that is known.
        let found = said.join(", ");
        let essence = found.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/jsonlines" => {
                Ok(Self::Lines)
            }
            "application/octet-stream" | "text/plain" => Ok(Self::Bytes),
            _ => Err(HttpError::MediaType {
                found: beginning(&found).to_owned(),
            }),
        }
    }
}

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    records: Bytes,
    producer: Option<v1::Producer>,
    expected_offset: Option<u64>,
}

/// A body of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBatch {
    records: ReadRecordSet,
    producer: Option<Object<JsonProducer>>,
    expected_offset: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonProducer {
    id: Number,
    epoch: u32,
    sequence: Number,
}

/// A request whose body has not been read.
#[derive(Debug)]
pub struct Wanted {
    kind: Kind,
    by_headers: Asked,
    request: v1::ProduceRequest,
    /// The record's, where the body is its value.
    record: annals::v1::Record,
}

impl Wanted {
    /// What a head asks for.
    ///
    /// Errors: what is wrong with it, before anything of the body is read.
    pub fn of(headers: &HeaderMap, query: &Query) -> Result<Self, HttpError> {
        let kind = Kind::of(headers)?;
        let (key, timestamp_ms) = (query.key(), query.number("timestamp_ms")?);
        if kind != Kind::Bytes && (key.is_some() || timestamp_ms.is_some()) {
            let what = "the parameters key and timestamp_ms are for a body that is one record's bytes; records of JSON have their own";
            return Err(Refusal::invalid(what).into());
        }
        Ok(Self {
            kind,
            by_headers: by_headers(headers)?,
            request: v1::ProduceRequest::default(),
            record: annals::v1::Record {
                key: key.cloned().unwrap_or_default(),
                timestamp_ms,
                ..annals::v1::Record::default()
            },
        })
    }

    /// The request, with what the body has.
    ///
    /// Errors: what is wrong with the body, or with what both say.
    pub fn request(self, body: &Bytes) -> Result<v1::ProduceRequest, Refusal> {
        let asked = match self.kind {
            Kind::Json => read_json(body)?,
            Kind::Lines => read_lines(body)?,
            Kind::Bytes => {
                let mut set = RecordSetWriter::default();
                set.push(&annals::v1::Record {
                    value: body.clone(),
                    ..self.record
                });
                Asked {
                    records: set.finish(),
                    ..Asked::default()
                }
            }
        };
        Ok(v1::ProduceRequest {
            records: Some(asked.records),
            producer: one_of("producer", asked.producer, self.by_headers.producer)?,
            expected_offset: one_of(
                "expected_offset",
                asked.expected_offset,
                self.by_headers.expected_offset,
            )?,
            ..self.request
        })
    }
}

/// Appends what was wanted, and answers where it is.
///
/// Errors: as `Produce` of gRPC. Cancel: the batch may be stored all the same.
pub async fn produce(
    context: &Context,
    wanted: Wanted,
    body: Whole,
    deadline: Instant,
) -> Result<Response<Body>, HttpError> {
    let item = check::annals_v1(context, wanted.request(&body.bytes)?)?;
    // From here on the bytes are those of the batch, which has its own room.
    drop(body);
    let produced = unary::produce(context, item, deadline).await?;
    let mut response = respond::json(&value!({
        "first_offset": produced.offsets.start,
        "next_offset": produced.offsets.end,
        "repeated": produced.repeated,
    }));
    respond::say_who(response.headers_mut(), context);
    Ok(response)
}

fn read_json(body: &[u8]) -> Result<Asked, Refusal> {
    let Object::<JsonBatch>(batch) = json::of_body(body)?;
    Ok(Asked {
        records: batch.records.0,
        producer: batch.producer.map(|Object(producer)| v1::Producer {
            id: producer.id.0,
            epoch: producer.epoch,
            sequence: producer.sequence.0,
        }),
        expected_offset: batch.expected_offset.map(|Number(number)| number),
    })
}

/// A record of JSON on each line; empty lines are nothing.
fn read_lines(body: &[u8]) -> Result<Asked, Refusal> {
    let mut set = RecordSetWriter::default();
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let ReadRecord(record) = json::of_line(line, number + 1)?;
        set.push(&record);
    }
    Ok(Asked {
        records: set.finish(),
        ..Asked::default()
    })
}

fn by_headers(headers: &HeaderMap) -> Result<Asked, Refusal> {
    let (id, epoch, sequence) = (
        header(headers, PRODUCER_ID)?,
        header(headers, PRODUCER_EPOCH)?,
        header(headers, PRODUCER_SEQUENCE)?,
    );
    let producer = match (id, epoch, sequence) {
        (None, None, None) => None,
        (Some(id), Some(epoch), Some(sequence)) => Some(v1::Producer { id, epoch, sequence }),
        _ => {
            return Err(Refusal::invalid(format!(
                "a producer has three headers: {PRODUCER_ID}, {PRODUCER_EPOCH} and {PRODUCER_SEQUENCE}; one is missing"
            )));
        }
    };
    Ok(Asked {
        records: Bytes::new(),
        producer,
        expected_offset: header(headers, EXPECTED_OFFSET)?,
    })
}

/// A number in a header that is there once.
fn header<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<T>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if values.next().is_none() => Ok(Some(number)),
        _ => Err(Refusal::invalid(format!(
            "the header {name} should be one whole number, and is {:?}",
            beginning(&String::from_utf8_lossy(value.as_bytes()))
        ))),
    }
}

fn one_of<T>(what: &str, in_body: Option<T>, in_headers: Option<T>) -> Result<Option<T>, Refusal> {
    match (in_body, in_headers) {
        (Some(_), Some(_)) => Err(Refusal::invalid(format!(
            "{what} is both in the body and in a header; leave one out"
        ))),
        (one, None) | (None, one) => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers<const N: usize>(pairs: [(&'static str, &'static str); N]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_body_is_what_its_content_type_says_and_nothing_by_default() {
        let cases = [
            ("application/json; charset=utf-8", Some(Kind::Json)),
            ("Application/X-NDJSON", Some(Kind::Lines)),
            ("text/plain", Some(Kind::Bytes)),
            ("application/octet-stream", Some(Kind::Bytes)),
            ("application/x-www-form-urlencoded", None),
            ("application/jsonx", None),
            ("", None),
        ];
        for (text, kind) in cases {
            assert_eq!(Kind::of(&headers([("content-type", text)])).ok(), kind, "{text}");
        }
        assert!(Kind::of(&HeaderMap::new()).is_err());
        let two = headers([
            ("content-type", "text/plain"),
            ("content-type", "application/json"),
        ]);
        assert!(Kind::of(&two).is_err(), "it is one or the other");
    }

    #[test]
    fn a_producer_is_named_by_three_headers_or_in_json_and_not_by_both() {
        let named = headers([
            (PRODUCER_ID, "18446744073709551615"),
            (PRODUCER_EPOCH, "1"),
            (PRODUCER_SEQUENCE, "2"),
            (EXPECTED_OFFSET, "3"),
        ]);
        let producer = v1::Producer {
            id: u64::MAX,
            epoch: 1,
            sequence: 2,
        };
        let asked = by_headers(&named).unwrap();
        assert_eq!((asked.producer, asked.expected_offset), (Some(producer), Some(3)));
        let text = r#"{"records":[],"producer":{"id":"18446744073709551615","epoch":1,"sequence":2},"expected_offset":3}"#;
        assert_eq!(read_json(text.as_bytes()).unwrap(), asked);
        assert!(one_of("producer", Some(1), Some(1)).is_err());
        assert!(by_headers(&headers([(PRODUCER_ID, "1")])).is_err());
        assert!(by_headers(&headers([(EXPECTED_OFFSET, "1"), (EXPECTED_OFFSET, "1")])).is_err());
        assert!(by_headers(&headers([(EXPECTED_OFFSET, "-1")])).is_err());
    }

    #[test]
    fn a_list_is_neither_a_batch_nor_a_producer() {
        for text in [
            r#"[[{"text":"a"}],null,null]"#,
            r#"{"records":[{"text":"a"}],"producer":[1,0,0]}"#,
        ] {
            let refused = read_json(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("sequence, expected an object"), "{refused}");
        }
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let asked = read_lines(b"{\"text\":\"a\"}\r\n\n{\"text\":\"b\"}").unwrap();
        assert_eq!(crate::record_set::check(&asked.records), Ok(2));
        let refused = read_lines(b"{\"text\":\"a\"}\n\n{\"text\":3}\n").unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("line 3, column 9 of the body: text: invalid type"),
            "{refused}"
        );
    }
}
