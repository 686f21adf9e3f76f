//! What nodes ask of each other: [`PeerHandler`] answers on the side that is asked, [`PeerCalls`] and [`Forwarder`] ask
//! what openraft does not ask itself.

mod calls;
mod cursor_wire;
mod description;
mod error;
mod forwarder;
mod identity;
mod incarnation;
mod wire;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

pub use calls::PeerCalls;
pub use cursor_wire::{cursor_result, decode_cursor_request};
pub use description::{PeerDescription, Progress};
pub use error::{ForwardError, PeerError};
pub use forwarder::{Forwarded, Forwarder};
pub use identity::PeerIdentity;
pub use incarnation::{Contest, Hold, Incarnation, Incarnations, Rival};
pub use wire::{decode_propose_result, propose_result};

use super::committer::Committed;
use crate::{
    consensus::{
        codec::Snapshot,
        messages::{
            AppendRequest, AppendResponse, AppendResult, SnapshotResponse, TransferRequest, TransferResponse,
            VoteRequest, VoteResponse,
        },
        types::{RaftEntry, SnapshotManifest},
    },
    storage::{
        cursors::{CursorCommand, CursorVerdict},
        entry::Batch,
    },
    types::{LogIndex, NodeId, Position},
};

/// Answers to what a peer asks of the streams it opened.
pub type AppendResults = BoxStream<'static, Result<AppendResult, PeerError>>;

/// Entries, some at a time, in order.
pub type EntryChunks = BoxStream<'static, Result<Vec<RaftEntry>, PeerError>>;

/// A piece of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRange {
    /// Names the segment.
    pub first_log_index: LogIndex,
    /// Its first byte that is asked for.
    pub position: Position,
    /// How many at most.
    pub bytes_max: u64,
}

/// Answers what other nodes ask about one log. `from` is the node that asks, of this cluster for certain.
#[async_trait]
pub trait PeerHandler: fmt::Debug + Send + Sync + 'static {
    /// Appends, or takes note of a heartbeat.
    async fn append(&self, request: AppendRequest) -> Result<AppendResponse, PeerError>;

    /// Whether this node's disk is nearly full, so that it takes entries for a little while only.
    fn storage_is_full(&self) -> bool;

    /// Appends one request after the other, without waiting for the responses, which come in the same order. After a
    /// result that is an error the stream ends. `requests` end when the peer closes the stream, is lost, or sends what
    /// makes no sense; what was taken by then is answered. Dropping the results ends the requests.
    fn stream_append(&self, requests: BoxStream<'static, AppendRequest>) -> AppendResults;

    /// Gives a candidate its vote, or not. What is promised is on disk when this answers (RFT-1).
    async fn vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError>;

    /// Would give a candidate its vote, or not. Promises nothing.
    async fn pre_vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError>;

    /// The leader wants this node to lead.
    async fn transfer_leader(&self, request: TransferRequest) -> Result<TransferResponse, PeerError>;

    /// Fetches what the manifest names from `from`, installs it, and answers then. Dropped when the peer gives up.
    async fn install_snapshot(&self, from: NodeId, snapshot: Snapshot)
    -> Result<SnapshotResponse, PeerError>;

    /// For the leader: the entry that a linearizable read which begins now must have applied.
    ///
    /// Errors: `NotLeader` when this node does not lead.
    async fn read_index(&self, from: NodeId) -> Result<LogIndex, PeerError>;

    /// For the leader: proposes a batch of a follower's client. The batch takes its place among the others when this is
    /// called, not when the future is first polled.
    fn propose(&self, from: NodeId, batch: Batch) -> BoxFuture<'static, Result<Committed, ForwardError>>;

    /// For the leader: does something to a cursor for a follower's client, and answers when that is committed.
    async fn change_cursor(
        &self,
        from: NodeId,
        command: CursorCommand,
    ) -> Result<CursorVerdict, ForwardError>;

    /// Entries of `[from, below)` of this node's log, committed or not, some at a time. Ends where the range or the log does.
    fn read_entries(&self, from: LogIndex, below: LogIndex) -> EntryChunks;

    /// The segments of the log on this node.
    async fn manifest(&self) -> Result<SnapshotManifest, PeerError>;

    /// Bytes of a segment, in pieces of some 256 KiB, from `range.position` on. Ends where the range or the file does.
    async fn read_segment(
        &self,
        range: SegmentRange,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError>;
}

/// Where the handler is at present. It comes late and goes with each restart of consensus; peers are told to try again
/// meanwhile. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct HandlerSlot(Arc<ArcSwapOption<Arc<dyn PeerHandler>>>);

impl HandlerSlot {
    /// Nobody answers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `handler` answers.
    pub fn set(&self, handler: Arc<dyn PeerHandler>) {
        self.0.store(Some(Arc::new(handler)));
    }

    /// From now on nobody answers. What is being answered goes on.
    pub fn clear(&self) {
        self.0.store(None);
    }

    /// Whoever answers.
    ///
    /// Errors: `Unavailable` when nobody does.
    pub fn get(&self) -> Result<Arc<dyn PeerHandler>, PeerError> {
        let handler = self.0.load();
        handler
            .as_ref()
            .map(|handler| Arc::clone(&**handler))
            .ok_or(PeerError::Unavailable)
    }
}
