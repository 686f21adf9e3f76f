//! What can be the matter with contexts, or with their file.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{error::Disposition, storage::fs::NotAFile};

use super::super::exit::Exit;

/// A context cannot be used, or was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ContextFailure {
    /// Nobody knows where the file would be.
    #[error("nobody knows where the file of contexts is: HOME is not set")]
    NoPlace,
    /// The system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file says something that it may not.
    #[error("{}:{line}: {what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
        /// What is wrong there.
        what: String,
        /// What to write instead.
        help: String,
    },
    /// There is no context of that name.
    #[error("there is no context {name:?} in {} (from {origin})", path.display())]
    Unknown {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Who named it.
        origin: &'static str,
        /// What to write instead.
        help: String,
    },
    /// The file is wrong, or cannot be read, and a verb that talks to a node may need what it says.
    #[error(transparent)]
    ForVerb(Box<ContextFailure>),
    /// No context was named, and none is the current one.
    #[error("no context is in use")]
    NoneInUse,
    /// There is one of that name.
    #[error("there is a context {name:?} already, in {}", path.display())]
    Exists {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The name is none.
    #[error("{name:?} cannot name a context")]
    Name {
        /// The name.
        name: String,
    },
}

impl ContextFailure {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::ForVerb(failure) => failure.disposition(),
            Self::NoPlace
            | Self::Wrong { .. }
            | Self::Unknown { .. }
            | Self::NoneInUse
            | Self::Exists { .. }
            | Self::Name { .. } => Disposition::Reject,
            Self::Io { .. } => Disposition::Escalate,
        }
    }

    /// The exit code that tells it to a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::ForVerb(failure) => failure.exit(),
            Self::Wrong { .. } | Self::Name { .. } => Exit::Usage,
            Self::Unknown { .. } | Self::NoneInUse => Exit::NotFound,
            Self::Exists { .. } => Exit::Refused,
            Self::NoPlace | Self::Io { .. } => Exit::Failed,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoPlace => "set ANNALS_CONFIG_DIR to the directory that has contexts.toml",
            Self::ForVerb(failure) => {
                const WITHOUT: &str =
                    "to do without contexts, and without their certificates, add --context ''";
                return Some(match failure.hint() {
                    Some(hint) => format!("{hint}\nhint: {WITHOUT}"),
                    None => WITHOUT.to_owned(),
                });
            }
            Self::Io { source, .. } if is_no_file(source) => {
                "move it away, or set ANNALS_CONFIG_DIR to the directory that has contexts.toml"
            }
            Self::Io { .. } => return None,
            Self::Wrong { help, .. } | Self::Unknown { help, .. } => return Some(help.clone()),
            Self::NoneInUse => {
                "`annals context list` shows which there are, `annals context use NAME` makes one the current one"
            }
            Self::Exists { .. } => "--replace puts this one in its place",
            Self::Name { .. } => {
                "use 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or a digit"
            }
        };
        Some(hint.to_owned())
    }
}

fn is_no_file(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<NotAFile>())
}
