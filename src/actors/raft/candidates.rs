//! Nodes that gossip and ask to belong. None of them enters the membership before the leader has a connection to it.
//!
//! Whoever has the key of gossip can say anything there, and what it says makes no member (G7). A connection shows that somebody answers
//! at that address who is this node and of this cluster, and, with TLS, who has its certificate (SEC-1).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::board::ClusterState;
use crate::{
    actors::membership::{Peer, PeerTable, Standing},
    consensus::types::Member,
    types::{ClusterId, NodeId},
};

/// A connection takes milliseconds. A node that waits for longer is told of.
pub(super) const TOLD_AFTER: Duration = Duration::from_secs(2);
/// And again after this, for as long as it waits.
pub(super) const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Whether a node that gossip knows asks to belong: as whom, and where.
pub(super) fn asks(node: NodeId, peer: &Peer, cluster_id: ClusterId, state: &ClusterState) -> Option<Member> {
    // One that belonged once and does not any more was removed, and shall not come back by itself.
    let is_joining = peer.is_reachable() && peer.tags.standing == Standing::Joining;
    let is_ours = peer.tags.cluster_id == Some(cluster_id);
    if !is_joining || !is_ours || state.members.contains_key(&node) {
        return None;
    }
    member_of(peer)
}

/// As the membership has it; `None` while it is not known where the node is reached.
pub(super) fn member_of(peer: &Peer) -> Option<Member> {
    let address = peer.tags.rpc_address.clone()?;
    Some(Member {
        name: peer.tags.node_name.clone(),
        address,
    })
}

/// Who asks to belong, and since when.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates(BTreeMap<NodeId, Wait>);

#[derive(Clone, Debug)]
struct Wait {
    member: Member,
    since: Instant,
    told: Option<Instant>,
}

impl Candidates {
    /// Takes note of who asks now. At most as many as gossip knows.
    pub(super) fn note(
        &mut self,
        cluster_id: ClusterId,
        state: &ClusterState,
        peers: &PeerTable,
        now: Instant,
    ) {
        let mut before = std::mem::take(&mut self.0);
        let asking = peers
            .iter()
            .filter_map(|(node, peer)| Some((node, asks(node, peer, cluster_id, state)?)));
        self.0 = asking
            .map(|(node, member)| {
                let known = before.remove(&node);
                let (since, told) = known.map_or((now, None), |wait| (wait.since, wait.told));
                (node, Wait { member, since, told })
            })
            .collect();
    }

    /// Who asks.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// Those that there is no connection to, of all who ask.
    pub(super) fn unproven(&self, is_connected: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
        self.nodes().filter(|node| !is_connected(*node)).collect()
    }

    /// Which of the `unproven` wait for so long that an operator is to be told.
    pub(super) fn overdue(&mut self, unproven: &BTreeSet<NodeId>, now: Instant) -> Vec<(NodeId, Member)> {
        let waiting = self.0.iter_mut().filter(|(node, wait)| {
            let is_late = now.saturating_duration_since(wait.since) >= TOLD_AFTER;
            let was_told = |told: Instant| now.saturating_duration_since(told) < TOLD_EVERY;
            unproven.contains(node) && is_late && !wait.told.is_some_and(was_told)
        });
        waiting
            .map(|(node, wait)| {
                wait.told = Some(now);
                (*node, wait.member.clone())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actors::membership::{Presence, Tags},
        clock,
    };

    const CLUSTER: ClusterId = ClusterId(7);

    fn joining(node: u64) -> Peer {
        Peer {
            tags: Tags {
                node_id: NodeId(node),
                node_name: format!("node-{node}"),
                cluster_name: "annals".to_owned(),
                cluster_id: Some(CLUSTER),
                rpc_address: Some(format!("127.0.0.1:{node}")),
                standing: Standing::Joining,
                has_data: false,
                program_version: String::new(),
            },
            gossip_address: ([127, 0, 0, 1], 1).into(),
            presence: Presence::Reachable,
            since: clock::now(),
        }
    }

    #[test]
    fn who_is_not_connected_is_told_of_when_it_lasts_and_again_when_it_goes_on() {
        let (state, began) = (ClusterState::default(), clock::now());
        let peers: PeerTable = [joining(2), joining(3)].into_iter().collect();
        let mut candidates = Candidates::default();
        candidates.note(CLUSTER, &state, &peers, began);
        let unproven = candidates.unproven(|node| node == NodeId(3));
        assert_eq!(unproven, BTreeSet::from([NodeId(2)]));
        let mut told = |after| {
            let now = began + after;
            candidates.note(CLUSTER, &state, &peers, now);
            let overdue = candidates.overdue(&unproven, now);
            overdue.iter().map(|(node, _)| node.get()).collect::<Vec<_>>()
        };
        assert!(told(TOLD_AFTER / 2).is_empty());
        assert_eq!(told(TOLD_AFTER), [2]);
        assert!(told(TOLD_EVERY).is_empty());
        assert_eq!(told(TOLD_AFTER + TOLD_EVERY), [2]);
    }

    #[test]
    fn who_stopped_asking_is_forgotten() {
        let (state, began) = (ClusterState::default(), clock::now());
        let peers: PeerTable = [joining(2)].into_iter().collect();
        let mut candidates = Candidates::default();
        candidates.note(CLUSTER, &state, &peers, began);
        candidates.note(CLUSTER, &state, &PeerTable::default(), began);
        assert_eq!(candidates.nodes().count(), 0);
        candidates.note(CLUSTER, &state, &peers, began + TOLD_AFTER);
        let all = BTreeSet::from([NodeId(2)]);
        assert_eq!(
            candidates.overdue(&all, began + TOLD_AFTER),
            [],
            "its wait begins anew"
        );
    }
}
