//! `committed`: how far the log is known to be committed, so that a node that starts need not ask before it knows.
//!
//! A cache of knowledge, never of promises: entries that are committed stay so, and a note that is lost, torn or old is
//! only a lower bound that is lower. So it is never synced, and whoever knows more writes it when that costs nothing:
//! when the log goes idle, at a roll, at the end. Two slots are written alternately, so that a torn one leaves the other.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut, Bytes};

use super::{
    checkpoint::{Checkpoint, StoredMembership},
    fs::{File, FileSystem, OpenMode},
};
use crate::types::{LogIndex, STORED_NUMBER_MAX, Term};

pub(super) const FILE_NAME: &str = "committed";
const MAGIC: [u8; 8] = *b"ANNALCOM";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 64;
const CRC_AT: usize = 8;
const VERSION_AT: usize = 12;
/// Room for the membership of a hundred nodes with addresses. A larger one is not noted.
const SLOT_BYTES: usize = 16 << 10;

/// A lower bound of what is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// This entry and all before it are committed; 0: nothing is known.
    pub log_index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The membership that is in force there.
    pub membership: Option<StoredMembership>,
}

impl Committed {
    /// All that a checkpoint stands for.
    fn all_of(checkpoint: &Checkpoint) -> Self {
        Self {
            log_index: checkpoint.last_log_index(),
            term: checkpoint.last_term(),
            membership: checkpoint.membership().cloned(),
        }
    }

    /// What is surely committed of the log that was found at start: what the note says, but never more than is there.
    ///
    /// `before_first` is the state before the first segment: what was trimmed away, or installed, was committed. `last` is
    /// the state at the end of the log. `term_of_noted` is the term of the log's entry at the note's log index; when it
    /// is another than the note's, the note is not of this log. Where the note is beyond the end, the end is lost, and the log only
    /// read: committed entries are never truncated, so all that is left was committed with them.
    #[must_use]
    pub fn at_start(
        note: Option<Self>,
        before_first: &Checkpoint,
        last: &Checkpoint,
        term_of_noted: Option<Term>,
    ) -> Self {
        let floor = Self::all_of(before_first);
        let Some(note) = note.filter(|note| note.log_index > floor.log_index) else {
            return floor;
        };
        let end = Self::all_of(last);
        if note.log_index > end.log_index {
            return end;
        }
        if term_of_noted == Some(note.term) {
            note
        } else {
            floor
        }
    }

    fn encode(&self, sequence: u64) -> Option<Vec<u8>> {
        let membership = self.membership.as_ref();
        let bytes = membership.map_or(&[][..], |membership| &membership.bytes);
        let length = u32::try_from(bytes.len()).ok()?;
        if HEADER_LEN + bytes.len() > SLOT_BYTES {
            return None;
        }
        let mut into = Vec::with_capacity(HEADER_LEN + bytes.len());
        into.put_slice(&MAGIC);
        into.put_u32_le(0);
        into.put_u32_le(VERSION);
        into.put_u64_le(sequence);
        into.put_u64_le(self.log_index.get());
        into.put_u64_le(self.term.get());
        into.put_u64_le(membership.map_or(0, |membership| membership.log_index.get()));
        into.put_u64_le(membership.map_or(0, |membership| membership.term.get()));
        into.put_u32_le(length);
        into.put_u32_le(0);
        into.put_slice(bytes);
        let crc = slot_crc(&into, sequence);
        into[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
        Some(into)
    }

    /// The note in a slot, with its number; `None` when it is not whole.
    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let u32_at = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("inside HEADER_LEN"));
        let u64_at = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("inside HEADER_LEN"));
        let length = u32_at(56) as usize;
        let end = HEADER_LEN.checked_add(length)?;
        let (bytes, sequence) = (bytes.get(..end)?, u64_at(16));
        let note = Self {
            log_index: LogIndex(u64_at(24)),
            term: Term(u64_at(32)),
            membership: (u64_at(40) != 0).then(|| StoredMembership {
                log_index: LogIndex(u64_at(40)),
                term: Term(u64_at(48)),
                bytes: Bytes::copy_from_slice(&bytes[HEADER_LEN..]),
            }),
        };
        let known = header[..CRC_AT] == MAGIC && u32_at(VERSION_AT) == VERSION;
        let whole = known && u32_at(CRC_AT) == slot_crc(bytes, sequence);
        let possible = note.log_index.get() <= STORED_NUMBER_MAX
            && note
                .membership
                .as_ref()
                .is_none_or(|membership| membership.log_index <= note.log_index);
        (whole && possible).then_some((sequence, note))
    }
}

/// The newest note that is whole in the bytes of the file, with its number.
pub(super) fn newest(bytes: &[u8]) -> Option<(u64, Committed)> {
    let found = bytes.chunks(SLOT_BYTES).zip(0..).filter_map(|(slot, number)| {
        // One that is in the other's place is none.
        Committed::decode(slot).filter(|(sequence, _)| sequence % 2 == number)
    });
    found.max_by_key(|(sequence, _)| *sequence)
}

/// Covers which slot it is in: that follows from its number.
fn slot_crc(bytes: &[u8], sequence: u64) -> u32 {
    let slot = [u8::from(sequence % 2 == 1)];
    crc32c::crc32c_append(crc32c::crc32c(&slot), &bytes[VERSION_AT..])
}

/// The file.
#[derive(Debug)]
pub struct CommitNoteFile {
    file_system: Arc<dyn FileSystem>,
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    /// Number of the newest note, which says in which slot it is.
    sequence: u64,
    newest: LogIndex,
    /// A write has failed: what it would have said is known to the next start in another way.
    resting: bool,
}

impl CommitNoteFile {
    /// Opens the file in the directory of a log. `None`: nothing is noted, or nothing that can be read.
    ///
    /// Blocking.
    #[must_use]
    pub fn open(file_system: Arc<dyn FileSystem>, directory: &Path) -> (Self, Option<Committed>) {
        let path = directory.join(FILE_NAME);
        let file = file_system.open(&path, OpenMode::ReadWrite).ok();
        let mut slots = vec![0; 2 * SLOT_BYTES];
        let read = file.as_ref().and_then(|file| file.read_at(0, &mut slots).ok());
        slots.truncate(read.unwrap_or(0));
        let newest = newest(&slots);
        let opened = Self {
            file_system,
            path,
            file,
            sequence: newest.as_ref().map_or(0, |(sequence, _)| *sequence),
            newest: newest.as_ref().map_or(LogIndex::ZERO, |(_, note)| note.log_index),
            resting: false,
        };
        (opened, newest.map(|(_, note)| note))
    }

    /// Writes the note, unless one that says as much is there, or its membership is too large for one. Not synced.
    ///
    /// Blocking: one write. Errors: nothing is noted any more until the file is opened again, and nothing is lost by it.
    pub fn note(&mut self, committed: &Committed) -> io::Result<()> {
        if self.resting || committed.log_index <= self.newest {
            return Ok(());
        }
        // No node writes so many; a file that claims to be the last one stays it.
        let Some(sequence) = self.sequence.checked_add(1) else {
            return Ok(());
        };
        let Some(bytes) = committed.encode(sequence) else {
            return Ok(());
        };
        // Only a note that is whole may be relied on not to be overwritten next.
        self.write(sequence, &bytes)
            .inspect_err(|_| self.resting = true)?;
        (self.sequence, self.newest) = (sequence, committed.log_index);
        Ok(())
    }

    fn write(&mut self, sequence: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.file_system.open(&self.path, OpenMode::CreateNew)?,
        };
        self.file = Some(file.clone());
        let position = (sequence % 2) * SLOT_BYTES as u64;
        file.write_all_at(position, &mut [IoSlice::new(bytes)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::entry::{Entry, Payload};
    use crate::storage::fs::RealFileSystem;
    use crate::types::TimestampMs;

    fn membership(log_index: u64) -> StoredMembership {
        StoredMembership {
            log_index: LogIndex(log_index),
            term: Term(2),
            bytes: Bytes::from_static(b"node-0"),
        }
    }

    fn note(log_index: u64, term: u64) -> Committed {
        Committed {
            log_index: LogIndex(log_index),
            term: Term(term),
            membership: Some(membership(1)),
        }
    }

    /// A log of so many entries, of term 3 from the third on; the first is a membership.
    fn log(entries: u64) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for log_index in 1..=entries {
            let payload = match log_index {
                1 => Payload::Membership(Bytes::from_static(b"node-0")),
                _ => Payload::Blank,
            };
            let entry = Entry {
                log_index: LogIndex(log_index),
                term: Term(if log_index < 3 { 2 } else { 3 }),
                timestamp: TimestampMs(0),
                payload,
            };
            checkpoint.place(entry).unwrap();
        }
        checkpoint
    }

    #[test]
    fn a_note_is_written_as_it_always_was() {
        let bytes = note(9, 3).encode(5).unwrap();
        let mut expected = b"ANNALCOM....".to_vec();
        expected[8..].copy_from_slice(&[170, 33, 194, 112]);
        for number in [1_u32, 5, 0, 9, 0, 3, 0, 1, 0, 2, 0, 6, 0] {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        expected.extend_from_slice(b"node-0");
        assert_eq!(bytes, expected);
    }

    /// Found by fuzzing: the number after the last one was looked for, and the node panicked at its first commit.
    #[test]
    fn a_note_that_claims_to_be_the_last_there_can_be_stays_and_hurts_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; SLOT_BYTES];
        bytes.extend(note(9, 3).encode(u64::MAX).unwrap());
        std::fs::write(directory.path().join(FILE_NAME), bytes).unwrap();
        let open = || CommitNoteFile::open(Arc::new(RealFileSystem), directory.path());
        let (mut file, found) = open();
        assert_eq!(found, Some(note(9, 3)));
        file.note(&note(10, 3)).unwrap();
        assert_eq!(open().1, Some(note(9, 3)));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_note_is_found() {
        let bytes = note(9, 3).encode(5).unwrap();
        assert_eq!(Committed::decode(&bytes), Some((5, note(9, 3))));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Committed::decode(&flipped), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(Committed::decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn no_more_is_taken_for_committed_than_the_log_holds_and_no_less_than_was_trimmed() {
        let (before, last) = (log(4), log(9));
        let at_start = |note, term| Committed::at_start(note, &before, &last, term);
        let (floor, end) = (note(4, 3), note(9, 3));
        assert_eq!(at_start(None, None), floor);
        assert_eq!(at_start(Some(note(2, 2)), None), floor, "it was trimmed since");
        assert_eq!(at_start(Some(note(7, 3)), Some(Term(3))), note(7, 3));
        assert_eq!(at_start(Some(note(9, 3)), Some(Term(3))), end);
        assert_eq!(at_start(Some(note(12, 4)), None), end, "the end was lost");
        assert_eq!(
            at_start(Some(note(7, 4)), Some(Term(3))),
            floor,
            "not of this log"
        );
        let empty = Checkpoint::new();
        assert_eq!(
            Committed::at_start(Some(note(3, 3)), &empty, &empty, None),
            Committed::default()
        );
    }

    #[test]
    fn a_membership_that_does_not_fit_is_not_noted() {
        let mut large = note(9, 3);
        large.membership.as_mut().unwrap().bytes = Bytes::from(vec![0; SLOT_BYTES]);
        assert_eq!(large.encode(1), None);
    }
}
