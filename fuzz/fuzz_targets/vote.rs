//! Of whatever two copies of a vote there are, the newest that is whole counts, or nobody votes: never an older one, never
//! one that was not written. Opening it says the same again after a power cut, and goes on from there.
//!
//! Input: whether the first copy's, the second copy's checksum is right, how the power goes, the copies.

#![no_main]

use std::path::Path;

use annals::{
    storage::{OpenError, Vote, VoteFile},
    types::{NodeId, Term},
};
use annals_fuzz::{
    disk::{DIRECTORY, Disk},
    format::{u32_at, u64_at},
    seeds,
    slots::{VOTE_BYTES, VOTE_PAGE_BYTES, seal_vote, vote},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::plant("vote", seeds()), |input: &[u8]| {
    if let [sealed, seed, copies @ ..] = input {
        check(*sealed, *seed, copies);
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let of = |first: u64, second: u64| {
        let (first, second) = (vote(0, first, 3, 7, 0), vote(VOTE_PAGE_BYTES, second, 3, 7, 1));
        [vec![3, 0], first, second].concat()
    };
    vec![
        of(5, 5),
        of(6, 5),
        of(5, 6),
        vec![0, 0],
        [&[1, 0], &of(5, 5)[2..]].concat(),
    ]
}

/// What the document says a copy is; the error is the version of another program.
fn read(copy: &[u8], at: usize) -> Result<Option<(u64, Vote)>, u32> {
    let Some(copy) = copy.get(..VOTE_BYTES) else {
        return Ok(None);
    };
    let mut sealed = copy.to_vec();
    seal_vote(&mut sealed, at);
    if sealed != copy || &copy[..8] != b"ANNALVOT" {
        return Ok(None);
    }
    if u32_at(copy, 12) != 1 {
        return Err(u32_at(copy, 12));
    }
    let voted_for = NodeId(u64_at(copy, 32));
    let vote = Vote {
        term: Term(u64_at(copy, 24)),
        voted_for: (voted_for != NodeId(0)).then_some(voted_for),
        committed: copy[40] == 1,
    };
    Ok((copy[40] < 2).then(|| (u64_at(copy, 16), vote)))
}

fn check(sealed: u8, seed: u8, copies: &[u8]) {
    let (first, second) = copies.split_at(copies.len().min(VOTE_BYTES));
    let (mut first, mut second) = (first.to_vec(), second.to_vec());
    if sealed & 1 != 0 {
        seal_vote(&mut first, 0);
    }
    if sealed & 2 != 0 {
        seal_vote(&mut second, VOTE_PAGE_BYTES);
    }
    first.resize(VOTE_PAGE_BYTES, 0);
    let read = [read(&first, 0), read(&second, VOTE_PAGE_BYTES)];
    let file = [first, second].concat();
    let disk = Disk::of(&[("vote", &file)]);
    let open = || VoteFile::open(disk.fs(), Path::new(DIRECTORY));
    let whole: Vec<(u64, Vote)> = read
        .iter()
        .filter_map(|copy| copy.as_ref().ok().copied().flatten())
        .collect();
    match open() {
        Ok((_, found)) => {
            let newest = whole
                .iter()
                .max_by_key(|(sequence, _)| *sequence)
                .map(|(_, vote)| *vote);
            assert!(newest.is_some() && found == newest, "{found:?} of {read:?}");
            disk.crash(u64::from(seed));
            let (mut again, vote) = open().expect("it was open before");
            assert_eq!(vote, found, "after a power cut");
            if let Some(term) = found.and_then(|vote| vote.term.get().checked_add(1)) {
                let next = Vote {
                    term: Term(term),
                    ..Vote::default()
                };
                again.save(&next).expect("nothing fails here");
                disk.crash(u64::from(seed));
                assert_eq!(open().expect("it was open before").1, Some(next));
            }
        }
        Err(error) => {
            assert_eq!(disk.bytes("vote"), file, "{error} changed the file");
            match error {
                OpenError::VoteVersion { found, .. } => assert!(read.contains(&Err(found))),
                OpenError::VoteDamaged { .. } => {
                    let contradict = matches!(whole[..], [(one, first), (other, second)] if one == other && first != second);
                    assert!(whole.is_empty() || contradict, "{read:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
