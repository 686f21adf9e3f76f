//! A disk at which something happens just before it is written to: a panic, or a long wait.

use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use annals::storage::fs::{File, FileSystem, Mapping, OpenMode};

/// A call that a hook may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Write,
    Sync,
}

/// What happens before a call.
pub(crate) trait Hook: Send + Sync + fmt::Debug {
    /// Comes on the thread that makes the call. `path` is the file's, as it was called when opened.
    fn before(&self, point: Point, path: &Path);
}

/// Another disk, with a hook.
#[derive(Clone, Debug)]
pub(crate) struct HookedFileSystem {
    inner: Arc<dyn FileSystem>,
    hook: Arc<dyn Hook>,
}

impl HookedFileSystem {
    pub(crate) fn new(inner: impl FileSystem + 'static, hook: Arc<dyn Hook>) -> Self {
        Self {
            inner: Arc::new(inner),
            hook,
        }
    }
}

/// Panics once.
#[derive(Debug)]
pub(crate) struct PanicHook {
    point: Point,
    /// Calls until then; below zero: not armed.
    left: AtomicI64,
    fired: AtomicU64,
}

impl PanicHook {
    pub(crate) fn new(point: Point) -> Arc<Self> {
        Arc::new(Self {
            point,
            left: AtomicI64::new(-1),
            fired: AtomicU64::new(0),
        })
    }

    /// The `nth` call from now on (1: the next one) panics.
    pub(crate) fn arm(&self, nth: i64) {
        self.left.store(nth, Ordering::SeqCst);
    }

    /// How many panics there were.
    pub(crate) fn fired(&self) -> u64 {
        self.fired.load(Ordering::SeqCst)
    }
}

impl Hook for PanicHook {
    fn before(&self, point: Point, path: &Path) {
        if point == self.point && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.fired.fetch_add(1, Ordering::SeqCst);
            panic!("on purpose, at a {point:?} of {}", path.display());
        }
    }
}

/// Lets syncs wait while it is closed, as a disk that hangs.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn close(&self) {
        self.state
            .lock()
            .expect("no call panics while it has the lock")
            .closed = true;
    }

    pub(crate) fn open(&self) {
        self.state
            .lock()
            .expect("no call panics while it has the lock")
            .closed = false;
        self.changed.notify_all();
    }

    /// How many syncs hang.
    pub(crate) fn waiting(&self) -> usize {
        self.state
            .lock()
            .expect("no call panics while it has the lock")
            .waiting
    }
}

impl Hook for Gate {
    fn before(&self, point: Point, _: &Path) {
        if point != Point::Sync {
            return;
        }
        let mut state = self.state.lock().expect("no call panics while it has the lock");
        state.waiting += 1;
        state = self
            .changed
            .wait_while(state, |state| state.closed)
            .expect("no call panics while it has the lock");
        state.waiting -= 1;
    }
}

/// Makes each sync take longer while it is on, as a disk that has much else to do.
#[derive(Debug)]
pub(crate) struct Slowness {
    by: Duration,
    on: AtomicBool,
    slowed: AtomicU64,
    /// Nobody ever tells of a change: whoever waits here waits as long as he likes.
    nothing: (Mutex<()>, Condvar),
}

impl Slowness {
    pub(crate) fn new(by: Duration) -> Arc<Self> {
        Arc::new(Self {
            by,
            on: AtomicBool::new(false),
            slowed: AtomicU64::new(0),
            nothing: (Mutex::new(()), Condvar::new()),
        })
    }

    pub(crate) fn set(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    /// How many syncs have taken longer.
    pub(crate) fn slowed(&self) -> u64 {
        self.slowed.load(Ordering::SeqCst)
    }
}

impl Hook for Slowness {
    fn before(&self, point: Point, _: &Path) {
        if point != Point::Sync || !self.on.load(Ordering::SeqCst) {
            return;
        }
        let (nothing, change) = &self.nothing;
        let nothing = nothing.lock().expect("no call panics while it has the lock");
        let waited = change.wait_timeout_while(nothing, self.by, |()| true);
        drop(waited.expect("no call panics while it has the lock"));
        self.slowed.fetch_add(1, Ordering::SeqCst);
    }
}

impl FileSystem for HookedFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(HookedFile {
            inner: self.inner.open(path, mode)?,
            path: path.to_owned(),
            hook: self.hook.clone(),
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.inner.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.inner.sync_dir(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.inner.free_bytes(directory)
    }
}

#[derive(Debug)]
struct HookedFile {
    inner: Arc<dyn File>,
    path: PathBuf,
    hook: Arc<dyn Hook>,
}

impl File for HookedFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(position, into)
    }

    fn write_all_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.hook.before(Point::Write, &self.path);
        self.inner.write_all_at(position, parts)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hook.before(Point::Sync, &self.path);
        self.inner.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn map(&self) -> io::Result<Mapping> {
        self.inner.map()
    }
}
