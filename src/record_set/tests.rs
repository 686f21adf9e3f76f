//! The walk beside prost, in both directions.

use bytes::{BufMut, Bytes, BytesMut};
use prop::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::{
    annals::v1::{Header, Record, RecordSet},
    log::v1 as book,
};

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 120..300)].prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let header = (".{0,8}", bytes()).prop_map(|(name, value)| Header { name, value });
    (
        bytes(),
        any::<u32>(),
        bytes(),
        vec(header, 0..3),
        any::<Option<u64>>(),
    )
        .prop_map(|(value, r#type, key, headers, timestamp_ms)| Record {
            value,
            r#type,
            key,
            headers,
            timestamp_ms,
        })
}

fn set() -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..8)
}

fn encoded(records: &[Record]) -> Bytes {
    RecordSet {
        records: records.to_vec(),
    }
    .encode_to_vec()
    .into()
}

/// A set of one record with these bytes.
fn one(record: &[u8]) -> Vec<u8> {
    let length = u8::try_from(record.len()).expect("short");
    assert!(length < 0x80, "one byte of length");
    [&[RECORDS_TAG, length], record].concat()
}

fn problem(record: &[u8]) -> Option<(usize, Malformation)> {
    match check(&one(record)) {
        Ok(count) => {
            assert_eq!(count, 1);
            None
        }
        Err(RecordSetError::Malformed {
            record: 0,
            position,
            problem,
        }) => Some((position, problem)),
        Err(other) => panic!("{other}"),
    }
}

/// The fields of a message in the encoding of protobuf, of types that tests choose freely.
fn field(number: u32, body: Bytes, wire_type: u32) -> Vec<u8> {
    let mut into = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | wire_type), &mut into);
    match wire_type {
        0 => prost::encoding::encode_varint(body.len() as u64 * 77, &mut into),
        1 => into.put_u64(7),
        2 => {
            prost::encoding::encode_varint(body.len() as u64, &mut into);
            into.put_slice(&body);
        }
        _ => into.put_u32(7),
    }
    into
}

fn fields(numbers: std::ops::Range<u32>) -> impl Strategy<Value = Vec<u8>> {
    let wire_type = prop::sample::select(vec![0_u32, 1, 2, 2, 5]);
    vec(
        (numbers, bytes(), wire_type).prop_map(|(number, body, wire)| field(number, body, wire)),
        0..4,
    )
    .prop_map(|fields| fields.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn everything_prost_encodes_is_accepted_and_walked(set in set(), cut in 0..9_u32) {
        let bytes = encoded(&set);
        prop_assert_eq!(check(&bytes), Ok(set.len() as u32));
        let walked: Vec<Record> = records(&bytes).map(|record| Record::decode(record).unwrap()).collect();
        prop_assert_eq!(&walked, &set);
        for (bytes, record) in records(&bytes).zip(&set) {
            let expected = RecordParts { value: record.value.clone(), kind: record.r#type };
            prop_assert_eq!(RecordParts::of(&bytes), expected);
        }
        let at = set.len().min(cut as usize);
        prop_assert_eq!(take(&bytes, cut), encoded(&set[..at]));
        prop_assert_eq!(skip(&bytes, cut), encoded(&set[at..]));
    }

    #[test]
    fn fields_unknown_to_the_schema_are_kept_in_any_order(
        set in vec((fields(8..600), record(), fields(8..600)), 1..4),
    ) {
        let mut bytes = BytesMut::new();
        for (before, record, after) in &set {
            let record = [&before[..], &record.encode_to_vec(), after].concat();
            bytes.put_u8(RECORDS_TAG);
            prost::encoding::encode_varint(record.len() as u64, &mut bytes);
            bytes.put_slice(&record);
        }
        prop_assert_eq!(check(&bytes), Ok(set.len() as u32));
        for (record, (_, expected, _)) in records(&bytes.freeze()).zip(&set) {
            prop_assert_eq!(&Record::decode(record).unwrap(), expected);
        }
    }

    #[test]
    fn whatever_is_accepted_prost_decodes_to_as_many_records(
        set in set(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        made_up in vec(fields(1..9), 1..3),
        noise in vec(any::<u8>(), 0..12),
    ) {
        let mut mutated = encoded(&set).to_vec();
        for (at, byte) in changes {
            let at = at.index(mutated.len());
            mutated[at] = byte;
        }
        let mut made = Vec::new();
        for record in made_up {
            made.push(RECORDS_TAG);
            prost::encoding::encode_varint(record.len() as u64, &mut made);
            made.extend_from_slice(&record);
        }
        for bytes in [mutated, made, one(&noise), noise] {
            let bytes = Bytes::from(bytes);
            let walked: Vec<_> = records(&bytes).map(|record| RecordParts::of(&record)).collect();
            let (front, back) = (take(&bytes, 1), skip(&bytes, 1));
            prop_assert_eq!(front.len() + back.len(), bytes.len());
            if let Ok(count) = check(&bytes) {
                let decoded = RecordSet::decode(bytes.clone());
                prop_assert_eq!(decoded.map(|set| set.records.len()), Ok(count as usize));
                prop_assert_eq!(walked.len(), count as usize);
            }
        }
    }

    #[test]
    fn a_record_of_the_book_is_pushed_without_offset_and_term(
        sent in (bytes(), any::<u64>(), any::<u64>(), any::<u32>()),
        shuffled in any::<bool>(),
    ) {
        let (value, offset, term, r#type) = sent;
        let sent = book::Record { value: value.clone(), offset, term, r#type };
        let mut encoded = sent.encode_to_vec();
        if shuffled {
            // Field 4 first, and the others once more behind.
            encoded.splice(0..0, field(4, Bytes::from_static(b"xx"), 0));
        }
        let mut into = BytesMut::new();
        push(&mut into, &encoded).unwrap();
        push(&mut into, &book::Record { value: value.clone(), ..Default::default() }.encode_to_vec()).unwrap();
        prop_assert_eq!(check(&into), Ok(2));
        let set = RecordSet::decode(into.freeze()).unwrap();
        let kind = if shuffled && r#type == 0 { 154 } else { r#type };
        let expected = |r#type| Record { value: value.clone(), r#type, ..Default::default() };
        prop_assert_eq!(set.records, vec![expected(kind), expected(0)]);
    }

    #[test]
    fn what_push_accepts_is_accepted_by_check(record in fields(1..9), noise in vec(any::<u8>(), 0..12)) {
        for record in [record, noise] {
            let mut into = BytesMut::from(&b"before"[..]);
            match push(&mut into, &record) {
                Ok(()) => prop_assert_eq!(check(&into[6..]), Ok(1)),
                Err(_) => prop_assert_eq!(&into[..], b"before"),
            }
        }
    }
}

#[test]
fn a_record_without_offset_and_term_is_pushed_as_it_is() {
    let encoded = book::Record {
        value: Bytes::from_static(b"hello"),
        r#type: 3,
        ..Default::default()
    };
    let encoded = encoded.encode_to_vec();
    let mut into = BytesMut::new();
    push(&mut into, &encoded).unwrap();
    assert_eq!(&into[..], one(&encoded));
    // A request of the book and a set of one record are the same bytes.
    let request = book::ProduceRequest {
        record: book::Record::decode(&encoded[..]).ok(),
    };
    assert_eq!(&into[..], request.encode_to_vec());
}

#[test]
fn an_empty_record_is_a_record_and_an_empty_set_is_refused() {
    assert_eq!(check(&[]), Err(RecordSetError::Empty));
    assert_eq!(check(&[RECORDS_TAG, 0, RECORDS_TAG, 0]), Ok(2));
    let mut into = BytesMut::new();
    push(&mut into, &[]).unwrap();
    assert_eq!(check(&into), Ok(1));
}

#[test]
fn anything_but_records_in_a_set_is_refused_with_its_place() {
    let refused = |bytes: &[u8]| match check(bytes) {
        Err(RecordSetError::Malformed {
            record,
            position,
            problem,
        }) => (record, position, problem),
        other => panic!("{other:?}"),
    };
    let good = one(&field(1, Bytes::from_static(b"v"), 2));
    assert_eq!(good.len(), 5);
    let then = |more: &[u8]| refused(&[&good[..], more].concat());
    assert_eq!(then(&[0x12, 0]), (1, 5, Malformation::NotARecord { found: 0x12 }));
    assert_eq!(then(&[0x08, 0]), (1, 5, Malformation::NotARecord { found: 0x08 }));
    assert_eq!(
        then(&[0x8a, 0, 0]),
        (1, 5, Malformation::NotARecord { found: 0x8a })
    );
    assert_eq!(then(&[RECORDS_TAG]), (1, 6, Malformation::Cut));
    assert_eq!(then(&[RECORDS_TAG, 0x80]), (1, 7, Malformation::Cut));
    assert_eq!(
        then(&[RECORDS_TAG, 3, 0x0a, 0]),
        (1, 6, Malformation::Length { length: 3, left: 2 })
    );
}

#[test]
fn malformed_records_are_refused_with_their_place() {
    use Malformation::*;
    let cases: &[(&[u8], (usize, Malformation))] = &[
        // value as a number; type, timestamp and header as other things.
        (&[0x08, 1], (2, WireType { field: 1 })),
        (&[0x22, 0], (2, WireType { field: 4 })),
        (&[0x28, 0], (2, WireType { field: 5 })),
        (&[0x30, 0], (2, WireType { field: 6 })),
        (&[0x3a, 0], (2, WireType { field: 7 })),
        (&[0x0a, 0, 0x10, 1], (4, Reserved { field: 2 })),
        (&[0x0a, 0, 0x1a, 0], (4, Reserved { field: 3 })),
        // Groups, opened and closed, and wire types that are none.
        (&[0x4b, 0x4c], (2, UnknownWireType { wire_type: 3 })),
        (&[0x4c], (2, UnknownWireType { wire_type: 4 })),
        (&[0x4e], (2, UnknownWireType { wire_type: 6 })),
        (&[0x4f], (2, UnknownWireType { wire_type: 7 })),
        (&[0x02, 0], (2, FieldNumber)),
        (&[0x80, 0x80, 0x80, 0x80, 0x10, 0], (2, FieldNumber)),
        (&[0x0a, 2, 0], (3, Length { length: 2, left: 1 })),
        (&[0x20, 0x80], (4, Cut)),
        (&[0x49, 0, 0, 0, 0, 0, 0, 0], (10, Cut)),
        (&[0x4d, 0, 0, 0], (6, Cut)),
        // A number of eleven bytes, and one of ten that needs more than 64 bits.
        (
            &[
                0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0,
            ],
            (3, Varint),
        ),
        (
            &[0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
            (3, Varint),
        ),
        // In a header: its name as a number, a bad name, a length past the header but not past the record.
        (&[0x32, 2, 0x08, 1], (4, WireType { field: 1 })),
        (&[0x32, 2, 0x10, 1], (4, WireType { field: 2 })),
        (&[0x32, 3, 0x0a, 1, 0xff], (4, HeaderName)),
        (&[0x32, 2, 0x0a, 1, 0x0a, 0], (5, Length { length: 1, left: 0 })),
        (&[0x32, 2, 0x1b, 0x1c], (4, UnknownWireType { wire_type: 3 })),
    ];
    for (record, expected) in cases {
        assert_eq!(problem(record), Some(*expected), "{record:02x?}");
    }
    // The largest number, and names that are text.
    let largest = [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(problem(&largest), None);
    assert_eq!(problem(&[0x32, 4, 0x0a, 2, 0xc3, 0xa9]), None);
}

#[test]
fn offset_and_term_of_another_type_are_not_pushed() {
    let mut into = BytesMut::new();
    let refused = push(&mut into, &[0x0a, 0, 0x12, 0]);
    let problem = Malformation::WireType { field: 2 };
    assert_eq!(
        refused,
        Err(RecordSetError::Malformed {
            record: 0,
            position: 2,
            problem
        })
    );
    assert!(into.is_empty());
}
