//! Which data directories a path leads to.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::storage::{data_dir::IdleDataDir, fs::RealFileSystem, offline::ReadOnly};

use super::StorageFailure;

/// The disk, of which nothing can be changed.
pub(super) fn disk() -> ReadOnly {
    ReadOnly::new(Arc::new(RealFileSystem))
}

/// All that are at a path: itself, or those right below it, as `annals dev --nodes 3` and `annals init` make them. None is in
/// use, nor will be before the values are dropped.
pub(super) fn data_dirs(path: &Path) -> Result<Vec<IdleDataDir>, StorageFailure> {
    let open = |path: &PathBuf| IdleDataDir::open(&disk(), path).map_err(StorageFailure::from);
    found(path)?.iter().map(open).collect()
}

/// The one that is at a path.
pub(super) fn data_dir(path: &Path) -> Result<IdleDataDir, StorageFailure> {
    let mut all = found(path)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(IdleDataDir::open(&disk(), &only)?),
        (last, _) => {
            all.extend(last);
            Err(StorageFailure::Several {
                path: path.to_owned(),
                nodes: all,
            })
        }
    }
}

/// Whether there is anything of that name, be it a link to nowhere.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// At least one, in the order of their names.
fn found(path: &Path) -> Result<Vec<PathBuf>, StorageFailure> {
    let unreadable = |error: io::Error| {
        let text = format!("{}: {error}", path.display());
        StorageFailure::Unreadable(io::Error::new(error.kind(), text))
    };
    let is_data = |path: &Path| Ok(is_there(&path.join("identity"))? || path.join("logs").is_dir());
    if is_data(path).map_err(unreadable)? {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StorageFailure::NoData {
                path: path.to_owned(),
            });
        }
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let below = entry.map_err(unreadable)?.path();
        // What may not be looked into, as `lost+found`, is no node's.
        if is_data(&below).unwrap_or(false) {
            found.push(below);
        }
    }
    found.sort_unstable();
    if found.is_empty() {
        return Err(StorageFailure::NoData {
            path: path.to_owned(),
        });
    }
    Ok(found)
}
