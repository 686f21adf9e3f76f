//! The data directory: who this node is, and that nobody else uses the directory.
//!
//! ```text
//! data/
//!   LOCK                 held while the process runs
//!   begun                the log has begun: from now on nothing starts here without it
//!   identity             written once, and once more when the node gets its cluster
//!   peers                whom the node gossiped with last: a cache of the membership's, not looked at here
//!   logs/<name>/         one directory for each log
//! ```

mod begun;
mod error;
mod identity;
mod idle;
mod lock;

pub use begun::note as note_begun;
pub(in crate::storage) use begun::refuse_gone;
pub use error::DataDirError;
pub use identity::{FORMAT_VERSION, Identity, NODE_NAME_BYTES_MAX};
pub use idle::IdleDataDir;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::fs::FileSystem;
use crate::types::ClusterId;

use self::lock::Lock;

/// A data directory that is this process's alone until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    identity: Identity,
    is_new: bool,
    is_renamed: bool,
    /// The cluster whose adoption was begun and may not have come to its end.
    begun: Option<ClusterId>,
    /// Held, never read.
    _lock: Lock,
}

impl DataDir {
    /// Takes the directory for this process and finds out which node it belongs to. A directory without data is made
    /// that of a new node, called `node_name`, that is a cluster by itself.
    ///
    /// The lock is the machine's own whatever `fs` is, so `path` must exist on the machine when `fs` is a simulation.
    ///
    /// Errors: another process has the directory; the identity is damaged, of a newer format, or missing beside data;
    /// the name is empty or longer than [`NODE_NAME_BYTES_MAX`]; what the system says. Blocking.
    pub fn open(fs: Arc<dyn FileSystem>, path: &Path, node_name: &str) -> Result<Self, DataDirError> {
        Self::open_or_make(fs, path, node_name, Identity::create)
    }

    /// The same, but a new node has no cluster yet: it gets one by [`DataDir::adopt_cluster`].
    pub fn open_without_cluster(
        fs: Arc<dyn FileSystem>,
        path: &Path,
        node_name: &str,
    ) -> Result<Self, DataDirError> {
        Self::open_or_make(fs, path, node_name, Identity::create_without_cluster)
    }

    fn open_or_make(
        fs: Arc<dyn FileSystem>,
        path: &Path,
        node_name: &str,
        make: impl FnOnce(&str) -> Identity,
    ) -> Result<Self, DataDirError> {
        if node_name.is_empty() || node_name.len() > NODE_NAME_BYTES_MAX {
            return Err(DataDirError::NodeName {
                length: node_name.len(),
            });
        }
        fs.create_dir_all(path)
            .map_err(DataDirError::io("create", path))?;
        let lock = Lock::take(path)?;
        let stored = identity::load(fs.as_ref(), path)?;
        let is_new = stored.is_none();
        let identity = match stored {
            Some(identity) => {
                begun::look(fs.as_ref(), path)?;
                identity
            }
            None => {
                refuse_orphaned_logs(fs.as_ref(), path)?;
                let identity = make(node_name);
                identity::store(fs.as_ref(), path, &identity)?;
                identity
            }
        };
        let is_renamed = identity.node_name != node_name;
        Ok(Self {
            fs,
            path: path.to_owned(),
            identity,
            is_new,
            is_renamed,
            begun: None,
            _lock: lock,
        })
    }

    /// Makes the node one of that cluster, for ever; durable when the call returns. The same cluster again is fine.
    ///
    /// Errors: the node is of another cluster, or an attempt to make it one of another may have succeeded; the id is 0;
    /// what the system says, and then only a new start tells whether it was adopted. Blocking.
    pub fn adopt_cluster(&mut self, cluster_id: ClusterId) -> Result<(), DataDirError> {
        match self.identity.cluster_id.or(self.begun) {
            Some(own) if own != cluster_id => {
                return Err(DataDirError::OtherCluster {
                    own,
                    other: cluster_id,
                });
            }
            _ if cluster_id == ClusterId(0) => return Err(DataDirError::NoClusterId),
            _ if self.identity.cluster_id.is_some() => return Ok(()),
            _ => {}
        }
        self.begun = Some(cluster_id);
        let adopted = Identity {
            cluster_id: Some(cluster_id),
            ..self.identity.clone()
        };
        identity::store(self.fs.as_ref(), &self.path, &adopted)?;
        self.identity = adopted;
        Ok(())
    }

    /// Which node the data belongs to.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the identity was made just now.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The name that the node had at its first start, when it is configured to have another one now. That is allowed,
    /// since names are configuration, but may also be the wrong directory: worth a line in the operator's log.
    #[must_use]
    pub fn renamed_from(&self) -> Option<&str> {
        self.is_renamed.then_some(self.identity.node_name.as_str())
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the log `name`, made if need be. A name is 1 to 100 letters, digits, `-`, `_` and `.` of ASCII,
    /// and begins with no dot, so that it is a plain directory everywhere.
    ///
    /// Errors: not such a name; what the system says. Blocking.
    pub fn log_dir(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=100).contains(&name.len()) || name.starts_with('.') || !name.bytes().all(is_plain) {
            return Err(DataDirError::LogName {
                name: name.to_owned(),
            });
        }
        let directory = self.path.join("logs").join(name);
        self.fs
            .create_dir_all(&directory)
            .map_err(DataDirError::io("create", &directory))?;
        Ok(directory)
    }
}

/// Data without an identity is some node's, and a new identity would let it vote without its promises.
fn refuse_orphaned_logs(fs: &dyn FileSystem, path: &Path) -> Result<(), DataDirError> {
    let directory = path.join("logs").join("default");
    match fs.list(&directory) {
        Ok(names) if names.is_empty() => Ok(()),
        Ok(_) => Err(DataDirError::IdentityMissing {
            path: path.join(identity::FILE_NAME),
            logs: directory,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DataDirError::io("list", &directory)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::storage::fs::RealFileSystem;

    fn open(path: &Path, node_name: &str) -> Result<DataDir, DataDirError> {
        DataDir::open(Arc::new(RealFileSystem), path, node_name)
    }

    #[test]
    fn a_log_that_has_begun_must_be_there() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        let log = open(path, "node").unwrap().log_dir("default").unwrap();
        drop(open(path, "node").expect("it was cut short before it wrote anything"));
        fs::write(log.join("vote"), "a promise").unwrap();
        drop(open(path, "node").expect("its log is there"));
        let gone = temp.path().join("gone");
        fs::rename(path.join("logs"), &gone).unwrap();
        for _ in 0..2 {
            let error = open(path, "node").unwrap_err();
            assert!(matches!(error, DataDirError::LogGone { .. }), "{error}");
            // Nor when the directory is made again.
            fs::create_dir_all(&log).unwrap();
        }
        fs::remove_dir_all(path.join("logs")).unwrap();
        fs::rename(&gone, path.join("logs")).unwrap();
        drop(open(path, "node").expect("it is back"));
    }

    #[test]
    fn a_log_that_was_noted_in_its_first_life_must_be_there_too() {
        let temp = tempfile::tempdir().unwrap();
        drop(open(temp.path(), "node").unwrap());
        note_begun(&RealFileSystem, temp.path()).unwrap();
        note_begun(&RealFileSystem, temp.path()).unwrap();
        let error = open(temp.path(), "node").unwrap_err();
        assert!(error.to_string().contains("logs/default"), "{error}");
    }

    #[test]
    fn a_new_directory_gets_an_identity_that_stays() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a").join("data");
        let first = open(&path, "node-0").unwrap();
        assert!(first.is_new());
        let identity = first.identity().clone();
        assert_eq!(identity.node_name, "node-0");
        assert_ne!(identity.node_id.get(), 0);
        assert_ne!(identity.cluster_id, None);
        drop(first);
        let second = open(&path, "node-0").unwrap();
        assert!(!second.is_new());
        assert_eq!(second.identity(), &identity);
        assert_eq!(second.renamed_from(), None);
    }

    #[test]
    fn another_name_is_told_and_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let identity = open(temp.path(), "old").unwrap().identity().clone();
        let bytes = fs::read(temp.path().join("identity")).unwrap();
        let renamed = open(temp.path(), "new").unwrap();
        assert_eq!(renamed.renamed_from(), Some("old"));
        assert_eq!(renamed.identity(), &identity);
        assert_eq!(fs::read(temp.path().join("identity")).unwrap(), bytes);
    }

    #[test]
    fn two_directories_are_two_nodes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = open(one.path(), "node").unwrap().identity().clone();
        let two = open(two.path(), "node").unwrap().identity().clone();
        assert_ne!(one.node_id, two.node_id);
        assert_ne!(one.cluster_id, two.cluster_id);
    }

    fn open_without_cluster(path: &Path) -> DataDir {
        DataDir::open_without_cluster(Arc::new(RealFileSystem), path, "node").unwrap()
    }

    #[test]
    fn a_node_gets_its_cluster_once_and_keeps_it() {
        let temp = tempfile::tempdir().unwrap();
        let mut data = open_without_cluster(temp.path());
        assert!(data.is_new());
        let waiting = data.identity().clone();
        assert_eq!(waiting.cluster_id, None);
        assert!(matches!(
            data.adopt_cluster(ClusterId(0)),
            Err(DataDirError::NoClusterId)
        ));
        data.adopt_cluster(ClusterId(7)).unwrap();
        data.adopt_cluster(ClusterId(7)).unwrap();
        let error = data.adopt_cluster(ClusterId(8)).unwrap_err();
        assert!(
            matches!(
                error,
                DataDirError::OtherCluster {
                    own: ClusterId(7),
                    other: ClusterId(8)
                }
            ),
            "{error}"
        );
        drop(data);
        let again = open_without_cluster(temp.path());
        let expected = Identity {
            cluster_id: Some(ClusterId(7)),
            ..waiting
        };
        assert_eq!((again.identity(), again.is_new()), (&expected, false));
    }

    #[test]
    fn a_node_that_waits_still_waits_after_a_restart_and_one_that_is_alone_is_its_own_founder() {
        let temp = tempfile::tempdir().unwrap();
        let waiting = open_without_cluster(temp.path()).identity().clone();
        assert_eq!(open(temp.path(), "node").unwrap().identity(), &waiting);

        let temp = tempfile::tempdir().unwrap();
        let alone = open(temp.path(), "node").unwrap().identity().clone();
        assert!(alone.cluster_id.unwrap().is_founded_by(alone.node_id));
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_holders_pid() {
        let temp = tempfile::tempdir().unwrap();
        let first = open(temp.path(), "node").unwrap();
        let error = open(temp.path(), "node").unwrap_err();
        let text = error.to_string();
        let DataDirError::InUse { path, pid } = error else {
            panic!("{error}")
        };
        assert_eq!((path.as_path(), pid), (temp.path(), Some(std::process::id())));
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        open(temp.path(), "node").unwrap();
    }

    #[test]
    fn a_holder_whose_pid_cannot_be_read_is_still_refused() {
        let temp = tempfile::tempdir().unwrap();
        let _first = open(temp.path(), "node").unwrap();
        fs::write(temp.path().join("LOCK"), "?").unwrap();
        let error = open(temp.path(), "node").unwrap_err();
        assert!(matches!(error, DataDirError::InUse { pid: None, .. }), "{error}");
    }

    #[test]
    fn data_without_an_identity_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let directory = open(temp.path(), "node").unwrap().log_dir("default").unwrap();
        fs::remove_file(temp.path().join("identity")).unwrap();
        // An empty directory is no data.
        assert!(open(temp.path(), "node").unwrap().is_new());
        fs::remove_file(temp.path().join("identity")).unwrap();
        fs::write(directory.join("00000000000000000001.store"), "frames").unwrap();
        let error = open(temp.path(), "node").unwrap_err();
        assert!(matches!(error, DataDirError::IdentityMissing { .. }), "{error}");
        assert!(!temp.path().join("identity").exists());
    }

    #[test]
    fn a_log_has_a_directory_and_its_name_cannot_lead_elsewhere() {
        let temp = tempfile::tempdir().unwrap();
        let data = open(temp.path(), "node").unwrap();
        let directory = data.log_dir("default").unwrap();
        assert_eq!(directory, temp.path().join("logs/default"));
        assert!(directory.is_dir());
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "ä",
            "a\0",
            ".hidden",
            &"x".repeat(101),
        ] {
            let error = data.log_dir(bad).unwrap_err();
            assert!(matches!(error, DataDirError::LogName { .. }), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_node_name_that_cannot_be_kept_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        for bad in [String::new(), "x".repeat(NODE_NAME_BYTES_MAX + 1)] {
            let error = open(temp.path(), &bad).unwrap_err();
            assert!(matches!(error, DataDirError::NodeName { .. }), "{error}");
        }
        open(temp.path(), &"x".repeat(NODE_NAME_BYTES_MAX)).unwrap();
    }
}
