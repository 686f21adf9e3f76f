//! What is published about the cluster: who belongs to it, who leads, and how far each node is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{RaftMetrics, async_runtime::WatchReceiver};
use tokio::sync::watch;

use crate::{
    consensus::{
        Consensus,
        types::{Member, RaftStoredMembership, TypeConfig, entry_of, log_index},
    },
    types::{LogIndex, NodeId, Term},
};

/// How often it is brought up to date while nothing happens that changes who leads or belongs.
const REFRESH_EVERY: Duration = Duration::from_millis(200);

/// The cluster as consensus on this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// The current term.
    pub term: Term,
    /// The leader, when one is known.
    pub leader: Option<NodeId>,
    /// Every node of the newest membership in the log, by id.
    pub members: BTreeMap<NodeId, MemberState>,
    /// The membership is between two sets of voters.
    pub joint: bool,
    /// The newest membership is committed.
    pub settled: bool,
    /// The entry that carries the newest membership.
    pub membership_at: LogIndex,
    /// The newest membership that is committed for certain: its entry, and who belongs.
    pub committed: (LogIndex, BTreeSet<NodeId>),
    /// The last entry of this node's log.
    pub last: LogIndex,
    /// The last entry that this node knows to be committed.
    pub commit: LogIndex,
    /// The last entry that this node has applied.
    pub applied: LogIndex,
}

/// A node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberState {
    /// Its name and address, as the membership in the log has them.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry that is on its disk for certain; known to the leader only.
    pub matched: Option<LogIndex>,
}

/// Where the state is published. Cheap to clone; outlives restarts of RaftActor.
#[derive(Clone, Debug, Default)]
pub struct ClusterBoard(Arc<watch::Sender<ClusterState>>);

impl ClusterBoard {
    /// Of a node that knows of nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> ClusterState {
        self.0.borrow().clone()
    }

    /// The state, and its changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<ClusterState> {
        self.0.subscribe()
    }

    /// Where the membership in the log says that a node is.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        let state = self.0.borrow();
        let address = state.members.get(&node).map(|member| &member.member.address);
        address.filter(|address| !address.is_empty()).cloned()
    }

    /// What the membership in the log says that a node is called.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<String> {
        let state = self.0.borrow();
        let name = state.members.get(&node).map(|member| &member.member.name);
        name.filter(|name| !name.is_empty()).cloned()
    }

    fn publish(&self, state: ClusterState) {
        self.0.send_if_modified(|current| {
            let changes = *current != state;
            *current = state;
            changes
        });
    }
}

/// Follows consensus until it ends.
pub(super) async fn follow(consensus: Consensus, board: ClusterBoard) {
    let metrics = consensus.raft.metrics();
    let mut server = consensus.raft.server_metrics();
    loop {
        board.publish(state(&metrics.borrow_watched()));
        // Not at each entry: nobody looks that closely.
        let changed = tokio::time::timeout(REFRESH_EVERY, server.changed()).await;
        if let Ok(Err(_)) = changed {
            return;
        }
    }
}

fn state(metrics: &RaftMetrics<TypeConfig>) -> ClusterState {
    let stored = &metrics.membership_config;
    let membership = stored.membership();
    let matched = |node: &u64| {
        let replication = metrics.replication.as_ref()?;
        let matched = replication.get(node)?.as_ref()?;
        Some(entry_of(matched).0)
    };
    let index_of = |stored: &RaftStoredMembership| {
        let log_id = stored.log_id().as_ref();
        log_id.map_or(LogIndex::ZERO, |log_id| entry_of(log_id).0)
    };
    let committed = &metrics.committed_membership_config;
    let of_committed = committed.membership().nodes().map(|(node, _)| NodeId(*node));
    let voters: Vec<u64> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(node, member)| {
        let state = MemberState {
            member: member.clone(),
            voter: voters.contains(node),
            matched: matched(node),
        };
        (NodeId(*node), state)
    });
    ClusterState {
        term: Term(metrics.current_term),
        leader: metrics.current_leader.map(NodeId),
        members: members.collect(),
        joint: membership.get_joint_config().len() > 1,
        settled: *stored.log_id() <= metrics.local_committed,
        membership_at: index_of(stored),
        committed: (index_of(committed), of_committed.collect()),
        last: metrics.last_log_index.map_or(LogIndex::ZERO, log_index),
        commit: metrics
            .local_committed
            .as_ref()
            .map_or(LogIndex::ZERO, |log_id| entry_of(log_id).0),
        applied: metrics
            .last_applied
            .as_ref()
            .map_or(LogIndex::ZERO, |log_id| entry_of(log_id).0),
    }
}
