//! Why the data of a node cannot be looked at, or what was found in it.

use std::{io, path::PathBuf};

use crate::{
    error::Disposition,
    storage::{data_dir::DataDirError, offline::FramesError},
};

use super::super::exit::Exit;

/// Data was not shown, or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum StorageFailure {
    /// A node uses it, or it cannot be asked whether one does.
    #[error("{}", crate::error::causes(.0))]
    DataDir(#[from] DataDirError),
    /// It is no data directory, and holds none.
    #[error("{} holds no data of a node", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// It holds several, and one is wanted.
    #[error("{} holds the data of {} nodes", path.display(), nodes.len())]
    Several {
        /// The directory.
        path: PathBuf,
        /// Theirs.
        nodes: Vec<PathBuf>,
    },
    /// A file, or the directory, cannot be read.
    #[error("cannot read {0}")]
    Unreadable(#[source] io::Error),
    /// The frames end with damage, or begin behind what was asked for.
    #[error("{}", crate::error::causes(.0))]
    Frames(#[from] FramesError),
    /// The payload of a frame is what was written, and no records.
    #[error("the records at offset {offset} cannot be decoded")]
    Undecodable {
        /// The first of them.
        offset: u64,
    },
    /// There is nothing at that place, or behind it.
    #[error("there is no {what} {from}, and none behind it")]
    Behind {
        /// Offset or entry.
        what: &'static str,
        /// The number that was given.
        from: u64,
    },
    /// There are faults, which were printed.
    #[error("{count} {} found", if *count == 1 { "fault was" } else { "faults were" })]
    Faults {
        /// How many.
        count: u64,
    },
    /// There is something that the next start mends, which was printed.
    #[error("the next start mends {count} {}", if *count == 1 { "thing" } else { "things" })]
    Mends {
        /// How many.
        count: u64,
    },
}

impl StorageFailure {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::DataDir(error) => error.disposition(),
            Self::Frames(error) => error.disposition(),
            Self::NoData { .. }
            | Self::Several { .. }
            | Self::Undecodable { .. }
            | Self::Behind { .. }
            | Self::Faults { .. }
            | Self::Mends { .. } => Disposition::Reject,
            Self::Unreadable(_) => Disposition::Escalate,
        }
    }

    /// The exit code that tells it to a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::DataDir(DataDirError::InUse { .. }) => Exit::Refused,
            Self::DataDir(DataDirError::LogGone { .. }) => Exit::Faulty,
            Self::NoData { .. } | Self::Behind { .. } | Self::Frames(FramesError::Before { .. }) => {
                Exit::NotFound
            }
            Self::Several { .. } => Exit::Usage,
            Self::DataDir(_) | Self::Unreadable(_) => Exit::Failed,
            Self::Frames(FramesError::Damaged(_) | FramesError::Missing(_) | FramesError::Io(_))
            | Self::Undecodable { .. }
            | Self::Faults { .. } => Exit::Faulty,
            Self::Mends { .. } => Exit::Mends,
        }
    }

    /// What to do next, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoData { .. } => {
                "give the data directory: node.data_dir of the configuration, which has `identity` and `logs` in it"
            }
            Self::Several { nodes, .. } => {
                let names: Vec<_> = nodes.iter().map(|node| node.display().to_string()).collect();
                return Some(format!("name one of them: {}", names.join(", ")));
            }
            Self::Frames(FramesError::Damaged(_)) => {
                "`annals storage verify` tells all that is damaged; --from starts behind it"
            }
            Self::Frames(FramesError::Missing(finding)) => finding.meaning,
            Self::Frames(FramesError::Before { .. }) => "leave out --from to begin there",
            Self::Unreadable(error) if error.kind() == io::ErrorKind::NotADirectory => {
                "give the data directory: node.data_dir of the configuration"
            }
            Self::Frames(FramesError::Io(error)) | Self::Unreadable(error) => return unreadable_hint(error),
            Self::DataDir(DataDirError::Io { source, .. }) => return unreadable_hint(source),
            Self::Undecodable { .. } => "--frames shows where they are",
            Self::Behind { .. } => "`annals storage inspect` tells where the log ends",
            Self::Faults { .. } => {
                "copy the directory before anything else is done with it; docs/operations.md says what to do about damage"
            }
            Self::DataDir(_) | Self::Mends { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn unreadable_hint(error: &io::Error) -> Option<String> {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run it as the user that the node runs as, to whom the data belongs"
        }
        _ => "look at the disk; `annals storage verify` tells all that cannot be read",
    };
    Some(hint.to_owned())
}
