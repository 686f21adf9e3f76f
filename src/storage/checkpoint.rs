//! The state that a prefix of the log amounts to: all that is needed to place the next entry.
//!
//! Each segment begins with the checkpoint of the log before it, so that start-up replays the last segment only.
//! A checkpoint is a function of the entries before it and of nothing else, so that all nodes agree on it.

use bytes::{BufMut, Bytes};

use crate::types::{LogIndex, Offset, STORED_NUMBER_MAX, Term, TimestampMs};

use super::{
    control::{Control, UnknownControl},
    cursors::Cursors,
    entry::{Entry, Outcome, Payload},
    frame::{FrameHeader, FrameKind, PlacedEntry},
    sequencer::Sequencer,
};

const FIXED_LEN: usize = 8 + 8 + 8 + 8 + 8 + 8 + 4 + 4;

/// The state of the log up to some entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    last_log_index: LogIndex,
    last_term: Term,
    last_timestamp: TimestampMs,
    /// Records below are trimmed, as far as the log says.
    trim_point: Offset,
    sequencer: Sequencer,
    membership: Option<StoredMembership>,
}

/// The newest membership of a prefix of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMembership {
    /// The entry that carries it.
    pub log_index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// As consensus encoded it.
    pub bytes: Bytes,
}

/// An entry cannot be the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Entries are consecutive.
    #[error("entry {given} does not follow on entry {last}")]
    Gap {
        /// The last entry of the log.
        last: LogIndex,
        /// The one given.
        given: LogIndex,
    },
    /// An entry's payload has a limit.
    #[error("entry {log_index} has {bytes} bytes, the most is 16 MiB")]
    TooLarge {
        /// The entry given.
        log_index: LogIndex,
        /// Its payload, with attributes.
        bytes: usize,
    },
    /// Terms never fall.
    #[error("term {given} of entry {log_index} is below term {last} of the entry before it")]
    TermFalls {
        /// The entry given.
        log_index: LogIndex,
        /// The term of the last entry of the log.
        last: Term,
        /// The one given.
        given: Term,
    },
}

/// A frame in the log contradicts the frames before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It cannot follow.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its offsets are not those that the entries before it lead to.
    #[error("frame says offsets {found_base}+{found_count}, the entries before it lead to {base}+{count}")]
    Offsets {
        /// The frame's first offset.
        found_base: Offset,
        /// The frame's record count.
        found_count: u32,
        /// What the sequencer says.
        base: Offset,
        /// What the sequencer says.
        count: u32,
    },
    /// It is a mark of another entry than the one before it.
    #[error("mark is of entry {found}, the entry before it is {last}")]
    Mark {
        /// The entry before it.
        last: LogIndex,
        /// The one that it says.
        found: LogIndex,
    },
    /// Its time is before that of the entry before it, which no writer leaves so: searches by time rely on it.
    #[error("frame is of {found}, the entry before it of {last} (ms since 1970)")]
    TimeFalls {
        /// The time of the entry before it.
        last: TimestampMs,
        /// The frame's.
        found: TimestampMs,
    },
}

/// Bytes are not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// They end too early, or go on too long.
    #[error("checkpoint has {found} bytes where {needed} belong")]
    Length {
        /// What there is.
        found: usize,
        /// What there should be.
        needed: usize,
    },
    /// No log gets that far.
    #[error(
        "checkpoint says entry {log_index}, offset {next_offset} and a trim below {trim_point}, which no log comes to"
    )]
    Numbers {
        /// The last entry.
        log_index: LogIndex,
        /// The next offset.
        next_offset: Offset,
        /// The trim point.
        trim_point: Offset,
    },
    /// The sequencer's part is wrong.
    #[error("checkpoint's table of producers or of cursors is wrong")]
    Sequencer(#[source] super::sequencer::CheckpointError),
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::new()
    }
}

impl Checkpoint {
    /// That of the empty log.
    #[must_use]
    pub fn new() -> Self {
        Self {
            last_log_index: LogIndex::ZERO,
            last_term: Term::ZERO,
            last_timestamp: TimestampMs(0),
            trim_point: Offset::ZERO,
            sequencer: Sequencer::new(),
            membership: None,
        }
    }

    /// The last entry; 0 when the log is empty.
    #[must_use]
    pub fn last_log_index(&self) -> LogIndex {
        self.last_log_index
    }

    /// The last entry's term; 0 when the log is empty.
    #[must_use]
    pub fn last_term(&self) -> Term {
        self.last_term
    }

    /// The last entry's timestamp; 0 when the log is empty.
    #[must_use]
    pub fn last_timestamp(&self) -> TimestampMs {
        self.last_timestamp
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.sequencer.next_offset()
    }

    /// Records below this offset were trimmed away by some entry: the same on all nodes, whose segments end at different
    /// places. Only once that entry is committed may anybody act on it.
    #[must_use]
    pub fn trim_point(&self) -> Offset {
        self.trim_point
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.sequencer.producers()
    }

    /// How far each consumer has come. Only once the entries that say so are committed may anybody rely on it.
    #[must_use]
    pub fn cursors(&self) -> &Cursors {
        self.sequencer.cursors()
    }

    /// The newest membership.
    #[must_use]
    pub fn membership(&self) -> Option<&StoredMembership> {
        self.membership.as_ref()
    }

    /// Gives the entry its place and moves on. Its timestamp is raised to that of the entry before it where a leader's
    /// clock went back, so that times can be searched.
    ///
    /// Errors: nothing has changed.
    pub fn place(&mut self, mut entry: Entry) -> Result<(PlacedEntry, Outcome), PlaceError> {
        self.check_follows(entry.log_index, entry.term)?;
        entry.timestamp = entry.timestamp.max(self.last_timestamp);
        let base_offset = self.next_offset();
        let outcome = match &entry.payload {
            Payload::Records(batch) => self.sequencer.apply(entry.log_index, &batch.stamp()),
            Payload::Membership(bytes) => {
                self.membership = Some(StoredMembership {
                    log_index: entry.log_index,
                    term: entry.term,
                    bytes: bytes.clone(),
                });
                Outcome::Stored { base_offset }
            }
            Payload::Control(bytes) => {
                self.control(entry.log_index, entry.timestamp, bytes);
                Outcome::Stored { base_offset }
            }
            Payload::Blank => Outcome::Stored { base_offset },
        };
        self.follow(entry.log_index, entry.term, entry.timestamp);
        let record_count = u32::try_from(self.next_offset().distance_from(base_offset))
            .expect("a batch counts its records in 32 bits");
        crate::check!(
            LOG_1,
            matches!(outcome, Outcome::Void(_)) == (record_count == 0)
                || !matches!(entry.payload, Payload::Records(_)),
            "entry {} took {record_count} offsets with outcome {outcome:?}",
            entry.log_index
        );
        Ok((
            PlacedEntry {
                entry,
                base_offset,
                record_count,
            },
            outcome,
        ))
    }

    /// Moves on over a frame that is in the log already, and checks that it says what the entries before it lead to.
    /// `payload` is the frame's, with attributes.
    ///
    /// Errors: nothing has changed.
    pub fn replay(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<(), ReplayError> {
        let is_mark = header.kind == FrameKind::Mark;
        if !is_mark {
            self.check_follows(header.log_index, header.term)?;
        } else if header.log_index != self.last_log_index {
            return Err(ReplayError::Mark {
                last: self.last_log_index,
                found: header.log_index,
            });
        }
        if header.timestamp < self.last_timestamp {
            return Err(ReplayError::TimeFalls {
                last: self.last_timestamp,
                found: header.timestamp,
            });
        }
        let stamp = (header.kind == FrameKind::Records).then(|| header.stamp(payload));
        let base = self.next_offset();
        let count = stamp.as_ref().map_or(0, |stamp| self.sequencer.taken_by(stamp));
        if (base, count) != (header.base_offset, header.record_count) {
            return Err(ReplayError::Offsets {
                found_base: header.base_offset,
                found_count: header.record_count,
                base,
                count,
            });
        }
        if is_mark {
            return Ok(());
        }
        if let Some(stamp) = stamp {
            let _ = self.sequencer.apply(header.log_index, &stamp);
        }
        if header.kind == FrameKind::Membership {
            self.membership = Some(StoredMembership {
                log_index: header.log_index,
                term: header.term,
                bytes: Bytes::copy_from_slice(payload),
            });
        }
        if header.kind == FrameKind::Control {
            self.control(header.log_index, header.timestamp, payload);
        }
        self.follow(header.log_index, header.term, header.timestamp);
        Ok(())
    }

    fn control(&mut self, log_index: LogIndex, timestamp: TimestampMs, bytes: &[u8]) {
        match Control::decode(bytes) {
            Ok(Control::Trim { below }) => {
                self.trim_point = self.trim_point.max(below.min(self.next_offset()));
            }
            // Whoever waits for the verdict hears it when the entry is applied; one that is refused changes nothing.
            Ok(Control::Cursor(command)) => {
                let _verdict = self.sequencer.apply_cursor(log_index, timestamp, &command);
            }
            // Of a newer program: whoever knows it acts on it when it is committed.
            Err(UnknownControl) => {}
        }
    }

    fn check_follows(&self, log_index: LogIndex, term: Term) -> Result<(), PlaceError> {
        if log_index != self.last_log_index.plus(1) {
            return Err(PlaceError::Gap {
                last: self.last_log_index,
                given: log_index,
            });
        }
        if term < self.last_term {
            return Err(PlaceError::TermFalls {
                log_index,
                last: self.last_term,
                given: term,
            });
        }
        Ok(())
    }

    fn follow(&mut self, log_index: LogIndex, term: Term, timestamp: TimestampMs) {
        self.last_log_index = log_index;
        self.last_term = term;
        self.last_timestamp = timestamp;
    }

    /// Its bytes, for a segment header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut sequencer = Vec::new();
        self.sequencer.encode(&mut sequencer);
        let membership = self.membership.as_ref();
        let membership_bytes = membership.map_or(&[][..], |membership| &membership.bytes);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("checkpoints stay far below 4 GiB");
        let mut into = Vec::with_capacity(FIXED_LEN + sequencer.len() + membership_bytes.len());
        into.put_u64_le(self.last_log_index.get());
        into.put_u64_le(self.last_term.get());
        into.put_u64_le(self.last_timestamp.0);
        into.put_u64_le(membership.map_or(0, |membership| membership.log_index.get()));
        into.put_u64_le(membership.map_or(0, |membership| membership.term.get()));
        into.put_u64_le(self.trim_point.get());
        into.put_u32_le(length(&sequencer));
        into.put_u32_le(length(membership_bytes));
        into.put_slice(&sequencer);
        into.put_slice(membership_bytes);
        into
    }

    /// Reads what [`Checkpoint::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let too_short = |needed| CheckpointError::Length {
            found: bytes.len(),
            needed,
        };
        let (fixed, rest) = bytes.split_at_checked(FIXED_LEN).ok_or(too_short(FIXED_LEN))?;
        let number = |at: usize| u64::from_le_bytes(*fixed[at..].first_chunk().expect("inside FIXED_LEN"));
        let length =
            |at: usize| u32::from_le_bytes(*fixed[at..].first_chunk().expect("inside FIXED_LEN")) as usize;
        let (sequencer_len, membership_len) = (length(48), length(52));
        let needed = FIXED_LEN
            .saturating_add(sequencer_len)
            .saturating_add(membership_len);
        if bytes.len() != needed {
            return Err(too_short(needed));
        }
        let (sequencer, membership) = rest.split_at(sequencer_len);
        let membership = (number(24) != 0).then(|| StoredMembership {
            log_index: LogIndex(number(24)),
            term: Term(number(32)),
            bytes: Bytes::copy_from_slice(membership),
        });
        let sequencer = Sequencer::decode(sequencer).map_err(CheckpointError::Sequencer)?;
        let (log_index, next_offset) = (LogIndex(number(0)), sequencer.next_offset());
        let trim_point = Offset(number(40));
        if log_index.get().max(next_offset.get()) > STORED_NUMBER_MAX || trim_point > next_offset {
            return Err(CheckpointError::Numbers {
                log_index,
                next_offset,
                trim_point,
            });
        }
        Ok(Self {
            last_log_index: log_index,
            last_term: Term(number(8)),
            last_timestamp: TimestampMs(number(16)),
            trim_point,
            sequencer,
            membership,
        })
    }
}

/// Below which offset a control entry trims, 0 when it does not; never more than there was before it.
pub(super) fn trimmed_below(control: &[u8], next_offset: Offset) -> Offset {
    match Control::decode(control) {
        Ok(Control::Trim { below }) => below.min(next_offset),
        Ok(Control::Cursor(_)) | Err(UnknownControl) => Offset::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::entry::Batch;

    fn records(log_index: u64, term: u64, count: u32) -> Entry {
        let batch = Batch {
            producer: None,
            expected_offset: None,
            record_count: count,
            records: Bytes::from_static(b"x"),
        };
        Entry {
            log_index: LogIndex(log_index),
            term: Term(term),
            timestamp: TimestampMs(100 - log_index),
            payload: Payload::Records(batch),
        }
    }

    /// The header of an entry without content that may follow.
    fn blank_after(checkpoint: &Checkpoint) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Blank,
            encoding: 0,
            flags: 0,
            payload_crc: 0,
            payload_len: 0,
            log_index: checkpoint.last_log_index().plus(1),
            term: checkpoint.last_term(),
            base_offset: checkpoint.next_offset(),
            record_count: 0,
            submitted_count: 0,
            synced_to: 0,
            timestamp: checkpoint.last_timestamp(),
        }
    }

    #[test]
    fn offsets_count_records_and_times_never_fall() {
        let mut checkpoint = Checkpoint::new();
        let (first, outcome) = checkpoint.place(records(1, 1, 3)).unwrap();
        assert_eq!(
            outcome,
            Outcome::Stored {
                base_offset: Offset(0)
            }
        );
        let (second, _) = checkpoint.place(records(2, 1, 2)).unwrap();
        assert_eq!(
            (second.base_offset, checkpoint.next_offset()),
            (Offset(3), Offset(5))
        );
        assert_eq!(second.entry.timestamp, first.entry.timestamp);
    }

    #[test]
    fn an_entry_that_does_not_follow_is_refused_and_changes_nothing() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.place(records(1, 5, 1)).unwrap();
        let before = checkpoint.clone();
        assert!(matches!(
            checkpoint.place(records(3, 5, 1)),
            Err(PlaceError::Gap { .. })
        ));
        assert!(matches!(
            checkpoint.place(records(2, 4, 1)),
            Err(PlaceError::TermFalls { .. })
        ));
        assert_eq!(checkpoint, before);
    }

    #[test]
    fn the_trim_point_is_the_highest_one_and_never_above_the_records() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.place(records(1, 1, 5)).unwrap();
        for (number, (below, expected)) in (2..).zip([(3, 3), (2, 3), (9, 5), (u64::MAX, 5)]) {
            let trim = Entry {
                payload: Payload::Control(Control::Trim { below: Offset(below) }.encode()),
                ..records(number, 1, 1)
            };
            checkpoint.place(trim).unwrap();
            assert_eq!(checkpoint.trim_point(), Offset(expected));
        }
        let unknown = Entry {
            payload: Payload::Control(Bytes::from_static(b"of a newer program")),
            ..records(6, 1, 1)
        };
        checkpoint.place(unknown).unwrap();
        assert_eq!(checkpoint.trim_point(), Offset(5));
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint));
        assert_eq!(&bytes[40..48], [5, 0, 0, 0, 0, 0, 0, 0], "the bytes are on disks");
    }

    #[test]
    fn a_checkpoint_that_no_log_comes_to_is_refused() {
        let far = Checkpoint {
            last_log_index: LogIndex(u64::MAX),
            ..Checkpoint::new()
        };
        let trimmed = Checkpoint {
            trim_point: Offset(1),
            ..Checkpoint::new()
        };
        for checkpoint in [far, trimmed] {
            let decoded = Checkpoint::decode(&checkpoint.encode());
            assert!(matches!(decoded, Err(CheckpointError::Numbers { .. })));
        }
    }

    /// Found by fuzzing: a frame whose time falls was replayed, and a search by time could then pass over records.
    #[test]
    fn a_frame_whose_time_falls_is_refused() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.place(records(1, 1, 1)).unwrap();
        let last = checkpoint.last_timestamp();
        let frame = |timestamp| FrameHeader {
            timestamp,
            ..blank_after(&checkpoint)
        };
        let (earlier, same) = (frame(TimestampMs(last.0 - 1)), frame(last));
        let found = earlier.timestamp;
        assert_eq!(
            checkpoint.replay(&earlier, b""),
            Err(ReplayError::TimeFalls { last, found })
        );
        assert_eq!(checkpoint.replay(&same, b""), Ok(()));
    }

    /// Found by fuzzing: the records of a frame that contradicts those before it counted, so that a damaged log said it
    /// could be read further than it can.
    #[test]
    fn a_frame_that_is_refused_changes_nothing() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.place(records(1, 1, 1)).unwrap();
        let good = FrameHeader {
            kind: FrameKind::Records,
            record_count: 3,
            submitted_count: 3,
            ..blank_after(&checkpoint)
        };
        let control = Control::Trim { below: Offset(1) }.encode();
        let (trim, membership) = (FrameKind::Control, FrameKind::Membership);
        let wrong = |kind| FrameHeader {
            kind,
            base_offset: Offset(7),
            ..good
        };
        let before = checkpoint.clone();
        for (header, payload) in [
            (wrong(good.kind), &b"x"[..]),
            (wrong(trim), &control),
            (wrong(membership), b"x"),
        ] {
            let replayed = checkpoint.replay(&header, payload);
            assert!(
                matches!(replayed, Err(ReplayError::Offsets { .. })),
                "{replayed:?}"
            );
            assert_eq!(checkpoint, before, "{header:?}");
        }
        assert_eq!(checkpoint.replay(&good, b"x"), Ok(()));
        assert_eq!(checkpoint.next_offset(), Offset(4));
    }

    /// Found by fuzzing: nobody looked at what a mark says, and a read ended at one that said a later offset, with records
    /// behind it.
    #[test]
    fn a_mark_of_another_place_is_refused_and_one_of_this_changes_nothing() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.place(records(1, 1, 3)).unwrap();
        let mark = FrameHeader {
            kind: FrameKind::Mark,
            log_index: checkpoint.last_log_index(),
            ..blank_after(&checkpoint)
        };
        let later = FrameHeader {
            base_offset: Offset(4),
            ..mark
        };
        let of_another = FrameHeader {
            log_index: LogIndex(2),
            ..mark
        };
        let before = checkpoint.clone();
        let replayed = [later, of_another, mark].map(|mark| checkpoint.replay(&mark, b""));
        assert!(
            matches!(
                replayed,
                [
                    Err(ReplayError::Offsets { .. }),
                    Err(ReplayError::Mark { .. }),
                    Ok(())
                ]
            ),
            "{replayed:?}"
        );
        assert_eq!(checkpoint, before);
    }

    #[test]
    fn a_checkpoint_comes_back_from_its_bytes_and_cut_bytes_are_refused() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.place(records(1, 1, 3)).unwrap();
        let membership = Entry {
            payload: Payload::Membership(Bytes::from_static(b"abc")),
            ..records(2, 1, 1)
        };
        checkpoint.place(membership).unwrap();
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint));
        for cut in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
