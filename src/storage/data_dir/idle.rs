//! A data directory that no node uses, for whoever only looks at it.

use std::path::{Path, PathBuf};

use super::{DataDirError, Identity, identity, lock::Lock};
use crate::storage::fs::FileSystem;

/// A data directory that no node uses, nor begins to use until the value is dropped. Nothing in it is written, made or removed.
#[derive(Debug)]
pub struct IdleDataDir {
    path: PathBuf,
    identity: Result<Option<Identity>, DataDirError>,
    /// Held, never read.
    _lock: Option<Lock>,
}

impl IdleDataDir {
    /// Makes sure that no node uses the directory, and reads whose it is.
    ///
    /// The lock is the machine's own whatever `fs` is. Blocking. Errors: `InUse`; what the system says about `LOCK`.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self, DataDirError> {
        let lock = Lock::share(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: identity::peek(fs, path),
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which node the data belongs to; `None`: the file is missing. Or why that cannot be told.
    pub fn identity(&self) -> Result<Option<&Identity>, &DataDirError> {
        self.identity.as_ref().map(Option::as_ref)
    }

    /// Where the log `default` is, if it is there.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path.join("logs").join("default")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::storage::{data_dir::DataDir, fs::RealFileSystem};

    #[test]
    fn whoever_looks_is_refused_beside_a_node_and_keeps_one_from_starting() {
        let temp = tempfile::tempdir().unwrap();
        let node = DataDir::open(Arc::new(RealFileSystem), temp.path(), "node").unwrap();
        let refused = IdleDataDir::open(&RealFileSystem, temp.path()).unwrap_err();
        let pid = Some(std::process::id());
        assert!(
            matches!(&refused, DataDirError::InUse { pid: found, .. } if *found == pid),
            "{refused}"
        );
        let identity = node.identity().clone();
        drop(node);
        let one = IdleDataDir::open(&RealFileSystem, temp.path()).unwrap();
        let other = IdleDataDir::open(&RealFileSystem, temp.path()).unwrap();
        assert_eq!(one.identity().unwrap(), Some(&identity));
        drop(one);
        let refused = DataDir::open(Arc::new(RealFileSystem), temp.path(), "node").unwrap_err();
        assert!(matches!(refused, DataDirError::InUse { .. }), "{refused}");
        drop(other);
        DataDir::open(Arc::new(RealFileSystem), temp.path(), "node").unwrap();
    }

    #[test]
    fn a_directory_without_a_lock_gets_none_and_a_pid_of_nobody_is_not_told() {
        let temp = tempfile::tempdir().unwrap();
        let looked = IdleDataDir::open(&RealFileSystem, temp.path()).unwrap();
        assert_eq!(looked.identity().unwrap(), None);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        // No process has this number: Linux gives none above 2^22.
        fs::write(temp.path().join("LOCK"), "2147483647\n").unwrap();
        let _looked = IdleDataDir::open(&RealFileSystem, temp.path()).unwrap();
        let refused = DataDir::open(Arc::new(RealFileSystem), temp.path(), "node").unwrap_err();
        assert!(
            matches!(refused, DataDirError::InUse { pid: None, .. }),
            "{refused}"
        );
    }
}
