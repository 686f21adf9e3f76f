//! The log as consensus writes it: LogActor's mailbox, in which votes, appends and truncations keep their order.

use std::io;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use crate::{
    actors::{
        log::{
            Append, AppendFailed, Install, LogActor, LogFailed, NoteCommitted, OnPersisted, SaveVote,
            SetTrimPoint, Trim, Truncate,
        },
        supervision::{ActorRef, Answer, PostError, Reply},
    },
    consensus::{
        codec,
        log_port::{LogPort, OnAppended},
        types::{RaftLogId, RaftStoredMembership, RaftVote, entry_of},
    },
    error::causes,
    storage::{Committed, StoredMembership, Vote, entry::Entry},
    types::{LogIndex, NodeId, Offset, Term},
};

/// See the module.
#[derive(Clone, Debug)]
pub struct LogLink {
    log: ActorRef<LogActor>,
}

impl LogLink {
    /// The way to the log that is reached there.
    #[must_use]
    pub fn new(log: ActorRef<LogActor>) -> Self {
        Self { log }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log's actor is not there")
}

/// openraft takes any error of the log for the end; the log itself has told the Agent what it means.
fn failed(error: &LogFailed) -> io::Error {
    io::Error::other(causes(error))
}

/// The answer to a message, if it was taken.
fn answered<T: Send + 'static, M>(
    posted: Result<(), PostError<M>>,
    answer: Answer<T, LogFailed>,
) -> BoxFuture<'static, io::Result<T>> {
    let posted = posted.map_err(|_| gone());
    async move {
        posted?;
        answer.await.map_err(|error| failed(&error))
    }
    .boxed()
}

impl LogPort for LogLink {
    fn append(&self, entries: Vec<Entry>, then: OnAppended) {
        let on_persisted = OnPersisted::new(move |result| then(result.map_err(io::Error::other)));
        let append = Append {
            entries,
            on_persisted,
        };
        if let Err(refused) = self.log.post(append) {
            let failed = match &refused {
                PostError::Full(_) => AppendFailed::Overloaded,
                PostError::Gone(_) => AppendFailed::Unavailable,
            };
            refused.into_inner().on_persisted.refuse(failed);
        }
    }

    fn save_vote(&self, vote: RaftVote) -> BoxFuture<'static, io::Result<()>> {
        let (reply, saved) = Reply::channel();
        let vote = stored_vote(&vote);
        answered(self.log.post(SaveVote { vote, reply }), saved)
    }

    fn truncate(&self, from: LogIndex) -> BoxFuture<'static, io::Result<()>> {
        let (reply, truncated) = Reply::channel();
        answered(self.log.post(Truncate { from, reply }), truncated)
    }

    fn trim(&self, below: Offset, last: LogIndex) -> BoxFuture<'static, io::Result<()>> {
        let (reply, trimmed) = Reply::channel();
        let posted = self.log.post(Trim { below, last, reply });
        async move {
            posted.map_err(|_| gone())?;
            match trimmed.await {
                // What stands in the way of a trim is told by the log, and the next trim tries again.
                Ok(_) | Err(LogFailed::Cut(_) | LogFailed::Read(_) | LogFailed::ReadOnly { .. }) => Ok(()),
                Err(
                    error @ (LogFailed::Unanswered(_)
                    | LogFailed::Write(_)
                    | LogFailed::Transfer(_)
                    | LogFailed::Repair(_)),
                ) => Err(failed(&error)),
            }
        }
        .boxed()
    }

    fn note_committed(&self, applied: RaftLogId, membership: RaftStoredMembership) {
        let committed = committed(&applied, &membership);
        // A note that is not taken leaves an older one.
        drop(self.log.post(NoteCommitted { committed }));
    }

    fn set_trim_point(&self, below: Offset) {
        // What is not taken is found in the committed entries at the next start.
        drop(self.log.post(SetTrimPoint { below }));
    }

    fn install(&self, manifest: Bytes) -> BoxFuture<'static, io::Result<bool>> {
        let (reply, installed) = Reply::channel();
        answered(self.log.post(Install { manifest, reply }), installed)
    }
}

/// A vote as it lies on disk.
pub(super) fn stored_vote(vote: &RaftVote) -> Vote {
    Vote {
        term: Term(vote.leader_id.term),
        voted_for: Some(NodeId(vote.leader_id.voted_for)),
        committed: vote.committed,
    }
}

/// The same the other way.
pub(super) fn raft_vote(vote: &Vote) -> RaftVote {
    // A file without a candidate is from no version of this program; node 0 is nobody.
    let (term, node) = (vote.term.get(), vote.voted_for.map_or(0, NodeId::get));
    if vote.committed {
        RaftVote::new_committed(term, node)
    } else {
        RaftVote::new(term, node)
    }
}

fn committed(applied: &RaftLogId, membership: &RaftStoredMembership) -> Committed {
    let (log_index, term) = entry_of(applied);
    let membership = membership.log_id().as_ref().map(|log_id| {
        let (log_index, term) = entry_of(log_id);
        StoredMembership {
            log_index,
            term,
            bytes: codec::encode_membership(membership.membership()),
        }
    });
    Committed {
        log_index,
        term,
        membership,
    }
}
