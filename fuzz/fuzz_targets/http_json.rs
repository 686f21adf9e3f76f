//! What strangers send by HTTP is read or refused, and a refusal is not long, whatever was sent. What is read as records is written as
//! JSON, in both encodings, and read again as the same: as a batch and as lines. A body of bytes is one record of just these bytes, with
//! the key that the query has, decoded once more here.
//!
//! Input: how it is to be taken, the length of the query or header, the query or header, the body.

#![no_main]

use annals::{
    net::http::{
        door::{self, Batch, Refused},
        record::{Encoding, Place, ReadRecord, write},
        routes::ROUTES,
    },
    proto::annals::v1::{Record, RecordSet},
    record_set,
};
use annals_fuzz::seeds;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const BYTES: &str = "application/octet-stream";

/// Of one that tells what is wrong with a text, shortens it, and says it as JSON, in which a letter may take twelve.
const REFUSAL_BYTES_MAX: u64 = 8 << 10;

const PLACE: Place = Place {
    offset: 7,
    term: 2,
    timestamp_ms: 5,
};

fuzz_target!(init: seeds::plant("http_json", seeds()), |input: &[u8]| {
    let [how, length, rest @ ..] = input else {
        return;
    };
    let (said, body) = rest.split_at(usize::from(*length).min(rest.len()));
    let body = Bytes::copy_from_slice(body);
    let query = String::from_utf8_lossy(said);
    match how % 7 {
        0 => check_batch(JSON, &query, &body),
        1 => check_batch(LINES, &query, &body),
        2 => check_bytes(&query, &body),
        3 => check_book(&query, &body),
        4 => check_return(said),
        5 => check_producer(said, &body),
        _ => check_parameters(&query),
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let of = |how: u8, said: &str, body: &str| {
        let length = u8::try_from(said.len()).expect("it is short");
        [&[how, length], said.as_bytes(), body.as_bytes()].concat()
    };
    let record =
        r#"{"value":"AP8=","key":"/w==","headers":[{"name":"h","text":"x"}],"timestamp_ms":"7","type":9}"#;
    let text = r#"{"offset":1,"term":2,"text":"a\u00e9\ud83d\ude00","key_text":"k"}"#;
    let batch = format!(
        r#"{{"records":[{record},{text}],"producer":{{"id":"18446744073709551615","epoch":1,"sequence":0}},"expected_offset":3}}"#
    );
    vec![
        of(0, "log=default", &batch),
        of(1, "", &format!("{record}\n\r\n{text}\n")),
        of(2, "key=%FFa+b%2b&timestamp_ms=8", "\0\n\u{7f}"),
        of(3, "", &format!(r#"{{"record":{text}}}"#)),
        of(3, "offset=3", ""),
        of(3, "", r#"{"offset":3}"#),
        of(4, "41", ""),
        of(4, "-1", ""),
        of(5, "77", "a"),
        of(
            6,
            "offset=-3&count=5&bytes=1&end_offset=9&wait=5s&level=lease&min_offset=1&encoding=text",
            "",
        ),
        of(6, "timestamp_ms=5&log=%C3%A9", ""),
        of(6, "local=true", ""),
    ]
}

/// The batch, where it is one; a refusal is not long.
fn batch(kind: &str, query: &str, body: &Bytes) -> Option<Batch> {
    taken(door::batch(&[("content-type", kind.as_bytes())], query, body))
}

fn taken<T>(read: Result<T, Refused>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(refused) => {
            assert!((400..500).contains(&refused.status), "{refused:?}");
            assert!(refused.bytes <= REFUSAL_BYTES_MAX, "{refused:?}");
            None
        }
    }
}

fn records_of(batch: &Batch) -> Vec<Record> {
    let set = RecordSet::decode(batch.records.clone()).expect("what was read is a set");
    // One without a record is refused behind this.
    if !set.records.is_empty() {
        assert_eq!(record_set::check(&batch.records), Ok(set.records.len() as u32));
    }
    set.records
}

fn check_batch(kind: &str, query: &str, body: &Bytes) {
    let Some(read) = batch(kind, query, body) else {
        return;
    };
    // What is answered has a time always: that of the batch, where the record says none.
    let mut records = records_of(&read);
    for record in &mut records {
        record.timestamp_ms.get_or_insert(PLACE.timestamp_ms);
    }
    for encoding in [Encoding::Base64, Encoding::Text] {
        let written: Vec<String> = records.iter().map(|record| written(record, encoding)).collect();
        let lines = Bytes::from(written.join("\n"));
        let list = Bytes::from(format!("{{\"records\":[{}]}}", written.join(",")));
        for (kind, body) in [(LINES, lines), (JSON, list)] {
            let again = batch(kind, "", &body).expect("what was written is read");
            assert_eq!(records_of(&again), records, "{kind}");
        }
    }
}

/// A record on a line, which is read as the same.
fn written(record: &Record, encoding: Encoding) -> String {
    let mut text = Vec::new();
    write(&mut text, record, PLACE, encoding);
    let text = String::from_utf8(text).expect("JSON is text");
    assert!(
        !text.contains(['\n', '\r', '\0']),
        "{text:?} is more than a line, or none"
    );
    let ReadRecord(again) = serde_json::from_str(&text).expect("what was written is read");
    assert_eq!(&again, record);
    text
}

fn check_bytes(query: &str, body: &Bytes) {
    let Some(read) = batch(BYTES, query, body) else {
        return;
    };
    let values = values_of(query);
    let value = |name: &str| values.iter().find(|(known, _)| known == name.as_bytes());
    let time = value("timestamp_ms").map(|(_, time)| String::from_utf8_lossy(time).parse());
    let expected = Record {
        value: body.clone(),
        key: value("key")
            .map(|(_, key)| Bytes::copy_from_slice(key))
            .unwrap_or_default(),
        timestamp_ms: time.map(|time| time.expect("it was read as a number")),
        ..Record::default()
    };
    assert_eq!(records_of(&read), [expected]);
    assert_eq!((read.producer, read.expected_offset), (None, None));
}

/// Names and values of a query that was understood.
fn values_of(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

fn plain(text: &str) -> Vec<u8> {
    let text = text.replace('+', " ");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).expect("it was understood");
        bytes.push(u8::from_str_radix(digits, 16).expect("it was understood"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn check_book(query: &str, body: &Bytes) {
    if let Some(record) = taken(door::produced(body)) {
        let record = Record {
            timestamp_ms: Some(record.timestamp_ms.unwrap_or(PLACE.timestamp_ms)),
            ..record
        };
        for encoding in [Encoding::Base64, Encoding::Text] {
            let body = format!("{{\"record\":{}}}", written(&record, encoding));
            assert_eq!(door::produced(body.as_bytes()).as_ref(), Ok(&record));
        }
    }
    if let Some(offset) = taken(door::consumed(query, body)) {
        assert_eq!(door::consumed(&format!("offset={offset}"), b""), Ok(offset));
        assert_eq!(
            door::consumed("", format!("{{\"offset\":{offset}}}").as_bytes()),
            Ok(offset)
        );
    }
}

fn check_return(id: &[u8]) {
    let Some(Some(next)) = taken(door::comes_back(id)) else {
        return;
    };
    let seen = next
        .checked_sub(1)
        .map_or("-1".to_owned(), |seen| seen.to_string());
    assert_eq!(door::comes_back(seen.as_bytes()), Ok(Some(next)));
}

/// Who produces is in all three headers, or refused.
fn check_producer(number: &[u8], body: &Bytes) {
    let kind = ("content-type", BYTES.as_bytes());
    let (id, sequence) = (
        ("annals-producer-id", number),
        ("annals-producer-sequence", number),
    );
    let (epoch, offset) = (
        ("annals-producer-epoch", &b"1"[..]),
        ("annals-expected-offset", number),
    );
    let Some(read) = taken(door::batch(&[kind, id, epoch, sequence, offset], "", body)) else {
        return;
    };
    let number: u64 = String::from_utf8_lossy(number)
        .parse()
        .expect("it was read as a number");
    assert_eq!(
        (read.producer, read.expected_offset),
        (Some((number, 1, number)), Some(number))
    );
}

fn check_parameters(query: &str) {
    for route in &ROUTES {
        let Some(read) = taken(door::parameters(query, route.ask)) else {
            continue;
        };
        let mut named = 0;
        for (name, value) in values_of(query) {
            let name = String::from_utf8_lossy(&name);
            let found = match &*name {
                "" => continue,
                "key" => read.key().map(|key| &key[..]),
                name => read.text(name).map(str::as_bytes),
            };
            named += 1;
            assert_eq!(found, Some(&value[..]), "{name}");
        }
        assert!(named <= route.parameters.len(), "one is there twice");
    }
}
