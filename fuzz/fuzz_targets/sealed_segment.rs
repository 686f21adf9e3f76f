//! Whatever is in a sealed store, the log opens beside it or says what is wrong; what is read are frames of the store with
//! the number or offset that was asked for, or an error; and a scrub finds what a read stumbles over.
//!
//! Input: whether the checksums of header and frames are right, which frame keeps its own, the store as `store::packed` has
//! it.

#![no_main]

use annals::{
    storage::{LogView, OpenError, entry::Entry},
    types::{LogIndex, Offset, TimestampMs},
};
use annals_fuzz::{
    seeds,
    store::{Frame, frames, packed, seal_frames, seal_header, unpacked},
    two_segments::{ENTRIES, GOLDEN, TAIL, open_with},
};
use libfuzzer_sys::fuzz_target;

const SEAL_HEADER: u8 = 1;
const SEAL_FRAMES: u8 = 2;

fuzz_target!(init: seeds::plant("sealed_segment", seeds()), |input: &[u8]| {
    if let [sealed, bare, packed @ ..] = input {
        check(*sealed, *bare, packed);
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let whole = packed(&GOLDEN.store);
    let short: Vec<u8> = whole[..300].to_vec();
    vec![
        [&[0, 0], &whole[..]].concat(),
        [&[3, 255], &whole[..]].concat(),
        [&[3, 255], &short[..]].concat(),
    ]
}

fn check(sealed: u8, bare: u8, packed: &[u8]) {
    let (mut store, first_frame) = unpacked(packed);
    if sealed & SEAL_HEADER != 0 {
        seal_header(&mut store);
    }
    if sealed & SEAL_FRAMES != 0 {
        seal_frames(&mut store, first_frame, usize::from(bare));
    }
    let log = match open_with(&store, &[]) {
        Ok(log) => log,
        Err(OpenError::Damaged(damage)) => return assert!(!damage.what.is_empty()),
        Err(other) => panic!("{other:?}"),
    };
    let view = log.view();
    let held = frames(&store, first_frame);
    let read = (1..=ENTRIES).map(|number| read_entry(&view, number, &held));
    let all_read = read.fold(true, |all, read| all & read);
    for offset in 0..TAIL.get() {
        read_offset(&view, offset, &held);
    }
    // A first header that lies under right checksums may say that the log begins behind its end.
    let end = TAIL.max(view.earliest());
    let at = view.offset_at(TimestampMs(2), TAIL);
    assert!(at.is_err() || at.is_ok_and(|offset| offset <= end));
    let scrubbed = view.scrub(|_| ());
    assert!(all_read || scrubbed.is_err(), "a scrub finds nothing");
    if scrubbed.is_ok() {
        let manifest = view
            .manifest(LogIndex(ENTRIES))
            .expect("a scrub found nothing")
            .expect("there is a sealed segment");
        assert_eq!(
            (manifest.last_log_index(), manifest.next_offset()),
            (LogIndex(ENTRIES), TAIL)
        );
    }
}

/// Whether the entry can be read; then it is one of the store's.
fn read_entry(view: &LogView, number: u64, held: &[Frame<'_>]) -> bool {
    let Ok(entries) = view.read_entries(LogIndex(number), LogIndex(number + 1), 1) else {
        return false;
    };
    let [entry]: [Entry; 1] = entries.try_into().expect("one was asked for, and is there");
    assert_eq!(entry.log_index, LogIndex(number));
    assert!(
        held.iter().any(|frame| frame.entry().as_ref() == Some(&entry)),
        "{entry:?} is not in the store"
    );
    true
}

/// What can be read of an offset is a frame of the store that says it holds it.
fn read_offset(view: &LogView, offset: u64, held: &[Frame<'_>]) {
    let Ok(chunk) = view.read(Offset(offset), Offset(offset + 1), 1) else {
        return;
    };
    for batch in chunk.batches {
        assert!(
            (batch.base_offset..batch.base_offset.plus(u64::from(batch.record_count)))
                .contains(&Offset(offset))
        );
        let is_it = |frame: &Frame<'_>| {
            (frame.base_offset(), frame.record_count()) == (batch.base_offset.get(), batch.record_count)
                && frame.payload.ends_with(&batch.records)
        };
        assert!(held.iter().any(is_it), "{offset}: {batch:?} is not in the store");
    }
}
