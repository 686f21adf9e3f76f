//! What can go wrong in storage.

use std::{io, path::PathBuf};

use crate::{
    error::Disposition,
    types::{Offset, Position},
};

/// A read could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset was trimmed away by retention.
    #[error("offset {offset} is no longer there; the earliest is {earliest}")]
    Trimmed {
        /// The offset asked for.
        offset: Offset,
        /// The oldest readable one.
        earliest: Offset,
    },
    /// Bytes on disk are not what was written.
    #[error("{} is damaged at position {position}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged frame begins.
        position: Position,
        /// What is wrong with it.
        what: String,
    },
    /// The disk did not answer.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Trimmed { .. } | Self::Corrupt { .. } => Disposition::Reject,
            Self::Io { .. } => Disposition::Retry,
        }
    }
}
