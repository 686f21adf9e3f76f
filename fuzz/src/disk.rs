//! A disk in memory with some files in the directory of a log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use annals::{
    storage::{
        LogOptions,
        fs::{FileSystem, OpenMode},
    },
    types::ClusterId,
};

use crate::support::sim_fs::SimFileSystem;

/// Where the files are.
pub const DIRECTORY: &str = "log";

/// The disk; what is on it is synced.
#[derive(Clone, Debug)]
pub struct Disk(SimFileSystem);

impl Disk {
    /// A disk with these files, by name.
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        Self::at(Path::new(DIRECTORY), files)
    }

    /// The same, the files in another directory.
    pub fn at(directory: &Path, files: &[(&str, &[u8])]) -> Self {
        let disk = SimFileSystem::new(0);
        disk.create_dir_all(directory).expect("nothing fails here");
        for (name, bytes) in files {
            let path = directory.join(name);
            disk.open(&path, OpenMode::CreateNew).expect("nothing fails here");
            disk.set_bytes(&path, bytes);
        }
        disk.sync_dir(directory).expect("nothing fails here");
        Self(disk)
    }

    /// As storage sees it.
    pub fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.0.clone())
    }

    /// What a file reads as.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.bytes(&Path::new(DIRECTORY).join(name))
    }

    /// All files, with what they read as.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let read = |path: PathBuf| (path.clone(), self.0.bytes(&path));
        self.0.paths().into_iter().map(read).collect()
    }

    /// The power goes; what was not synced is gone in part or in whole, as the seed decides.
    pub fn crash(&self, seed: u64) {
        self.0.crash(seed);
    }
}

/// Options of a log there.
pub fn options(cluster_id: ClusterId) -> LogOptions {
    LogOptions {
        directory: PathBuf::from(DIRECTORY),
        cluster_id,
        segment_bytes: 1 << 20,
        segment_age_ms: u64::MAX,
        tail_cache_bytes: 4096,
        open_files_max: 4,
        prezero_bytes_per_second: 0,
    }
}
