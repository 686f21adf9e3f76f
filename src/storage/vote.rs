//! `vote`: the newest term that this node has seen, and whom it voted for in it. Durable before anybody hears of it.
//!
//! The file is two copies of one slot, each on its own page. A save writes the first copy, syncs, writes the second,
//! syncs. So at any time one of them is whole and holds the vote of the last save that returned, or a newer one: a copy
//! that is torn by a crash, or rots later, costs nothing (ADR 0007). Both bad is more than one accident, and the node's
//! promises are unknown: it must not vote again, so nothing is opened. `docs/format.md` has the bytes.
//!
//! Invariant: RFT-1.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    OpenError, WriteError,
    fs::{File, FileSystem, OpenMode},
    names,
};
use crate::types::{NodeId, Term};

pub(super) const FILE_NAME: &str = "vote";
const MAGIC: [u8; 8] = *b"ANNALVOT";
/// Version of the file that this program writes.
const VERSION: u32 = 1;
/// Each copy has a page of its own, so that writing one never rewrites the other's sectors.
const PAGE_BYTES: usize = 4096;
/// What of a page means something; within one sector of any disk.
const SLOT_LEN: usize = 64;
const CRC_AT: usize = 8;
const VERSION_AT: usize = 12;

/// What a node has promised: it knows of `term`, and in it votes for nobody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The newest term seen.
    pub term: Term,
    /// Whom the node voted for in that term; a node id is never 0.
    pub voted_for: Option<NodeId>,
    /// Whether a majority did, so that it leads.
    pub committed: bool,
}

/// The file.
#[derive(Debug)]
pub struct VoteFile {
    file_system: Arc<dyn FileSystem>,
    directory: PathBuf,
    /// `None`: there is no file yet; the first save makes it.
    file: Option<Arc<dyn File>>,
    newest: Option<Slot>,
    /// A write or a sync has failed: nothing is written any more (STO-3).
    poisoned: bool,
}

/// A vote with the number of its save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    sequence: u64,
    pub(super) vote: Vote,
}

/// The two copies, in the order in which a save writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    First,
    Second,
}

/// Why a page holds no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not what was written.
    Damaged,
    /// A newer program wrote it.
    Version(u32),
}

/// What opening has to write before the file is as a save leaves it: both copies durable and the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// The second copy, as the first.
    Second(Slot),
    /// Both, in the order of a save.
    Both(Slot),
}

impl Copy {
    fn position(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => PAGE_BYTES as u64,
        }
    }
}

impl Slot {
    fn encode(self, copy: Copy) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        bytes[..CRC_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.vote.term.get().to_le_bytes());
        let voted_for = self.vote.voted_for.map_or(0, NodeId::get);
        bytes[32..40].copy_from_slice(&voted_for.to_le_bytes());
        bytes[40] = u8::from(self.vote.committed);
        let crc = slot_crc(&bytes, copy);
        bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], copy: Copy) -> Result<Self, Flaw> {
        let bytes = bytes.first_chunk::<SLOT_LEN>().ok_or(Flaw::Damaged)?;
        let u64_at = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("inside SLOT_LEN"));
        let u32_at = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("inside SLOT_LEN"));
        if bytes[..CRC_AT] != MAGIC || u32_at(CRC_AT) != slot_crc(bytes, copy) {
            return Err(Flaw::Damaged);
        }
        // Behind the checksum: a flipped bit must not look like a newer program's file.
        match u32_at(VERSION_AT) {
            VERSION => {}
            found => return Err(Flaw::Version(found)),
        }
        let committed = match bytes[40] {
            0 => false,
            1 => true,
            _ => return Err(Flaw::Damaged),
        };
        let voted_for = NodeId(u64_at(32));
        Ok(Self {
            sequence: u64_at(16),
            vote: Vote {
                term: Term(u64_at(24)),
                voted_for: (voted_for != NodeId::ZERO).then_some(voted_for),
                committed,
            },
        })
    }

    fn next(self, vote: Vote) -> Self {
        Self {
            // No node saves 2^64 times. Where a file says so, two copies may get one number, and contradict each other after
            // a crash: then the node does not vote again, which is safe.
            sequence: self.sequence.saturating_add(1),
            vote,
        }
    }
}

/// Covers which copy it is, so that one page read for the other is none.
fn slot_crc(bytes: &[u8; SLOT_LEN], copy: Copy) -> u32 {
    let place = copy.position().to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c(&place), &bytes[VERSION_AT..])
}

/// Both copies, as the bytes of the file have them.
pub(super) fn slots(bytes: &[u8]) -> [Result<Slot, Flaw>; 2] {
    [Copy::First, Copy::Second].map(|copy| {
        let at = usize::try_from(copy.position()).expect("two pages");
        Slot::decode(bytes.get(at..).unwrap_or_default(), copy)
    })
}

/// What the copies say, and what is to be written before it can be relied on. `None`: both are bad, or contradict each
/// other.
///
/// Whatever was read may be in memory only, after a failed sync of an earlier process, so something is always written.
/// It must not tear the only copy that is surely durable. A save touches the second copy only when the first is durable,
/// and a first copy only when the second is.
pub(super) fn judge(first: Result<Slot, Flaw>, second: Result<Slot, Flaw>) -> Option<Mend> {
    match (first, second) {
        (Ok(first), Ok(second)) if first.sequence == second.sequence => {
            (first == second).then_some(Mend::Second(first))
        }
        // The save of the newer one had not returned, so the older one is all that was promised until now.
        (Ok(first), Ok(second)) => {
            let newer = if first.sequence > second.sequence {
                first
            } else {
                second
            };
            Some(Mend::Both(newer.next(newer.vote)))
        }
        (Ok(first), Err(_)) => Some(Mend::Second(first)),
        (Err(_), Ok(second)) => Some(Mend::Both(second.next(second.vote))),
        (Err(_), Err(_)) => None,
    }
}

impl VoteFile {
    /// Opens the file in the directory of a log, which that makes, and says what is in it once that is surely durable;
    /// `None`: this node has never voted here.
    ///
    /// Blocking: two or three syncs, where there is a file. Errors: `VoteDamaged` and `VoteVersion`, which change
    /// nothing.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
    ) -> Result<(Self, Option<Vote>), OpenError> {
        let mut opened = Self {
            file_system,
            directory: directory.to_owned(),
            file: None,
            newest: None,
            poisoned: false,
        };
        let path = opened.path();
        let failed = |operation| {
            let path = path.clone();
            move |source| OpenError::Io {
                path,
                operation,
                source,
            }
        };
        let file = match opened.file_system.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((opened, None)),
            Err(error) => return Err(failed("open")(error)),
        };
        let mut pages = vec![0; 2 * PAGE_BYTES];
        let read = file.read_at(0, &mut pages).map_err(failed("read"))?;
        let [first, second] = slots(&pages[..read]);
        if let Some(found) = [first, second].iter().find_map(|slot| match slot {
            Err(Flaw::Version(found)) => Some(*found),
            Ok(_) | Err(Flaw::Damaged) => None,
        }) {
            return Err(OpenError::VoteVersion { path, found });
        }
        let mend = judge(first, second).ok_or(OpenError::VoteDamaged { path: path.clone() })?;
        // The name, too, may be in memory only.
        opened
            .file_system
            .sync_dir(directory)
            .map_err(failed("sync the directory of"))?;
        opened.file = Some(file);
        let slot = opened.mend(mend).map_err(OpenError::Write)?;
        opened.newest = Some(slot);
        Ok((opened, Some(slot.vote)))
    }

    /// What the file says.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.newest.map(|slot| slot.vote)
    }

    /// Whether the vote can be this log's: a node takes no entry of a term before it has saved a vote of that term.
    ///
    /// Errors: `VoteBehind`: the file was lost or is an old copy, and later promises are forgotten.
    pub fn check_covers(&self, last_term: Term) -> Result<(), OpenError> {
        let found = self.vote().map_or(Term::ZERO, |vote| vote.term);
        if found >= last_term {
            return Ok(());
        }
        Err(OpenError::VoteBehind {
            path: self.path(),
            found,
            log: last_term,
        })
    }

    /// Makes the vote durable. Does nothing when it is the newest one already.
    ///
    /// Blocking: two syncs. Errors: what is on the disk is unknown, and nothing is written any more (STO-3).
    /// Invariant: RFT-1. Panics: when the vote takes a promise back.
    pub fn save(&mut self, vote: &Vote) -> Result<(), WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned { path: self.path() });
        }
        let Some(newest) = self.newest else {
            let slot = Slot {
                sequence: 1,
                vote: *vote,
            };
            self.create(slot)?;
            self.newest = Some(slot);
            return Ok(());
        };
        let old = newest.vote;
        crate::check!(
            RFT_1,
            keeps_promises(&old, vote),
            "after {old:?} a node cannot vote {vote:?}"
        );
        if old == *vote {
            return Ok(());
        }
        let slot = self.mend(Mend::Both(newest.next(*vote)))?;
        self.newest = Some(slot);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    fn mend(&mut self, mend: Mend) -> Result<Slot, WriteError> {
        match mend {
            Mend::Second(slot) => self.write(slot, Copy::Second).map(|()| slot),
            Mend::Both(slot) => {
                self.write(slot, Copy::First)?;
                self.write(slot, Copy::Second)?;
                Ok(slot)
            }
        }
    }

    fn write(&mut self, slot: Slot, copy: Copy) -> Result<(), WriteError> {
        let file = self.file.clone().expect("only a file that is open is written to");
        let path = self.path();
        let written = file
            .write_all_at(copy.position(), &mut [IoSlice::new(&slot.encode(copy))])
            .map_err(|source| ("write", source))
            .and_then(|()| file.sync_data().map_err(|source| ("sync", source)));
        self.or_poison(written, path)
    }

    /// Makes the file with the first vote in it, whole or not at all.
    fn create(&mut self, slot: Slot) -> Result<(), WriteError> {
        let path = self.path();
        let created = self.try_create(slot, &path);
        let created = created.map(|file| self.file = Some(file));
        self.or_poison(created, path)
    }

    fn try_create(&self, slot: Slot, path: &Path) -> Result<Arc<dyn File>, (&'static str, io::Error)> {
        let preparing = names::preparing(&self.directory, FILE_NAME);
        match self.file_system.remove(&preparing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(("remove the draft of", error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = self
            .file_system
            .open(&preparing, OpenMode::CreateNew)
            .map_err(|source| ("create", source))?;
        let mut pages = [0; 2 * PAGE_BYTES];
        pages[..SLOT_LEN].copy_from_slice(&slot.encode(Copy::First));
        pages[PAGE_BYTES..PAGE_BYTES + SLOT_LEN].copy_from_slice(&slot.encode(Copy::Second));
        file.write_all_at(0, &mut [IoSlice::new(&pages)])
            .map_err(|source| ("write", source))?;
        file.sync_data().map_err(|source| ("sync", source))?;
        self.file_system
            .rename(&preparing, path)
            .map_err(|source| ("rename", source))?;
        self.file_system
            .sync_dir(&self.directory)
            .map_err(|source| ("sync the directory of", source))?;
        Ok(file)
    }

    fn or_poison(
        &mut self,
        result: Result<(), (&'static str, io::Error)>,
        path: PathBuf,
    ) -> Result<(), WriteError> {
        result.map_err(|(operation, source)| {
            self.poisoned = true;
            WriteError::Io {
                path,
                operation,
                source,
            }
        })
    }
}

/// Terms do not fall, nobody votes twice in one, and a term's leader stays. Whoever voted for a candidate that lost follows
/// the leader that a majority of the others made in the same term.
fn keeps_promises(old: &Vote, new: &Vote) -> bool {
    let same_candidate = old.voted_for.is_none() || old.voted_for == new.voted_for;
    let follows_the_winner = new.committed && new.voted_for.is_some() && !old.committed;
    new.term > old.term || (new.term == old.term && (same_candidate || follows_the_winner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(sequence: u64, term: u64) -> Slot {
        Slot {
            sequence,
            vote: Vote {
                term: Term(term),
                voted_for: Some(NodeId(0x0102)),
                committed: true,
            },
        }
    }

    #[test]
    fn a_slot_is_written_as_it_always_was() {
        let bytes = slot(5, 7).encode(Copy::Second);
        let mut expected = [0; SLOT_LEN];
        expected[..8].copy_from_slice(b"ANNALVOT");
        expected[8..12].copy_from_slice(&[122, 93, 249, 123]);
        expected[12] = 1;
        expected[16] = 5;
        expected[24] = 7;
        expected[32..34].copy_from_slice(&[2, 1]);
        expected[40] = 1;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_found_and_a_copy_counts_only_in_its_own_place() {
        for copy in [Copy::First, Copy::Second] {
            let bytes = slot(5, 7).encode(copy);
            assert_eq!(Slot::decode(&bytes, copy), Ok(slot(5, 7)));
            for bit in 0..SLOT_LEN * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Slot::decode(&flipped, copy), Err(Flaw::Damaged), "bit {bit}");
            }
        }
        let bytes = slot(5, 7).encode(Copy::First);
        assert_eq!(Slot::decode(&bytes, Copy::Second), Err(Flaw::Damaged));
    }

    /// Found by fuzzing: the last number of all made opening the file panic, or begin to count anew.
    #[test]
    fn the_number_of_saves_does_not_overflow() {
        let last = slot(u64::MAX, 7);
        assert_eq!(
            judge(Err(Flaw::Damaged), Ok(last)),
            Some(Mend::Both(last)),
            "the second copy alone"
        );
        assert_eq!(judge(Ok(last), Ok(slot(5, 6))), Some(Mend::Both(last)));
    }

    #[test]
    fn nobody_votes_twice_in_a_term_and_terms_do_not_fall() {
        let vote = |term, voted_for| Vote {
            term: Term(term),
            voted_for: (voted_for != 0).then_some(NodeId(voted_for)),
            committed: false,
        };
        let led = |term, voted_for| Vote {
            committed: true,
            ..vote(term, voted_for)
        };
        for (old, new, kept) in [
            // A node stood for election, and lost: the appends of whoever won ended the process.
            (vote(3, 1), led(3, 2), true),
            (led(3, 2), vote(3, 1), false),
            (led(3, 2), led(3, 1), false),
            (vote(3, 1), led(2, 2), false),
            (vote(3, 1), led(3, 0), false),
            (vote(3, 1), vote(3, 1), true),
            (vote(3, 0), vote(3, 2), true),
            (vote(3, 1), vote(3, 2), false),
            (vote(3, 1), vote(3, 0), false),
            (vote(3, 1), vote(4, 2), true),
            (vote(3, 1), vote(2, 1), false),
        ] {
            assert_eq!(keeps_promises(&old, &new), kept, "{old:?} {new:?}");
        }
    }
}
