//! The types that consensus is about, and nothing of how they are stored or sent.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use openraft::{
    OptionalSend, RaftTypeConfig, alias,
    raft::{ClientWriteResult, responder::Responder},
};

use crate::{
    storage::{
        cursors::CursorVerdict,
        entry::{Batch, Outcome},
    },
    types::{LogIndex, NodeId, Term, TimestampMs},
};

/// The types of one log's consensus.
///
/// Leaders are those of standard Raft (at most one a term), so that an entry is named by term and index alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = Applied;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Proposal, u64, Member>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = OnComplete<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// An entry of the log, as consensus sees it.
pub type RaftEntry = alias::EntryOf<TypeConfig>;
/// Which entry: the term it was made in and its index, from 0.
pub type RaftLogId = alias::LogIdOf<TypeConfig>;
/// Who made an entry: the leader of a term.
pub type CommittedLeaderId = alias::CommittedLeaderIdOf<TypeConfig>;
/// Whom this node has promised to follow.
pub type RaftVote = alias::VoteOf<TypeConfig>;
/// Who votes and who only receives.
pub type RaftMembership = openraft::Membership<u64, Member>;
/// A membership and the entry that carries it.
pub type RaftStoredMembership = alias::StoredMembershipOf<TypeConfig>;

/// What a leader proposes to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// When the leader took it, by its clock.
    pub timestamp: TimestampMs,
    /// What it carries.
    pub content: ProposalContent,
}

/// What a proposal carries. Memberships and blank entries are made by openraft itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalContent {
    /// Records of one batch.
    Records(Batch),
    /// A command for the log itself, encoded by [`crate::storage::control::Control`].
    Control(Bytes),
}

impl ProposalContent {
    /// How many bytes it carries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Records(batch) => batch.records.len(),
            Self::Control(bytes) => bytes.len(),
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            ProposalContent::Records(batch) => {
                write!(f, "{} records, {} bytes", batch.record_count, batch.records.len())
            }
            ProposalContent::Control(bytes) => write!(f, "control, {} bytes", bytes.len()),
        }
    }
}

/// What became of an entry when it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It carried records; stored, or void and why.
    Records(Outcome),
    /// It did something to a cursor, or was refused.
    Cursor(CursorVerdict),
    /// It carried nothing that anybody waits for.
    NoRecords,
}

/// A node of the cluster, as the membership in the log names it. Gossip may know a newer address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name, by configuration.
    pub name: String,
    /// Where clients and peers reach it: `host:port`.
    pub address: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

/// Members by their node ids.
pub type Members = BTreeMap<NodeId, Member>;

/// Where a write's result goes: called once, or dropped uncalled when consensus ends before it knows.
pub struct OnComplete<T>(Box<dyn FnOnce(T) + Send>);

impl<T> OnComplete<T> {
    /// Calls `then`; it must not block.
    pub fn new(then: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(then))
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for OnComplete<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// The result of a write.
pub type WriteResult = ClientWriteResult<TypeConfig>;

/// openraft counts entries from 0, the log from 1: there 0 is "before the first".
#[must_use]
pub fn log_index(raft_index: u64) -> LogIndex {
    LogIndex(raft_index).plus(1)
}

/// The index that openraft gives the entry `log_index`, which is not 0.
#[must_use]
pub fn raft_index(log_index: LogIndex) -> u64 {
    log_index.get().saturating_sub(1)
}

/// The entry `log_index` of `term`, as openraft names it; `None` for "before the first".
#[must_use]
pub fn raft_log_id(log_index: LogIndex, term: Term) -> Option<RaftLogId> {
    (log_index > LogIndex::ZERO).then(|| {
        let leader = alias::CommittedLeaderIdOf::<TypeConfig>::new(term.get());
        RaftLogId::new(leader, raft_index(log_index))
    })
}

/// The same the other way: number and term of an entry.
#[must_use]
pub fn entry_of(log_id: &RaftLogId) -> (LogIndex, Term) {
    (log_index(log_id.index()), Term(log_id.committed_leader_id().term))
}

/// What brings up a node that is behind the trimmed part: a manifest of segments, as storage encoded it. The files it
/// names are fetched from whoever made it; no record is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotManifest(pub Bytes);

/// A snapshot, and what it amounts to.
pub type RaftSnapshot = alias::SnapshotOf<TypeConfig, SnapshotManifest>;
/// What a snapshot amounts to: its last entry and the membership there.
pub type RaftSnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
