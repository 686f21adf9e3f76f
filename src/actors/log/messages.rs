//! What LogActor is told and asked.

use std::fmt;

use actix::prelude::*;
use bytes::Bytes;

use crate::{
    actors::supervision::{Reply, Unanswered},
    storage::{
        Checkpoint, Committed, CutError, Damage, Last, MissingSegments, Placed, ReadError, Rebuild, Rebuilt,
        RepairError, Retention, StoredMembership, TransferError, Trimmed, Vote, WriteError, entry::Entry,
    },
    types::{LogIndex, Offset, Term, TimestampMs},
};

/// Append entries. They are consecutive and follow on the last one given before.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Append {
    /// At least one.
    pub entries: Vec<Entry>,
    /// Called when they are durable.
    pub on_persisted: OnPersisted,
}

/// Called once on the log's thread, when the entries are durable or it is known that they will not be; dropped uncalled
/// when nobody knows (the actor died). It must not block.
///
/// A callback and not a [`Reply`], so that a commit takes no further turn through anybody's mailbox.
pub struct OnPersisted(Box<dyn FnOnce(Result<Vec<Placed>, AppendFailed>) + Send>);

impl OnPersisted {
    /// Calls `then`.
    pub fn new(then: impl FnOnce(Result<Vec<Placed>, AppendFailed>) + Send + 'static) -> Self {
        Self(Box::new(then))
    }

    /// Tells that nothing of them was appended, and why.
    pub fn refuse(self, failed: AppendFailed) {
        self.call(Err(failed));
    }

    /// Tells what became of the entries.
    pub fn call(self, result: Result<Vec<Placed>, AppendFailed>) {
        (self.0)(result);
    }
}

impl fmt::Debug for OnPersisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnPersisted(..)")
    }
}

/// Entries were not appended, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendFailed {
    /// Nothing of them is in the log: it takes no appends.
    #[error("the log takes no appends: {cause}")]
    Refused {
        /// Why.
        cause: String,
    },
    /// Nothing of them is in the log: too much waits for it already.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// Nothing of them is in the log: it is being opened, or closed.
    #[error("the log is not open")]
    Unavailable,
    /// The disk failed while they were written: they may be in the log after a restart or not.
    #[error("the outcome is unknown: {cause}")]
    Unknown {
        /// What the disk said.
        cause: String,
    },
}

/// Tell where the log stands.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Describe {
    /// Where the answer goes.
    pub reply: Reply<Standing, Unanswered>,
}

/// Where the log stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The last entry; 0 when there is none.
    pub last_log_index: LogIndex,
    /// Its term.
    pub last_term: Term,
    /// The offset behind the last record.
    pub tail: Offset,
    /// What recovery found to be damaged; the log is only read then.
    pub damage: Option<Damage>,
    /// Its first segments, where they are missing.
    pub missing: Option<MissingSegments>,
    /// What the entries before the first one amount to that consensus has to do with.
    pub floor: Checkpoint,
    /// A lower bound of what is committed.
    pub committed: Committed,
    /// The newest membership in the log, committed or not.
    pub membership: Option<StoredMembership>,
    /// Whom this node has promised to follow.
    pub vote: Option<Vote>,
}

/// Make a vote durable, and all that was appended before it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SaveVote {
    /// The vote.
    pub vote: Vote,
    /// Answered when it is durable.
    pub reply: Reply<(), LogFailed>,
}

/// Remember how far the log is committed. A lower bound, so it is not waited for.
#[derive(Message)]
#[rtype(result = "()")]
pub struct NoteCommitted {
    /// What is committed.
    pub committed: Committed,
}

/// Drop whole segments below an offset. Only what is committed may be dropped. Appends go on meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Trim {
    /// The offset.
    pub below: Offset,
    /// The last entry that may go. Segments without records have no offset that would say so.
    pub last: LogIndex,
    /// Where the answer goes.
    pub reply: Reply<Trimmed, LogFailed>,
}

/// Drop an entry and all behind it: what a new leader of consensus does not have.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Truncate {
    /// The first entry to go.
    pub from: LogIndex,
    /// Where the answer goes.
    pub reply: Reply<(), LogFailed>,
}

/// From now on nothing below `below` is read; segments that hold some of it go with a [`Trim`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct SetTrimPoint {
    /// The offset, from committed entries.
    pub below: Offset,
}

/// Replace the log by segments that have been fetched.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Install {
    /// Their manifest, as storage encodes it.
    pub manifest: Bytes,
    /// Whether the log was replaced: one that has all of it stays as it is.
    pub reply: Reply<bool, LogFailed>,
}

/// Begin to write a damaged segment anew.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BeginRepair {
    /// Its first entry; `None`: the last segment's.
    pub first: Option<LogIndex>,
    /// What takes the entries, and up to where they are missing.
    pub reply: Reply<(Box<Rebuild>, Last), LogFailed>,
}

/// Put a segment that was written anew in the place of the damaged one.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Replace {
    /// The segment.
    pub rebuilt: Rebuilt,
    /// Where the answer goes.
    pub reply: Reply<(), LogFailed>,
}

/// Tell what retention would drop.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RetentionDue {
    /// How much is kept.
    pub retention: Retention,
    /// The time that ages are counted from.
    pub now: TimestampMs,
    /// Where the answer goes: the offset to trim below, if any.
    pub reply: Reply<Option<Offset>, LogFailed>,
}

/// Finish: sync everything, and stop.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Close {
    /// Where the answer goes.
    pub reply: Reply<(), Unanswered>,
}

/// LogActor could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogFailed {
    /// It ended before it answered.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// Not possible while the log takes no appends.
    #[error("the log is only read: {cause}")]
    ReadOnly {
        /// Why.
        cause: String,
    },
    /// The log could not be cut.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was fetched is not what should be installed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A damaged segment could not be written anew.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// A vote could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl LogFailed {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> crate::error::Disposition {
        match self {
            Self::Unanswered(_) => crate::error::Disposition::Retry,
            Self::ReadOnly { .. } => crate::error::Disposition::Failsafe,
            Self::Cut(error) => error.disposition(),
            Self::Read(error) => error.disposition(),
            Self::Transfer(error) => error.disposition(),
            Self::Repair(error) => error.disposition(),
            Self::Write(error) => error.disposition(),
        }
    }
}
