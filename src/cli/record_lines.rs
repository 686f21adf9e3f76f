//! Lines in, record sets out: encodes each line as a record while it is read.
//!
//! A record set is `{0x0a, length, record}*`, and a record of only a value is `{0x0a, length, value}`, or nothing when
//! the value is empty (proto3). Written straight into the buffer that is sent, so a line is copied once.

use std::io::{self, Read};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

use super::error::CliError;

/// Key of field 1 with a length: `RecordSet.records`, and `Record.value`.
const FIELD_1_LENGTH_DELIMITED: u8 = 0x0a;

/// Bytes asked of the input at once: four times what a pipe holds.
const READ_BYTES: usize = 256 << 10;

/// The longest line that is waited for, so that a binary file without newlines cannot fill the memory: no node can be
/// told to take a larger batch (`log.batch_bytes_max`).
const LINE_BYTES_MAX: usize = 8 << 20;

/// What one request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordBatch {
    /// An encoded `RecordSet`.
    pub(super) records: Bytes,
    /// How many records it has, at least one.
    pub(super) count: u64,
    /// Number of the line that is its first record, from 1.
    pub(super) first_line: u64,
    /// How many bytes of input it stands for.
    pub(super) input_bytes: u64,
}

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// It has so many records.
    pub(super) records_max: u64,
    /// One record more would make it larger than this. A single larger record is a batch of its own.
    pub(super) bytes_max: usize,
}

/// Cuts an input into lines, and lines into batches.
///
/// Blocking: `fill` reads the input. Where a batch ends depends on the lines alone as long as the input does not
/// pause, so the same file is cut the same way each time.
#[derive(Debug)]
pub(super) struct RecordLines<R> {
    input: R,
    limits: BatchLimits,
    /// Read and not yet cut; begins at the start of a line.
    unread: BytesMut,
    /// How much of `unread` is known to have no newline.
    searched: usize,
    at_end: bool,
    lines: u64,
    set: BytesMut,
    set_records: u64,
    set_input_bytes: u64,
}

impl<R: Read> RecordLines<R> {
    /// Nothing is read yet.
    pub(super) fn new(input: R, limits: BatchLimits) -> Self {
        Self {
            input,
            limits,
            unread: BytesMut::with_capacity(READ_BYTES),
            searched: 0,
            at_end: false,
            lines: 0,
            set: BytesMut::new(),
            set_records: 0,
            set_input_bytes: 0,
        }
    }

    /// The input, to ask whether it has more at once.
    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// Whether the input ended. Lines may still wait to be taken.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Reads once.
    ///
    /// Errors: `Read`, `LineTooLong`. Blocking: until the input has something or ends.
    pub(super) fn fill(&mut self) -> Result<(), CliError> {
        if self.unread.len() > LINE_BYTES_MAX {
            return Err(CliError::LineTooLong {
                line: self.lines + 1,
                max: LINE_BYTES_MAX,
            });
        }
        let kept = self.unread.len();
        // A long line is read in steps that double, else each step would copy what is there.
        let step = READ_BYTES.max(kept);
        self.unread.resize(kept + step, 0);
        let read = loop {
            match self.input.read(&mut self.unread[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.unread.truncate(kept + read.as_ref().copied().unwrap_or(0));
        self.at_end = read.map_err(CliError::Read)? == 0;
        Ok(())
    }

    /// Skips up to `count` lines of those already read; says how many.
    pub(super) fn skip(&mut self, count: u64) -> u64 {
        let before = self.lines;
        while self.lines - before < count && self.next_line().is_some() {}
        self.lines - before
    }

    /// The next full batch of the lines already read; `None`: read more first.
    pub(super) fn full(&mut self) -> Option<RecordBatch> {
        while self.set_records < self.limits.records_max {
            let line = self.peek_line()?;
            let encoded = record_len(line.value_len);
            if self.set_records > 0 && self.set.len() + encoded > self.limits.bytes_max {
                break;
            }
            self.take(line);
        }
        self.partial()
    }

    /// What there is of a batch, full or not; `None` when it has no record.
    pub(super) fn partial(&mut self) -> Option<RecordBatch> {
        if self.set_records == 0 {
            return None;
        }
        let size = self.set.len();
        let batch = RecordBatch {
            records: self.set.split().freeze(),
            first_line: self.lines + 1 - self.set_records,
            count: std::mem::take(&mut self.set_records),
            input_bytes: std::mem::take(&mut self.set_input_bytes),
        };
        // The next batch is likely as large as this one.
        self.set.reserve(size);
        Some(batch)
    }

    fn take(&mut self, line: Line) {
        put_record(&mut self.set, &self.unread[..line.value_len]);
        self.set_records += 1;
        self.set_input_bytes += line.len as u64;
        self.advance(line);
    }

    fn next_line(&mut self) -> Option<()> {
        let line = self.peek_line()?;
        self.advance(line);
        Some(())
    }

    fn advance(&mut self, line: Line) {
        bytes::Buf::advance(&mut self.unread, line.len);
        self.searched = 0;
        self.lines += 1;
    }

    fn peek_line(&mut self) -> Option<Line> {
        match memchr::memchr(b'\n', &self.unread[self.searched..]) {
            Some(at) => {
                let value_len = self.searched + at;
                Some(Line {
                    value_len,
                    len: value_len + 1,
                })
            }
            None if self.at_end && !self.unread.is_empty() => {
                let len = self.unread.len();
                Some(Line { value_len: len, len })
            }
            None => {
                self.searched = self.unread.len();
                None
            }
        }
    }
}

/// A line at the start of what is unread.
#[derive(Clone, Copy)]
struct Line {
    value_len: usize,
    /// With its newline, if it has one.
    len: usize,
}

/// Bytes that one record takes in a set.
fn record_len(value_len: usize) -> usize {
    let record = field_len(value_len);
    1 + encoded_len_varint(record as u64) + record
}

/// Bytes of field `value`; an empty one is left out.
fn field_len(value_len: usize) -> usize {
    match value_len {
        0 => 0,
        len => 1 + encoded_len_varint(len as u64) + len,
    }
}

/// Appends a record of only a value to an encoded `RecordSet`.
pub(super) fn put_record(set: &mut BytesMut, value: &[u8]) {
    set.reserve(record_len(value.len()));
    set.put_u8(FIELD_1_LENGTH_DELIMITED);
    encode_varint(field_len(value.len()) as u64, set);
    if !value.is_empty() {
        set.put_u8(FIELD_1_LENGTH_DELIMITED);
        encode_varint(value.len() as u64, set);
        set.put_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::proto::annals::v1::RecordSet;

    const LIMITS: BatchLimits = BatchLimits {
        records_max: 3,
        bytes_max: 64,
    };

    fn batches(input: impl Read, limits: BatchLimits) -> Vec<RecordBatch> {
        let mut lines = RecordLines::new(input, limits);
        let mut batches = Vec::new();
        while !lines.at_end() {
            lines.fill().expect("a slice can be read");
            batches.extend(std::iter::from_fn(|| lines.full()));
        }
        batches.extend(lines.partial());
        batches
    }

    fn values(batch: &RecordBatch) -> Vec<Bytes> {
        let set = RecordSet::decode(batch.records.clone()).expect("it is a record set");
        assert_eq!(set.records.len() as u64, batch.count);
        set.records.into_iter().map(|record| record.value).collect()
    }

    fn all_values(input: &[u8]) -> Vec<Bytes> {
        batches(input, LIMITS).iter().flat_map(values).collect()
    }

    #[test]
    fn a_record_is_a_line_without_its_newline() {
        let table: [(&[u8], &[&[u8]]); 7] = [
            (b"", &[]),
            (b"\n", &[b""]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\n\nb", &[b"a", b"", b"b"]),
            (b"\n\n", &[b"", b""]),
            (b"\xff\x00\r\nb\n", &[b"\xff\x00\r", b"b"]),
        ];
        for (input, wanted) in table {
            assert_eq!(all_values(input), wanted, "{input:?}");
        }
    }

    #[test]
    fn a_batch_ends_at_its_limits() {
        let long = vec![b'x'; 200];
        let input = [
            b"1\n2\n3\n4\n".as_slice(),
            &long,
            b"\n5\n",
            &[b'y'; 40],
            b"\n",
            &[b'z'; 40],
            b"\n",
        ]
        .concat();
        let counts: Vec<_> = batches(input.as_slice(), LIMITS)
            .iter()
            .map(|batch| batch.count)
            .collect();
        // 1 2 3 | 4 | the long one | 5 y | z
        assert_eq!(counts, [3, 1, 1, 2, 1]);
        let firsts: Vec<_> = batches(input.as_slice(), LIMITS)
            .iter()
            .map(|batch| batch.first_line)
            .collect();
        assert_eq!(firsts, [1, 4, 5, 6, 8]);
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_the_end_of_memory() {
        let mut lines = RecordLines::new(io::repeat(b'x'), LIMITS);
        let error = loop {
            if let Err(error) = lines.fill() {
                break error;
            }
            assert!(lines.full().is_none());
        };
        assert!(matches!(error, CliError::LineTooLong { line: 1, .. }));
    }

    #[test]
    fn skipped_lines_are_counted_and_not_sent() {
        let mut lines = RecordLines::new(b"1\n2\n3".as_slice(), LIMITS);
        lines.fill().expect("a slice can be read");
        assert_eq!(lines.skip(1), 1);
        assert_eq!(
            lines.full().map(|batch| batch.first_line),
            None,
            "one is not full"
        );
        assert_eq!(lines.partial().map(|batch| batch.first_line), Some(2));
        lines.fill().expect("a slice can be read");
        assert_eq!(lines.skip(5), 1);
        assert!(lines.at_end() && lines.full().is_none() && lines.partial().is_none());
    }

    /// Gives one byte a time, so that each state between two reads is met.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut into[..1])
        }
    }

    proptest! {
        #[test]
        fn lines_come_out_as_they_went_in(input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300)) {
            let mut wanted: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
            if wanted.last().is_some_and(|last| last.is_empty()) {
                wanted.pop();
            }
            let whole = batches(input.as_slice(), LIMITS);
            prop_assert_eq!(whole.iter().flat_map(values).collect::<Vec<_>>(), wanted);
            prop_assert_eq!(whole.iter().map(|batch| batch.input_bytes).sum::<u64>(), input.len() as u64);
            // Nor does it matter how the input comes.
            prop_assert_eq!(batches(Trickle(&input), LIMITS), whole);
        }
    }
}
