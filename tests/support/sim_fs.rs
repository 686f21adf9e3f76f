//! A disk in memory that fails when told to, and forgets what a real one may forget.
//!
//! It stands in for the machine's file system behind `annals::storage::fs`. It is as bad as that seam allows a disk to
//! be: what was not synced comes back from a crash in any mixture of sectors, a name that was not synced may be gone, and
//! a sync that failed has given its sectors up, so that a later one that succeeds proves nothing.
//!
//! All chance comes from seeds: the same calls with the same seeds give the same bytes.

mod disk;
mod faults;
mod names;

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use annals::storage::fs::{File, FileSystem, Mapping, OpenMode};

pub(crate) use disk::SECTOR_BYTES;
pub(crate) use faults::{Call, CallKind, Fault, Leaves, On};

use disk::{Content, Random};
use faults::{Faults, Verdict};
use names::{Change, Names};

/// The simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimFileSystem {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    disk: Disk,
    faults: Faults,
    random: Random,
    free_bytes: u64,
    /// Raised by a crash; handles of an older generation are dead.
    generation: u64,
}

/// All that a crash may change.
#[derive(Clone, Debug, Default)]
struct Disk {
    names: Names,
    files: BTreeMap<u64, Content>,
    next_file: u64,
}

/// A disk as it was, with what it had not synced; see [`SimFileSystem::snapshot`].
#[derive(Clone, Debug)]
pub(crate) struct Snapshot(Disk);

impl SimFileSystem {
    /// An empty disk. The seed decides what failing writes leave behind.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            disk: Disk::default(),
            faults: Faults::default(),
            random: Random::new(seed),
            free_bytes: u64::MAX,
            generation: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Lets the `nth` call from now on (1: the next one) of a kind, or of any kind that changes the disk, fail without
    /// effect.
    pub(crate) fn fail_nth(&self, on: impl Into<On>, nth: u64, error: io::ErrorKind) {
        self.inject(Fault::nth(on, nth, error));
    }

    /// Adds a fault; those that are there stay.
    pub(crate) fn inject(&self, fault: Fault) {
        self.lock().faults.inject(fault);
    }

    /// Forgets the faults that are still to come.
    pub(crate) fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// How many calls failed by injected faults.
    pub(crate) fn faults_fired(&self) -> u64 {
        self.lock().faults.fired()
    }

    /// Whether a fault has cut the power, and nobody has cleared the faults since.
    pub(crate) fn power_is_off(&self) -> bool {
        self.lock().faults.power_is_off()
    }

    /// The calls that changed the disk or tried to, in order.
    pub(crate) fn trace(&self) -> Vec<Call> {
        self.lock().faults.trace().to_vec()
    }

    /// The power goes: open files are dead, and of what was not synced any part is there. The same seed and the same
    /// disk give the same result; many seeds give nothing at all, or everything.
    pub(crate) fn crash(&self, seed: u64) {
        let mut state = self.lock();
        let mut random = Random::new(seed);
        state.generation += 1;
        state.disk.names.crash(&mut random);
        let State { disk, .. } = &mut *state;
        disk.files.retain(|file, _| disk.names.holds(*file));
        for content in disk.files.values_mut() {
            content.crash(&mut random);
        }
    }

    /// The process goes, not the power: open files are dead, but nothing is lost or becomes durable by it.
    pub(crate) fn kill(&self) {
        self.lock().generation += 1;
    }

    /// The disk as it is, to come back to. Faults and trace are no part of it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.lock().disk.clone())
    }

    /// Puts the disk back; open files are dead.
    pub(crate) fn restore(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        state.generation += 1;
        state.disk = snapshot.0.clone();
    }

    /// What [`FileSystem::free_bytes`] answers from now on.
    pub(crate) fn set_free_bytes(&self, free_bytes: u64) {
        self.lock().free_bytes = free_bytes;
    }

    /// All files, by path.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.lock().disk.names.paths()
    }

    /// What a file reads as now.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.lock();
        let file = state
            .disk
            .names
            .get(path)
            .unwrap_or_else(|| panic!("no file {}", path.display()));
        state.disk.files[&file].live().to_vec()
    }

    /// Puts other bytes into a file, at once and durably, as a failing medium does.
    pub(crate) fn set_bytes(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let file = state
            .disk
            .names
            .get(path)
            .unwrap_or_else(|| panic!("no file {}", path.display()));
        state.disk.files.insert(file, Content::durable(bytes));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics while it has the lock")
    }
}

impl State {
    fn content(&mut self, file: u64) -> &mut Content {
        self.disk
            .files
            .get_mut(&file)
            .expect("files are dropped by a crash only, and then handles are dead")
    }

    /// Makes a change of names unless a fault says no.
    fn change_names(&mut self, call: Call, change: Change) -> io::Result<()> {
        match self.faults.judge(call) {
            Verdict::Go => self.disk.names.change(change),
            Verdict::Fail(error, Leaves::Everything) => {
                self.disk.names.change(change);
                return Err(error);
            }
            Verdict::Fail(error, _) => return Err(error),
        }
        Ok(())
    }

    fn existing(&self, path: &Path) -> io::Result<u64> {
        self.disk
            .names
            .get(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl FileSystem for SimFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        let file = match mode {
            OpenMode::Read | OpenMode::ReadWrite => state.existing(path)?,
            OpenMode::CreateNew => {
                state.disk.names.require_parent(path)?;
                if state.existing(path).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let file = state.disk.next_file;
                state.disk.next_file += 1;
                state.disk.files.insert(file, Content::default());
                let change = Change::Create {
                    path: path.to_owned(),
                    file,
                };
                state.change_names(Call::on(CallKind::Create, path), change)?;
                file
            }
        };
        Ok(Arc::new(SimFile {
            fs: self.clone(),
            path: path.to_owned(),
            file,
            generation: state.generation,
            writable: mode != OpenMode::Read,
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.lock().disk.names.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.lock();
        match state.faults.judge(Call::on(CallKind::CreateDir, directory)) {
            Verdict::Go => state.disk.names.create_dir_all(directory),
            Verdict::Fail(error, leaves) => {
                if leaves == Leaves::Everything {
                    state.disk.names.create_dir_all(directory);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.existing(from)?;
        state.disk.names.require_parent(to)?;
        if from.parent() != to.parent() {
            // Two directories are two syncs; nothing in a log needs that.
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let change = Change::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            file,
        };
        state.change_names(Call::on(CallKind::Rename, to), change)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.existing(path)?;
        state.change_names(
            Call::on(CallKind::Remove, path),
            Change::Remove {
                path: path.to_owned(),
            },
        )
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.disk.names.list(directory)?;
        let verdict = state.faults.judge(Call::on(CallKind::SyncDir, directory));
        if verdict.takes_effect() {
            state.disk.names.sync_dir(directory);
        }
        verdict.result()
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Ok(self.lock().free_bytes)
    }
}

/// An open file.
#[derive(Debug)]
struct SimFile {
    fs: SimFileSystem,
    /// As it was called when it was opened.
    path: PathBuf,
    file: u64,
    generation: u64,
    writable: bool,
}

impl SimFile {
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.fs.lock();
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::other("the file was opened before the crash"))
        }
    }

    fn alive_for_writing(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.writable {
            self.alive()
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.alive()?.content(self.file).live().len() as u64)
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.alive()?;
        state
            .faults
            .judge(Call::bytes(CallKind::Read, &self.path, position, into.len()))
            .result()?;
        let live = state.content(self.file).live();
        let from = usize::try_from(position).map_or(live.len(), |position| position.min(live.len()));
        let count = into.len().min(live.len() - from);
        into[..count].copy_from_slice(&live[from..from + count]);
        Ok(count)
    }

    fn write_all_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.alive_for_writing()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let verdict = state
            .faults
            .judge(Call::bytes(CallKind::Write, &self.path, position, bytes.len()));
        let position = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let leaves = match &verdict {
            Verdict::Go => Leaves::Everything,
            Verdict::Fail(_, leaves) => *leaves,
        };
        let State { disk, random, .. } = &mut *state;
        let content = disk
            .files
            .get_mut(&self.file)
            .expect("handles are dead where files are dropped");
        for written in leaves.of_write(position, bytes.len(), random) {
            content.write(position + written.start, &bytes[written]);
        }
        verdict.result()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        let verdict = state.faults.judge(Call::on(CallKind::Sync, &self.path));
        if verdict.takes_effect() {
            state.content(self.file).sync();
        } else {
            state.content(self.file).give_up();
        }
        verdict.result()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.alive_for_writing()?;
        let verdict = state
            .faults
            .judge(Call::bytes(CallKind::SetLen, &self.path, length, 0));
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if verdict.takes_effect() {
            state.content(self.file).set_len(length);
        }
        verdict.result()
    }

    /// A copy: what is written later does not show in it. Only files that no longer change are mapped.
    fn map(&self) -> io::Result<Mapping> {
        let mut state = self.alive()?;
        Ok(Arc::new(state.content(self.file).live().to_vec()))
    }
}
