//! An index is a cache: whatever bytes are in its file, reads find what they find without one. One that is whole and lies
//! may make a read fail, and never gives it another record than the right one.
//!
//! Input: whether the index is made whole, the index.

#![no_main]

use annals::{
    storage::{LogView, entry::Entry},
    types::{LogIndex, Offset, TimestampMs},
};
use annals_fuzz::{
    index::seal,
    seeds,
    store::salt,
    two_segments::{ENTRIES, GOLDEN, TAIL, entry, open_with},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::plant("index", seeds()), |input: &[u8]| {
    if let [sealed, index @ ..] = input {
        check(sealed % 2 == 1, index.to_vec());
    }
});

fn seeds() -> Vec<Vec<u8>> {
    [0, 1]
        .map(|sealed| [&[sealed], &GOLDEN.index[..]].concat())
        .to_vec()
}

fn check(sealed: bool, mut index: Vec<u8>) {
    if sealed {
        seal(&mut index, salt(&GOLDEN.store), GOLDEN.store.len() as u64);
    }
    let may_lie = sealed && index != GOLDEN.index;
    let log = open_with(&GOLDEN.store, &index).expect("an index is no reason not to open");
    let view = log.view();
    for number in 1..=ENTRIES {
        let found = read_entry(&view, number);
        assert!(
            found.as_ref() == Some(&entry(number)) || (found.is_none() && may_lie),
            "{number}: {found:?}"
        );
        for offset in [2 * number - 2, 2 * number - 1] {
            let found = first_of_batch(&view, offset);
            assert!(
                found == Some(2 * number - 2) || (found.is_none() && may_lie),
                "at {offset}: {found:?}"
            );
        }
        let found = view.offset_at(TimestampMs(number), TAIL).ok();
        assert!(
            found == Some(Offset(2 * number - 2)) || may_lie,
            "at time {number}: {found:?}"
        );
    }
}

fn read_entry(view: &LogView, number: u64) -> Option<Entry> {
    let entries = view
        .read_entries(LogIndex(number), LogIndex(number + 1), 1)
        .ok()?;
    entries.into_iter().next()
}

/// Where the batch begins that a read of the offset gives.
fn first_of_batch(view: &LogView, offset: u64) -> Option<u64> {
    let chunk = view.read(Offset(offset), Offset(offset + 1), 1).ok()?;
    chunk.batches.first().map(|batch| batch.base_offset.get())
}
