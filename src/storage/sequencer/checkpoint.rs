//! The sequencer's state as bytes, for the head of a segment.
//!
//! All numbers are little endian. `version u8 | next_offset u64 | producer_count u32`, then for each producer, by
//! rising id: `id u64 | epoch u32 | last_log_index u64 | next_sequence u64 | range_count u8`, then for each range, oldest
//! first: `first_sequence u64 | first_offset u64`. In version 2 the cursors follow (`cursors/table_bytes.rs`); without any the
//! version is 1, as it was before there were cursors. One state has one encoding, so nodes can compare checksums.

use std::collections::VecDeque;

use crate::{
    error::Disposition,
    storage::cursors::Cursors,
    types::{LogIndex, Offset},
};

use super::{
    RANGES_MAX, Sequencer,
    producers::{History, PRODUCERS_MAX, Producers, Range},
};

/// Of a log without cursors; all there was before there were any.
const WITHOUT_CURSORS: u8 = 1;
/// Of a log with at least one.
const WITH_CURSORS: u8 = 2;
/// Bytes of a producer without its ranges: id, epoch, last log index, next sequence, range count.
const PRODUCER_BYTES: usize = 8 + 4 + 8 + 8 + 1;
/// Bytes of a range.
const RANGE_BYTES: usize = 16;

/// The bytes are not a sequencer's state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Written by a version of Annals that this one does not know.
    #[error(
        "sequencer state has version {found}, this program knows up to {WITH_CURSORS}; start the newer program"
    )]
    UnknownVersion {
        /// The version it has.
        found: u8,
    },
    /// The bytes end too early.
    #[error("sequencer state ends at byte {position}, in the middle of a value")]
    Cut {
        /// Where they end.
        position: usize,
    },
    /// The bytes go on behind the state.
    #[error("sequencer state ends at byte {position}, but more bytes follow")]
    TooLong {
        /// Where the state ends.
        position: usize,
    },
    /// A state that no log amounts to.
    #[error("sequencer state is impossible before byte {position}: {what}")]
    Impossible {
        /// Behind the value that cannot be.
        position: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl CheckpointError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            // Reading the same bytes again gives the same answer; the segment must come from a peer or a backup.
            Self::UnknownVersion { .. }
            | Self::Cut { .. }
            | Self::TooLong { .. }
            | Self::Impossible { .. } => Disposition::Escalate,
        }
    }
}

impl Sequencer {
    /// Appends the state to `into`: 13 bytes, 45 for each producer and 16 for each of its ranges but one, and, where there are
    /// cursors, 4 and up to 154 for each.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.reserve(13 + self.producers.len() * (PRODUCER_BYTES + RANGE_BYTES));
        let has_cursors = !self.cursors.is_empty();
        into.push(if has_cursors {
            WITH_CURSORS
        } else {
            WITHOUT_CURSORS
        });
        into.extend_from_slice(&self.next_offset.get().to_le_bytes());
        let count = u32::try_from(self.producers.len()).expect("PRODUCERS_MAX fits");
        into.extend_from_slice(&count.to_le_bytes());
        for (id, history) in self.producers.sorted() {
            into.extend_from_slice(&id.to_le_bytes());
            into.extend_from_slice(&history.epoch.to_le_bytes());
            into.extend_from_slice(&history.last_log_index.get().to_le_bytes());
            into.extend_from_slice(&history.next_sequence.to_le_bytes());
            into.push(u8::try_from(history.ranges.len()).expect("RANGES_MAX fits"));
            for range in &history.ranges {
                into.extend_from_slice(&range.first_sequence.to_le_bytes());
                into.extend_from_slice(&range.first_offset.get().to_le_bytes());
            }
        }
        if has_cursors {
            self.cursors.encode(into);
        }
    }

    /// Reads what [`Sequencer::encode`] wrote: the state that goes on exactly as the encoded one would have.
    ///
    /// Errors: for all other bytes. Allocates no more than a few times the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        Self::decode_up_to(PRODUCERS_MAX, bytes)
    }

    /// `producers_max` is [`PRODUCERS_MAX`] but in tests.
    pub(super) fn decode_up_to(producers_max: usize, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader { bytes, position: 0 };
        let has_cursors = match reader.u8()? {
            WITHOUT_CURSORS => false,
            WITH_CURSORS => true,
            found => return Err(CheckpointError::UnknownVersion { found }),
        };
        let next_offset = Offset(reader.u64()?);
        let count = reader.u32()?;
        reader.require(
            count as usize <= producers_max,
            "more producers than are ever kept",
        )?;
        let mut producers = Producers::new(producers_max);
        let mut last_id = None;
        for _ in 0..count {
            let id = reader.u64()?;
            reader.require(last_id < Some(id), "producers out of order")?;
            last_id = Some(id);
            producers.admit(id, history(&mut reader, next_offset)?);
        }
        let cursors = if has_cursors {
            Cursors::decode(&mut reader, next_offset)?
        } else {
            Cursors::default()
        };
        if reader.position != bytes.len() {
            return Err(CheckpointError::TooLong {
                position: reader.position,
            });
        }
        Ok(Self {
            next_offset,
            producers,
            cursors,
        })
    }
}

fn history(reader: &mut Reader<'_>, next_offset: Offset) -> Result<History, CheckpointError> {
    let epoch = reader.u32()?;
    let last_log_index = LogIndex(reader.u64()?);
    let next_sequence = reader.u64()?;
    let range_count = usize::from(reader.u8()?);
    reader.require(
        (1..=RANGES_MAX).contains(&range_count),
        "more ranges than are ever kept, or none",
    )?;
    let mut ranges: VecDeque<Range> = VecDeque::with_capacity(range_count);
    for _ in 0..range_count {
        let range = Range {
            first_sequence: reader.u64()?,
            first_offset: Offset(reader.u64()?),
        };
        match ranges.back() {
            // A gap in offsets is what makes two ranges of them.
            Some(before) => reader.require(
                end_offset(*before, range.first_sequence).is_some_and(|end| end < range.first_offset.get()),
                "ranges of a producer overlap or touch",
            )?,
            // Ranges are forgotten only when there are too many of them.
            None => reader.require(
                range.first_sequence == 0 || range_count == RANGES_MAX,
                "the first ranges of a producer are missing",
            )?,
        }
        ranges.push_back(range);
    }
    let end = ranges.back().and_then(|last| end_offset(*last, next_sequence));
    reader.require(
        end.is_some_and(|end| end <= next_offset.get()),
        "a producer's records end behind the log's",
    )?;
    Ok(History {
        epoch,
        next_sequence,
        last_log_index,
        ranges,
    })
}

/// The offset behind a range that ends before `end_sequence`; `None` when it would be empty or pass 2^64.
fn end_offset(range: Range, end_sequence: u64) -> Option<u64> {
    let count = end_sequence
        .checked_sub(range.first_sequence)
        .filter(|count| *count > 0)?;
    range.first_offset.get().checked_add(count)
}

/// Values from bytes, one after the other.
pub(in crate::storage) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let taken = self.bytes[self.position..].first_chunk::<N>();
        let taken = *taken.ok_or(CheckpointError::Cut {
            position: self.bytes.len(),
        })?;
        self.position += N;
        Ok(taken)
    }

    pub(in crate::storage) fn u8(&mut self) -> Result<u8, CheckpointError> {
        self.take().map(u8::from_le_bytes)
    }

    pub(in crate::storage) fn u32(&mut self) -> Result<u32, CheckpointError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(in crate::storage) fn u64(&mut self) -> Result<u64, CheckpointError> {
        self.take().map(u64::from_le_bytes)
    }

    /// So many bytes.
    pub(in crate::storage) fn slice(&mut self, len: usize) -> Result<&'a [u8], CheckpointError> {
        let rest = &self.bytes[self.position..];
        let (taken, _) = rest.split_at_checked(len).ok_or(CheckpointError::Cut {
            position: self.bytes.len(),
        })?;
        self.position += len;
        Ok(taken)
    }

    pub(in crate::storage) fn require(&self, holds: bool, what: &'static str) -> Result<(), CheckpointError> {
        if holds { Ok(()) } else { Err(self.impossible(what)) }
    }

    /// What was read last cannot be.
    pub(in crate::storage) fn impossible(&self, what: &'static str) -> CheckpointError {
        CheckpointError::Impossible {
            position: self.position,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        storage::{
            cursors::CursorCommand,
            entry::{BatchStamp, ProducerStamp},
        },
        types::TimestampMs,
    };

    /// Producer 9 with two ranges around a batch of nobody's.
    fn sequencer() -> Sequencer {
        let mut sequencer = Sequencer::new();
        let of = |producer| BatchStamp {
            producer,
            expected_offset: None,
            record_count: 2,
        };
        let stamp = |sequence| {
            Some(ProducerStamp {
                id: 9,
                epoch: 1,
                sequence,
            })
        };
        for (producer, log_index) in [stamp(0), None, stamp(2)].into_iter().zip(1..) {
            sequencer.apply(LogIndex(log_index), &of(producer));
        }
        sequencer
    }

    /// The same behind which one consumer took a cursor, and another committed to one that nobody took.
    fn with_cursors() -> Sequencer {
        let mut sequencer = sequencer();
        let take = CursorCommand::Take {
            name: "b".parse().unwrap(),
        };
        let commit = CursorCommand::Commit {
            name: "a-1".parse().unwrap(),
            epoch: LogIndex(0),
            offset: Offset(6),
        };
        for (command, log_index) in [take, commit].iter().zip(4..) {
            let verdict = sequencer.apply_cursor(LogIndex(log_index), TimestampMs(300 + log_index), command);
            assert!(verdict.is_ok());
        }
        sequencer
    }

    #[test]
    fn the_bytes_of_cursors_stay_as_they_are_and_cut_or_longer_ones_are_refused() {
        #[rustfmt::skip]
        let cursors = [
            2, 0, 0, 0,
            3, b'a', b'-', b'1',
            0, 0, 0, 0, 0, 0, 0, 0,
            49, 1, 0, 0, 0, 0, 0, 0,
            1, 6, 0, 0, 0, 0, 0, 0, 0,
            1, b'b',
            4, 0, 0, 0, 0, 0, 0, 0,
            48, 1, 0, 0, 0, 0, 0, 0,
            0,
        ];
        let mut golden = encoded();
        golden[0] = 2;
        let begin = golden.len();
        golden.extend_from_slice(&cursors);
        let mut bytes = Vec::new();
        with_cursors().encode(&mut bytes);
        assert_eq!(bytes, golden);
        assert_eq!(Sequencer::decode(&golden), Ok(with_cursors()));
        for length in begin..golden.len() {
            assert_eq!(
                Sequencer::decode(&golden[..length]),
                Err(CheckpointError::Cut { position: length })
            );
        }
        let longer = [&golden[..], &[0]].concat();
        let position = golden.len();
        assert_eq!(
            Sequencer::decode(&longer),
            Err(CheckpointError::TooLong { position })
        );
        // (byte, value): none; no name; not a name; out of order; twice the same would be too; an epoch no log gets to; neither
        // committed nor not; an offset behind the end; not taken and not committed either.
        let changes = [
            (0, 0),
            (4, 0),
            (5, b'/'),
            (5, b'c'),
            (15, 255),
            (24, 2),
            (25, 7),
            (35, 0),
        ];
        for (at, value) in changes {
            let mut bytes = golden.clone();
            bytes[begin + at] = value;
            let refused = Sequencer::decode(&bytes);
            assert!(
                matches!(refused, Err(CheckpointError::Impossible { .. })),
                "byte {at} = {value} gives {refused:?}"
            );
        }
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        sequencer().encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_bytes_of_a_checkpoint_stay_as_they_are() {
        #[rustfmt::skip]
        let golden = [
            1,
            6, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0,
            3, 0, 0, 0, 0, 0, 0, 0,
            4, 0, 0, 0, 0, 0, 0, 0,
            2,
            0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 0, 0, 0, 0,  4, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(encoded(), golden);
        assert_eq!(Sequencer::decode(&golden), Ok(sequencer()));
    }

    #[test]
    fn a_cut_or_longer_or_newer_checkpoint_is_refused() {
        let bytes = encoded();
        for length in 0..bytes.len() {
            assert_eq!(
                Sequencer::decode(&bytes[..length]),
                Err(CheckpointError::Cut { position: length })
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(
            Sequencer::decode(&longer),
            Err(CheckpointError::TooLong {
                position: bytes.len()
            })
        );
        let newer = [&[3], &bytes[1..]].concat();
        assert_eq!(
            Sequencer::decode(&newer),
            Err(CheckpointError::UnknownVersion { found: 3 })
        );
    }

    #[test]
    fn an_impossible_state_is_refused() {
        // (byte, value): next offset before the records' end; count too high; no range; too many; first range missing;
        // ranges that touch in offsets; an empty range; a sequence that ends before the range.
        let changes = [
            (1, 5),
            (11, 1),
            (41, 0),
            (41, 17),
            (42, 1),
            (66, 2),
            (58, 0),
            (33, 2),
        ];
        for (at, value) in changes {
            let mut bytes = encoded();
            bytes[at] = value;
            let refused = Sequencer::decode(&bytes);
            assert!(
                matches!(refused, Err(CheckpointError::Impossible { .. })),
                "byte {at} = {value} gives {refused:?}"
            );
        }
        let one = encoded();
        let mut twice = one.clone();
        twice.extend_from_slice(&one[13..]);
        twice[9] = 2;
        assert!(matches!(
            Sequencer::decode(&twice),
            Err(CheckpointError::Impossible { position: 82, .. })
        ));
    }
}
