//! Segments that are missing at the beginning of a log are told from those that were trimmed, whatever else happens to it.

use std::{io, path::PathBuf};

use annals::{
    storage::{
        CutError, Log, LogOptions, MissingSegments, ReadEntriesError, ReadError, control::Control,
        entry::Payload, fs::FileSystem,
    },
    types::{LogIndex, Offset},
};

use crate::{
    history::{batch, directory, open, options, read_all},
    stage::{FiveSegments, store},
    support::sim_fs::{Fault, Leaves, On},
};

fn beginning() -> PathBuf {
    directory().join("beginning")
}

/// Two records each.
fn records(number: u64) -> Payload {
    Payload::Records(batch(format!("entry {number}"), 2))
}

impl FiveSegments {
    /// Puts everything back, and removes the stores of the segments that begin with these entries.
    fn without(&self, firsts: &[u64]) {
        self.fs.restore(&self.snapshot);
        for first in firsts {
            self.fs.remove(&store(*first)).unwrap();
        }
        self.fs.sync_dir(directory()).unwrap();
    }

    /// The log is readable from the entry `there` on, and what is missing before that is damage to everybody.
    fn check(&self, log: &Log, there: u64) {
        let (view, tail) = (log.view(), self.history.tail());
        let readable = self.offset_of(there);
        for from in 0..readable.get() {
            let refused = view.read(Offset(from), tail, 1).unwrap_err();
            let damaged = refused.damaged_segment();
            assert_eq!(damaged, Some(LogIndex(1)), "{refused}");
            assert_eq!(view.read_resident(Offset(from), tail, 1), None);
        }
        let (batches, error) = read_all(&view, readable, tail, 1);
        assert!(error.is_none());
        assert_eq!(batches, self.history.batches(readable, tail));
        let refused = view.read_entries(LogIndex(1), LogIndex(16), 1).unwrap_err();
        assert!(is_damage(&refused), "{refused}");
        let found = view.scrub_segment(LogIndex(1), |_| ()).unwrap_err();
        assert!(is_damage(&found), "{found}");
    }
}

fn is_damage(error: &ReadEntriesError) -> bool {
    matches!(error, ReadEntriesError::Read(ReadError::Corrupt { .. }))
}

/// The bug: the log opened as if they had been trimmed, and readers of what was acknowledged were told so.
#[test]
fn first_segments_that_are_missing_are_damage_and_no_trim() {
    let whole = FiveSegments::of(records);
    for missing in [&[1][..], &[1, 4], &[1, 4, 7, 10]] {
        whole.without(missing);
        for _ in 0..2 {
            let (mut log, report) = open(&whole.fs, options()).unwrap();
            let last = missing.last().unwrap() + 2;
            let expected = MissingSegments {
                directory: directory().to_owned(),
                noted_in: beginning(),
                first: LogIndex(1),
                last: LogIndex(last),
                offset: Offset(0),
            };
            assert_eq!((report.damage, report.missing), (None, Some(expected)));
            assert_eq!(report.earliest, Offset(0));
            whole.check(&log, last + 1);
            // The end is there, so that the log can go on.
            log.mark().unwrap();
        }
    }
    let (_, report) = open(&whole.fs, options()).unwrap();
    assert_eq!(
        report.missing.unwrap().to_string(),
        "the log in /data/logs/default begins with entry 1 and offset 0, and its first segments, with the entries up to 12, are \
         missing; restore their files from a backup, or, to give up what they held, remove /data/logs/default/beginning"
    );
}

#[test]
fn nobody_is_given_the_segments_behind_those_that_are_missing() {
    let whole = FiveSegments::of(records);
    for missing in [&[1][..], &[1, 4], &[4], &[7, 10]] {
        whole.without(missing);
        let (log, _) = open(&whole.fs, options()).unwrap();
        let view = log.view();
        for committed in 12..=15 {
            let refused = view.manifest(LogIndex(committed)).unwrap_err();
            assert!(is_damage(&refused), "{missing:?}: {refused}");
        }
        // Those before it are given all the same.
        if missing[0] > 4 {
            assert!(view.manifest(LogIndex(3)).unwrap().is_some());
        }
    }
}

/// What is missing may be many times as long as a segment is allowed to be.
#[test]
fn missing_segments_come_back_from_entries_as_several_whatever_fails_meanwhile() {
    let whole = FiveSegments::of(records);
    let small = LogOptions {
        segment_bytes: 200,
        ..options()
    };
    let again = |seed: u64| {
        whole.fs.crash(seed);
        open(&whole.fs, small.clone()).unwrap()
    };
    let mut cut_short = 0;
    for nth in 1.. {
        whole.without(&[1, 4, 7]);
        let (mut log, _) = again(nth);
        let rebuilt = whole.rebuilt(&log, 1).unwrap();
        assert!(rebuilt.segments() > 3, "{rebuilt:?}");
        let fault = Fault::nth(On::Any, nth, io::ErrorKind::Other);
        whole.fs.inject(fault.leaving(Leaves::Mixture).lasting());
        let replaced = log.replace(rebuilt);
        whole.fs.clear_faults();
        drop(log);
        let (mut log, report) = again(nth);
        if let Some(missing) = report.missing {
            cut_short += 1;
            assert!(replaced.is_err(), "call {nth}: it was repaired");
            whole.check(&log, missing.last.get() + 1);
            let rebuilt = whole.rebuilt(&log, 1).unwrap();
            log.replace(rebuilt).unwrap();
        }
        whole.history.check(&log);
        drop(log);
        let (log, report) = again(nth + 1);
        assert_eq!((report.missing, report.earliest), (None, Offset(0)));
        whole.history.check(&log);
        assert!(log.view().manifest(LogIndex(15)).is_ok());
        if replaced.is_ok() {
            break;
        }
    }
    assert!(cut_short > 3, "{cut_short}");
}

#[test]
fn what_is_missing_is_not_truncated_and_what_follows_on_it_is() {
    let whole = FiveSegments::of(records);
    whole.without(&[1, 4]);
    let (mut log, _) = open(&whole.fs, options()).unwrap();
    for from in [1, 3, 6] {
        let refused = log.truncate(LogIndex(from)).unwrap_err();
        assert!(
            matches!(
                refused,
                CutError::NotInLog {
                    first: LogIndex(7),
                    ..
                }
            ),
            "{refused}"
        );
    }
    log.truncate(LogIndex(7)).unwrap();
    drop(log);
    let (log, report) = open(&whole.fs, options()).unwrap();
    assert_eq!(report.last_log_index, LogIndex(6));
    assert_eq!(report.missing.unwrap().last, LogIndex(6));
    assert_eq!(log.state().checkpoint(), whole.history.checkpoint(6));
}

/// Entry 13 trims what the first three segments hold.
fn trimmed_later(number: u64) -> Payload {
    match number {
        13 => Payload::Control(Control::Trim { below: Offset(18) }.encode()),
        _ => records(number),
    }
}

#[test]
fn what_a_committed_trim_lets_go_is_not_missing_whoever_removed_it() {
    let whole = FiveSegments::of(trimmed_later);
    for (missing, committed, is_missing) in [
        (&[1][..], 13, false),
        (&[1, 4, 7], 13, false),
        (&[1, 4, 7], 12, true),
        (&[1, 4, 7, 10], 13, true),
    ] {
        whole.without(missing);
        for _ in 0..2 {
            let (mut log, report) = open(&whole.fs, options()).unwrap();
            assert!(report.missing.is_some(), "nobody has said what is committed");
            log.trim_to_committed(LogIndex(committed)).unwrap();
            assert_eq!(log.state().missing_segments().is_some(), is_missing);
            if !is_missing {
                whole.history.check(&log);
                assert!(log.view().manifest(LogIndex(15)).is_ok());
            }
        }
    }
}

#[test]
fn a_trim_of_what_is_missing_ends_it_for_good() {
    let whole = FiveSegments::of(records);
    whole.without(&[1, 4]);
    let (mut log, _) = open(&whole.fs, options()).unwrap();
    let trimmed = log.trim(whole.offset_of(7)).unwrap();
    assert_eq!(
        (trimmed.earliest, log.state().missing_segments()),
        (whole.offset_of(7), None)
    );
    drop(log);
    whole.fs.crash(1);
    let (log, report) = open(&whole.fs, options()).unwrap();
    assert_eq!((report.missing, report.earliest), (None, trimmed.earliest));
    whole.history.check(&log);
}

#[test]
fn of_a_trimmed_log_the_next_segment_is_missed_and_written_anew() {
    let whole = FiveSegments::of(records);
    let (mut log, _) = open(&whole.fs, options()).unwrap();
    log.trim(whole.offset_of(7)).unwrap();
    drop(log);
    whole.fs.remove(&store(7)).unwrap();
    let (mut log, report) = open(&whole.fs, options()).unwrap();
    let missing = report.missing.unwrap();
    assert_eq!(
        (missing.first, missing.last, missing.offset),
        (LogIndex(7), LogIndex(9), Offset(12))
    );
    let gap = log.state().gap(LogIndex(7)).unwrap();
    let mut rebuild = log.state().rebuild(gap).unwrap();
    for number in 7..=9 {
        rebuild.append(whole.history.entry(number)).unwrap();
    }
    log.replace(rebuild.finish().unwrap()).unwrap();
    whole.history.check(&log);
    assert_eq!(log.state().missing_segments(), None);
    drop(log);
    for first in [7, 10, 13] {
        whole.fs.remove(&store(first)).unwrap();
    }
    let refused = open(&whole.fs, options()).unwrap_err().to_string();
    assert!(
        refused.contains("the log begins with entry 7, and no segment is left"),
        "{refused}"
    );
}

/// Logs of earlier versions do not say where they begin. What can be told of them is taken down; what cannot is not believed.
#[test]
fn a_log_that_does_not_say_where_it_begins_is_read_and_passed_on_only_where_that_is_known() {
    let whole = FiveSegments::of(trimmed_later);
    // From the first entry on: nothing can be missing, and from now on it says so.
    whole.fs.remove(&beginning()).unwrap();
    drop(open(&whole.fs, options()).unwrap());
    whole.fs.remove(&store(1)).unwrap();
    assert!(open(&whole.fs, options()).unwrap().1.missing.is_some());
    // Later ones may have been trimmed or be missing, until a trim tells.
    whole.without(&[1, 4]);
    whole.fs.remove(&beginning()).unwrap();
    let (mut log, report) = open(&whole.fs, options()).unwrap();
    assert_eq!((report.missing, report.earliest), (None, whole.offset_of(7)));
    let refused = log.view().manifest(LogIndex(12)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("no trim that is committed reaches up to it"),
        "{refused}"
    );
    assert!(!whole.fs.paths().contains(&beginning()));
    log.trim_to_committed(LogIndex(13)).unwrap();
    assert!(log.view().manifest(LogIndex(12)).is_ok());
    drop(log);
    whole.fs.remove(&store(7)).unwrap();
    let missing = open(&whole.fs, options()).unwrap().1.missing.unwrap();
    assert_eq!(missing.first, LogIndex(7));
}

#[test]
fn a_beginning_that_cannot_be_understood_is_not_guessed() {
    let whole = FiveSegments::of(records);
    let good = whole.fs.bytes(&beginning());
    let refused = |bytes: &[u8]| {
        whole.fs.set_bytes(&beginning(), bytes);
        open(&whole.fs, options()).unwrap_err().to_string()
    };
    for bytes in [&b""[..], &good[..good.len() - 1]] {
        let said = refused(bytes);
        assert!(
            said.starts_with("/data/logs/default/beginning is damaged (")
                && said.contains("remove it if you know that none of them is missing"),
            "{said}"
        );
    }
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let said = refused(&changed(12, 2));
    assert_eq!(
        said,
        "/data/logs/default/beginning has format version 2: start the newer program"
    );
    let said = refused(&changed(16, 77));
    assert!(
        said.contains("/data/logs/default/beginning belongs to cluster"),
        "{said}"
    );
    whole.fs.set_bytes(&beginning(), &good);
    whole.history.check(&open(&whole.fs, options()).unwrap().0);
}
