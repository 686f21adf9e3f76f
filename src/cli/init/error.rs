//! What can go wrong with `annals init`.

use std::path::PathBuf;

use crate::error::Disposition;

use super::super::{argument::shell_quoted, certs::CertsFailure, exit::Exit};

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum InitFailure {
    /// Something has the name of what was to be made.
    #[error("{} is there already, and nothing is overwritten", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// There is no directory in which it could be made.
    #[error("there is no directory {} to make it in", path.display())]
    NoParent {
        /// Which is missing.
        path: PathBuf,
    },
    /// A directory is to be made, and what was given does not name one.
    #[error("{} is not the name of a directory to make", path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// A configuration is UTF-8, and has the path in it.
    #[error("{} is not UTF-8, and cannot stand in a configuration", path.display())]
    NotText {
        /// Which path.
        path: PathBuf,
    },
    /// A file could not be made.
    #[error("{0}")]
    Files(#[from] CertsFailure),
    /// Two are called the same, and so would their files be.
    #[error("two certificates would be those of {name}")]
    Twice {
        /// How.
        name: String,
    },
}

impl InitFailure {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Exists { .. }
            | Self::NoParent { .. }
            | Self::NoName { .. }
            | Self::NotText { .. }
            | Self::Twice { .. } => Disposition::Reject,
            Self::Files(failure) => failure.disposition(),
        }
    }

    /// The exit code that tells it to a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Exists { .. } => Exit::Refused,
            Self::NoParent { .. } => Exit::NotFound,
            Self::NoName { .. } | Self::NotText { .. } | Self::Twice { .. } => Exit::Usage,
            Self::Files(failure) => failure.exit(),
        }
    }

    /// What to do next, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Exists { .. } | Self::NoName { .. } | Self::NotText { .. } => {
                "give the name of a directory that is not there yet; it is made as a whole".to_owned()
            }
            Self::NoParent { path } => {
                format!("`mkdir -p {}` makes it", shell_quoted(&path.to_string_lossy()))
            }
            Self::Twice { .. } => {
                "give --client or --name another name; `app` is the client that produces and consumes"
                    .to_owned()
            }
            Self::Files(_) => return None,
        };
        Some(hint)
    }
}
