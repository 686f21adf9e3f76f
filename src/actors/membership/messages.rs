//! What MembershipActor takes.

use actix::prelude::*;

use crate::{
    actors::supervision::{Reply, Unanswered},
    types::NodeId,
};

use super::PeerTable;

/// Answer with the table of peers. [`super::PeerDirectory`] has the same without a message.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Members {
    /// Where the answer goes.
    pub reply: Reply<PeerTable, Unanswered>,
}

/// Leave for good: tell the peers, and go. Answered when this node no longer gossips; its process may go on, and does not
/// come back to gossip until it starts again. An end without it, as SIGTERM is, is a restart to the others.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// Where the answer goes.
    pub reply: Reply<(), Unanswered>,
}

/// Forget a peer that is gone for good, so that it is no longer looked for: an operator or Raft removed it. One that is
/// reachable stays.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Forget(pub NodeId);

/// Stop without a word to the peers. Answered when the sockets are closed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop {
    pub(super) reply: Reply<(), Unanswered>,
}
