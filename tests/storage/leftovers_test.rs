//! What earlier runs left on the disk never becomes part of the log, and never hides a part of it.

use std::{io, io::IoSlice};

use annals::{
    storage::{
        Log, LogOptions, OpenError,
        entry::Payload,
        fs::{FileSystem, OpenMode},
    },
    types::{ClusterId, LogIndex, Offset, Position},
};

use crate::{
    history::{History, batch, directory, open, options},
    support::sim_fs::{CallKind, Fault, Leaves, SimFileSystem},
};

/// Entries whose frames fill so many whole sectors, so that a crash keeps or loses each frame whole.
fn append(history: &mut History, log: &mut Log, term: u64, sectors: usize, record_count: u32) {
    let text = format!("entry {} of term {term} ", history.last() + 1);
    let mut bytes = text.into_bytes();
    bytes.resize(512 * sectors - 64, b'.');
    let payload = Payload::Records(batch(bytes, record_count));
    history.append_to(log, term, 1000 + history.last(), payload);
}

/// Entry 1 is synced; a power loss took 2 of the entries 2 to 5. A first start zeroed 3 to 5, but its sync failed, so
/// that the zeros were in memory only. The next start read zeros, wrote nothing and went on with another entry 2: then a
/// power loss brought the old 3 to 5 back behind it, as a part of the log.
#[test]
fn an_unsynced_tail_whose_zeros_were_not_synced_does_not_come_back() {
    for seed in 0..100 {
        let fs = SimFileSystem::new(seed);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        append(&mut history, &mut log, 1, 1, 1);
        log.sync().unwrap();
        for _ in 0..4 {
            append(&mut history, &mut log, 1, 1, 1);
        }
        fs.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
        log.sync().unwrap_err();
        drop(log);
        fs.crash(seed);
        fs.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
        open(&fs, options()).unwrap_err();
        fs.kill();
        let (mut log, report) = open(&fs, options()).unwrap();
        history.keep(report.last_log_index.get());
        append(&mut history, &mut log, 1, 1, 1);
        log.sync().unwrap();
        drop(log);
        fs.crash(seed + 1);
        let (log, report) = open(&fs, options()).unwrap();
        assert_eq!(
            (report.damage, report.last_log_index.get()),
            (None, history.last()),
            "seed {seed}"
        );
        history.check(&log);
    }
}

/// As above, with zeros that a truncation wrote.
#[test]
fn truncated_entries_whose_zeros_were_not_synced_do_not_come_back() {
    for seed in 0..100 {
        let fs = SimFileSystem::new(seed);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        for _ in 0..2 {
            for _ in 0..4 {
                append(&mut history, &mut log, 1, 1, 1);
            }
            log.sync().unwrap();
        }
        // That of the second group commit's zeros, or that of the first one's.
        fs.fail_nth(CallKind::Sync, 1 + seed % 2, io::ErrorKind::Other);
        log.truncate(LogIndex(2)).unwrap_err();
        drop(log);
        fs.kill();
        let (mut log, report) = open(&fs, options()).unwrap();
        history.keep(report.last_log_index.get());
        append(&mut history, &mut log, 1, 1, 1);
        log.sync().unwrap();
        drop(log);
        fs.crash(seed);
        let (log, report) = open(&fs, options()).unwrap();
        assert_eq!(
            (report.damage, report.last_log_index.get()),
            (None, history.last()),
            "seed {seed}"
        );
        history.check(&log);
    }
}

/// A sealed segment was truncated and filled up again to the very same length. Its new index was not synced, and a power
/// loss brought back the old one, which fitted by salt and length: reads by it began behind their offset.
#[test]
fn the_index_of_a_segment_before_its_truncation_is_not_used_after_it() {
    for seed in 0..60 {
        let fs = SimFileSystem::new(seed);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        for _ in 0..6 {
            append(&mut history, &mut log, 1, 4, 1);
        }
        log.roll().unwrap();
        log.truncate(LogIndex(2)).unwrap();
        history.keep(1);
        for _ in 0..5 {
            append(&mut history, &mut log, 2, 4, 5);
        }
        // As a process that ends between the seal and the next segment's first name.
        fs.fail_nth(CallKind::SyncDir, 1, io::ErrorKind::Other);
        log.roll().unwrap_err();
        drop(log);
        fs.crash(seed);
        let (mut log, _) = open(&fs, options()).unwrap();
        history.check(&log);
        // Whatever is the last segment now, the one in question becomes a sealed one.
        append(&mut history, &mut log, 2, 4, 5);
        log.roll().unwrap();
        history.check(&log);
    }
}

#[test]
fn prepared_files_and_indexes_without_a_store_are_removed_and_others_are_left_alone() {
    let fs = SimFileSystem::new(1);
    let mut history = History::new();
    let (mut log, _) = open(&fs, options()).unwrap();
    append(&mut history, &mut log, 1, 1, 1);
    log.sync().unwrap();
    drop(log);
    let names = [
        "next.preparing",
        "beginning.preparing",
        "ahead-7.preparing",
        "00000000000000000001.index.preparing",
        "00000000000000000777.index",
        "notes",
        "vote",
        "7.store",
    ];
    for name in names {
        let file = fs.open(&directory().join(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(0, &mut [IoSlice::new(b"whatever")]).unwrap();
    }
    let (log, _) = open(&fs, options()).unwrap();
    history.check(&log);
    let mut left = fs.list(directory()).unwrap();
    left.sort_unstable();
    let expected = [
        "00000000000000000001.store",
        "7.store",
        "beginning",
        "notes",
        "vote",
    ];
    assert_eq!(left, expected);
}

#[test]
fn a_store_without_a_byte_or_with_another_ones_header_is_named_and_left_alone() {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    append(&mut History::new(), &mut log, 1, 1, 1);
    log.sync().unwrap();
    drop(log);
    let path = directory().join("00000000000000000002.store");
    fs.open(&path, OpenMode::CreateNew).unwrap();
    let other = fs.bytes(&directory().join("00000000000000000001.store"));
    for bytes in [&b""[..], &[0; 4096], &other] {
        fs.set_bytes(&path, bytes);
        let (_log, report) = open(&fs, options()).expect("what is before it is whole");
        let damage = report.damage.expect("it is named");
        assert_eq!((&damage.path, damage.position), (&path, Position(0)));
        assert_eq!(report.tail, Offset(1), "what is before it is there");
        assert_eq!(fs.bytes(&path), bytes);
    }
}

/// A removal that comes back leaves no hole: the records that are there are readable from the first one on.
#[test]
fn a_trim_that_a_power_loss_cuts_short_leaves_a_suffix() {
    for seed in 0..100 {
        let fs = SimFileSystem::new(seed);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        for _ in 0..6 {
            append(&mut history, &mut log, 1, 1, 1);
            log.roll().unwrap();
        }
        let fault = Fault::nth(CallKind::SyncDir, 1 + seed % 5, io::ErrorKind::Other);
        fs.inject(fault.leaving(Leaves::Nothing).lasting());
        log.trim(Offset(5)).unwrap_err();
        fs.clear_faults();
        if seed % 3 == 0 {
            // The next trim goes on where this one stopped.
            log.trim(Offset(5)).unwrap();
        }
        drop(log);
        fs.crash(seed);
        let (log, report) = open(&fs, options()).unwrap();
        assert_eq!(report.missing, None);
        assert!(report.earliest <= Offset(5) && (seed % 3 != 0 || report.earliest == Offset(5)));
        history.check(&log);
    }
}

/// A rolled log without an entry in its last segment listed that segment twice, and a trim removed its file.
#[test]
fn an_empty_segment_is_not_rolled() {
    let fs = SimFileSystem::new(1);
    let mut history = History::new();
    let (mut log, _) = open(&fs, options()).unwrap();
    log.roll().unwrap();
    append(&mut history, &mut log, 1, 1, 1);
    log.roll().unwrap();
    log.roll().unwrap();
    assert_eq!(log.view().describe().unwrap().len(), 2);
    append(&mut history, &mut log, 1, 1, 1);
    log.sync().unwrap();
    log.trim(Offset(1)).unwrap();
    history.check(&log);
}

/// Recovery cut the unsynced tail of a log before it looked whose log that was.
#[test]
fn the_log_of_another_cluster_is_left_as_it_is() {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    append(&mut History::new(), &mut log, 1, 1, 1);
    log.sync().unwrap();
    drop(log);
    let path = directory().join("00000000000000000001.store");
    let torn = [&fs.bytes(&path)[..], b"a torn tail"].concat();
    fs.set_bytes(&path, &torn);
    let other = LogOptions {
        cluster_id: ClusterId(77),
        ..options()
    };
    let error = open(&fs, other).unwrap_err();
    assert!(matches!(error, OpenError::OtherCluster { .. }), "{error}");
    assert_eq!(fs.bytes(&path), torn);
}
