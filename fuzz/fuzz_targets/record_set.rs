//! What [`record_set::check`] lets in, every client can decode: prost finds as many records, and walking, skipping and
//! taking give what prost gives. What [`record_set::push`] makes of a produced `log.v1.Record` is let in, and says what
//! prost says of it.
//!
//! Input: how many to skip, the set.

#![no_main]

use annals::{
    proto::{
        annals::v1::{Record, RecordSet},
        log::v1::Record as Produced,
    },
    record_set::{self, RecordParts},
};
use annals_fuzz::seeds;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(init: seeds::plant("record_set", seeds()), |input: &[u8]| {
    if let [count, bytes @ ..] = input {
        check_set(u32::from(*count), &Bytes::copy_from_slice(bytes));
        check_produced(&Bytes::copy_from_slice(bytes));
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let header = annals::proto::annals::v1::Header {
        name: "name".to_owned(),
        value: Bytes::from_static(b"value"),
    };
    let record = Record {
        value: Bytes::from_static(b"value"),
        r#type: 300,
        key: Bytes::from_static(b"key"),
        headers: vec![header.clone(), header],
        timestamp_ms: Some(1_700_000_000_000),
    };
    let produced = Produced {
        value: Bytes::from_static(b"value"),
        offset: 3,
        term: 2,
        r#type: 7,
    };
    let of = |count: usize| {
        RecordSet {
            records: vec![record.clone(); count],
        }
        .encode_to_vec()
    };
    [of(1), of(3), produced.encode_to_vec()]
        .into_iter()
        .map(|bytes| [&[1], &bytes[..]].concat())
        .collect()
}

fn check_set(count: u32, set: &Bytes) {
    let Ok(found) = record_set::check(set) else {
        // Everything that any producer encodes is let in.
        let decoded = RecordSet::decode(set.clone())
            .ok()
            .filter(|decoded| !decoded.records.is_empty());
        if let Some(decoded) = decoded {
            assert_eq!(
                record_set::check(&decoded.encode_to_vec()),
                Ok(decoded.records.len() as u32)
            );
        }
        return;
    };
    let decoded = RecordSet::decode(set.clone())
        .expect("what is let in can be decoded")
        .records;
    assert_eq!(decoded.len(), found as usize);
    let walked: Vec<Bytes> = record_set::records(set).collect();
    let record = |bytes: &Bytes| Record::decode(bytes.clone()).expect("what is let in can be decoded");
    assert_eq!(walked.iter().map(record).collect::<Vec<_>>(), decoded);
    for (bytes, record) in walked.iter().zip(&decoded) {
        let parts = RecordParts {
            value: record.value.clone(),
            kind: record.r#type,
        };
        assert_eq!(RecordParts::of(bytes), parts);
    }
    let (taken, rest) = (record_set::take(set, count), record_set::skip(set, count));
    assert_eq!([&taken[..], &rest].concat(), set[..]);
    assert_eq!(
        record_set::records(&taken).collect::<Vec<_>>(),
        walked[..walked.len().min(count as usize)]
    );
    assert_eq!(
        record_set::records(&rest).collect::<Vec<_>>(),
        walked[walked.len().min(count as usize)..]
    );
}

fn check_produced(produced: &Bytes) {
    let mut set = BytesMut::from(&b"before"[..]);
    if record_set::push(&mut set, produced).is_err() {
        assert_eq!(&set[..], b"before", "something was appended");
        return;
    }
    let set = set.freeze().slice(6..);
    assert_eq!(record_set::check(&set), Ok(1));
    let said = Produced::decode(produced.clone()).expect("what is let in can be decoded");
    let record = record_set::records(&set).next().expect("there is one");
    assert_eq!(
        RecordParts::of(&record),
        RecordParts {
            value: said.value.clone(),
            kind: said.r#type
        }
    );
    let stored = Produced::decode(record).expect("what is let in can be decoded");
    assert_eq!(
        stored,
        Produced {
            offset: 0,
            term: 0,
            ..said
        }
    );
}
