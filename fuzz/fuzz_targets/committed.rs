//! Of whatever notes of what is committed there are, the newest that is whole counts, or none: never one that was not
//! written. A further note is read again.
//!
//! Input: whether the first, the second note's checksum is right, how long the first is, the notes.

#![no_main]

use std::path::Path;

use annals::{
    storage::{CommitNoteFile, Committed},
    types::{LogIndex, Term},
};
use annals_fuzz::{
    disk::{DIRECTORY, Disk},
    format::{u32_at, u64_at},
    seeds,
    slots::{NOTE_HEADER_BYTES, NOTE_SLOT_BYTES, note, seal_note},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::plant("committed", seeds()), |input: &[u8]| {
    if let [sealed, length, notes @ ..] = input {
        check(*sealed, usize::from(*length), notes);
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let with_membership = [note(3, 9, 2), b"node-0".to_vec()].concat();
    let length = with_membership.len() as u8;
    vec![
        [vec![3, 64], note(2, 8, 2), note(3, 9, 2)].concat(),
        [vec![3, 64], note(4, 10, 2), with_membership.clone()].concat(),
        [vec![1, length], with_membership].concat(),
        [vec![0, 64], note(2, 8, 2)].concat(),
    ]
}

/// What the document says a note in this slot is.
fn read(note: &[u8], slot: u64) -> Option<(u64, LogIndex, Term)> {
    let length = NOTE_HEADER_BYTES + u32_at(note.get(56..60)?, 0) as usize;
    let note = note.get(..length)?;
    let mut sealed = note.to_vec();
    seal_note(&mut sealed);
    let numbers = [16, 24, 32, 40].map(|at| u64_at(note, at));
    let [sequence, log_index, term, membership_at] = numbers;
    let whole = sealed == note && note.starts_with(b"ANNALCOM") && u32_at(note, 12) == 1;
    let possible = sequence % 2 == slot && log_index < 1 << 63 && membership_at <= log_index;
    (whole && possible).then_some((sequence, LogIndex(log_index), Term(term)))
}

fn check(sealed: u8, length: usize, notes: &[u8]) {
    let (first, second) = notes.split_at(notes.len().min(length));
    let (mut first, mut second) = (first.to_vec(), second.to_vec());
    second.truncate(NOTE_SLOT_BYTES);
    if sealed & 1 != 0 {
        seal_note(&mut first);
    }
    if sealed & 2 != 0 {
        seal_note(&mut second);
    }
    first.resize(NOTE_SLOT_BYTES, 0);
    let found = [read(&first, 0), read(&second, 1)];
    let disk = Disk::of(&[("committed", &[first, second].concat())]);
    let open = || CommitNoteFile::open(disk.fs(), Path::new(DIRECTORY));
    let (mut file, noted) = open();
    let newest = found.iter().flatten().max_by_key(|(sequence, ..)| *sequence);
    assert_eq!(
        noted.as_ref().map(|noted| (noted.log_index, noted.term)),
        newest.map(|(_, at, term)| (*at, *term))
    );
    let log_index = noted
        .as_ref()
        .map_or(LogIndex::ZERO, |noted| noted.log_index)
        .plus(1);
    let next = Committed {
        log_index,
        term: Term(1),
        membership: noted.and_then(|noted| noted.membership),
    };
    // No log gets that far, and no node writes so many notes.
    let goes_on = log_index.get() < 1 << 63 && newest.is_none_or(|(sequence, ..)| *sequence < u64::MAX);
    if goes_on && file.note(&next).is_ok() {
        assert_eq!(open().1, Some(next));
    }
}
