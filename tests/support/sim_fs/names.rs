//! Which names there are, now and after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::disk::{Random, Survival};

/// The names of all files, each with the file it stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    /// What makes `live` of `durable`, in order.
    pending: Vec<Change>,
    /// Durable as soon as they are made.
    directories: BTreeSet<PathBuf>,
}

/// A change of names, which a crash undoes whole or not at all.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create { path: PathBuf, file: u64 },
    Rename { from: PathBuf, to: PathBuf, file: u64 },
    Remove { path: PathBuf },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create { path, file } => {
                names.insert(path.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }

    fn paths(&self) -> [&PathBuf; 2] {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => [path, path],
            Self::Rename { from, to, .. } => [from, to],
        }
    }
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<u64> {
        self.live.get(path).copied()
    }

    pub(super) fn holds(&self, file: u64) -> bool {
        self.live.values().any(|held| *held == file)
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.live.keys().cloned().collect()
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn create_dir_all(&mut self, directory: &Path) {
        self.directories.extend(directory.ancestors().map(Path::to_owned));
    }

    pub(super) fn require_parent(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(path);
        if self.directories.contains(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        if !self.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.live.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    pub(super) fn sync_dir(&mut self, directory: &Path) {
        let Self { pending, durable, .. } = self;
        pending.retain(|change| {
            let inside = change.paths()[0].parent() == Some(directory);
            if inside {
                change.apply(durable);
            }
            !inside
        });
    }

    /// Makes the names what a crash leaves of them. Changes of different names survive independently; a change of a name
    /// whose earlier change is lost is lost too, since it could not have happened without it.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let survival = Survival::choose(random);
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let survives = match survival {
                Survival::Nothing => false,
                Survival::Everything => true,
                Survival::Some => random.coin(),
            };
            if survives && !change.paths().iter().any(|path| lost.contains(*path)) {
                change.apply(&mut self.durable);
            } else {
                lost.extend(change.paths().into_iter().cloned());
            }
        }
        self.live = self.durable.clone();
    }
}
