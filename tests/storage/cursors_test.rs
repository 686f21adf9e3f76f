//! Cursors are as durable as the log they are about: they outlive its start, its trims and its oldest format, and go with what is
//! truncated.

use std::{io::IoSlice, path::Path};

use annals::{
    storage::{
        Log, LogOptions,
        control::Control,
        cursors::{Cursor, CursorCommand, CursorName},
        entry::{Entry, Payload},
        fs::{FileSystem, OpenMode},
    },
    types::{ClusterId, LogIndex, Offset, Term, TimestampMs},
};

use crate::{
    history::{History, batch, open, options},
    support::sim_fs::SimFileSystem,
};

fn name(text: &str) -> CursorName {
    text.parse().unwrap()
}

fn command(command: CursorCommand) -> Payload {
    Payload::Control(Control::Cursor(command).encode())
}

fn take(text: &str) -> Payload {
    command(CursorCommand::Take { name: name(text) })
}

fn commit(text: &str, epoch: u64, offset: u64) -> Payload {
    command(CursorCommand::Commit {
        name: name(text),
        epoch: LogIndex(epoch),
        offset: Offset(offset),
    })
}

fn cursor(log: &Log, text: &str) -> Option<Cursor> {
    log.state().checkpoint().cursors().get(&name(text))
}

fn offset(log: &Log, text: &str) -> Option<u64> {
    cursor(log, text)?.offset.map(Offset::get)
}

/// Entries 1 to 20 with two records each, but for those about cursors; rolled before each so-many-th.
fn node(every: u64) -> (SimFileSystem, Log, History) {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut history = History::new();
    for number in 1..=20 {
        let payload = match number {
            3 => take("billing"),
            5 => commit("billing", 3, 4),
            6 => commit("audit", 0, 2),
            9 => commit("billing", 3, 8),
            12 => take("billing"),
            13 => commit("billing", 3, 9),
            15 => commit("billing", 12, 10),
            17 => command(CursorCommand::Delete { name: name("audit") }),
            _ => Payload::Records(batch(format!("entry {number}"), 2)),
        };
        if number % every == 0 {
            log.roll().unwrap();
        }
        history.append_to(&mut log, 1, 1000 + number, payload);
        log.sync().unwrap();
    }
    (fs, log, history)
}

#[test]
fn a_start_finds_cursors_as_they_were_also_when_all_segments_that_say_so_are_trimmed() {
    for every in [2, 4, 7, 100] {
        let (fs, mut log, history) = node(every);
        history.check(&log);
        let before = (cursor(&log, "billing"), cursor(&log, "audit"));
        assert_eq!(before.0.map(|cursor| cursor.epoch), Some(LogIndex(12)));
        assert_eq!(before, (cursor(&log, "billing"), None));
        assert_eq!(offset(&log, "billing"), Some(10));
        log.roll().unwrap();
        let trimmed = log.trim(history.tail()).unwrap();
        assert_eq!(trimmed.earliest, history.tail(), "no record is left");
        drop(log);
        let (log, _) = open(&fs, options()).unwrap();
        assert_eq!((cursor(&log, "billing"), cursor(&log, "audit")), before);
    }
}

#[test]
fn what_is_truncated_takes_its_cursors_with_it() {
    for every in [2, 4, 7, 100] {
        let (fs, mut log, mut history) = node(every);
        for (from, billing, audit) in [
            (17, Some(10), Some(2)),
            (15, Some(8), Some(2)),
            (6, Some(4), None),
            (4, None, None),
            (3, None, None),
        ] {
            log.truncate(LogIndex(from)).unwrap();
            history.keep(from - 1);
            history.check(&log);
            assert_eq!(
                (offset(&log, "billing"), offset(&log, "audit")),
                (billing, audit),
                "from {from}"
            );
        }
        assert_eq!(cursor(&log, "billing"), None);
        // Another history takes its place.
        history.append_to(&mut log, 2, 2000, commit("billing", 0, 1));
        log.sync().unwrap();
        drop(log);
        let (log, _) = open(&fs, options()).unwrap();
        history.check(&log);
        assert_eq!(offset(&log, "billing"), Some(1));
    }
}

/// The bytes that a golden file shows.
fn unshown(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| *line != "*") {
        let mut words = line.split(' ');
        let at = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        bytes.resize(at, 0);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

/// Before there were cursors a segment's header said version 1 of the state before it, and it still does without any. A program
/// of that time refuses a header with cursors, by its version.
#[test]
fn a_log_from_before_there_were_cursors_opens_and_takes_them() {
    let fs = SimFileSystem::new(1);
    let directory = Path::new("/data/logs/default");
    fs.create_dir_all(directory).unwrap();
    let golden = unshown(include_str!("golden/segment.hex"));
    let store = directory.join("00000000000000000004.store");
    let file = fs.open(&store, OpenMode::CreateNew).unwrap();
    file.write_all_at(0, &mut [IoSlice::new(&golden)]).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(directory).unwrap();
    drop(file);
    let options = LogOptions {
        cluster_id: ClusterId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        ..options()
    };
    let (mut log, report) = open(&fs, options.clone()).unwrap();
    assert_eq!((report.last_log_index, report.tail), (LogIndex(9), Offset(4)));
    assert!(log.state().checkpoint().cursors().is_empty());
    let entry = |number, payload| Entry {
        log_index: LogIndex(number),
        term: Term(3),
        timestamp: TimestampMs(1_700_000_000_100),
        payload,
    };
    let entries = vec![entry(10, take("billing")), entry(11, commit("billing", 10, 4))];
    log.append(entries).unwrap();
    log.roll().unwrap();
    let last = entry(12, commit("billing", 10, 3));
    log.append(vec![last]).unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, report) = open(&fs, options).unwrap();
    assert_eq!(report.last_log_index, LogIndex(12));
    let expected = Cursor {
        epoch: LogIndex(10),
        offset: Some(Offset(3)),
        changed: TimestampMs(1_700_000_000_100),
    };
    assert_eq!(cursor(&log, "billing"), Some(expected));
}
