//! What can go wrong with the files of certificates.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    certs::CertsError,
    error::{Disposition, causes},
};

use super::super::{argument::shell_quoted, exit::Exit};

/// Why a certificate was not made, listed or renewed.
#[derive(Debug, thiserror::Error)]
pub enum CertsFailure {
    /// The directory has an authority.
    #[error("{} is there already, and nothing is overwritten", path.display())]
    AuthorityExists {
        /// Its certificate.
        path: PathBuf,
    },
    /// The directory has a certificate and a key of that name.
    #[error("{} is there already, and nothing is overwritten", path.display())]
    Exists {
        /// The certificate.
        path: PathBuf,
    },
    /// One of two files that belong together is there.
    #[error("{} is there already, and {} is not", there.display(), missing.display())]
    Half {
        /// Which is there.
        there: PathBuf,
        /// Which is not.
        missing: PathBuf,
    },
    /// There is nothing that could sign.
    #[error("there is no certificate authority: {} is missing", path.display())]
    NoAuthority {
        /// Where its certificate should be.
        path: PathBuf,
    },
    /// The authority's key is kept elsewhere.
    #[error("nothing can be signed here: {} is missing", path.display())]
    NoAuthorityKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// A name was given twice.
    #[error("{name} is named twice")]
    Twice {
        /// Which.
        name: String,
    },
    /// Another process makes certificates there.
    #[error("another `annals certs` is at work in {}", directory.display())]
    Busy {
        /// Where.
        directory: PathBuf,
    },
    /// The system refused to read or write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not one to read certificates from: a directory, a pipe, or far too large.
    #[error("{} is not a file of at most 1 MiB", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// What is in a file is not what should be.
    #[error("{}: {}", path.display(), causes(.source))]
    Content {
        /// Which.
        path: PathBuf,
        /// What is the matter.
        #[source]
        source: CertsError,
    },
    /// A certificate is not one that can be made again.
    #[error("{} cannot be renewed: {reason}", path.display())]
    NotRenewable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: Unrenewable,
    },
    /// Of some files nobody knows what certificates they have.
    #[error("{} cannot be read", counted(*.files))]
    Unreadable {
        /// How many.
        files: usize,
    },
    /// Certificates have expired, or do so soon.
    #[error("{expired} expired, {soon} more within the time given")]
    Due {
        /// How many have.
        expired: usize,
        /// How many others will.
        soon: usize,
    },
}

fn counted(files: usize) -> String {
    match files {
        1 => "1 file that should have certificates".to_owned(),
        files => format!("{files} files that should have certificates"),
    }
}

/// Why a certificate cannot be made again as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrenewable {
    /// It is not that of a node or a client.
    #[error("it is not that of a node or a client of an Annals cluster")]
    NoIdentity,
    /// It is that of somebody whose name is not the file's.
    #[error("it is that of {identity}")]
    OtherName {
        /// Of whom.
        identity: String,
    },
    /// The authority that is there did not sign it: nobody knows whether what it says is true.
    #[error("it was not signed by {}", authority.display())]
    NotSigned {
        /// Which authority.
        authority: PathBuf,
    },
    /// It has names that `annals certs` gives nobody.
    #[error("it has names that would be lost")]
    OtherNames,
    /// The key that is to be kept is not its own.
    #[error("the key beside it is another's, and cannot be kept")]
    OtherKey,
}

impl Unrenewable {
    /// What is to be done about it: whoever made it so must look.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoIdentity
            | Self::OtherName { .. }
            | Self::NotSigned { .. }
            | Self::OtherNames
            | Self::OtherKey => Disposition::Reject,
        }
    }
}

impl CertsFailure {
    /// An error of the system.
    pub(in crate::cli) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// What is wrong with the content of a file.
    pub(super) fn content(path: &Path) -> impl FnOnce(CertsError) -> Self {
        let path = path.to_owned();
        move |source| Self::Content { path, source }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Busy { .. } => Disposition::Retry,
            Self::AuthorityExists { .. }
            | Self::Exists { .. }
            | Self::Half { .. }
            | Self::NoAuthority { .. }
            | Self::NoAuthorityKey { .. }
            | Self::Twice { .. }
            | Self::NoFile { .. }
            | Self::Unreadable { .. }
            | Self::Due { .. } => Disposition::Reject,
            Self::Content { source, .. } => source.disposition(),
            Self::NotRenewable { reason, .. } => reason.disposition(),
            Self::Io { .. } => Disposition::Escalate,
        }
    }

    /// The exit code that tells it to a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::AuthorityExists { .. }
            | Self::Exists { .. }
            | Self::Half { .. }
            | Self::NotRenewable { .. } => Exit::Refused,
            Self::NoAuthority { .. } | Self::NoAuthorityKey { .. } => Exit::NotFound,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::Twice { .. } => Exit::Usage,
            Self::Due { .. } => Exit::Due,
            Self::Busy { .. }
            | Self::Io { .. }
            | Self::NoFile { .. }
            | Self::Unreadable { .. }
            | Self::Content { .. } => Exit::Failed,
        }
    }

    /// What to do next, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::AuthorityExists { .. } => {
                "go on with the authority that is there, or give --dir another directory"
            }
            Self::Exists { path } => return Some(exists_hint(path)),
            Self::Half { there, .. } => {
                return Some(format!(
                    "put the other file where it belongs; or, if nobody uses what is there, `rm {}` and try again",
                    shell_quoted(&there.to_string_lossy())
                ));
            }
            Self::NoAuthority { path } => {
                let directory = path.parent().unwrap_or(path);
                return Some(format!(
                    "`annals certs ca --dir {} --cluster NAME` makes one; --dir names another directory",
                    shell_quoted(&directory.to_string_lossy())
                ));
            }
            Self::NoAuthorityKey { .. } => {
                "certificates are made where the authority's key is kept; --dir names that directory"
            }
            Self::Twice { .. } => "leave one of the two out",
            Self::Busy { .. } => "wait until it is done, and try again",
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "is the path right? `annals certs list DIR` shows what is there"
            }
            Self::Content {
                source: CertsError::AuthorityNotValid,
                ..
            } => {
                "if the clock of this machine is right, make another authority in another directory, and new certificates there"
            }
            Self::Content {
                source: CertsError::KeyOfAnother,
                ..
            } => "put back the file that belongs to the other",
            Self::NotRenewable { .. } => {
                "look at it with `annals certs list`; `annals certs node` and `client` make a new one under another name"
            }
            Self::Unreadable { .. } => "the list says which, and why",
            Self::Due { .. } => {
                "`annals certs renew` makes new ones for nodes and clients; an authority is followed by another one in a directory of its own"
            }
            Self::Content { .. } | Self::Io { .. } | Self::NoFile { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn exists_hint(certificate: &Path) -> String {
    let name = certificate.file_stem().unwrap_or_default().to_string_lossy();
    let directory = certificate.parent().unwrap_or(certificate).to_string_lossy();
    format!(
        "`annals certs renew --dir {} {name}` makes a new one in its place",
        shell_quoted(&directory)
    )
}
