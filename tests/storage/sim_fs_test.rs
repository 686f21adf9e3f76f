//! The simulated disk is as good as a real one while nothing goes wrong, and each fault fires.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use annals::storage::fs::{File, FileSystem, OpenMode, RealFileSystem};

use crate::support::sim_fs::{CallKind, Fault, Leaves, On, SECTOR_BYTES, SimFileSystem};

fn sim() -> SimFileSystem {
    let fs = SimFileSystem::new(1);
    fs.create_dir_all(dir()).expect("no fault yet");
    fs
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn path(name: &str) -> PathBuf {
    dir().join(name)
}

fn write(file: &dyn File, position: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(position, &mut [IoSlice::new(bytes)])
}

/// A file that is durable, name and bytes.
fn durable(fs: &SimFileSystem, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.open(&path(name), OpenMode::CreateNew).expect("new");
    write(file.as_ref(), 0, bytes).expect("no fault yet");
    file.sync_data().expect("no fault yet");
    fs.sync_dir(dir()).expect("no fault yet");
    file
}

/// What each of many crashes leaves of a disk; `None` where the file is gone.
fn after_crashes(fs: &SimFileSystem, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let snapshot = fs.snapshot();
    let seen = (0..200).map(|seed| {
        fs.restore(&snapshot);
        fs.crash(seed);
        fs.paths().contains(&path(name)).then(|| fs.bytes(&path(name)))
    });
    let seen = seen.collect();
    fs.restore(&snapshot);
    seen
}

/// A tour of all calls; tells what it saw.
fn tour(fs: &dyn FileSystem, root: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    let kind = |error: io::Error| error.kind();
    let (a, b) = (root.join("a"), root.join("b"));
    seen.push(format!("{:?}", fs.list(&root.join("none")).map_err(kind)));
    seen.push(format!(
        "{:?}",
        fs.open(&a, OpenMode::ReadWrite).map(|_| ()).map_err(kind)
    ));
    seen.push(format!(
        "{:?}",
        fs.open(&root.join("none/a"), OpenMode::CreateNew)
            .map(|_| ())
            .map_err(kind)
    ));
    let file = fs.open(&a, OpenMode::CreateNew).expect("new");
    seen.push(format!(
        "{:?}",
        fs.open(&a, OpenMode::CreateNew).map(|_| ()).map_err(kind)
    ));
    let mut parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")];
    seen.push(format!("{:?}", file.write_all_at(4, &mut parts).map_err(kind)));
    let read_all = |file: &dyn File| {
        let mut bytes = [9; 20];
        let read = file.read_at(0, &mut bytes).expect("readable");
        format!("{:?} of {:?}", &bytes[..read], file.size().expect("readable"))
    };
    seen.push(read_all(file.as_ref()));
    for length in [6, 12] {
        seen.push(format!("{:?}", file.set_len(length).map_err(kind)));
        seen.push(read_all(file.as_ref()));
    }
    let mut rest = [9; 4];
    seen.push(format!(
        "{:?} {rest:?}",
        file.read_at(10, &mut rest).map_err(kind)
    ));
    seen.push(format!(
        "{:?} {rest:?}",
        file.read_at(100, &mut rest).map_err(kind)
    ));
    seen.push(format!(
        "{:?} {:?}",
        file.sync_data().map_err(kind),
        fs.sync_dir(root).map_err(kind)
    ));
    fs.open(&b, OpenMode::CreateNew).expect("new");
    seen.push(format!("{:?}", fs.rename(&a, &b).map_err(kind)));
    seen.push(format!("{:?}", fs.rename(&a, &b).map_err(kind)));
    seen.push(format!("{:?}", fs.list(root).map_err(kind)));
    let reader = fs.open(&b, OpenMode::Read).expect("renamed");
    seen.push(read_all(reader.as_ref()));
    seen.push(format!("{}", write(reader.as_ref(), 0, b"x").is_err()));
    seen.push(format!(
        "{:?}",
        (*reader.map().expect("mappable")).as_ref().to_vec()
    ));
    seen.push(format!(
        "{:?} {:?}",
        fs.remove(&b).map_err(kind),
        fs.remove(&b).map_err(kind)
    ));
    // An open file outlives its name.
    seen.push(read_all(file.as_ref()));
    seen.push(format!("{:?}", fs.list(root).map_err(kind)));
    seen
}

#[test]
fn without_faults_it_does_what_the_machine_does() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(tour(&sim(), dir()), tour(&RealFileSystem, temp.path()));
}

#[test]
fn the_nth_call_of_each_kind_fails_once_and_without_effect() {
    let kinds = [
        CallKind::Create,
        CallKind::CreateDir,
        CallKind::Write,
        CallKind::SetLen,
        CallKind::Sync,
        CallKind::Rename,
        CallKind::Remove,
        CallKind::SyncDir,
        CallKind::Read,
    ];
    for kind in kinds {
        let fs = sim();
        let file = durable(&fs, "file", b"bytes");
        let call = |round: u8| -> io::Result<()> {
            let name = path(&round.to_string());
            match kind {
                CallKind::Create => fs.open(&name, OpenMode::CreateNew).map(drop),
                CallKind::CreateDir => fs.create_dir_all(&path("deeper")),
                CallKind::Write => write(file.as_ref(), 0, &[round]),
                CallKind::SetLen => file.set_len(u64::from(round)),
                CallKind::Sync => file.sync_data(),
                CallKind::Rename => fs.rename(&path("file"), &path("file")),
                CallKind::Remove => fs.remove(&path("file")),
                CallKind::SyncDir => fs.sync_dir(dir()),
                CallKind::Read => file.read_at(0, &mut [0]).map(drop),
            }
        };
        let before = fs.bytes(&path("file"));
        fs.fail_nth(kind, 1, io::ErrorKind::StorageFull);
        assert_eq!(
            call(7).unwrap_err().kind(),
            io::ErrorKind::StorageFull,
            "{kind:?}"
        );
        assert_eq!(fs.faults_fired(), 1);
        assert_eq!(
            (fs.paths(), fs.bytes(&path("file"))),
            (vec![path("file")], before),
            "{kind:?}"
        );
        call(8).unwrap();
        assert_eq!(fs.faults_fired(), 1, "{kind:?}");
    }
}

#[test]
fn faults_count_from_when_they_are_set_and_can_last() {
    let fs = sim();
    let file = durable(&fs, "file", b"");
    fs.fail_nth(On::Any, 3, io::ErrorKind::Other);
    write(file.as_ref(), 0, b"a").unwrap();
    file.read_at(0, &mut [0]).unwrap();
    file.sync_data().unwrap();
    file.set_len(0).unwrap_err();
    file.set_len(0).unwrap();
    fs.inject(Fault::nth(CallKind::Write, 2, io::ErrorKind::Other).lasting());
    write(file.as_ref(), 0, b"a").unwrap();
    for _ in 0..3 {
        write(file.as_ref(), 0, b"b").unwrap_err();
    }
    file.sync_data().unwrap();
    fs.clear_faults();
    write(file.as_ref(), 0, b"c").unwrap();
    assert_eq!(fs.faults_fired(), 4);
}

#[test]
fn the_trace_tells_calls_and_failures_in_order() {
    let fs = sim();
    let file = durable(&fs, "file", b"12345");
    fs.fail_nth(CallKind::Write, 1, io::ErrorKind::Other);
    write(file.as_ref(), 5, b"678").unwrap_err();
    let trace = fs.trace();
    let kinds: Vec<CallKind> = trace.iter().map(|call| call.kind).collect();
    use CallKind::*;
    assert_eq!(kinds, [CreateDir, Create, Write, Sync, SyncDir, Write]);
    let failed = &trace[5];
    assert_eq!(
        (failed.path.clone(), failed.position, failed.length),
        (path("file"), 5, 3)
    );
    assert_eq!(
        trace.iter().map(|call| call.failed).collect::<Vec<_>>(),
        [false, false, false, false, false, true]
    );
}

#[test]
fn a_failing_write_can_leave_a_prefix_or_a_mixture_or_everything() {
    let old = vec![1; 4 * SECTOR_BYTES];
    let new = vec![2; 4 * SECTOR_BYTES];
    let left_by = |leaves: Leaves| {
        let seen = (0..50).map(|seed| {
            let fs = SimFileSystem::new(seed);
            fs.create_dir_all(dir()).unwrap();
            let file = durable(&fs, "file", &old);
            fs.inject(Fault::nth(CallKind::Write, 1, io::ErrorKind::Other).leaving(leaves));
            write(file.as_ref(), 0, &new).unwrap_err();
            fs.bytes(&path("file"))
        });
        seen.collect::<BTreeSet<_>>()
    };
    assert_eq!(left_by(Leaves::Nothing), BTreeSet::from([old.clone()]));
    assert_eq!(left_by(Leaves::Everything), BTreeSet::from([new.clone()]));
    let prefixes = left_by(Leaves::Prefix);
    assert!(prefixes.len() > 10 && !prefixes.contains(&new));
    assert!(
        prefixes.iter().all(|bytes| bytes.is_sorted_by(|a, b| a >= b)),
        "new bytes, then old ones"
    );
    let mixtures = left_by(Leaves::Mixture);
    assert!(mixtures.len() > 10);
    assert!(
        mixtures.iter().any(|bytes| !bytes.is_sorted_by(|a, b| a >= b)),
        "a hole in front of new bytes"
    );
    assert!(
        mixtures
            .iter()
            .flat_map(|bytes| bytes.chunks(SECTOR_BYTES))
            .all(|sector| { sector == &old[..SECTOR_BYTES] || sector == &new[..SECTOR_BYTES] })
    );
}

#[test]
fn a_crash_keeps_what_was_synced() {
    let fs = sim();
    let bytes: Vec<u8> = (0..3000_u32).map(|i| i as u8).collect();
    let file = durable(&fs, "file", &bytes);
    file.set_len(2000).unwrap();
    file.sync_data().unwrap();
    assert_eq!(
        after_crashes(&fs, "file"),
        BTreeSet::from([Some(bytes[..2000].to_vec())])
    );
}

#[test]
fn a_crash_leaves_any_mixture_of_sectors_that_were_not_synced() {
    let fs = sim();
    let file = durable(&fs, "file", &[1; 2 * SECTOR_BYTES]);
    write(file.as_ref(), 0, &[2; 2 * SECTOR_BYTES]).unwrap();
    write(file.as_ref(), 0, &[3; SECTOR_BYTES]).unwrap();
    let seen = after_crashes(&fs, "file");
    let mut expected = BTreeSet::new();
    for first in [1, 2, 3] {
        for second in [1, 2] {
            expected.insert(Some([[first; SECTOR_BYTES], [second; SECTOR_BYTES]].concat()));
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_crash_may_lose_growth_or_leave_zeros_in_it() {
    let fs = sim();
    let file = durable(&fs, "file", &[1; 100]);
    write(file.as_ref(), 100, &[2; 2 * SECTOR_BYTES]).unwrap();
    let seen = after_crashes(&fs, "file");
    let grown = 100 + 2 * SECTOR_BYTES;
    let lengths: BTreeSet<usize> = seen.iter().flatten().map(Vec::len).collect();
    assert!(
        lengths.contains(&100) && lengths.contains(&grown) && lengths.len() > 5,
        "{lengths:?}"
    );
    assert!(lengths.iter().all(|length| (100..=grown).contains(length)));
    let whole: Vec<&Vec<u8>> = seen
        .iter()
        .flatten()
        .filter(|bytes| bytes.len() == grown)
        .collect();
    let zeros_then_data = |bytes: &&Vec<u8>| bytes[200] == 0 && bytes[SECTOR_BYTES] == 2;
    let data_then_zeros = |bytes: &&Vec<u8>| bytes[200] == 2 && bytes[SECTOR_BYTES] == 0;
    assert!(whole.iter().any(zeros_then_data) && whole.iter().any(data_then_zeros));
    assert!(
        seen.iter().flatten().all(|bytes| bytes[..100] == [1; 100]),
        "what was synced stays"
    );
}

#[test]
fn a_crash_may_undo_a_cut_that_was_not_synced() {
    let fs = sim();
    let file = durable(&fs, "file", &[1; 1000]);
    file.set_len(10).unwrap();
    let lengths: BTreeSet<usize> = after_crashes(&fs, "file")
        .iter()
        .flatten()
        .map(Vec::len)
        .collect();
    assert!(lengths.contains(&10) && lengths.contains(&1000), "{lengths:?}");
}

#[test]
fn a_sync_after_a_failed_one_proves_nothing_until_the_bytes_are_written_again() {
    let fs = sim();
    let file = durable(&fs, "file", &[1]);
    write(file.as_ref(), 0, &[2]).unwrap();
    fs.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(
        after_crashes(&fs, "file"),
        BTreeSet::from([Some(vec![1]), Some(vec![2])])
    );
    let file = fs.open(&path("file"), OpenMode::ReadWrite).unwrap();
    write(file.as_ref(), 0, &[2]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(after_crashes(&fs, "file"), BTreeSet::from([Some(vec![2])]));
}

#[test]
fn a_crash_may_lose_a_new_name_until_the_directory_is_synced() {
    let fs = sim();
    let file = fs.open(&path("new"), OpenMode::CreateNew).unwrap();
    write(file.as_ref(), 0, b"x").unwrap();
    file.sync_data().unwrap();
    assert_eq!(
        after_crashes(&fs, "new"),
        BTreeSet::from([None, Some(b"x".to_vec())])
    );
    fs.sync_dir(dir()).unwrap();
    assert_eq!(after_crashes(&fs, "new"), BTreeSet::from([Some(b"x".to_vec())]));
}

#[test]
fn a_crash_may_bring_a_removed_name_back_until_the_directory_is_synced() {
    let fs = sim();
    durable(&fs, "old", b"x");
    fs.remove(&path("old")).unwrap();
    assert_eq!(
        after_crashes(&fs, "old"),
        BTreeSet::from([None, Some(b"x".to_vec())])
    );
    fs.sync_dir(dir()).unwrap();
    assert_eq!(after_crashes(&fs, "old"), BTreeSet::from([None]));
}

#[test]
fn a_crash_leaves_a_rename_whole_or_undone() {
    let fs = sim();
    durable(&fs, "target", b"old");
    durable(&fs, "temporary", b"new");
    fs.rename(&path("temporary"), &path("target")).unwrap();
    assert_eq!(
        after_crashes(&fs, "target"),
        BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())])
    );
    assert_eq!(
        after_crashes(&fs, "temporary"),
        BTreeSet::from([None, Some(b"new".to_vec())])
    );
    // A new file under the name that a lost rename gave free must not hide what is durable there.
    durable_only_in_bytes(&fs, "temporary");
    assert!(after_crashes(&fs, "temporary").contains(&Some(b"new".to_vec())));
    let snapshot = fs.snapshot();
    for seed in 0..200 {
        fs.restore(&snapshot);
        fs.crash(seed);
        let all: Vec<Vec<u8>> = fs.paths().iter().map(|path| fs.bytes(path)).collect();
        assert!(
            all.contains(&b"new".to_vec()),
            "seed {seed} lost a durable file: {:?}",
            fs.paths()
        );
    }
}

fn durable_only_in_bytes(fs: &SimFileSystem, name: &str) {
    let file = fs.open(&path(name), OpenMode::CreateNew).expect("new");
    write(file.as_ref(), 0, b"next").expect("no fault");
    file.sync_data().expect("no fault");
}

#[test]
fn files_opened_before_a_crash_are_dead() {
    let fs = sim();
    let file = durable(&fs, "file", b"x");
    fs.crash(0);
    let mut byte = [0];
    assert!(file.size().is_err() && file.read_at(0, &mut byte).is_err() && file.map().is_err());
    assert!(write(file.as_ref(), 0, b"y").is_err() && file.set_len(0).is_err() && file.sync_data().is_err());
    assert_eq!(fs.open(&path("file"), OpenMode::Read).unwrap().size().unwrap(), 1);
}

#[test]
fn a_killed_process_loses_its_files_but_the_disk_loses_nothing() {
    let fs = sim();
    let file = durable(&fs, "file", b"x");
    write(file.as_ref(), 0, b"y").unwrap();
    fs.kill();
    file.sync_data().unwrap_err();
    assert_eq!(fs.bytes(&path("file")), b"y");
    assert_eq!(
        after_crashes(&fs, "file"),
        BTreeSet::from([Some(b"x".to_vec()), Some(b"y".to_vec())])
    );
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let run = |seed| {
        let fs = sim();
        let file = durable(&fs, "file", &[1; 5000]);
        write(file.as_ref(), 0, &[2; 9000]).unwrap();
        for i in 0..10 {
            fs.open(&path(&format!("{i}")), OpenMode::CreateNew).unwrap();
        }
        fs.crash(seed);
        (fs.paths(), fs.bytes(&path("file")))
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert!((0..20).map(run).collect::<BTreeSet<_>>().len() > 5);
}

#[test]
fn bytes_can_be_changed_and_free_space_set_behind_the_back_of_the_log() {
    let fs = sim();
    let file = durable(&fs, "file", b"good");
    fs.set_bytes(&path("file"), b"bad!");
    let mut read = [0; 4];
    assert_eq!((file.read_at(0, &mut read).unwrap(), &read), (4, b"bad!"));
    assert_eq!(
        after_crashes(&fs, "file"),
        BTreeSet::from([Some(b"bad!".to_vec())])
    );
    assert_eq!(fs.free_bytes(dir()).unwrap(), u64::MAX);
    fs.set_free_bytes(17);
    assert_eq!(fs.free_bytes(dir()).unwrap(), 17);
}

#[test]
fn a_fault_spares_the_files_it_is_told_to() {
    let fs = sim();
    let spared = fs
        .open(&path("a.index"), OpenMode::CreateNew)
        .expect("no fault yet");
    let struck = fs
        .open(&path("a.store"), OpenMode::CreateNew)
        .expect("no fault yet");
    fs.inject(Fault::nth(CallKind::Write, 1, io::ErrorKind::Other).sparing(&[".index"]));
    write(&*spared, 0, b"x").expect("it is spared");
    assert_eq!(fs.faults_fired(), 0);
    write(&*struck, 0, b"x").expect_err("it is the first that counts");
}
