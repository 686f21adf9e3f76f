//! The note of what is committed: a lower bound, whatever happens to it.

use std::{io, sync::Arc};

use annals::{
    storage::{CommitNoteFile, Committed, StoredMembership, fs::FileSystem},
    types::{LogIndex, Term},
};
use bytes::Bytes;

use crate::{
    history::directory,
    support::sim_fs::{Call, CallKind, Fault, Leaves, On, SimFileSystem},
};

fn note(number: u64) -> Committed {
    Committed {
        log_index: LogIndex(10 * number),
        term: Term(number),
        membership: Some(StoredMembership {
            log_index: LogIndex(number),
            term: Term(1),
            bytes: Bytes::from(vec![u8::try_from(number).unwrap(); 1500]),
        }),
    }
}

fn disk(seed: u64) -> SimFileSystem {
    let fs = SimFileSystem::new(seed);
    fs.create_dir_all(directory()).unwrap();
    fs
}

fn open(fs: &SimFileSystem) -> (CommitNoteFile, Option<Committed>) {
    CommitNoteFile::open(Arc::new(fs.clone()), directory())
}

#[test]
fn the_newest_note_is_found_again_and_an_older_one_is_not_written() {
    let fs = disk(1);
    let (mut file, none) = open(&fs);
    assert_eq!(none, None);
    for number in 1..=5 {
        file.note(&note(number)).unwrap();
        let (_, found) = open(&fs);
        assert_eq!(found, Some(note(number)));
    }
    let calls = fs.trace().len();
    file.note(&note(3)).unwrap();
    file.note(&note(5)).unwrap();
    assert_eq!(fs.trace().len(), calls);
    let synced = |call: &Call| matches!(call.kind, CallKind::Sync | CallKind::SyncDir);
    assert!(!fs.trace().iter().any(synced), "a note costs no sync");
}

#[test]
fn what_a_crash_or_a_failing_write_leaves_is_some_note_that_was_written() {
    for seed in 0..200 {
        let fs = disk(seed);
        let leaves = [
            Leaves::Nothing,
            Leaves::Prefix,
            Leaves::Mixture,
            Leaves::Everything,
        ];
        let leaves = leaves[usize::try_from(seed % 4).unwrap()];
        fs.inject(Fault::nth(On::Any, 1 + seed % 7, io::ErrorKind::Other).leaving(leaves));
        let (mut written, mut failed) = (0, false);
        let (mut file, _) = open(&fs);
        for number in 1..=5 {
            match file.note(&note(number)) {
                Ok(()) if !failed => written = number,
                Ok(()) => {}
                Err(_) => failed = true,
            }
        }
        fs.clear_faults();
        let number_of = |found: Option<Committed>| {
            let number = found.as_ref().map_or(0, |found| found.term.get());
            assert!(found.is_none_or(|found| found == note(number)), "seed {seed}");
            number
        };
        let (_, found) = open(&fs);
        let found = number_of(found);
        assert!(
            (written.saturating_sub(1)..=written + 1).contains(&found),
            "seed {seed}: {written} written, {found} found"
        );
        fs.crash(seed);
        let (mut file, found) = open(&fs);
        assert!(number_of(found) <= written + 1);
        file.note(&note(9)).unwrap();
        assert_eq!(open(&fs).1, Some(note(9)), "it goes on");
    }
}

#[test]
fn a_flipped_bit_leaves_the_older_note_or_none() {
    let fs = disk(1);
    let (mut file, _) = open(&fs);
    file.note(&note(1)).unwrap();
    file.note(&note(2)).unwrap();
    drop(file);
    let path = directory().join("committed");
    let good = fs.bytes(&path);
    for byte in (0..1564).chain(16384..16384 + 1564) {
        let mut flipped = good.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs.set_bytes(&path, &flipped);
        let expected = if byte < 16384 { note(1) } else { note(2) };
        assert_eq!(open(&fs).1, Some(expected), "byte {byte}");
    }
    for cut in (0..good.len()).step_by(501) {
        fs.set_bytes(&path, &good[..cut]);
        let found = open(&fs).1;
        assert!(
            [None, Some(note(1)), Some(note(2))].contains(&found),
            "cut at {cut}: {found:?}"
        );
    }
    fs.set_bytes(&path, &[0; 3]);
    assert_eq!(open(&fs).1, None);
}
