//! Opening a log, and what runs beside it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use annals::{
    clock,
    storage::{
        Log, LogOptions, ReadError,
        entry::Payload,
        fs::{File, FileSystem, OpenMode},
    },
    types::{Offset, TimestampMs},
};

use crate::{
    history::{History, batch, directory, open, options, read_all},
    support::sim_fs::{CallKind, Fault, Leaves, SimFileSystem},
};

/// Notes which files are opened.
#[derive(Clone, Debug)]
struct Watched {
    fs: SimFileSystem,
    opened: Arc<Mutex<Vec<PathBuf>>>,
}

impl FileSystem for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.opened.lock().unwrap().push(path.to_owned());
        self.fs.open(path, mode)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.fs.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.fs.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.fs.sync_dir(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.fs.free_bytes(directory)
    }
}

/// A log of so many segments with 3 records each.
fn of_segments(fs: &SimFileSystem, segments: u64) -> (Log, History) {
    let (mut log, _) = open(fs, options()).unwrap();
    let mut history = History::new();
    for segment in 0..segments {
        if segment > 0 {
            log.roll().unwrap();
        }
        for _ in 0..3 {
            let text = format!("record {}", history.last());
            let payload = Payload::Records(batch(text, 1));
            history.append_to(&mut log, 1, 1000 + history.last(), payload);
        }
        log.sync().unwrap();
    }
    (log, history)
}

#[test]
fn opening_a_log_opens_its_first_and_its_last_store_however_many_there_are() {
    for segments in [2, 50] {
        let fs = SimFileSystem::new(1);
        let (log, history) = of_segments(&fs, segments);
        drop(log);
        let watched = Watched {
            fs: fs.clone(),
            opened: Arc::default(),
        };
        let (log, report) = Log::open(Arc::new(watched.clone()), options()).unwrap();
        assert_eq!(report.segments as u64, segments);
        let mut opened = watched.opened.lock().unwrap().clone();
        opened.sort_unstable();
        let store = |first: u64| directory().join(format!("{first:020}.store"));
        // And what tells whether the first one begins too late, or the last one ends too early.
        let [beginning, committed] = ["beginning", "committed"].map(|name| directory().join(name));
        let last = store(3 * (segments - 1) + 1);
        assert_eq!(opened, [store(1), last, beginning, committed]);
        history.check(&log);
    }
}

#[test]
fn a_reader_with_an_old_view_gets_the_right_records_or_is_told_that_they_were_trimmed() {
    let fs = SimFileSystem::new(1);
    let (mut log, history) = of_segments(&fs, 10);
    let tail = history.tail();
    // Which files are open, and which headers known, depends on what was read before.
    for warm in [0, 4, 13, 29] {
        drop(log);
        log = open(&fs, options()).unwrap().0;
        let view = log.view();
        let before = view.earliest();
        if Offset(warm) >= before {
            view.read(Offset(warm), tail, 1).unwrap();
        }
        log.trim(before.plus(6)).unwrap();
        assert_eq!(log.view().earliest(), before.plus(6));
        for from in before.get()..tail.get() {
            let (batches, error) = read_all(&view, Offset(from), tail, 1);
            assert_eq!(batches, history.batches(Offset(from), tail)[..batches.len()]);
            match error {
                None => assert_eq!(batches.len() as u64, tail.get() - from),
                Some(ReadError::Trimmed { .. }) => assert!(from < before.get() + 6),
                Some(other) => panic!("{other}"),
            }
            let found = view.offset_at(TimestampMs(1000 + from), tail).unwrap();
            assert!((Offset(from)..=before.plus(6).max(Offset(from))).contains(&found));
        }
    }
}

#[test]
fn a_file_that_cannot_be_prepared_is_not_left_behind() {
    let fs = SimFileSystem::new(1);
    let (log, _) = of_segments(&fs, 1);
    drop(log);
    // Opening a log that is there creates nothing; the thread that prepares the next file does.
    let fault = Fault::nth(CallKind::Create, 1, io::ErrorKind::StorageFull);
    fs.inject(fault.leaving(Leaves::Everything));
    let zeroed = LogOptions {
        prezero_bytes_per_second: 1,
        ..options()
    };
    let (log, _) = open(&fs, zeroed).unwrap();
    let removed = || {
        let trace = fs.trace();
        trace
            .iter()
            .any(|call| call.kind == CallKind::Remove && call.path.ends_with("ahead-1.preparing"))
    };
    let deadline = clock::now() + Duration::from_secs(40);
    while !removed() {
        assert!(clock::now() < deadline, "still there: {:?}", fs.paths());
        std::thread::yield_now();
    }
    drop(log);
    let names = fs.list(directory()).unwrap();
    assert_eq!(names, ["00000000000000000001.store", "beginning"]);
}
