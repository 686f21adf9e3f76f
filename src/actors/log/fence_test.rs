//! A log that was passed over: it came to its end too late, and another instance has opened the same files.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use slog::Discard;
use tokio::sync::oneshot;

use super::*;
use crate::{
    actors::supervision::{Died, Part},
    storage::{
        entry::{Batch, Entry, Payload},
        fs::{File, FileSystem, Mapping, OpenMode, RealFileSystem},
    },
    types::{LogIndex, Term, TimestampMs},
};

const SEGMENT_BYTES: u64 = 4096;
/// Two of them are more than a segment takes.
const RECORD_BYTES: usize = 3000;

/// The machine's disk, on which the log is opened once more while its segment gets its final length: behind what the segment's
/// actor looks at before, and before LogActor hears of it.
#[derive(Clone, Debug)]
struct PassedOver {
    fences: Fences,
    /// It was opened once more, or is not to be yet.
    done: Arc<AtomicBool>,
}

impl FileSystem for PassedOver {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(PassedOverFile {
            disk: self.clone(),
            inner: RealFileSystem.open(path, mode)?,
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealFileSystem.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        RealFileSystem.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        RealFileSystem.sync_dir(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        RealFileSystem.free_bytes(directory)
    }
}

#[derive(Debug)]
struct PassedOverFile {
    disk: PassedOver,
    inner: Arc<dyn File>,
}

impl File for PassedOverFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(position, into)
    }

    fn write_all_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.inner.write_all_at(position, parts)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if !self.disk.done.swap(true, Ordering::SeqCst) {
            drop(self.disk.fences.next());
        }
        self.inner.set_len(length)
    }

    fn map(&self) -> io::Result<Mapping> {
        self.inner.map()
    }
}

/// Stands for the Agent: hears of the log's end, which is for another one's test.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<Died> for Deaf {
    type Result = ();

    fn handle(&mut self, _: Died, _: &mut Self::Context) {}
}

/// Appends an entry with a record; the answer is an error when nobody knows what became of it.
async fn append(log: &Addr<LogActor>, log_index: u64) -> Option<Result<(), AppendFailed>> {
    let (sender, persisted) = oneshot::channel();
    let entry = Entry {
        log_index: LogIndex(log_index),
        term: Term(1),
        timestamp: TimestampMs(1),
        payload: Payload::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 1,
            records: vec![b'.'; RECORD_BYTES].into(),
        }),
    };
    let append = Append {
        entries: vec![entry],
        on_persisted: OnPersisted::new(move |result| drop(sender.send(result.map(drop)))),
    };
    assert!(log.try_send(append).is_ok());
    persisted.await.ok()
}

fn stores(directory: &Path) -> Vec<String> {
    let mut names = RealFileSystem.list(directory).unwrap();
    names.retain(|name| name.ends_with(".store"));
    names
}

#[test]
fn a_log_that_was_passed_over_while_it_rolled_begins_no_segment() {
    let directory = tempfile::tempdir().unwrap();
    System::new().block_on(async {
        let fences = Fences::default();
        let disk = PassedOver {
            fences: fences.clone(),
            done: Arc::new(AtomicBool::new(true)),
        };
        let (_cluster, cluster_id) = watch::channel(Some(ClusterId(1)));
        let setup = LogSetup {
            file_system: Arc::new(disk.clone()),
            options: LogOptions {
                directory: directory.path().to_owned(),
                cluster_id: ClusterId(1),
                segment_bytes: SEGMENT_BYTES,
                segment_age_ms: u64::MAX,
                tail_cache_bytes: 0,
                open_files_max: 4,
                prezero_bytes_per_second: 0,
            },
            cluster_id,
            data_dir: None,
            free_bytes_min: 0,
            view: Arc::new(ArcSwap::from_pointee(LogView::unopened())),
            board: ConditionBoard::new(),
            logger: Logger::root(Discard, o!()),
        };
        let (opening, opened) = Reply::channel();
        let lifeline = Lifeline::new(Part::Log, 1, Deaf.start().recipient());
        let log = LogActor::new(setup, fences, opening, lifeline).start();
        opened.await.unwrap();
        assert_eq!(append(&log, 1).await, Some(Ok(())));
        let before = stores(directory.path());
        disk.done.store(false, Ordering::SeqCst);
        assert_eq!(
            append(&log, 2).await,
            None,
            "it was for the segment that is not begun"
        );
        assert!(
            disk.done.load(Ordering::SeqCst),
            "nobody opened the log meanwhile"
        );
        assert_eq!(stores(directory.path()), before);
        assert!(!log.connected());
    });
}
