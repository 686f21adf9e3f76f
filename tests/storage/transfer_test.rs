//! Segments go from one log to another: cut, resumed, damaged on the way, and installed over a log of any kind, with a
//! crash at every step.

use std::{io, sync::Arc};

use annals::{
    storage::{
        CutError, Incoming, Log, LogView, Manifest, ManifestSegment, ReadError, Staged, TransferError,
        entry::Payload, fs::FileSystem,
    },
    types::{ClusterId, LogIndex, Offset, Position},
};
use bytes::Bytes;

use crate::{
    history::{History, batch, directory, open, options, read_all, stamped},
    support::sim_fs::{CallKind, Fault, Leaves, On, SimFileSystem},
};

/// The log of a leader: seven segments of three entries, the last with more to come.
struct Leader {
    fs: SimFileSystem,
    log: Log,
    history: History,
}

fn payload(number: u64) -> Payload {
    let text = format!(
        "entry {number}: {}",
        "x".repeat(usize::try_from(number * 7 % 90).unwrap())
    );
    match number % 7 {
        0 => Payload::Blank,
        1 => Payload::Membership(Bytes::from(text)),
        2 | 5 => Payload::Records(stamped(
            batch(text, 2),
            number % 3,
            u32::try_from(number).unwrap(),
            0,
        )),
        _ => Payload::Records(batch(text, 3)),
    }
}

/// Appends entries of a term up to the number `last`, rolling where `roll` says so.
fn fill(log: &mut Log, history: &mut History, term: u64, last: u64, roll: impl Fn(u64) -> bool) {
    while history.last() < last {
        let number = history.last() + 1;
        if roll(number) {
            log.roll().unwrap();
        }
        history.append_to(log, term, 1000 + number, payload(number));
        log.sync().unwrap();
    }
    log.mark().unwrap();
}

impl Leader {
    fn new() -> Self {
        let fs = SimFileSystem::new(1);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        fill(&mut log, &mut history, 2, 21, |number| number % 3 == 1);
        Self { fs, log, history }
    }

    fn manifest(&self, committed: u64) -> Manifest {
        self.log.view().manifest(LogIndex(committed)).unwrap().unwrap()
    }
}

fn incoming(fs: &SimFileSystem, manifest: &Manifest, view: &LogView) -> Incoming {
    let fs = Arc::new(fs.clone());
    Incoming::create(fs, directory(), ClusterId(9), manifest.clone(), view).unwrap()
}

/// Sends what is missing, `chunk` bytes at a time, but no more than `writes_max` times; says what is left.
fn send(
    from: &LogView,
    to: &mut Incoming,
    chunk: usize,
    writes_max: usize,
) -> Result<Option<(ManifestSegment, Position)>, TransferError> {
    for _ in 0..writes_max {
        let Some((segment, position)) = to.missing() else {
            return Ok(None);
        };
        if position.get() == segment.bytes {
            to.finish_segment(segment.first_log_index)?;
            continue;
        }
        let bytes = from.read_segment(&segment, position.get(), chunk).unwrap();
        to.write(segment.first_log_index, position, &bytes)?;
    }
    Ok(to.missing())
}

fn staged(leader: &Leader, manifest: &Manifest, fs: &SimFileSystem, view: &LogView) -> Staged {
    let mut incoming = incoming(fs, manifest, view);
    assert_eq!(
        send(&leader.log.view(), &mut incoming, 1 << 20, usize::MAX).unwrap(),
        None
    );
    incoming.complete().unwrap()
}

/// Logs that a snapshot may be installed over, each with what it holds.
fn followers() -> Vec<(&'static str, SimFileSystem, History)> {
    let mut all = Vec::new();
    let mut follower = |name, fill_it: &dyn Fn(&mut Log, &mut History)| {
        let fs = SimFileSystem::new(7);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        fill_it(&mut log, &mut history);
        all.push((name, fs, history));
    };
    follower("empty", &|_, _| ());
    follower("behind, other segments", &|log, history| {
        fill(log, history, 2, 7, |number| number % 4 == 2);
    });
    follower("longer, of an older term", &|log, history| {
        fill(log, history, 2, 8, |number| number % 3 == 1);
        log.truncate(LogIndex(6)).unwrap();
        history.keep(5);
        // An older term than the leader's cannot follow, so this one's is newer where it parts.
        fill(log, history, 3, 33, |number| number % 3 == 1);
    });
    all
}

/// The log holds the leader's entries up to the manifest's end, and takes the next.
fn check_installed(leader: &Leader, manifest: &Manifest, fs: &SimFileSystem) {
    let (mut log, report) = open(fs, options()).unwrap();
    let last = manifest.last_log_index();
    assert_eq!(
        (report.last_log_index, report.damage, report.missing),
        (last, None, None)
    );
    assert_eq!(log.state().checkpoint(), &manifest.checkpoint);
    let mut history = leader.history.clone();
    history.keep(last.get());
    history.check(&log);
    let first = manifest
        .segments
        .first()
        .map_or(last.plus(1), |first| first.first_log_index);
    assert_eq!(log.view().first_log_index(), Some(first));
    let segments = manifest.segments.iter().map(|segment| segment.first_log_index);
    let expected: Vec<_> = segments.chain([last.plus(1)]).collect();
    assert_eq!(log.view().segment_firsts(), expected);
    let next = history.next_entry(9, 9000, payload(4));
    log.append(vec![next.clone()]).unwrap();
    log.sync().unwrap();
    history.append(next);
    drop(log);
    fs.crash(5);
    let (log, _) = open(fs, options()).unwrap();
    history.check(&log);
    let names = fs.list(directory()).unwrap();
    let is_leftover = |name: &&String| {
        let is_of_a_segment = name.ends_with(".store") || name.ends_with(".index");
        !is_of_a_segment && *name != "beginning"
    };
    assert_eq!(names.iter().find(is_leftover), None);
}

#[test]
fn a_manifest_lists_the_sealed_segments_that_are_committed() {
    let leader = Leader::new();
    let view = leader.log.view();
    for committed in 0..30 {
        let manifest = view.manifest(LogIndex(committed)).unwrap();
        let segments = (committed / 3).min(6);
        assert_eq!(manifest.is_some(), segments > 0, "committed {committed}");
        let Some(manifest) = manifest else { continue };
        assert_eq!(manifest.segments.len() as u64, segments);
        assert_eq!(&manifest.checkpoint, leader.history.checkpoint(3 * segments));
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        for segment in &manifest.segments {
            let store = format!("{:020}.store", segment.first_log_index.get());
            let bytes = leader.fs.bytes(&directory().join(store));
            assert_eq!(
                (bytes.len() as u64, crc32c::crc32c(&bytes)),
                (segment.bytes, segment.crc)
            );
        }
    }
}

#[test]
fn what_is_installed_is_the_leaders_log_whatever_was_there() {
    let leader = Leader::new();
    for committed in [3, 13, 18, 21] {
        let manifest = leader.manifest(committed);
        for (name, fs, _) in followers() {
            let (mut log, _) = open(&fs, options()).unwrap();
            let staged = staged(&leader, &manifest, &fs, &log.view());
            match log.install(&staged) {
                Ok(()) => {}
                // Then the log has all of it.
                Err(CutError::AlreadyHeld { last }) => {
                    assert!(last == manifest.last_log_index() && committed == 3 && name != "empty");
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            }
            let mut history = leader.history.clone();
            history.keep(manifest.last_log_index().get());
            history.check(&log);
            drop(log);
            check_installed(&leader, &manifest, &fs);
        }
    }
}

/// What lies behind it may be acknowledged by a majority that counts on this node.
#[test]
fn a_log_that_has_the_last_entry_keeps_what_it_has_behind_it() {
    let leader = Leader::new();
    let fs = SimFileSystem::new(3);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut history = History::new();
    fill(&mut log, &mut history, 2, 20, |number| number % 5 == 0);
    let staged = staged(&leader, &leader.manifest(18), &fs, &log.view());
    let refused = log.install(&staged).unwrap_err();
    assert!(
        matches!(refused, CutError::AlreadyHeld { last: LogIndex(18) }),
        "{refused}"
    );
    history.check(&log);
    fill(&mut log, &mut history, 2, 24, |_| false);
    log.trim(history.tail()).unwrap();
    log.roll().unwrap();
    log.trim(history.tail()).unwrap();
    let refused = log.install(&staged).unwrap_err();
    assert!(
        matches!(refused, CutError::AlreadyHeld { .. }),
        "all of it was trimmed: {refused}"
    );
    drop(log);
    let (log, _) = open(&fs, options()).unwrap();
    history.check(&log);
}

#[test]
fn a_log_of_which_all_but_the_end_was_trimmed_is_passed_on_without_a_segment() {
    let mut leader = Leader::new();
    leader.log.trim(leader.history.tail()).unwrap();
    let manifest = leader.manifest(21);
    assert_eq!(
        (manifest.segments.len(), manifest.last_log_index()),
        (0, LogIndex(18))
    );
    for (_, fs, _) in followers() {
        let (mut log, _) = open(&fs, options()).unwrap();
        let staged = staged(&leader, &manifest, &fs, &log.view());
        log.install(&staged).unwrap();
        drop(log);
        check_installed(&leader, &manifest, &fs);
    }
}

#[test]
fn a_transfer_that_is_cut_anywhere_goes_on_where_it_was() {
    let leader = Leader::new();
    let manifest = leader.manifest(13);
    let view = leader.log.view();
    for writes in 0..44 {
        for end in 0..4 {
            let fs = SimFileSystem::new(writes);
            let (log, _) = open(&fs, options()).unwrap();
            let mut first = incoming(&fs, &manifest, &log.view());
            let left = send(&view, &mut first, 600, usize::try_from(writes).unwrap()).unwrap();
            let missing = first.bytes_missing();
            drop((first, log));
            if end == 0 {
                fs.kill();
            } else {
                fs.crash(end);
            }
            let (mut log, _) = open(&fs, options()).unwrap();
            let resumed = Incoming::resume(Arc::new(fs.clone()), directory(), &log.view()).unwrap();
            let mut resumed = resumed.unwrap();
            assert_eq!(resumed.manifest(), &manifest);
            if end == 0 {
                // Up to the frame that was cut, and the header as a whole.
                assert!(resumed.bytes_missing() <= missing + 4200);
                let same = left.map(|(segment, _)| segment) == resumed.missing().map(|(segment, _)| segment);
                assert!(same, "whole segments are not asked for again");
            }
            assert_eq!(send(&view, &mut resumed, 1000, usize::MAX).unwrap(), None);
            let staged = resumed.complete().unwrap();
            log.install(&staged).unwrap();
            drop(log);
            fs.crash(writes);
            check_installed(&leader, &manifest, &fs);
        }
    }
}

/// A process that goes on after a failed sync may read from memory what is not on the disk.
#[test]
fn whatever_fails_while_segments_are_received_nothing_is_installed_that_is_not_on_the_disk() {
    let leader = Leader::new();
    let manifest = leader.manifest(6);
    let view = leader.log.view();
    for nth in 1.. {
        let mut fired = false;
        for leaves in [
            Leaves::Nothing,
            Leaves::Prefix,
            Leaves::Mixture,
            Leaves::Everything,
        ] {
            for lasting in [false, true] {
                let fs = SimFileSystem::new(nth);
                let (log, _) = open(&fs, options()).unwrap();
                let fault = Fault::nth(On::Any, nth, io::ErrorKind::StorageFull).leaving(leaves);
                fs.inject(if lasting { fault.lasting() } else { fault });
                let (shared, id) = (Arc::new(fs.clone()), ClusterId(9));
                if let Ok(mut begun) =
                    Incoming::create(shared, directory(), id, manifest.clone(), &log.view())
                {
                    let sent = send(&view, &mut begun, 2000, usize::MAX).is_ok();
                    assert!(!sent || begun.complete().is_ok() || fs.faults_fired() > 0);
                }
                fired |= fs.faults_fired() > 0;
                fs.clear_faults();
                drop(log);
                fs.kill();
                let (mut log, _) = open(&fs, options()).unwrap();
                let staged = staged(&leader, &manifest, &fs, &log.view());
                log.install(&staged).unwrap();
                drop(log);
                fs.crash(nth);
                check_installed(&leader, &manifest, &fs);
            }
        }
        if !fired {
            assert!(nth > 15, "only {nth} calls");
            break;
        }
    }
}

/// Whoever installs takes the transfer up on the log's own thread, where nobody may wait for gigabytes to be read.
#[test]
fn what_is_staged_is_not_read_again_when_the_transfer_is_taken_up() {
    let leader = Leader::new();
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let manifest = leader.manifest(18);
    staged(&leader, &manifest, &fs, &log.view());
    // The manifest, and of each segment the two parts of its header.
    let reads = 1 + 2 * manifest.segments.len() as u64;
    fs.inject(Fault::nth(CallKind::Read, reads + 1, io::ErrorKind::Other).lasting());
    let taken_up = Incoming::resume(Arc::new(fs.clone()), directory(), &log.view());
    let staged = taken_up.unwrap().unwrap().complete().unwrap();
    fs.clear_faults();
    log.install(&staged).unwrap();
    drop(log);
    check_installed(&leader, &manifest, &fs);
}

/// Each is sound by itself, as when a leader's own segments contradict each other.
#[test]
fn segments_that_do_not_lead_to_one_another_are_not_taken() {
    let leader = Leader::new();
    let good = leader.manifest(9);
    // The same entries but for a producer's stamp: other states behind the same offsets.
    let other = {
        let fs = SimFileSystem::new(1);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        while history.last() < 9 {
            let number = history.last() + 1;
            if number % 3 == 1 {
                log.roll().unwrap();
            }
            let payload = match payload(number) {
                Payload::Records(batch) if number == 5 => Payload::Records(stamped(batch, 77, 0, 0)),
                other => other,
            };
            history.append_to(&mut log, 2, 1000 + number, payload);
            log.sync().unwrap();
        }
        log.roll().unwrap();
        log
    };
    let strange = other.view().manifest(LogIndex(9)).unwrap().unwrap();
    for strangers in [[1].as_slice(), &[2], &[0, 1, 2]] {
        let mut mixed = good.clone();
        for number in strangers {
            mixed.segments[*number] = strange.segments[*number];
        }
        let fs = SimFileSystem::new(1);
        let (log, _) = open(&fs, options()).unwrap();
        let mut incoming = incoming(&fs, &mixed, &log.view());
        let mut refused = None;
        while refused.is_none() {
            let Some((segment, position)) = incoming.missing() else {
                break;
            };
            if position.get() == segment.bytes {
                refused = incoming.finish_segment(segment.first_log_index).err();
                continue;
            }
            let from = if strange.segments.contains(&segment) {
                other.view()
            } else {
                leader.log.view()
            };
            let bytes = from.read_segment(&segment, 0, usize::MAX).unwrap();
            incoming.write(segment.first_log_index, position, &bytes).unwrap();
        }
        let Some(TransferError::Unfit { what, .. }) = refused else {
            panic!("{strangers:?}: {refused:?}")
        };
        assert!(what.contains("lead to the state"), "{what}");
    }
}

#[test]
fn a_byte_that_is_wrong_on_the_way_is_found_and_the_segment_asked_for_again() {
    let leader = Leader::new();
    let manifest = leader.manifest(6);
    let view = leader.log.view();
    let fs = SimFileSystem::new(1);
    let (log, _) = open(&fs, options()).unwrap();
    let mut incoming = incoming(&fs, &manifest, &log.view());
    let (segment, _) = incoming.missing().unwrap();
    let (first, good) = (
        segment.first_log_index,
        view.read_segment(&segment, 0, usize::MAX).unwrap(),
    );
    for byte in (0..good.len()).step_by(5) {
        let mut bytes = good.to_vec();
        bytes[byte] ^= 1 << (byte % 8);
        incoming.write(first, Position(0), &bytes).unwrap();
        let refused = incoming.finish_segment(first).unwrap_err();
        assert!(
            matches!(refused, TransferError::Unfit { .. }),
            "byte {byte}: {refused}"
        );
        assert_eq!(incoming.missing(), Some((segment, Position(0))));
    }
    incoming.complete().unwrap_err();
    assert_eq!(send(&view, &mut incoming, 1 << 20, usize::MAX).unwrap(), None);
    incoming.complete().unwrap();
}

/// A checksum made of damaged bytes would pass.
#[test]
fn a_segment_that_is_damaged_at_its_source_is_not_taken() {
    let leader = Leader::new();
    let store = directory().join("00000000000000000004.store");
    let good = leader.fs.bytes(&store);
    let header_len = 4096;
    for byte in (0..200).chain(header_len..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[byte] ^= 4;
        leader.fs.set_bytes(&store, &bytes);
        let (log, _) = open(&leader.fs, options()).unwrap();
        let Ok(manifest) = log.view().manifest(LogIndex(9)) else {
            continue;
        };
        let manifest = manifest.unwrap();
        let fs = SimFileSystem::new(1);
        let (follower, _) = open(&fs, options()).unwrap();
        let mut incoming = incoming(&fs, &manifest, &follower.view());
        let sent = send(&log.view(), &mut incoming, 1 << 20, usize::MAX);
        let refused = sent.and_then(|_| incoming.complete().map(|_| ()));
        let is_padding = refused.is_ok();
        assert!(
            is_padding
                || matches!(
                    refused,
                    Err(TransferError::Unfit {
                        first: LogIndex(4),
                        ..
                    })
                ),
            "byte {byte}: {refused:?}"
        );
        if is_padding {
            // Bytes that mean nothing; then the log is the same.
            drop(follower);
            let (mut follower, _) = open(&fs, options()).unwrap();
            follower.install(&incoming.complete().unwrap()).unwrap();
            let mut history = leader.history.clone();
            history.keep(9);
            history.check(&follower);
        }
    }
}

#[test]
fn bytes_out_of_place_and_segments_that_nobody_misses_are_refused() {
    let leader = Leader::new();
    let manifest = leader.manifest(6);
    let fs = SimFileSystem::new(1);
    let (log, _) = open(&fs, options()).unwrap();
    let other = Incoming::create(
        Arc::new(fs.clone()),
        directory(),
        ClusterId(10),
        manifest.clone(),
        &log.view(),
    );
    assert!(matches!(other, Err(TransferError::OtherCluster { .. })));
    let mut incoming = incoming(&fs, &manifest, &log.view());
    let (segment, _) = incoming.missing().unwrap();
    let first = segment.first_log_index;
    let long = vec![0; usize::try_from(segment.bytes).unwrap() + 1];
    for (first, position, bytes) in [
        (LogIndex(2), 0, &long[..5]),
        (LogIndex(99), 0, &long[..5]),
        (first, 1, &long[..5]),
        (first, u64::MAX, &long[..5]),
        (first, 0, &long[..]),
    ] {
        let refused = incoming.write(first, Position(position), bytes).unwrap_err();
        assert!(
            matches!(
                refused,
                TransferError::NotMissing { .. } | TransferError::OutOfPlace { .. }
            ),
            "{refused}"
        );
    }
    incoming.finish_segment(first).unwrap_err();
    incoming.write(first, Position(0), &long[..5]).unwrap();
    incoming.finish_segment(first).unwrap_err();
    assert_eq!(
        incoming.missing(),
        Some((segment, Position(5))),
        "nothing was lost"
    );
    incoming.discard().unwrap();
    let left = fs.list(directory()).unwrap();
    assert_eq!(left, ["00000000000000000001.store", "beginning"]);
}

#[test]
fn a_source_says_what_it_no_longer_has() {
    let mut leader = Leader::new();
    let manifest = leader.manifest(21);
    leader
        .log
        .trim(leader.history.checkpoint(9).next_offset())
        .unwrap();
    let view = leader.log.view();
    for segment in &manifest.segments {
        let read = view.read_segment(segment, 0, 10);
        let trimmed = segment.first_log_index < LogIndex(10);
        assert_eq!(
            matches!(read, Err(TransferError::Trimmed { .. })),
            trimmed,
            "{read:?}"
        );
        let longer = ManifestSegment {
            bytes: segment.bytes + 8,
            ..*segment
        };
        let read = view.read_segment(&longer, 0, 10);
        assert_eq!(matches!(read, Err(TransferError::Changed { .. })), !trimmed);
    }
    let active = ManifestSegment {
        first_log_index: LogIndex(19),
        ..manifest.segments[5]
    };
    let read = view.read_segment(&active, 0, 10);
    assert!(matches!(read, Err(TransferError::Changed { .. })), "{read:?}");
}

#[test]
fn a_second_snapshot_sends_only_what_the_first_has_not() {
    let leader = Leader::new();
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let first = staged(&leader, &leader.manifest(12), &fs, &log.view());
    log.install(&first).unwrap();
    let manifest = leader.manifest(18);
    for round in 0..2 {
        let mut incoming = incoming(&fs, &manifest, &log.view());
        let (segment, _) = incoming.missing().unwrap();
        assert_eq!(segment.first_log_index, LogIndex(13), "round {round}");
        let new = manifest.segments[4..].iter().map(|segment| segment.bytes);
        assert_eq!(incoming.bytes_missing(), new.sum::<u64>());
        assert_eq!(
            send(&leader.log.view(), &mut incoming, 1 << 20, usize::MAX).unwrap(),
            None
        );
        let staged = incoming.complete().unwrap();
        if round == 0 {
            // What the log holds may change before the install: then it is asked for.
            let other = Log::open(Arc::new(fs.clone()), options());
            drop(other);
            log.trim(Offset(1)).unwrap();
            let trimmed = log.trim(leader.history.checkpoint(3).next_offset()).unwrap();
            assert_eq!(trimmed.segments, 1);
            let refused = log.install(&staged).unwrap_err();
            assert!(
                matches!(refused, CutError::NotStaged { first: LogIndex(1) }),
                "{refused}"
            );
            drop((incoming, log));
            let fresh = SimFileSystem::new(1);
            fs.restore(&fresh.snapshot());
            log = open(&fs, options()).unwrap().0;
            let first = self::staged(&leader, &leader.manifest(12), &fs, &log.view());
            log.install(&first).unwrap();
        } else {
            let before = fs.trace().len();
            log.install(&staged).unwrap();
            let moved = fs.trace()[before..].to_vec();
            let stores = moved.iter().filter(|call| {
                call.kind == CallKind::Rename
                    && call
                        .path
                        .extension()
                        .is_some_and(|extension| extension == "store")
            });
            assert_eq!(stores.count(), 3, "two segments and the new active one");
        }
    }
    drop(log);
    check_installed(&leader, &manifest, &fs);
}

#[test]
fn segments_that_a_new_manifest_has_as_well_are_not_received_twice() {
    let leader = Leader::new();
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut first = incoming(&fs, &leader.manifest(12), &log.view());
    send(&leader.log.view(), &mut first, 1 << 20, 5).unwrap();
    let (missing, _) = first.missing().unwrap();
    assert_eq!(missing.first_log_index, LogIndex(7));
    let stale = {
        send(&leader.log.view(), &mut first, 1 << 20, usize::MAX).unwrap();
        first.complete().unwrap()
    };
    let manifest = leader.manifest(18);
    let mut second = incoming(&fs, &manifest, &log.view());
    assert_eq!(second.missing().unwrap().0.first_log_index, LogIndex(13));
    let refused = log.install(&stale).unwrap_err();
    assert!(
        matches!(refused, CutError::NotStaged { .. }),
        "another transfer has begun: {refused}"
    );
    assert_eq!(
        send(&leader.log.view(), &mut second, 1 << 20, usize::MAX).unwrap(),
        None
    );
    log.install(&second.complete().unwrap()).unwrap();
    drop(log);
    check_installed(&leader, &manifest, &fs);
}

/// Receives and installs, in one process, with a call of the install failing.
fn install_with(leader: &Leader, manifest: &Manifest, fs: &SimFileSystem, fault: Fault) {
    let (mut log, _) = open(fs, options()).unwrap();
    let staged = staged(leader, manifest, fs, &log.view());
    fs.inject(fault);
    let failed = log.install(&staged).is_err();
    fs.clear_faults();
    assert_eq!(failed, fs.faults_fired() > 0);
}

#[test]
fn an_install_that_is_cut_short_anywhere_leaves_the_old_log_or_the_new_one() {
    // Where the log begins is another place before and after it.
    let mut leader = Leader::new();
    leader
        .log
        .trim(leader.history.checkpoint(3).next_offset())
        .unwrap();
    let manifest = leader.manifest(13);
    let (mut old_logs, mut new_logs) = (0, 0);
    for (name, fs, history) in followers() {
        let disk = fs.snapshot();
        for nth in 1.. {
            let mut fired = true;
            for leaves in [
                Leaves::Nothing,
                Leaves::Prefix,
                Leaves::Mixture,
                Leaves::Everything,
            ] {
                for seed in 0..5 {
                    let what = format!("{name}, call {nth} leaves {leaves:?}, seed {seed}");
                    let fs = SimFileSystem::new(seed);
                    fs.restore(&disk);
                    let fault = Fault::nth(On::Any, nth, io::ErrorKind::Other).leaving(leaves);
                    let fault = if seed % 2 == 0 { fault.lasting() } else { fault };
                    install_with(&leader, &manifest, &fs, fault);
                    fired = fs.faults_fired() > 0;
                    if seed == 0 {
                        fs.kill();
                    } else {
                        fs.crash(seed);
                    }
                    // The start that finishes it is cut short as well.
                    for again in 1..4 {
                        fs.inject(
                            Fault::nth(On::Any, nth % 5 + again, io::ErrorKind::Other)
                                .leaving(leaves)
                                .lasting(),
                        );
                        drop(open(&fs, options()));
                        fs.clear_faults();
                        fs.crash(seed + again);
                    }
                    let (log, report) =
                        open(&fs, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!((report.damage, report.missing), (None, None), "{what}");
                    if report.last_log_index == manifest.last_log_index()
                        && log.state().checkpoint() == &manifest.checkpoint
                    {
                        drop(log);
                        check_installed(&leader, &manifest, &fs);
                        new_logs += 1;
                    } else {
                        assert!(fired, "{what}: installed, and gone");
                        assert_eq!(report.last_log_index.get(), history.last(), "{what}");
                        history.check(&log);
                        old_logs += 1;
                    }
                }
            }
            if !fired {
                assert!(nth > 12, "{name}: only {nth} calls");
                break;
            }
        }
    }
    assert!(old_logs > 50 && new_logs > 200, "{old_logs} old, {new_logs} new");
}

#[test]
fn whoever_reads_while_segments_are_exchanged_gets_the_right_records_or_is_told_to_read_again() {
    let leader = Leader::new();
    let manifest = leader.manifest(18);
    for warm in 0..6 {
        let fs = SimFileSystem::new(1);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        fill(&mut log, &mut history, 2, 14, |number| number % 3 == 1);
        let (view, tail) = (log.view(), history.tail());
        for number in 0..warm {
            let from = history.checkpoint(number * 3).next_offset();
            view.read(from, tail, 1).unwrap();
        }
        let staged = staged(&leader, &manifest, &fs, &view);
        log.install(&staged).unwrap();
        let mut told = 0;
        for from in 0..tail.get() {
            let (batches, error) = read_all(&view, Offset(from), tail, 1);
            assert_eq!(batches, history.batches(Offset(from), tail)[..batches.len()]);
            match error {
                None => {}
                Some(ReadError::Replaced { .. }) => told += 1,
                Some(other) => panic!("{other}"),
            }
        }
        assert!(told > 0);
        let mut history = leader.history.clone();
        history.keep(18);
        history.check(&log);
    }
}

#[test]
fn a_damaged_log_is_made_whole_by_an_install() {
    let leader = Leader::new();
    let manifest = leader.manifest(18);
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    fill(&mut log, &mut History::new(), 2, 9, |number| number == 5);
    drop(log);
    let store = directory().join("00000000000000000005.store");
    let mut bytes = fs.bytes(&store);
    bytes[4096 + 70] ^= 1;
    fs.set_bytes(&store, &bytes);
    let (mut log, report) = open(&fs, options()).unwrap();
    assert!(report.damage.is_some());
    let staged = staged(&leader, &manifest, &fs, &log.view());
    log.install(&staged).unwrap();
    drop(log);
    check_installed(&leader, &manifest, &fs);
}

#[test]
fn an_install_fills_the_holes_of_the_log() {
    let leader = Leader::new();
    let manifest = leader.manifest(18);
    for quarantined in [4, 10] {
        let fs = SimFileSystem::new(1);
        let (mut log, _) = open(&fs, options()).unwrap();
        fill(&mut log, &mut History::new(), 2, 14, |number| number % 3 == 1);
        log.quarantine(LogIndex(quarantined)).unwrap();
        let refused = log.view().manifest(LogIndex(14)).unwrap_err();
        assert!(
            refused.to_string().contains("quarantined"),
            "not passed on: {refused}"
        );
        let staged = staged(&leader, &manifest, &fs, &log.view());
        log.install(&staged).unwrap();
        let mut history = leader.history.clone();
        history.keep(18);
        history.check(&log);
        let kept = directory().join(format!("{quarantined:020}.store.closed.1"));
        fs.remove(&kept).unwrap();
        drop(log);
        check_installed(&leader, &manifest, &fs);
    }
}

#[test]
fn a_manifest_that_is_being_installed_and_not_whole_is_named() {
    let fs = SimFileSystem::new(1);
    drop(open(&fs, options()).unwrap());
    let path = directory().join("manifest.installing");
    let file = annals::storage::fs::OpenMode::CreateNew;
    fs.open(&path, file).unwrap();
    let error = open(&fs, options()).unwrap_err().to_string();
    assert!(error.contains("manifest.installing is damaged"), "{error}");
}
