//! Why a data directory cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::Disposition,
    types::{ClusterId, Position},
};

use super::{FORMAT_VERSION, NODE_NAME_BYTES_MAX};

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "data directory {} is in use by another process{}; stop that one, or set another data directory",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// That process, when its `LOCK` file says.
        pid: Option<u32>,
    },
    /// The identity is not what was written.
    #[error(
        "{} is damaged at position {position}: {what}; restore it from a backup of this node, or start this node anew \
         with an empty data directory",
        path.display()
    )]
    IdentityDamaged {
        /// The file.
        path: PathBuf,
        /// Where the first wrong value begins.
        position: Position,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is data, but not whose.
    #[error(
        "{} is missing, but {} holds data; restore it from a backup of this node, or start this node anew with an empty \
         data directory",
        path.display(),
        logs.display()
    )]
    IdentityMissing {
        /// The missing file.
        path: PathBuf,
        /// The directory that is not empty.
        logs: PathBuf,
    },
    /// The log has begun, and is not there.
    #[error(
        "{} is missing or empty, but this node has a log ({} says so): what it acknowledged and promised is not here; put the \
         directory back (is a volume not mounted?), or start this node anew with an empty data directory",
        path.display(),
        begun.display()
    )]
    LogGone {
        /// Where the log should be.
        path: PathBuf,
        /// The note that it has begun.
        begun: PathBuf,
    },
    /// The directory was made by a newer version of Annals.
    #[error(
        "{} has format {found}, this program knows formats up to {FORMAT_VERSION}; start the newer program",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u32,
    },
    /// The node's name is empty or too long.
    #[error("a node's name has 1 to {NODE_NAME_BYTES_MAX} bytes, this one has {length}; choose another one")]
    NodeName {
        /// Bytes that it has.
        length: usize,
    },
    /// The node is of another cluster, which never changes.
    #[error(
        "this node belongs to cluster {own} and cannot join cluster {other}; start a new node with an empty data directory"
    )]
    OtherCluster {
        /// The cluster that it belongs to.
        own: ClusterId,
        /// The cluster that it was to join.
        other: ClusterId,
    },
    /// No cluster has the id 0.
    #[error("0 is not the id of a cluster")]
    NoClusterId,
    /// The name of a log is not one.
    #[error("{name:?} cannot name a log; use 1 to 100 of a-z A-Z 0-9 - _ . and begin with no dot")]
    LogName {
        /// The name.
        name: String,
    },
    /// The system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DataDirError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NodeName { .. } | Self::LogName { .. } | Self::OtherCluster { .. } | Self::NoClusterId => {
                Disposition::Reject
            }
            Self::InUse { .. }
            | Self::IdentityDamaged { .. }
            | Self::IdentityMissing { .. }
            | Self::LogGone { .. }
            | Self::NewerFormat { .. }
            | Self::Io { .. } => Disposition::Escalate,
        }
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
