//! Records that were read, as the pieces of a body: made one by one as they are taken, so that a client which does not read holds
//! what was read and one piece of text, not all of it as text.

use std::{mem, vec};

use bytes::Bytes;
use prost::Message;

use super::record::{self, Encoding, Place};
use crate::{
    proto::annals::v1::Record,
    record_set::{self, Records},
    storage::StoredBatch,
};

/// How large a piece gets before it is handed on, but for its last record.
const PIECE_BYTES: usize = 16 << 10;

/// What stands around each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The values of a list.
    List,
    /// Lines.
    Lines,
    /// Server-sent events, whose ids are the offsets.
    Events,
}

/// The pieces of some batches.
#[derive(Debug)]
pub struct Pieces {
    batches: vec::IntoIter<StoredBatch>,
    batch: Option<BatchRecords>,
    frame: Frame,
    encoding: Encoding,
    /// Whether a record was written.
    begun: bool,
}

#[derive(Debug)]
struct BatchRecords {
    records: Records,
    next: Place,
}

impl Pieces {
    /// Of those batches.
    #[must_use]
    pub fn new(batches: Vec<StoredBatch>, frame: Frame, encoding: Encoding) -> Self {
        Self {
            batches: batches.into_iter(),
            batch: None,
            frame,
            encoding,
            begun: false,
        }
    }

    fn next_record(&mut self) -> Option<(Record, Place)> {
        loop {
            if let Some(batch) = &mut self.batch {
                // What is in the log was checked when it came: a client can decode it, and so can this.
                if let Some(record) = batch
                    .records
                    .next()
                    .and_then(|record| Record::decode(record).ok())
                {
                    let place = batch.next;
                    batch.next.offset += 1;
                    return Some((record, place));
                }
            }
            self.batch = Some(BatchRecords::of(self.batches.next()?));
        }
    }

    fn write(&mut self, into: &mut Vec<u8>, record: &Record, place: Place) {
        let begun = mem::replace(&mut self.begun, true);
        match self.frame {
            Frame::List if begun => into.push(b','),
            Frame::List | Frame::Lines => {}
            Frame::Events => into.extend_from_slice(format!("id: {}\ndata: ", place.offset).as_bytes()),
        }
        record::write(into, record, place, self.encoding);
        match self.frame {
            Frame::List => {}
            Frame::Lines => into.push(b'\n'),
            Frame::Events => into.extend_from_slice(b"\n\n"),
        }
    }
}

impl BatchRecords {
    fn of(batch: StoredBatch) -> Self {
        Self {
            records: record_set::records(&batch.records),
            next: Place {
                offset: batch.base_offset.get(),
                term: batch.term.get(),
                timestamp_ms: batch.timestamp.0,
            },
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES {
            let Some((record, place)) = self.next_record() else {
                break;
            };
            self.write(&mut piece, &record, place);
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::http::record::RecordSetWriter,
        types::{LogIndex, Offset, Term, TimestampMs},
    };

    fn batch(base_offset: u64, values: &[&'static [u8]]) -> StoredBatch {
        let mut set = RecordSetWriter::default();
        for value in values {
            set.push(&Record {
                value: Bytes::from_static(value),
                ..Record::default()
            });
        }
        StoredBatch {
            base_offset: Offset(base_offset),
            record_count: u32::try_from(values.len()).unwrap(),
            timestamp: TimestampMs(5),
            term: Term(1),
            log_index: LogIndex(9),
            records: set.finish(),
        }
    }

    fn all(frame: Frame) -> String {
        let batches = vec![batch(3, &[b"a", b"b"]), batch(5, &[b"c"])];
        let pieces = Pieces::new(batches, frame, Encoding::Text);
        String::from_utf8(pieces.collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn each_record_has_its_offset_and_its_frame() {
        let record = |offset: u64, text: &str| {
            format!(r#"{{"offset":{offset},"term":1,"timestamp_ms":5,"text":"{text}"}}"#)
        };
        let (a, b, c) = (record(3, "a"), record(4, "b"), record(5, "c"));
        assert_eq!(all(Frame::List), format!("{a},{b},{c}"));
        assert_eq!(all(Frame::Lines), format!("{a}\n{b}\n{c}\n"));
        assert_eq!(
            all(Frame::Events),
            format!("id: 3\ndata: {a}\n\nid: 4\ndata: {b}\n\nid: 5\ndata: {c}\n\n")
        );
    }

    #[test]
    fn a_piece_is_made_when_it_is_asked_for_and_not_much_larger_than_it_should_be() {
        const VALUE: &[u8] = &[b'x'; 1000];
        let pieces = Pieces::new(vec![batch(0, &[VALUE; 100])], Frame::Lines, Encoding::Text);
        let lengths: Vec<_> = pieces.map(|piece| piece.len()).collect();
        assert!(lengths.len() > 5, "{lengths:?}");
        let most = PIECE_BYTES + 2 * VALUE.len();
        assert!(lengths.iter().all(|length| *length < most), "{lengths:?}");
    }
}
