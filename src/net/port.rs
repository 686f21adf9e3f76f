//! The gateway's way to whoever commits: three messages, and what it means when one cannot be delivered.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::status::Refusal;
use crate::{
    actors::{
        committer::{ChangeCursor, Committed, Committer, Propose, ProposeError, ReadIndex},
        supervision::{Answer, PostError, Reply},
    },
    storage::{
        cursors::{CursorCommand, CursorVerdict},
        entry::Batch,
    },
    types::Offset,
};

/// A proposal's answer, once it is there.
pub type CommitAnswer = Answer<Committed, ProposeError>;

/// The committer, as calls use it.
#[derive(Clone, Debug)]
pub struct CommitterPort(pub Arc<dyn Committer>);

/// A proposal that was not delivered. Nothing of it is stored.
#[derive(Debug)]
pub enum Undelivered {
    /// The committer's mailbox is full; here the proposal is back, with its permit.
    Full(Box<(Batch, Option<OwnedSemaphorePermit>)>),
    /// The committer is being restarted, or the node is stopping.
    Gone,
}

impl From<Undelivered> for Refusal {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Full(_) => Self::Overloaded,
            Undelivered::Gone => Self::Propose(ProposeError::Unavailable),
        }
    }
}

impl CommitterPort {
    /// Hands a batch to the committer; its permit goes with it.
    ///
    /// Errors: when it was not delivered.
    pub fn propose(
        &self,
        batch: Batch,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<CommitAnswer, Undelivered> {
        let (reply, answer) = Reply::channel();
        match self.0.propose(Propose { batch, permit, reply }) {
            Ok(()) => Ok(answer),
            Err(PostError::Full(message)) => {
                Err(Undelivered::Full(Box::new((message.batch, message.permit))))
            }
            Err(PostError::Gone(_)) => Err(Undelivered::Gone),
        }
    }

    /// Hands to the committer what is to be done to a cursor.
    ///
    /// Errors: `Overloaded`, `Unavailable`: nothing was done.
    pub fn change_cursor(
        &self,
        command: CursorCommand,
    ) -> Result<Answer<CursorVerdict, ProposeError>, Refusal> {
        let (reply, answer) = Reply::channel();
        match self.0.change_cursor(ChangeCursor { command, reply }) {
            Ok(()) => Ok(answer),
            Err(PostError::Full(_)) => Err(Refusal::Overloaded),
            Err(PostError::Gone(_)) => Err(Refusal::Propose(ProposeError::Unavailable)),
        }
    }

    /// From which offset on a linearizable read that begins now may miss records. `lease`: the leader's lease will do.
    ///
    /// Errors: `Overloaded`; `Propose` when the committer is not there or cannot say.
    /// Cancel: safe.
    pub async fn read_index(&self, lease: bool) -> Result<Offset, Refusal> {
        let (reply, answer) = Reply::channel();
        match self.0.read_index(ReadIndex { lease, reply }) {
            Ok(()) => {}
            Err(PostError::Full(_)) => return Err(Refusal::Overloaded),
            Err(PostError::Gone(_)) => return Err(Refusal::Propose(ProposeError::Unavailable)),
        }
        answer.await.map_err(|error| match error {
            // A read changes nothing, so its outcome is no riddle: it may simply be tried again.
            ProposeError::OutcomeUnknown => Refusal::Propose(ProposeError::Unavailable),
            error => Refusal::Propose(error),
        })
    }
}
