//! Whatever is in the last store, a log opens or says what is wrong. What it then reads are the frames that are in the
//! store, gapless; where it takes writes, it goes on behind them, and opens again to the same; where it does not,
//! nothing on the disk has changed.
//!
//! Input: what to do, which frame keeps its checksum, how far a note says it is committed, the store as
//! `store::packed` has it.

#![no_main]

use annals::{
    storage::{
        Log, LogView, OpenError, OpenReport,
        entry::{Entry, Payload},
    },
    types::{ClusterId, LogIndex, Offset, Term, TimestampMs},
};
use annals_fuzz::{
    disk::{Disk, options},
    format::u64_at,
    seeds,
    slots::note,
    store::{Frame, NUMBER_END, frames, packed, seal_frames, seal_header, unpacked},
};
use libfuzzer_sys::fuzz_target;

const SEAL_HEADER: u8 = 1;
const SEAL_FRAMES: u8 = 2;
const OTHER_CLUSTER: u8 = 4;
const WITH_NOTE: u8 = 8;
const WITH_ZEROS: u8 = 16;

fuzz_target!(init: seeds::plant("segment", seeds()), |input: &[u8]| {
    if let [what, bare, known, packed @ ..] = input {
        check(*what, *bare, *known, packed);
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let golden = packed(&seeds::golden_store());
    let of = |head: [u8; 3], store: &[u8]| [&head, store].concat();
    let sealed = SEAL_HEADER | SEAL_FRAMES;
    vec![
        of([0, 0, 0], &golden),
        of([sealed, 255, 0], &golden),
        of([sealed | WITH_ZEROS, 255, 0], &golden[..golden.len() - 64]),
        of([sealed, 2, 0], &golden),
        of([sealed | WITH_NOTE, 255, 9], &golden),
        of([sealed | WITH_NOTE, 255, 10], &golden),
        of([sealed | OTHER_CLUSTER, 255, 0], &golden),
        of([sealed, 255, 0], &golden[..216]),
    ]
}

fn check(what: u8, bare: u8, known: u8, packed: &[u8]) {
    let has = |bit| what & bit != 0;
    let (mut store, first_frame) = unpacked(packed);
    if has(WITH_ZEROS) {
        store.resize(store.len().next_multiple_of(8) + 1024, 0);
    }
    if has(SEAL_HEADER) {
        seal_header(&mut store);
    }
    if has(SEAL_FRAMES) {
        seal_frames(&mut store, first_frame, usize::from(bare));
    }
    let first = store.get(56..64).map_or(1, |bytes| u64_at(bytes, 0));
    let cluster = store.get(32..48).map_or(1, |bytes| {
        u128::from_le_bytes(bytes.try_into().expect("16 bytes"))
    });
    let cluster_id = ClusterId(cluster ^ u128::from(has(OTHER_CLUSTER)));
    let name = format!("{first:020}.store");
    let note = note(2, u64::from(known), 1);
    let files: [(&str, &[u8]); 2] = [(&name, &store), ("committed", &note)];
    let disk = Disk::of(if has(WITH_NOTE) { &files } else { &files[..1] });
    let before = disk.files();

    let (mut log, report) = match Log::open(disk.fs(), options(cluster_id)) {
        Ok(opened) => opened,
        Err(error) => {
            let is_clear = matches!(error, OpenError::Damaged(_) | OpenError::OtherCluster { .. });
            assert!(is_clear && !error.to_string().is_empty(), "{error:?}");
            assert_eq!(disk.files(), before, "{error} changed the disk");
            return;
        }
    };
    // Whose a segment is without its header, nobody knows; it is left alone as it is.
    let has_header = report.damage.as_ref().is_none_or(|damage| damage.position.get() > 0);
    assert!(!has(OTHER_CLUSTER) || !has_header, "a log of another cluster was opened");
    let view = log.view();
    let found = entries(&view, LogIndex(first), report.last_log_index);
    assert_in_store(&found, &report, &frames(&store, first_frame));
    assert_gapless(&view, &report);
    if report.damage.is_some() {
        assert_eq!(disk.files(), before, "a damaged log was changed");
        let next = Entry {
            log_index: report.last_log_index.plus(1),
            ..blank(report.last_log_index, &log)
        };
        assert!(log.append(vec![next]).is_err(), "a damaged log took an entry");
        return;
    }
    assert!(
        !has(WITH_NOTE) || report.last_log_index >= LogIndex(u64::from(known)),
        "an end is gone: {report:?}"
    );
    view.scrub(|_| ()).expect("it was opened without damage");
    let next = blank(report.last_log_index, &log);
    if next.log_index >= LogIndex(NUMBER_END) {
        return;
    }
    log.append(vec![next.clone()]).expect("it goes on");
    log.sync().expect("nothing fails here");
    drop(log);
    disk.crash(u64::from(bare));
    assert_opens_with(&disk, cluster_id, &report, &[found, vec![next]].concat());
}

/// The entry that may follow.
fn blank(last: LogIndex, log: &Log) -> Entry {
    Entry {
        log_index: last.plus(1),
        term: log.state().checkpoint().last_term(),
        timestamp: log.state().checkpoint().last_timestamp(),
        payload: Payload::Blank,
    }
}

/// Everything from `first` to `last`, a little at a time.
fn entries(view: &LogView, first: LogIndex, last: LogIndex) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let next = LogIndex(first.get() + found.len() as u64);
        let some = view
            .read_entries(next, last.plus(1), 100)
            .expect("they are there");
        if some.is_empty() {
            return found;
        }
        found.extend(some);
    }
}

/// The entries are those of the first frames; all of them where the log is not damaged.
fn assert_in_store(found: &[Entry], report: &OpenReport, frames: &[Frame<'_>]) {
    let held: Vec<Entry> = frames.iter().filter_map(Frame::entry).collect();
    assert!(held.starts_with(found), "{found:?} are not the first of {held:?}");
    assert!(
        report.damage.is_some() || found.len() == held.len(),
        "{report:?}: {} entries of {}",
        found.len(),
        held.len()
    );
    let mut last: Option<(LogIndex, Term, TimestampMs)> = None;
    for entry in found {
        if let Some((log_index, term, timestamp)) = last {
            assert_eq!(entry.log_index, log_index.plus(1));
            assert!(
                entry.term >= term && entry.timestamp >= timestamp,
                "term or time falls at {}",
                entry.log_index
            );
        }
        last = Some((entry.log_index, entry.term, entry.timestamp));
    }
    if let Some((log_index, ..)) = last {
        assert_eq!(log_index, report.last_log_index);
    }
}

/// Every offset from the earliest to the tail is there, once.
fn assert_gapless(view: &LogView, report: &OpenReport) {
    assert!(report.earliest <= report.tail, "{report:?}");
    let mut next = report.earliest;
    while next < report.tail {
        let chunk = view.read(next, report.tail, 100).expect("it is below the tail");
        let mut expected = next;
        for batch in &chunk.batches {
            assert_eq!(batch.base_offset, expected, "at {next}");
            expected = expected.plus(u64::from(batch.record_count));
        }
        assert!(chunk.next_offset == expected && expected > next, "at {next}");
        next = expected;
    }
    assert_eq!(next, report.tail);
    let at = view
        .offset_at(TimestampMs(u64::MAX), report.tail)
        .expect("it is whole");
    assert!((report.earliest..=report.tail).contains(&at));
    assert!(view.last_log_id().expect("it is whole").0 <= report.last_log_index);
}

/// After a power cut the log holds what was synced, and says what it said before.
fn assert_opens_with(disk: &Disk, cluster_id: ClusterId, before: &OpenReport, expected: &[Entry]) {
    let (log, report) = Log::open(disk.fs(), options(cluster_id)).expect("it was open before");
    let last = before.last_log_index.plus(1);
    assert_eq!(
        (report.last_log_index, report.damage.as_ref(), report.cut_bytes),
        (last, None, 0)
    );
    let offsets = |report: &OpenReport| -> (Offset, Offset) { (report.earliest, report.tail) };
    assert_eq!(offsets(&report), offsets(before));
    let first = expected[0].log_index;
    assert_eq!(entries(&log.view(), first, last), expected);
}
