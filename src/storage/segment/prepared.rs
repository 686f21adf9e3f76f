//! Prepares the next segment's file in the background.
//!
//! Overwriting blocks that hold zeros already lets a sync skip the file system's journal (ADR 0002 has the figures:
//! about a third off each small sync, half off a large one). Zeros are written at a bounded rate: at a low rate of
//! appends all of them meet zeros, where latency counts; at a high one the writer outruns the zeros and the file
//! grows, so that not every byte is written twice.

use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{
    clock,
    storage::{
        fs::{File, FileSystem, OpenMode},
        names,
    },
};

/// Written at once. Small enough that a sync of the log that gets in line behind it waits for less than a millisecond
/// on a disk of 0.4 GB/s.
const ZERO_BYTES: usize = 256 << 10;
/// One write call: a page. The page cache keeps what one call wrote as one unit where it can, and would count (and on
/// some file systems write) all of a large unit again for each record that is put into it.
const PAGE_BYTES: usize = 4096;
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// A file to become a segment: empty, or with zeros from its beginning on.
#[derive(Clone, Debug)]
pub(in crate::storage) struct PreparedFile {
    pub(in crate::storage) path: PathBuf,
    pub(in crate::storage) file: Arc<dyn File>,
    /// It holds zeros up to here.
    pub(in crate::storage) zeroed_to: u64,
}

impl PreparedFile {
    /// Makes one with `zero_bytes` of zeros, here and now.
    pub(in crate::storage) fn create(
        file_system: &dyn FileSystem,
        directory: &Path,
        name: &str,
        zero_bytes: u64,
    ) -> io::Result<Self> {
        let path = names::preparing(directory, name);
        match file_system.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = file_system.open(&path, OpenMode::CreateNew)?;
        let mut prepared = Self {
            path,
            file,
            zeroed_to: 0,
        };
        while prepared.zeroed_to < zero_bytes {
            prepared.write_zeros(zero_bytes)?;
        }
        Ok(prepared)
    }

    fn write_zeros(&mut self, up_to: u64) -> io::Result<()> {
        let piece_end = up_to.min(self.zeroed_to + ZERO_BYTES as u64);
        while self.zeroed_to < piece_end {
            let len = usize::try_from(piece_end - self.zeroed_to)
                .unwrap_or(PAGE_BYTES)
                .min(PAGE_BYTES);
            self.file
                .write_all_at(self.zeroed_to, &mut [IoSlice::new(&ZEROS[..len])])?;
            self.zeroed_to += len as u64;
        }
        Ok(())
    }
}

/// The thread that prepares files, one ahead. Dropping it ends the thread.
#[derive(Debug)]
pub(in crate::storage) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    file_system: Arc<dyn FileSystem>,
    directory: PathBuf,
    segment_bytes: u64,
    bytes_per_second: u64,
    free_bytes_min: u64,
    state: Mutex<State>,
    changed: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// The next file, complete.
    ready: Option<PreparedFile>,
    /// Asks the thread to hand over what it has.
    wanted: Option<mpsc::SyncSender<Option<PreparedFile>>>,
    /// Preparing has failed (a full disk, say): rest until the next roll, which makes its own file.
    resting: bool,
    stopping: bool,
    /// The thread is gone, as planned or by a panic: nobody will answer.
    ended: bool,
}

/// Says that the thread is gone, whatever ends it, and lets go of whoever waits for it.
struct EndOfThread(Arc<Shared>);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.wanted = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Preparer {
    /// Begins to prepare files of `segment_bytes`, writing zeros at `bytes_per_second`, which is not 0. Begins none, and
    /// finishes none, that would leave less than `free_bytes_min` free on the disk.
    pub(in crate::storage) fn start(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        segment_bytes: u64,
        bytes_per_second: u64,
        free_bytes_min: u64,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            file_system,
            directory: directory.to_owned(),
            segment_bytes,
            bytes_per_second,
            free_bytes_min,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = shared.clone();
        let thread = thread::Builder::new()
            .name("prepare".to_owned())
            .spawn(move || run(&EndOfThread(own).0))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Whether a whole file is ready.
    pub(in crate::storage) fn is_ready(&self) -> bool {
        self.shared.lock().ready.is_some()
    }

    /// The file as far as it is; `None` when there is none.
    ///
    /// Blocking: for at most one piece of zeros.
    pub(in crate::storage) fn take(&self) -> Option<PreparedFile> {
        let (sender, receiver) = mpsc::sync_channel(1);
        {
            let mut state = self.shared.lock();
            state.resting = false;
            if let Some(ready) = state.ready.take() {
                self.shared.changed.notify_all();
                return Some(ready);
            }
            if state.ended {
                return None;
            }
            state.wanted = Some(sender);
            self.shared.changed.notify_all();
        }
        receiver.recv().ok().flatten()
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic was logged when it happened; the log goes on without files prepared for it.
            drop(thread.join());
        }
    }
}

fn run(shared: &Shared) {
    let pause = Duration::from_secs_f64(ZERO_BYTES as f64 / shared.bytes_per_second as f64);
    let mut number = 0_u64;
    let mut preparing: Option<PreparedFile> = None;
    let mut next_due = clock::now();
    loop {
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        if let Some(wanted) = state.wanted.take() {
            // Whoever asked and has gone away meanwhile does not need it.
            drop(wanted.send(preparing.take()));
            continue;
        }
        let now = clock::now();
        if state.ready.is_some() || state.resting || now < next_due {
            let idle = state.ready.is_some() || state.resting;
            let wait = if idle {
                Duration::from_secs(3600)
            } else {
                next_due - now
            };
            drop(shared.changed.wait_timeout(state, wait));
            continue;
        }
        drop(state);
        next_due = now + pause;
        number += 1;
        let own = names::preparing(&shared.directory, &format!("ahead-{number}"));
        let path = preparing.as_ref().map_or(own, |file| file.path.clone());
        match advance(shared, preparing.take(), number) {
            Ok(file) if file.zeroed_to == shared.segment_bytes => shared.lock().ready = Some(file),
            Ok(file) => preparing = Some(file),
            Err(_) => {
                // On a full disk every try would leave another one; what cannot be removed now goes at the next start.
                drop(shared.file_system.remove(&path));
                shared.lock().resting = true;
            }
        }
    }
}

/// One piece further; synced every time, so that no sync of anything else has much to carry.
fn advance(shared: &Shared, preparing: Option<PreparedFile>, number: u64) -> io::Result<PreparedFile> {
    let written = preparing.as_ref().map_or(0, |file| file.zeroed_to);
    let to_come = shared.segment_bytes.saturating_sub(written);
    let free_bytes = shared.file_system.free_bytes(&shared.directory)?;
    if free_bytes.saturating_sub(to_come) < shared.free_bytes_min {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut file = match preparing {
        Some(file) => file,
        None => PreparedFile::create(
            &*shared.file_system,
            &shared.directory,
            &format!("ahead-{number}"),
            0,
        )?,
    };
    file.write_zeros(shared.segment_bytes)?;
    file.file.sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::RealFileSystem;

    /// The machine's, with so many bytes free; panics as soon as a file is made when there are none.
    #[derive(Debug)]
    struct Limited {
        free_bytes: u64,
    }

    impl FileSystem for Limited {
        fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
            assert!(self.free_bytes > 0, "on purpose");
            RealFileSystem.open(path, mode)
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

        fn free_bytes(&self, _: &Path) -> io::Result<u64> {
            Ok(self.free_bytes)
        }
    }

    #[test]
    fn a_file_is_handed_over_as_far_as_it_is_and_then_whole() {
        let directory = tempfile::tempdir().unwrap();
        let preparer =
            Preparer::start(Arc::new(RealFileSystem), directory.path(), 1 << 20, 1 << 30, 0).unwrap();
        let files: Vec<_> = std::iter::repeat_with(|| preparer.take())
            .take(1000)
            .flatten()
            .collect();
        assert!(
            files
                .iter()
                .all(|file| file.file.size().unwrap() == file.zeroed_to)
        );
        let whole = std::iter::repeat_with(|| preparer.is_ready()).find(|ready| *ready);
        assert_eq!(whole, Some(true));
        assert_eq!(preparer.take().unwrap().zeroed_to, 1 << 20);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Limited { free_bytes: 0 });
        let preparer = Preparer::start(disk, directory.path(), 1 << 20, 1 << 30, 0).unwrap();
        assert!(preparer.take().is_none());
        assert!(preparer.take().is_none());
    }

    #[test]
    fn nothing_is_prepared_that_would_fill_the_disk_up_to_its_floor() {
        let directory = tempfile::tempdir().unwrap();
        let start = |free_bytes, free_bytes_min| {
            let disk = Arc::new(Limited { free_bytes });
            Preparer::start(disk, directory.path(), 1 << 20, 1 << 30, free_bytes_min).unwrap()
        };
        let floor = 5 << 20;
        let nearly_full = start((6 << 20) - 1, floor);
        assert!((0..1000).all(|_| nearly_full.take().is_none()));
        drop(nearly_full);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let with_room = start(6 << 20, floor);
        assert!(
            std::iter::repeat_with(|| with_room.take())
                .take(1000)
                .any(|file| file.is_some())
        );
    }
}
