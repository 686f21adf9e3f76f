//! What other nodes ask of this one's consensus.

use std::{
    iter,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use openraft::errors::{Fatal, RaftError};
use slog::{Logger, warn};

use super::{Contradicted, RaftActor, RaftPort, not_made::ended_text, transfer::Transfer};
use crate::{
    actors::{
        committer::{ChangeCursor, Committed, Propose, ProposeError},
        peer::{AppendResults, EntryChunks, ForwardError, PeerError, PeerHandler, SegmentRange},
        supervision::{ActorRef, PostError, Reply},
    },
    consensus::{
        Consensus, Raft,
        codec::Snapshot,
        links::Contact,
        messages::{
            AppendRequest, AppendResponse, SnapshotResponse, TransferRequest, TransferResponse, VoteRequest,
            VoteResponse,
        },
        types::{SnapshotManifest, TypeConfig},
    },
    storage::{
        cursors::{CursorCommand, CursorVerdict},
        entry::Batch,
    },
    types::{LogIndex, NodeId},
};

/// Answers over the port. Published while consensus runs.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) port: RaftPort,
    pub(super) transfer: Transfer,
    /// Of a leader. One that was voted out counts too: at the answer it stops.
    pub(super) heard: Arc<Contact>,
    /// Told when consensus cannot go on.
    pub(super) raft: ActorRef<RaftActor>,
    pub(super) logger: Logger,
}

impl Answers {
    fn consensus(&self) -> Result<Consensus, PeerError> {
        self.port.running().ok_or(PeerError::Unavailable)
    }

    /// Whether it fits what is committed here; where it does not, this node stops.
    async fn check(&self, request: &AppendRequest) -> Result<(), PeerError> {
        let Some(contradiction) = self.consensus()?.contradiction(request).await else {
            return Ok(());
        };
        let what = contradiction.to_string();
        // It is told again by the next request when this is not taken.
        drop(self.raft.post(Contradicted { what: what.clone() }));
        Err(PeerError::Stopped { cause: what })
    }

    /// Whether there is room for what it carries; a heartbeat carries nothing.
    fn takes(&self, request: &AppendRequest) -> bool {
        request.entries.is_empty() || self.port.takes_entries()
    }

    fn raft(&self) -> Result<Raft, PeerError> {
        Ok(self.consensus()?.raft)
    }
}

/// Why a stream of requests was not taken further.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Option<PeerError>>>);

impl Refused {
    fn put(&self, error: PeerError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<PeerError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type Taking = (BoxStream<'static, AppendRequest>, Answers, Refused);

/// The next request, unless it is refused, which ends the stream.
async fn next_taken((mut requests, answers, refused): Taking) -> Option<(AppendRequest, Taking)> {
    let request = requests.next().await?;
    answers.heard.heard();
    let taken = if answers.takes(&request) {
        answers.check(&request).await
    } else {
        Err(PeerError::NoRoom)
    };
    match taken {
        Ok(()) => Some((request, (requests, answers, refused))),
        Err(error) => {
            refused.put(error);
            None
        }
    }
}

fn stopped(fatal: &Fatal<TypeConfig>) -> PeerError {
    PeerError::Stopped {
        cause: ended_text(fatal),
    }
}

fn ended(error: RaftError<TypeConfig>) -> PeerError {
    match error {
        RaftError::Fatal(fatal) => stopped(&fatal),
        RaftError::APIError(never) => match never {},
    }
}

/// Who leads is said apart from why this node refuses.
fn not_here(error: ProposeError) -> ForwardError {
    match error {
        ProposeError::NotLeader { leader, .. } => ForwardError::NotLeader { leader: Some(leader) },
        ProposeError::NoLeader => ForwardError::NotLeader { leader: None },
        error => ForwardError::Refused(error),
    }
}

#[async_trait]
impl PeerHandler for Answers {
    fn storage_is_full(&self) -> bool {
        self.port.storage_is_full()
    }

    async fn append(&self, request: AppendRequest) -> Result<AppendResponse, PeerError> {
        self.heard.heard();
        if !self.takes(&request) {
            return Err(PeerError::NoRoom);
        }
        self.check(&request).await?;
        self.raft()?.append_entries(request).await.map_err(ended)
    }

    fn stream_append(&self, requests: BoxStream<'static, AppendRequest>) -> AppendResults {
        match self.raft() {
            Ok(raft) => {
                let refused = Refused::default();
                let taken = stream::unfold((requests, self.clone(), refused.clone()), next_taken).boxed();
                let results = raft.stream_append(taken);
                let results = results.map(|result| result.map_err(|fatal| stopped(&fatal)));
                // Behind the answers to what came before.
                let refusal = move || refused.take().map(Err);
                results.chain(stream::iter(iter::from_fn(refusal))).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError> {
        self.raft()?.vote(request).await.map_err(ended)
    }

    async fn pre_vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError> {
        self.raft()?.pre_vote(request).await.map_err(ended)
    }

    async fn transfer_leader(&self, request: TransferRequest) -> Result<TransferResponse, PeerError> {
        let answer = self.raft()?.handle_transfer_leader(request).await;
        answer.map_err(|fatal| stopped(&fatal))
    }

    async fn install_snapshot(
        &self,
        from: NodeId,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse, PeerError> {
        let raft = self.raft()?;
        // What the leader lists by now may go further than what it offered: all of it is committed.
        let whole = self.transfer.fetch(from).await.inspect_err(|error| {
            warn!(self.logger, "segments not fetched; the leader tries again"; "cause" => %error);
        })?;
        let installed = raft.install_full_snapshot(snapshot.vote, whole).await;
        installed.map_err(|fatal| stopped(&fatal))
    }

    async fn read_index(&self, _: NodeId) -> Result<LogIndex, PeerError> {
        self.port
            .read_index_here(false)
            .await
            .map_err(|error| match error {
                ProposeError::NotLeader { leader, .. } => PeerError::NotLeader { leader: Some(leader) },
                ProposeError::NoLeader => PeerError::NotLeader { leader: None },
                _ => PeerError::Unavailable,
            })
    }

    fn propose(&self, _: NodeId, batch: Batch) -> BoxFuture<'static, Result<Committed, ForwardError>> {
        let (reply, answer) = Reply::<Committed, ProposeError>::channel();
        let propose = Propose {
            batch,
            permit: None,
            reply,
        };
        // Never forwarded again: two nodes that take each other for the leader would never end.
        let refused = match self.port.propose_here(propose) {
            Ok(()) => None,
            Err(PostError::Full(_)) => Some(ProposeError::Overloaded),
            Err(PostError::Gone(_)) => Some(ProposeError::Unavailable),
        };
        async move {
            if let Some(error) = refused {
                return Err(ForwardError::Refused(error));
            }
            answer.await.map_err(not_here)
        }
        .boxed()
    }

    async fn change_cursor(&self, _: NodeId, command: CursorCommand) -> Result<CursorVerdict, ForwardError> {
        let (reply, answer) = Reply::<_, ProposeError>::channel();
        match self.port.change_cursor_here(ChangeCursor { command, reply }) {
            Ok(()) => answer.await.map_err(not_here),
            Err(PostError::Full(_)) => Err(ProposeError::Overloaded.into()),
            Err(PostError::Gone(_)) => Err(ProposeError::Unavailable.into()),
        }
    }

    fn read_entries(&self, from: LogIndex, below: LogIndex) -> EntryChunks {
        match self.consensus() {
            Ok(consensus) => consensus
                .entries(from, below)
                .map(|read| read.map_err(PeerError::Io))
                .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn manifest(&self) -> Result<SnapshotManifest, PeerError> {
        self.transfer.manifest(&self.consensus()?).await
    }

    async fn read_segment(
        &self,
        range: SegmentRange,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        self.transfer.read(&self.consensus()?, range).await
    }
}
