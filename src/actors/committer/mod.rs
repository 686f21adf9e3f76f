//! What is said to whoever decides that a batch is committed, and what it answers.
//!
//! The gateway knows no more than this; RaftActor's port (`actors/raft/port.rs`) stands behind it.

use std::fmt;

use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    error::Disposition,
    storage::{
        cursors::{CursorCommand, CursorVerdict},
        entry::{Batch, Outcome},
    },
    types::{LogIndex, NodeId, Offset, Term},
};

use super::supervision::{PostError, RecipientRef, Reply, Unanswered};

/// Takes proposals and questions, from any thread, without waiting. What comes back has not happened.
pub trait Committer: Send + Sync + fmt::Debug + 'static {
    /// Takes a batch; its reply answers when it is committed.
    fn propose(&self, propose: Propose) -> Result<(), PostError<Propose>>;

    /// Takes a question for the read index.
    fn read_index(&self, read: ReadIndex) -> Result<(), PostError<ReadIndex>>;

    /// Takes what is to be done to a cursor; its reply answers when that is committed.
    fn change_cursor(&self, change: ChangeCursor) -> Result<(), PostError<ChangeCursor>>;
}

/// A committer that is an actor: all go into its mailbox.
#[derive(Clone, Debug)]
pub struct CommitterMailbox {
    /// Takes batches.
    pub proposals: RecipientRef<Propose>,
    /// Takes questions.
    pub read_indexes: RecipientRef<ReadIndex>,
    /// Takes what is to be done to cursors.
    pub cursors: RecipientRef<ChangeCursor>,
}

impl Committer for CommitterMailbox {
    fn propose(&self, propose: Propose) -> Result<(), PostError<Propose>> {
        self.proposals.post(propose)
    }

    fn read_index(&self, read: ReadIndex) -> Result<(), PostError<ReadIndex>> {
        self.read_indexes.post(read)
    }

    fn change_cursor(&self, change: ChangeCursor) -> Result<(), PostError<ChangeCursor>> {
        self.cursors.post(change)
    }
}

/// Append a batch; answer when it is committed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Propose {
    /// What to append.
    pub batch: Batch,
    /// The batch's bytes in the node's admission budget; given back when the batch is answered. None for what the log
    /// itself proposes.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Where the answer goes.
    pub reply: Reply<Committed, ProposeError>,
}

/// A batch has been committed; what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its entry.
    pub log_index: LogIndex,
    /// Stored, or void and why.
    pub outcome: Outcome,
    /// Records in it.
    pub record_count: u32,
}

/// A batch was not committed, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It may be stored or not.
    #[error("the outcome is unknown: the batch may or may not be stored")]
    OutcomeUnknown,
    /// Nothing was stored: this node takes no writes until its process restarts.
    #[error("this node takes no writes until it is restarted: {cause}")]
    Failsafe {
        /// Why.
        cause: String,
    },
    /// Nothing was stored: the queue in front of the log is full.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// Nothing was stored: the disk is nearly full.
    #[error("the disk is nearly full: {free_bytes} bytes free, {floor_bytes} are kept free")]
    StorageFull {
        /// Bytes free.
        free_bytes: u64,
        /// The configured floor.
        floor_bytes: u64,
    },
    /// Nothing was stored: a majority of the nodes has hardly any room.
    #[error(
        "the disks of a majority of the nodes are nearly full; the log of the leader, and /readyz of each node, say which"
    )]
    MajorityFull,
    /// Nothing was stored: the log is being reopened, or the node is stopping.
    #[error("the log is not ready")]
    Unavailable,
    /// Nothing was stored: another node leads, and it could not be asked from here.
    #[error("node {leader} leads, not this one; send it to {address}")]
    NotLeader {
        /// The leader.
        leader: NodeId,
        /// Where clients reach it; empty when that is not known here.
        address: String,
    },
    /// Nothing was stored: there is no leader, or none that a majority follows.
    #[error(
        "the cluster has no leader at the moment, as after one has failed or while a majority is away; try again"
    )]
    NoLeader,
    /// Nothing was stored: this node is new, and belongs to no cluster yet.
    #[error("this node belongs to no cluster yet: {waiting}")]
    NoCluster {
        /// For whom or what it waits.
        waiting: String,
    },
    /// Nothing was stored: this node was removed from its cluster.
    #[error(
        "this node was removed from its cluster (at entry {log_index} of the log) and serves only old records: use another \
         node. To let this one join anew, stop it, wipe its data directory, and start it"
    )]
    Removed {
        /// The entry that carries the membership without it.
        log_index: LogIndex,
    },
}

impl ProposeError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::OutcomeUnknown
            | Self::Overloaded
            | Self::StorageFull { .. }
            | Self::MajorityFull
            | Self::Unavailable
            | Self::NotLeader { .. }
            | Self::NoLeader
            | Self::NoCluster { .. } => Disposition::Retry,
            Self::Removed { .. } => Disposition::Reject,
            Self::Failsafe { .. } => Disposition::Failsafe,
        }
    }
}

impl From<Unanswered> for ProposeError {
    fn from(_: Unanswered) -> Self {
        Self::OutcomeUnknown
    }
}

/// From which offset on a linearizable read that begins now may miss records: answer the high watermark once it is
/// certain that no later leader has committed more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReadIndex {
    /// The leader's lease will do: true as long as clocks run at about the same speed, and one round trip cheaper.
    pub lease: bool,
    /// Where the answer goes.
    pub reply: Reply<Offset, ProposeError>,
}

/// Do something to a cursor; answer when that is committed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ChangeCursor {
    /// What.
    pub command: CursorCommand,
    /// Where the answer goes: what the log says of it.
    pub reply: Reply<CursorVerdict, ProposeError>,
}

/// Who leads, as far as this node knows. Published on a watch channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The current term.
    pub term: Term,
    /// The leader, when one is known.
    pub leader: Option<NodeId>,
}
