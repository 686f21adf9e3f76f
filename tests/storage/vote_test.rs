//! The vote: whatever fails and whatever a crash leaves, no promise that somebody has heard of is forgotten.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use annals::{
    error::Disposition,
    storage::{OpenError, Vote, VoteFile, WriteError, fs::FileSystem},
    types::{NodeId, Term},
};

use crate::{
    history::directory,
    support::sim_fs::{CallKind, Fault, Leaves, On, SimFileSystem},
};

fn vote(term: u64, voted_for: u64, committed: bool) -> Vote {
    Vote {
        term: Term(term),
        voted_for: (voted_for != 0).then_some(NodeId(voted_for)),
        committed,
    }
}

/// Votes in an order in which a node may give them.
fn votes() -> Vec<Vote> {
    vec![
        vote(1, 7, false),
        vote(1, 7, true),
        vote(2, 0, false),
        vote(2, 8, false),
        vote(5, 9, false),
        vote(6, 7, false),
        vote(6, 7, true),
    ]
}

fn path() -> PathBuf {
    directory().join("vote")
}

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed);
    fs.create_dir_all(directory()).unwrap();
    fs
}

fn open(fs: &SimFileSystem) -> Result<(VoteFile, Option<Vote>), OpenError> {
    VoteFile::open(Arc::new(fs.clone()), directory())
}

/// A node that votes, and what others have heard of it.
struct Voter {
    fs: SimFileSystem,
    /// The newest vote that a save or an opening has returned.
    heard: Option<Vote>,
    /// Saves that have failed since.
    tried: Vec<Vote>,
}

impl Voter {
    fn open(&mut self) -> Option<VoteFile> {
        match open(&self.fs) {
            Ok((file, found)) => {
                assert_eq!(file.vote(), found);
                assert!(
                    found == self.heard || self.tried.iter().any(|tried| Some(*tried) == found),
                    "heard of {:?}, found {found:?}",
                    self.heard
                );
                self.heard = found;
                self.tried.clear();
                Some(file)
            }
            Err(OpenError::Io { .. } | OpenError::Write(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Saves all votes from the one after that which was heard of on; the process starts anew in the middle.
    fn vote(&mut self) {
        let mut file = self.open();
        for vote in votes() {
            if vote.term == Term(5) {
                drop(file.take());
                self.fs.kill();
                file = self.open();
            }
            let old = self.heard.unwrap_or_default();
            let (Some(file), true) = (&mut file, (vote.term, vote.committed) > (old.term, old.committed))
            else {
                continue;
            };
            let before = self.fs.trace().len();
            match file.save(&vote) {
                Ok(()) => {
                    assert!(self.tried.is_empty(), "saved after a failure (STO-3)");
                    self.heard = Some(vote);
                }
                Err(error) => {
                    assert_eq!(error.disposition(), Disposition::Failsafe);
                    let again = matches!(error, WriteError::Poisoned { .. });
                    assert_eq!(again, !self.tried.is_empty());
                    assert!(
                        !again || self.fs.trace().len() == before,
                        "written after a failure (STO-3)"
                    );
                    self.tried.push(vote);
                }
            }
        }
    }
}

/// Any number of starts and power losses after a failure give the same vote.
fn check_ends(voter: &Voter, what: &str) {
    voter.fs.clear_faults();
    let disk = voter.fs.snapshot();
    for seed in 0..40 {
        voter.fs.restore(&disk);
        let mut ended = Voter {
            fs: voter.fs.clone(),
            heard: voter.heard,
            tried: voter.tried.clone(),
        };
        // The next start may fail as well.
        if seed >= 4 {
            ended.fs.kill();
            let fault = Fault::nth(On::Any, 1 + seed % 6, io::ErrorKind::Other);
            ended.fs.inject(fault.leaving(Leaves::Prefix).lasting());
            ended.open();
            ended.fs.clear_faults();
        }
        for round in 0..3 {
            if seed % 4 < 2 && round == 0 {
                ended.fs.kill();
            } else {
                ended.fs.crash(seed * 7 + round);
            }
            assert!(ended.open().is_some(), "{what}, end {seed}");
        }
    }
}

#[test]
fn whatever_fails_no_vote_that_was_heard_of_is_forgotten() {
    let whole = disk(0);
    let mut voter = Voter {
        fs: whole.clone(),
        heard: None,
        tried: Vec::new(),
    };
    voter.vote();
    assert_eq!(voter.heard, votes().last().copied());
    let calls = whole.trace().len() as u64;
    assert!(calls > 25, "only {calls} calls");
    for lasting in [false, true] {
        for nth in 1..=calls {
            for leaves in [
                Leaves::Nothing,
                Leaves::Prefix,
                Leaves::Mixture,
                Leaves::Everything,
            ] {
                for seed in 0..10 {
                    let fs = disk(nth * 100 + seed);
                    let fault = Fault::nth(On::Any, nth, io::ErrorKind::Other).leaving(leaves);
                    fs.inject(if lasting { fault.lasting() } else { fault });
                    let mut voter = Voter {
                        fs,
                        heard: None,
                        tried: Vec::new(),
                    };
                    voter.vote();
                    check_ends(
                        &voter,
                        &format!("call {nth} leaves {leaves:?}, lasting {lasting}"),
                    );
                }
            }
        }
    }
}

/// The file after all votes.
fn written() -> (SimFileSystem, Vec<u8>) {
    let fs = disk(1);
    let (mut file, none) = open(&fs).unwrap();
    assert_eq!((none, file.vote()), (None, None));
    for vote in votes() {
        file.save(&vote).unwrap();
        assert_eq!(file.vote(), Some(vote));
    }
    drop(file);
    let bytes = fs.bytes(&path());
    assert_eq!(bytes.len(), 8192);
    (fs, bytes)
}

#[test]
fn a_flipped_bit_or_a_cut_in_one_copy_costs_nothing_and_is_mended() {
    let (fs, good) = written();
    let newest = votes().last().copied();
    let flips = (0..2).flat_map(|copy| (0..64 * 8).map(move |bit| copy * 4096 * 8 + bit));
    let flipped = flips.map(|bit| {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (64..8192).step_by(61).map(|cut| good[..cut].to_vec());
    for bytes in flipped.chain(cut) {
        fs.set_bytes(&path(), &bytes);
        let (_, found) = open(&fs).unwrap();
        assert_eq!(found, newest);
        fs.crash(3);
        let mended = fs.bytes(&path());
        for copy in [0, 4096] {
            let mut other_lost = mended.clone();
            other_lost[copy..copy + 64].fill(0);
            fs.set_bytes(&path(), &other_lost);
            assert_eq!(open(&fs).unwrap().1, newest, "one copy alone is enough");
        }
    }
}

/// A node that took this for "never voted" could vote a second time in a term.
#[test]
fn two_bad_copies_are_damage_and_never_no_vote() {
    let (fs, good) = written();
    let mut bad: Vec<Vec<u8>> = (0..64).map(|cut| good[..cut].to_vec()).collect();
    bad.push(vec![0; 8192]);
    for (one, other) in [(0, 0), (13, 40), (24, 63)] {
        let mut bytes = good.clone();
        bytes[one] ^= 1;
        bytes[4096 + other] ^= 0x80;
        bad.push(bytes);
    }
    for bytes in bad {
        fs.set_bytes(&path(), &bytes);
        let error = open(&fs).unwrap_err();
        assert!(matches!(error, OpenError::VoteDamaged { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Escalate);
        let text = error.to_string();
        assert!(
            text.contains("/data/logs/default/vote") && text.contains("start it as a new node"),
            "{text}"
        );
        assert_eq!(fs.bytes(&path()), bytes, "it is left as it is");
    }
}

#[test]
fn a_vote_that_the_log_has_outrun_was_lost() {
    let (fs, _) = written();
    let (file, _) = open(&fs).unwrap();
    file.check_covers(Term(6)).unwrap();
    let error = file.check_covers(Term(7)).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::VoteBehind {
                found: Term(6),
                log: Term(7),
                ..
            }
        ),
        "{error}"
    );
    fs.remove(&path()).unwrap();
    let (file, found) = open(&fs).unwrap();
    assert_eq!(found, None);
    file.check_covers(Term(0)).unwrap();
    file.check_covers(Term(1)).unwrap_err();
}

#[test]
fn a_vote_that_is_there_already_is_not_written_again_and_one_is_never_taken_back() {
    let (fs, _) = written();
    let (mut file, newest) = open(&fs).unwrap();
    let calls = fs.trace().len();
    file.save(&newest.unwrap()).unwrap();
    assert_eq!(fs.trace().len(), calls);
    for taken_back in [vote(6, 8, false), vote(5, 9, false), vote(6, 0, false)] {
        let saved = catch_unwind(AssertUnwindSafe(|| file.save(&taken_back)));
        assert!(saved.is_err(), "{taken_back:?} was saved (RFT-1)");
    }
    assert_eq!(fs.trace().len(), calls);
    let syncs = || {
        let trace = fs.trace();
        trace.iter().filter(|call| call.kind == CallKind::Sync).count()
    };
    let before = syncs();
    file.save(&vote(7, 8, false)).unwrap();
    assert_eq!(syncs(), before + 2, "one for each copy");
}

#[test]
fn the_file_of_a_newer_program_is_named_and_not_called_damage() {
    let (fs, good) = written();
    let mut bytes = good;
    for copy in [0, 4096_u64] {
        let at = usize::try_from(copy).unwrap();
        bytes[at + 12] = 2;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&copy.to_le_bytes()), &bytes[at + 12..at + 64]);
        bytes[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
    }
    fs.set_bytes(&path(), &bytes);
    let error = open(&fs).unwrap_err();
    assert!(
        matches!(error, OpenError::VoteVersion { found: 2, .. }),
        "{error}"
    );
}
