//! What can go wrong while segments are transferred. Nothing of it touches the log.

use std::{io, path::PathBuf};

use crate::{
    error::Disposition,
    storage::{ReadError, checkpoint::CheckpointError},
    types::{ClusterId, LogIndex, Position},
};

/// Bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// They are something else, or not whole.
    #[error("these bytes are no whole manifest")]
    Damaged,
    /// A newer program made them.
    #[error("manifest has format version {found}: start the newer program")]
    Version {
        /// What it says.
        found: u32,
    },
    /// They describe a log that cannot be.
    #[error("manifest is impossible: {what}")]
    Impossible {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The state at its end cannot be understood.
    #[error("the state at the manifest's end cannot be read")]
    Checkpoint(#[source] CheckpointError),
}

impl ManifestError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Damaged | Self::Version { .. } | Self::Impossible { .. } | Self::Checkpoint(_) => {
                Disposition::Reject
            }
        }
    }
}

/// A segment cannot be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The sender has trimmed the segment meanwhile: go on with a new manifest.
    #[error("the segment that begins with entry {first} was trimmed; ask for a new manifest")]
    Trimmed {
        /// Its first entry.
        first: LogIndex,
    },
    /// The sender's segment is not what its manifest says: go on with a new manifest.
    #[error("the segment that begins with entry {first} is not what the manifest says; ask for a new one")]
    Changed {
        /// Its first entry.
        first: LogIndex,
    },
    /// The sender cannot read the segment.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The manifest is of another cluster.
    #[error("the manifest is of cluster {found}, this node of cluster {expected}")]
    OtherCluster {
        /// What it says.
        found: ClusterId,
        /// What this node's identity says.
        expected: ClusterId,
    },
    /// The manifest has no such segment, or it is complete already.
    #[error("no bytes of a segment that begins with entry {first} are missing")]
    NotMissing {
        /// The first entry given.
        first: LogIndex,
    },
    /// Bytes are taken one behind the other, up to the segment's length.
    #[error("bytes for position {given} of segment {first}, which goes on at {expected}")]
    OutOfPlace {
        /// The segment's first entry.
        first: LogIndex,
        /// Where the bytes given belong, or end.
        given: Position,
        /// Where it goes on.
        expected: Position,
    },
    /// What was received is not what the manifest says, or no sound segment. It was thrown away: ask again.
    #[error("what was received of the segment that begins with entry {first} is not sound: {what}")]
    Unfit {
        /// Its first entry.
        first: LogIndex,
        /// What is wrong with it.
        what: String,
    },
    /// The disk refused. What had been received of that segment is thrown away.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl TransferError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Trimmed { .. }
            | Self::Changed { .. }
            | Self::OtherCluster { .. }
            | Self::NotMissing { .. }
            | Self::OutOfPlace { .. } => Disposition::Reject,
            Self::Read(error) => error.disposition(),
            Self::Unfit { .. } | Self::Io { .. } => Disposition::Retry,
        }
    }
}
