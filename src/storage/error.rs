//! What can go wrong in storage.

use std::{io, path::PathBuf};

use super::{PlaceError, names, segment::Damage};
use crate::{
    error::Disposition,
    types::{ClusterId, LogIndex, Offset, Position, Term},
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
    /// Another file took the segment's place while it was read: what the log holds now shows a newer picture of it.
    #[error("{} was replaced while it was read; read again", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
}

/// Entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadEntriesError {
    /// They were trimmed away by retention.
    #[error("entry {log_index} is no longer there; the first is {first}")]
    Trimmed {
        /// The entry asked for.
        log_index: LogIndex,
        /// The first that is there.
        first: LogIndex,
    },
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl ReadEntriesError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Trimmed { .. } => Disposition::Reject,
            Self::Read(error) => error.disposition(),
        }
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        let Damage { path, position, what } = damage;
        Self::Corrupt { path, position, what }
    }
}

impl ReadError {
    /// The first entry of the segment that is damaged, as the file's name has it; `None` when this is no damage, or not in a segment.
    #[must_use]
    pub fn damaged_segment(&self) -> Option<LogIndex> {
        let Self::Corrupt { path, .. } = self else {
            return None;
        };
        names::first_of_store(path.file_name()?.to_str()?)
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Trimmed { .. } | Self::Corrupt { .. } => Disposition::Reject,
            Self::Io { .. } | Self::Replaced { .. } => Disposition::Retry,
        }
    }
}

/// A write or a sync has failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "write", "sync", ..
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier write to the file has failed; nothing is written any more (STO-3).
    #[error("{} takes no writes after a failed one", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}

impl WriteError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } | Self::Poisoned { .. } => Disposition::Failsafe,
        }
    }
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
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
    /// What recovery had to write could not be written.
    #[error("recovery could not write")]
    Write(#[source] WriteError),
    /// A segment cannot even be identified.
    #[error(
        "{0}; a node alone is given that file from a backup, and a node of a cluster starts anew with an empty directory"
    )]
    Damaged(Damage),
    /// The directory holds another cluster's log.
    #[error("{} belongs to cluster {found}, this node to cluster {expected}; point data_dir at this node's own data", path.display())]
    OtherCluster {
        /// The segment's store.
        path: PathBuf,
        /// What its header says.
        found: ClusterId,
        /// What the node's identity says.
        expected: ClusterId,
    },
    /// Nobody knows where the log begins.
    #[error("{} is damaged ({what}), so that nobody knows whether the log's first segments are all there; restore it from a \
        backup, or remove it if you know that none of them is missing", path.display())]
    BeginningDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer program wrote where the log begins.
    #[error("{} has format version {found}: start the newer program", path.display())]
    BeginningVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Both copies of the vote are bad.
    #[error("both copies in {} are damaged, so that nobody knows what this node has promised; {NEW_NODE}", path.display())]
    VoteDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The log holds entries of a later term than the vote, which is saved before them.
    #[error("{} says term {found}, but the log holds entries of term {log}: votes were lost; {NEW_NODE}", path.display())]
    VoteBehind {
        /// The file.
        path: PathBuf,
        /// The term of the vote; 0 when there is none.
        found: Term,
        /// The term of the log's last entry.
        log: Term,
    },
    /// A newer program wrote the vote.
    #[error("{} has format version {found}: start the newer program", path.display())]
    VoteVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

/// An older copy of a vote would be as bad as none: votes given since are forgotten.
const NEW_NODE: &str = "do not restore it from a backup, but remove this node from the cluster, move its data directory \
     away and start it as a new node";

impl OpenError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } => Disposition::Restart,
            Self::Write(error) => error.disposition(),
            Self::Damaged(_)
            | Self::OtherCluster { .. }
            | Self::BeginningDamaged { .. }
            | Self::BeginningVersion { .. }
            | Self::VoteDamaged { .. }
            | Self::VoteBehind { .. }
            | Self::VoteVersion { .. } => Disposition::Escalate,
        }
    }
}

/// The log cannot be trimmed or truncated.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The disk refused.
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
    /// What is to remain cannot be read.
    #[error("what is to remain of the log cannot be read")]
    Read(#[source] ReadError),
    /// The segment that becomes the last one cannot be opened again.
    #[error("the log cannot be opened again")]
    Open(#[source] OpenError),
    /// That entry is not in the log, or was trimmed.
    #[error("entry {log_index} is not in the log, which holds [{first}, {next})")]
    NotInLog {
        /// The entry asked for.
        log_index: LogIndex,
        /// The first entry there is.
        first: LogIndex,
        /// The one behind the last.
        next: LogIndex,
    },
    /// The log holds all that was to be installed, and perhaps more that others count on: it stays.
    #[error("the log holds entry {last} of the same term already, nothing is installed")]
    AlreadyHeld {
        /// The last entry that was to be installed.
        last: LogIndex,
    },
    /// No sealed segment begins with that entry, or another one than was to be repaired.
    #[error("no sealed segment that begins with entry {first} is to be repaired so")]
    NoSegment {
        /// The entry given.
        first: LogIndex,
    },
    /// A segment is neither staged nor in the log as it was when the staging was complete.
    #[error("the segment that begins with entry {first} is not staged; receive it first")]
    NotStaged {
        /// Its first entry.
        first: LogIndex,
    },
}

impl CutError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } => Disposition::Failsafe,
            Self::Read(_) => Disposition::Restart,
            Self::Open(error) => error.disposition(),
            Self::NotInLog { .. }
            | Self::AlreadyHeld { .. }
            | Self::NoSegment { .. }
            | Self::NotStaged { .. } => Disposition::Reject,
        }
    }
}

/// A damaged segment cannot be written anew.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// No sealed segment begins with that entry.
    #[error("no sealed segment begins with entry {first}")]
    NoSegment {
        /// The entry given.
        first: LogIndex,
    },
    /// Neither the segment's header nor the one before it tells what the log before it amounts to.
    #[error("the state of the log before entry {first} is lost; install a snapshot instead")]
    StartUnknown {
        /// The segment's first entry.
        first: LogIndex,
    },
    /// An entry is not the next one.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Not all entries were given, or more than belong there.
    #[error("entries up to {expected} belong there, {found} is the last that was given")]
    Incomplete {
        /// The last one that belongs there.
        expected: LogIndex,
        /// The last one given.
        found: LogIndex,
    },
    /// The entries are not those that were there: they lead to another state than the next segment begins with.
    #[error("the segment that begins with entry {first}, written anew, is not what was there: {what}")]
    Unfit {
        /// Its first entry.
        first: LogIndex,
        /// What is wrong with it.
        what: String,
    },
    /// The log around it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk refused. The log itself is as it was.
    #[error("the segment could not be written anew")]
    Write(#[from] WriteError),
}

impl RepairError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoSegment { .. } | Self::StartUnknown { .. } | Self::Place(_) | Self::Incomplete { .. } => {
                Disposition::Reject
            }
            // From another node, or another time.
            Self::Unfit { .. } | Self::Write(_) => Disposition::Retry,
            Self::Read(error) => error.disposition(),
        }
    }
}
