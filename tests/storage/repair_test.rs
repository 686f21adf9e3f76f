//! A damaged segment is taken out, written anew from another node's entries, and put back, with a crash at every step.

use std::io;

use annals::{
    storage::{
        AppendError, CutError, Last, Log, LogOptions, OpenError, ReadEntriesError, ReadError, RepairError,
        Repaired,
        entry::{Entry, Payload},
        fs::FileSystem,
    },
    types::{LogIndex, Offset, Position, Term},
};
use bytes::Bytes;

use crate::{
    history::{History, batch, directory, open, options, read_all, stamped},
    stage::{FiveSegments, store},
    support::sim_fs::{Fault, Leaves, On, SimFileSystem},
};

/// A segment holds an entry or two.
fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 200,
        ..options()
    }
}

fn payload(number: u64) -> Payload {
    let text = format!(
        "entry {number} {}",
        "y".repeat(usize::try_from(number * 11 % 70).unwrap())
    );
    match number % 5 {
        0 => Payload::Blank,
        1 => Payload::Membership(Bytes::from(text)),
        2 => Payload::Records(stamped(batch(text, 2), 7, u32::try_from(number).unwrap(), 0)),
        // A repeat of the one before: void.
        3 => Payload::Records(stamped(batch(text, 2), 7, u32::try_from(number - 1).unwrap(), 0)),
        _ => Payload::Records(batch(text, 3)),
    }
}

impl FiveSegments {
    /// Opens the log anew, with a bit of a store flipped.
    fn damaged(&self, first: u64, byte: usize) -> Log {
        self.fs.restore(&self.snapshot);
        let mut bytes = self.fs.bytes(&store(first));
        bytes[byte] ^= 1 << (byte % 8);
        self.fs.set_bytes(&store(first), &bytes);
        self.open()
    }

    /// Everything but the records of the segment can be read; those are said to be damaged.
    fn check_hole(&self, log: &Log, first: u64, behind: u64) {
        let (view, tail) = (log.view(), self.history.tail());
        let hole = self.history.checkpoint(first - 1).next_offset()
            ..self.history.checkpoint(behind - 1).next_offset();
        for from in 0..tail.get() {
            let from = Offset(from);
            let (batches, error) = read_all(&view, from, from.plus(1), 1);
            match error {
                None => assert_eq!(batches, self.history.batches(from, from.plus(1))),
                Some(ReadError::Corrupt { path, .. }) => {
                    assert!(hole.contains(&from), "{from} is not in {hole:?}");
                    assert_eq!(path, store(first));
                }
                Some(other) => panic!("{other}"),
            }
        }
        let error = view
            .read_entries(LogIndex(first), LogIndex(behind), 1)
            .unwrap_err();
        assert!(
            matches!(error, ReadEntriesError::Read(ReadError::Corrupt { .. })),
            "{error}"
        );
        let error = view.log_id_of(LogIndex(first)).unwrap_err();
        assert!(
            matches!(error, ReadEntriesError::Read(ReadError::Corrupt { .. })),
            "{error}"
        );
    }

    fn kept(&self) -> Vec<String> {
        let names = self.fs.list(directory()).unwrap();
        let is_kept = |name: &String| name.contains("quarantined") || name.contains("closed");
        names.into_iter().filter(is_kept).collect()
    }
}

#[test]
fn a_scrub_finds_every_byte_that_matters_segment_by_segment() {
    let log = FiveSegments::of(payload);
    let sound = log.open();
    for first in [1, 4, 7, 10] {
        let mut read = 0;
        assert!(
            sound
                .view()
                .scrub_segment(LogIndex(first), |bytes| read += bytes)
                .unwrap()
        );
        assert_eq!(read, log.fs.bytes(&store(first)).len() as u64 - 4096);
    }
    for first in [2, 13, 99] {
        let scrubbed = sound.view().scrub_segment(LogIndex(first), |_| ()).unwrap();
        assert!(!scrubbed, "{first} is no sealed segment");
    }
    let size = log.fs.bytes(&store(4)).len();
    let (mut found, mut harmless) = (0, 0);
    for byte in (0..250).chain(4096..size).step_by(3) {
        let damaged = log.damaged(4, byte);
        match damaged.view().scrub_segment(LogIndex(4), |_| ()) {
            Err(ReadEntriesError::Read(ReadError::Corrupt { path, .. })) => {
                assert_eq!(path, store(4));
                found += 1;
            }
            Ok(true) => {
                log.history.check(&damaged);
                harmless += 1;
            }
            other => panic!("byte {byte}: {other:?}"),
        }
        for other in [1, 7, 10] {
            assert!(damaged.view().scrub_segment(LogIndex(other), |_| ()).unwrap());
        }
    }
    assert!(found > 180 && harmless < 30, "{found} found, {harmless} harmless");
}

#[test]
fn a_segment_that_lacks_its_end_is_found_by_a_scrub_of_it_alone() {
    let log = FiveSegments::of(payload);
    let good = log.fs.bytes(&store(7));
    let ends_early = good.len() - 64 - 80;
    for cut in [4096, ends_early / 8 * 8] {
        log.fs.restore(&log.snapshot);
        log.fs.set_bytes(&store(7), &good[..cut]);
        let scrubbed = log.open().view().scrub_segment(LogIndex(7), |_| ());
        assert!(
            matches!(scrubbed, Err(ReadEntriesError::Read(ReadError::Corrupt { .. }))),
            "{scrubbed:?}"
        );
    }
}

#[test]
fn a_quarantined_segment_is_read_around_and_comes_back_repaired() {
    let repairable = FiveSegments::of(payload);
    for first in [1, 4, 10] {
        for (byte, reopened) in [(5, false), (110, false), (4100, false), (4200, true), (110, true)] {
            let mut log = repairable.damaged(first, byte);
            // The first segment's header tells where the log begins; without it nothing is written.
            let writable = first != 1 || byte > 100;
            log.quarantine(LogIndex(first)).unwrap();
            log.quarantine(LogIndex(first)).unwrap();
            let name = format!("{first:020}.store.quarantined.1");
            assert_eq!(repairable.kept(), [name]);
            repairable.check_hole(&log, first, first + 3);
            let mut history = repairable.history.clone();
            if reopened {
                drop(log);
                repairable.fs.crash(3);
                log = repairable.open();
                repairable.check_hole(&log, first, first + 3);
            }
            if writable {
                history.append_to(&mut log, 9, 9000, payload(3));
                log.sync().unwrap();
            } else {
                assert!(matches!(log.sync(), Err(AppendError::Damaged)));
            }
            let rebuilt = repairable.rebuilt(&log, first).unwrap();
            let repaired = log.replace(rebuilt).unwrap();
            assert_eq!(repaired == Repaired::Readable, writable);
            if writable {
                history.check(&log);
                assert!(log.view().scrub_segment(LogIndex(first), |_| ()).unwrap());
            }
            let name = format!("{first:020}.store.closed.1");
            assert_eq!(
                repairable.kept(),
                std::slice::from_ref(&name),
                "it is never removed"
            );
            drop(log);
            repairable.fs.crash(4);
            let mut log = repairable.open();
            history.check(&log);
            // A second time it is kept beside the first.
            log.quarantine(LogIndex(first)).unwrap();
            assert_eq!(
                repairable.kept(),
                [name, format!("{first:020}.store.quarantined.2")]
            );
            let rebuilt = repairable.rebuilt(&log, first).unwrap();
            log.replace(rebuilt).unwrap();
            history.check(&log);
        }
    }
}

/// Its sound records are served until its successor is there.
#[test]
fn a_damaged_segment_can_be_repaired_without_being_taken_out_first() {
    let repairable = FiveSegments::of(payload);
    let mut log = repairable.damaged(7, 4300);
    let rebuilt = repairable.rebuilt(&log, 7).unwrap();
    let old_view = log.view();
    assert_eq!(log.replace(rebuilt).unwrap(), Repaired::Readable);
    repairable.history.check(&log);
    let from = repairable.history.checkpoint(6).next_offset();
    let error = old_view.read(from, repairable.history.tail(), 1).unwrap_err();
    assert!(matches!(error, ReadError::Replaced { .. }), "{error}");
}

#[test]
fn entries_that_were_not_there_are_refused() {
    let repairable = FiveSegments::of(payload);
    let log = repairable.damaged(7, 4300);
    let rebuild = || {
        log.state()
            .rebuild(log.state().gap(LogIndex(7)).unwrap())
            .unwrap()
    };
    assert_eq!(
        log.state().gap(LogIndex(7)).unwrap().last(),
        Last::Exactly(LogIndex(9))
    );
    let entry = |number| repairable.history.entry(number);
    let mut short = rebuild();
    short.append(entry(7)).unwrap();
    assert!(matches!(short.append(entry(9)), Err(RepairError::Place(_))));
    short.append(entry(8)).unwrap();
    let refused = short.finish().unwrap_err();
    assert!(
        matches!(
            refused,
            RepairError::Incomplete {
                expected: LogIndex(9),
                found: LogIndex(8)
            }
        ),
        "{refused}"
    );
    let mut long = rebuild();
    for number in 7..=9 {
        long.append(entry(number)).unwrap();
    }
    assert!(matches!(
        long.append(entry(10)),
        Err(RepairError::Incomplete { .. })
    ));
    long.finish().unwrap();
    let later_term = |entry: Entry| Entry {
        term: Term(9),
        ..entry
    };
    let other_count = |_: Entry| {
        let entry = entry(9);
        Entry {
            payload: Payload::Records(batch("more records", 5)),
            ..entry
        }
    };
    let changes: [&dyn Fn(Entry) -> Entry; 2] = [&later_term, &other_count];
    for change in changes {
        let mut wrong = rebuild();
        wrong.append(entry(7)).unwrap();
        wrong.append(entry(8)).unwrap();
        wrong.append(change(entry(9))).unwrap();
        let refused = wrong.finish().unwrap_err();
        assert!(matches!(refused, RepairError::Unfit { .. }), "{refused}");
    }
    for first in [8, 13, 99] {
        let refused = log.state().gap(LogIndex(first)).unwrap_err();
        assert!(matches!(refused, RepairError::NoSegment { .. }), "{refused}");
    }
}

/// Nothing says how long what is missing is; a segment is no longer than positions in it can tell.
#[test]
fn segments_that_are_missing_in_the_middle_are_found_given_to_nobody_and_come_back_as_several() {
    let repairable = FiveSegments::of(payload);
    repairable.fs.remove(&store(4)).unwrap();
    repairable.fs.remove(&store(7)).unwrap();
    let mut log = open(&repairable.fs, small()).unwrap().0;
    let refused = [
        log.view().scrub_segment(LogIndex(1), |_| ()).unwrap_err(),
        log.view().manifest(LogIndex(15)).unwrap_err(),
        log.view().manifest(LogIndex(15)).unwrap_err(),
    ];
    for error in refused {
        let ReadEntriesError::Read(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.damaged_segment(), Some(LogIndex(1)), "{error}");
    }
    let rebuilt = repairable.rebuilt(&log, 1).unwrap();
    assert!(rebuilt.segments() > 3, "{rebuilt:?}");
    assert_eq!(log.replace(rebuilt).unwrap(), Repaired::Readable);
    repairable.history.check(&log);
    assert!(log.view().manifest(LogIndex(15)).is_ok());
    drop(log);
    repairable.fs.crash(6);
    repairable.history.check(&repairable.open());
}

#[test]
fn a_last_segment_may_come_back_as_several_whatever_fails_meanwhile() {
    let repairable = FiveSegments::of(payload);
    let reopened = |seed| {
        repairable.fs.crash(seed);
        open(&repairable.fs, small()).unwrap()
    };
    let mut cut_short = 0;
    for nth in 1.. {
        drop(repairable.damaged(13, 4200));
        let (mut log, _) = reopened(nth);
        let rebuilt = repairable.rebuilt(&log, 13).unwrap();
        assert!(rebuilt.segments() > 1, "{rebuilt:?}");
        let fault = Fault::nth(On::Any, nth, io::ErrorKind::Other);
        repairable.fs.inject(fault.leaving(Leaves::Mixture).lasting());
        let replaced = log.replace(rebuilt).is_ok();
        repairable.fs.clear_faults();
        drop(log);
        let (mut log, report) = reopened(nth);
        if report.damage.is_some() || log.view().scrub(|_| ()).is_err() {
            cut_short += 1;
            assert!(!replaced, "call {nth}: it was repaired");
            let rebuilt = repairable.rebuilt(&log, 13).unwrap();
            log.replace(rebuilt).unwrap();
            drop(log);
            log = reopened(nth + 1).0;
        }
        repairable.history.check(&log);
        if replaced {
            break;
        }
    }
    assert!(cut_short > 3, "{cut_short}");
}

#[test]
fn the_active_segment_is_not_taken_out_and_what_no_longer_fits_is_not_put_in() {
    let repairable = FiveSegments::of(payload);
    let mut log = repairable.damaged(7, 4300);
    let refused = log.quarantine(LogIndex(13)).unwrap_err();
    assert!(matches!(refused, CutError::NoSegment { .. }), "{refused}");
    let rebuilt = repairable.rebuilt(&log, 7).unwrap();
    log.trim(repairable.history.checkpoint(9).next_offset()).unwrap();
    let refused = log.replace(rebuilt).unwrap_err();
    assert!(
        matches!(refused, CutError::NoSegment { .. }),
        "it was trimmed: {refused}"
    );
    repairable.history.check(&log);
    assert!(log.sync().is_ok());
    // A start has removed the file that was written.
    let log = repairable.damaged(7, 4300);
    let rebuilt = repairable.rebuilt(&log, 7).unwrap();
    drop(log);
    let refused = repairable.open().replace(rebuilt).unwrap_err();
    assert!(matches!(refused, CutError::NoSegment { .. }), "{refused}");
    assert_eq!(repairable.kept(), [] as [String; 0]);
}

#[test]
fn a_segment_whose_header_is_lost_begins_with_what_the_one_before_it_leads_to() {
    let repairable = FiveSegments::of(payload);
    let mut log = repairable.damaged(7, 100);
    let mut before = repairable.fs.bytes(&store(4));
    let rebuilt = repairable.rebuilt(&log, 7).unwrap();
    log.replace(rebuilt).unwrap();
    repairable.history.check(&log);
    // With both damaged nobody knows.
    let log = repairable.damaged(7, 100);
    before[4200] ^= 1;
    repairable.fs.set_bytes(&store(4), &before);
    let refused = log.state().gap(LogIndex(7)).unwrap_err();
    assert!(
        matches!(refused, RepairError::StartUnknown { first: LogIndex(7) }),
        "{refused}"
    );
}

/// The story: a node did not start, though any other had the segment.
#[test]
fn a_last_segment_whose_header_is_lost_is_damaged_like_any_other_and_repaired() {
    let repairable = FiveSegments::of(payload);
    let before = repairable.fs.bytes(&store(10));
    // Of the part that says how to read its frames, and of the state before it.
    for (byte, seen) in [(0, 12), (30, 12), (100, 15)] {
        let mut log = repairable.damaged(13, byte);
        assert!(matches!(log.sync(), Err(AppendError::Damaged)), "byte {byte}");
        assert_eq!(
            repairable.fs.bytes(&store(10)),
            before,
            "nothing of it is touched"
        );
        assert_eq!(log.state().checkpoint().last_log_index(), LogIndex(12));
        repairable.history.check(&log);
        let gap = log.state().gap(LogIndex(13)).unwrap();
        assert_eq!(gap.last(), Last::AtLeast(LogIndex(seen)));
        let nothing = log.state().rebuild(gap.clone()).unwrap();
        assert!(matches!(nothing.finish(), Err(RepairError::Incomplete { .. })));
        // As the leader has it, which has all of it.
        let mut rebuild = log.state().rebuild(gap).unwrap();
        for number in 13..=repairable.history.last() {
            rebuild.append(repairable.history.entry(number)).unwrap();
        }
        assert_eq!(log.replace(rebuild.finish().unwrap()).unwrap(), Repaired::Reopen);
        assert_eq!(repairable.kept(), ["00000000000000000013.store.closed.1"]);
        drop(log);
        repairable.fs.crash(10);
        repairable.history.check(&repairable.open());
    }
    // With the end of the one before damaged, too, nobody knows what there was, and nothing is taken for torn.
    let size = before.len();
    for places in [&[100][..], &[size - 150], &[size - 150, size - 40]] {
        drop(repairable.damaged(13, 100));
        let mut bytes = before.clone();
        for place in places {
            bytes[*place] ^= 1;
        }
        repairable.fs.set_bytes(&store(10), &bytes);
        let refused = open(&repairable.fs, options()).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged(_)), "{places:?}: {refused}");
        assert_eq!(repairable.fs.bytes(&store(10)), bytes, "{places:?}");
    }
}

#[test]
fn an_only_segment_whose_header_is_lost_is_repaired_where_the_log_is_known_to_begin_with_it() {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut history = History::new();
    for number in 1..=3 {
        history.append_to(&mut log, 1, 1000, payload(number));
    }
    log.sync().unwrap();
    log.roll().unwrap();
    for number in 4..=6 {
        history.append_to(&mut log, 1, 1000, payload(number));
    }
    log.mark().unwrap();
    let snapshot = fs.snapshot();
    // With all that there ever was, and behind a trim.
    let trimmed = |fs: &SimFileSystem| {
        let (mut log, _) = open(fs, options()).unwrap();
        let below = history.checkpoint(3).next_offset();
        assert_eq!(log.trim(below).unwrap().segments, 1);
    };
    drop(log);
    trimmed(&fs);
    let mut bytes = fs.bytes(&store(4));
    bytes[30] ^= 1;
    fs.set_bytes(&store(4), &bytes);
    let (mut log, report) = open(&fs, options()).unwrap();
    let damage = report.damage.unwrap();
    assert_eq!((damage.path, damage.position), (store(4), Position::ZERO));
    assert_eq!(
        (report.last_log_index, report.earliest),
        (LogIndex(3), report.tail)
    );
    let gap = log.state().gap(LogIndex(4)).unwrap();
    let mut rebuild = log.state().rebuild(gap).unwrap();
    for number in 4..=6 {
        rebuild.append(history.entry(number)).unwrap();
    }
    assert_eq!(log.replace(rebuild.finish().unwrap()).unwrap(), Repaired::Reopen);
    drop(log);
    let (log, report) = open(&fs, options()).unwrap();
    assert_eq!((report.damage, report.last_log_index), (None, LogIndex(6)));
    drop(log);
    // Where the first ones are missing, nobody knows what it began with.
    fs.restore(&snapshot);
    fs.remove(&store(1)).unwrap();
    fs.set_bytes(&store(4), &bytes);
    let refused = open(&fs, options()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged(_)), "{refused}");
}

/// The end was acknowledged: a log that goes on without it has forgotten it.
#[test]
fn a_last_segment_that_is_damaged_or_taken_out_keeps_the_log_from_writing_until_it_is_repaired() {
    let repairable = FiveSegments::of(payload);
    let size = repairable.fs.bytes(&store(13)).len();
    for byte in [4096, 4200, size - 150] {
        for quarantined in [false, true] {
            let mut log = repairable.damaged(13, byte);
            assert!(matches!(log.sync(), Err(AppendError::Damaged)));
            if quarantined {
                log.quarantine(LogIndex(13)).unwrap();
                drop(log);
                repairable.fs.crash(9);
                let (opened, report) = open(&repairable.fs, options()).unwrap();
                let damage = report.damage.unwrap();
                assert!(damage.path.ends_with("00000000000000000013.store.quarantined.1"));
                log = opened;
                assert!(
                    matches!(log.sync(), Err(AppendError::Damaged)),
                    "entries are missing"
                );
                repairable.check_hole(&log, 13, 16);
            }
            let gap = log.state().gap(LogIndex(13)).unwrap();
            // The mark behind the last entry says how far it went.
            assert_eq!(gap.last(), Last::AtLeast(LogIndex(15)));
            let mut short = log.state().rebuild(gap).unwrap();
            short.append(repairable.history.entry(13)).unwrap();
            assert!(matches!(short.finish(), Err(RepairError::Incomplete { .. })));
            let rebuilt = repairable.rebuilt(&log, 13).unwrap();
            assert_eq!(log.replace(rebuilt).unwrap(), Repaired::Reopen);
            drop(log);
            repairable.fs.crash(10);
            let mut log = repairable.open();
            repairable.history.check(&log);
            let mut history = repairable.history.clone();
            history.append_to(&mut log, 9, 9000, payload(4));
            log.sync().unwrap();
            history.check(&log);
        }
    }
}

#[test]
fn a_log_of_which_nothing_but_a_quarantined_segment_is_left_is_no_new_log() {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut history = History::new();
    for number in 1..=3 {
        history.append_to(&mut log, 1, 1000, payload(number));
    }
    log.mark().unwrap();
    drop(log);
    let mut bytes = fs.bytes(&store(1));
    bytes[4100] ^= 1;
    fs.set_bytes(&store(1), &bytes);
    let (mut log, report) = open(&fs, options()).unwrap();
    assert!(report.damage.is_some());
    log.quarantine(LogIndex(1)).unwrap();
    drop(log);
    let (mut log, report) = open(&fs, options()).unwrap();
    assert!(report.damage.is_some() && matches!(log.sync(), Err(AppendError::Damaged)));
    let gap = log.state().gap(LogIndex(1)).unwrap();
    assert_eq!(gap.last(), Last::AtLeast(LogIndex(3)));
    let mut rebuild = log.state().rebuild(gap).unwrap();
    for number in 1..=3 {
        rebuild.append(history.entry(number)).unwrap();
    }
    assert_eq!(log.replace(rebuild.finish().unwrap()).unwrap(), Repaired::Reopen);
    drop(log);
    history.check(&open(&fs, options()).unwrap().0);
}

#[test]
fn a_hole_is_trimmed_and_truncated_like_any_segment_and_does_not_come_back() {
    let repairable = FiveSegments::of(payload);
    let mut log = repairable.damaged(4, 4200);
    log.quarantine(LogIndex(4)).unwrap();
    let below = repairable.history.checkpoint(6).next_offset();
    assert_eq!(log.trim(below).unwrap().segments, 2);
    assert_eq!(repairable.kept(), ["00000000000000000004.store.closed.1"]);
    drop(log);
    repairable.history.check(&repairable.open());
    let mut log = repairable.damaged(10, 4200);
    log.quarantine(LogIndex(10)).unwrap();
    log.truncate(LogIndex(8)).unwrap();
    let mut history = repairable.history.clone();
    history.keep(7);
    history.check(&log);
    drop(log);
    let mut log = repairable.open();
    history.append_to(&mut log, 9, 9000, payload(4));
    log.sync().unwrap();
    history.check(&log);
}

#[test]
fn a_quarantine_and_a_repair_that_are_cut_short_anywhere_lose_nothing() {
    let repairable = FiveSegments::of(payload);
    let mut repaired_logs = 0;
    for first in [1, 7, 13] {
        for nth in 1.. {
            let mut fired = false;
            for leaves in [Leaves::Nothing, Leaves::Mixture, Leaves::Everything] {
                for seed in 0..6 {
                    let what = format!("segment {first}, call {nth} leaves {leaves:?}, seed {seed}");
                    let mut log = repairable.damaged(first, 4200);
                    let before = repairable.fs.faults_fired();
                    let fault = Fault::nth(On::Any, nth, io::ErrorKind::Other).leaving(leaves);
                    repairable
                        .fs
                        .inject(if seed % 2 == 0 { fault.lasting() } else { fault });
                    let replaced = repairable
                        .rebuilt(&log, first)
                        .ok()
                        .map(|rebuilt| log.replace(rebuilt).is_ok());
                    repairable.fs.clear_faults();
                    fired |= repairable.fs.faults_fired() > before;
                    drop(log);
                    if seed == 0 {
                        repairable.fs.kill();
                    } else {
                        repairable.fs.crash(seed);
                    }
                    let (mut log, report) =
                        open(&repairable.fs, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let sound = log.view().scrub(|_| ()).is_ok() && report.damage.is_none();
                    assert!(
                        sound || replaced != Some(true),
                        "{what}: repaired, and damaged again"
                    );
                    if sound {
                        repaired_logs += 1;
                    } else {
                        assert_eq!(report.damage.is_some(), first == 13, "{what}");
                        let rebuilt = repairable.rebuilt(&log, first).unwrap();
                        log.replace(rebuilt).unwrap();
                        drop(log);
                        repairable.fs.crash(seed + 50);
                        log = repairable.open();
                    }
                    repairable.history.check(&log);
                    assert_eq!(repairable.kept().len(), 1, "{what}");
                }
            }
            if !fired {
                assert!(nth > 10, "only {nth} calls");
                break;
            }
        }
    }
    assert!(repaired_logs > 50, "{repaired_logs} were repaired");
}
