//! Decides when a proposed batch is committed, and says so.
//!
//! These are the messages that the gateway sends to whoever decides that: a local committer on a single node, RaftActor
//! in a cluster. The gateway knows only the messages.

mod child;
mod local;

use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    error::Disposition,
    storage::entry::{Batch, Outcome},
    types::{LogIndex, NodeId, Offset, Term},
};

use super::supervision::{Reply, Unanswered};

pub use child::CommitterChild;
pub use local::{CommitterSetup, LocalCommitterActor};

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
    /// Nothing was stored: the log is being reopened, or the node is stopping.
    #[error("the log is not ready")]
    Unavailable,
}

impl ProposeError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::OutcomeUnknown | Self::Overloaded | Self::StorageFull { .. } | Self::Unavailable => {
                Disposition::Retry
            }
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
    /// Where the answer goes.
    pub reply: Reply<Offset, ProposeError>,
}

/// Who leads, as far as this node knows. Published on a watch channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The current term.
    pub term: Term,
    /// The leader, when one is known.
    pub leader: Option<NodeId>,
}
