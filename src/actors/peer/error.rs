//! Why a peer was not answered.

use std::io;

use crate::{
    actors::{committer::ProposeError, supervision::Unanswered},
    consensus::{codec::CodecError, links::LinkError},
    error::Disposition,
    types::{LogIndex, NodeId},
};

/// A peer was not answered.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Consensus is being started, or restarted; nothing was done.
    #[error("the node is not ready yet")]
    Unavailable,
    /// The disk is so full that no entries are taken; nothing was done.
    #[error("the disk is nearly full, and takes no entries and no segments until there is room")]
    NoRoom,
    /// Consensus has ended while it worked on the request.
    #[error("consensus has stopped: {cause}")]
    Stopped {
        /// Why.
        cause: String,
    },
    /// Only the leader can answer that.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, when it is known.
        leader: Option<NodeId>,
    },
    /// The log has no such segment, or no longer.
    #[error("there is no segment that begins with entry {first_log_index}")]
    NoSuchSegment {
        /// The segment.
        first_log_index: LogIndex,
    },
    /// The segment is damaged here too.
    #[error("the segment that begins with entry {first_log_index} is damaged on this node")]
    Damaged {
        /// The segment.
        first_log_index: LogIndex,
    },
    /// The disk did not answer.
    #[error("cannot read a segment")]
    Io(#[source] io::Error),
    /// The peer sent, or answered, what makes no sense.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// There is no connection to the peer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The call failed on its way, or at the peer.
    #[error("node {target} did not answer: {status}")]
    Call {
        /// The peer.
        target: NodeId,
        /// What the transport, or the peer, says.
        #[source]
        status: Box<tonic::Status>,
    },
    /// The peer did not answer in time.
    #[error("node {target} did not answer in time")]
    Deadline {
        /// The peer.
        target: NodeId,
    },
}

impl PeerError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable
            | Self::NoRoom
            | Self::Stopped { .. }
            | Self::NotLeader { .. }
            | Self::Call { .. }
            | Self::Deadline { .. }
            | Self::Io(_) => Disposition::Retry,
            Self::NoSuchSegment { .. } | Self::Damaged { .. } => Disposition::Reject,
            Self::Codec(error) => error.disposition(),
            Self::Link(error) => error.disposition(),
        }
    }
}

impl From<Unanswered> for PeerError {
    fn from(_: Unanswered) -> Self {
        Self::Unavailable
    }
}

/// A batch that was forwarded is not committed, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// The addressee does not lead. Nothing was stored.
    #[error("that node does not lead")]
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// The leader did not commit it, or the way to the leader broke and nobody knows.
    #[error(transparent)]
    Refused(#[from] ProposeError),
}

impl ForwardError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NotLeader { .. } => Disposition::Retry,
            Self::Refused(error) => error.disposition(),
        }
    }
}

impl From<Unanswered> for ForwardError {
    fn from(_: Unanswered) -> Self {
        Self::Refused(ProposeError::OutcomeUnknown)
    }
}
