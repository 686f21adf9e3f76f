//! From what gossip shows to the table of peers: a model without memberlist, actor or clock.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use crate::types::{ClusterId, NodeId};

use super::{Peer, PeerTable, Presence, Standing, Tags};

/// Peers known at a time, those among them that are gone. Far above the nine voters that a cluster may have; ids can be
/// made up by anybody who may gossip.
pub(super) const PEERS_MAX: usize = 256;

/// A node as gossip shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) tags: Tags,
    pub(super) address: SocketAddr,
    pub(super) is_alive: bool,
}

/// What has become of a peer, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there: for the first time, again, or at another address.
    Reachable(NodeId),
    /// It is not, and did not say that it would go.
    Unreachable(NodeId),
    /// It said that it would go, and went.
    Left(NodeId),
    /// It belongs to another cluster of the same name, and is no peer (any more).
    Foreign(NodeId, ClusterId),
    /// There is no room for it.
    Full(NodeId),
}

/// The peers that are known, whether gossip reaches them or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    peers: BTreeMap<NodeId, Peer>,
}

impl Known {
    /// What was known before a restart. It stays as it was until gossip says otherwise, so that readers do not see all
    /// peers vanish and come back.
    pub(super) fn new(table: &PeerTable) -> Self {
        let peers = table.iter().map(|(node_id, peer)| (node_id, peer.clone()));
        Self {
            peers: peers.collect(),
        }
    }

    /// Takes in all that gossip shows. With `is_complete`, peers that it does not show are out of reach; without, nothing
    /// is concluded about them, since there was no time yet to ask around.
    pub(super) fn observe(
        &mut self,
        seen: &[Seen],
        own_cluster: Option<ClusterId>,
        is_complete: bool,
        now: Instant,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for node in seen {
            let node_id = node.tags.node_id;
            match (own_cluster, node.tags.cluster_id) {
                (Some(own), Some(other)) if own != other => {
                    self.peers.remove(&node_id);
                    changes.push(Change::Foreign(node_id, other));
                }
                _ => changes.extend(self.take_in(node, now)),
            }
        }
        if is_complete {
            let is_shown = |node_id: &NodeId| seen.iter().any(|node| node.tags.node_id == *node_id);
            for (node_id, peer) in self.peers.iter_mut().filter(|(node_id, _)| !is_shown(node_id)) {
                let presence = presence(false, &peer.tags);
                changes.extend(turn(*node_id, peer, presence, now));
            }
        }
        changes
    }

    fn take_in(&mut self, node: &Seen, now: Instant) -> Option<Change> {
        let node_id = node.tags.node_id;
        let presence = presence(node.is_alive, &node.tags);
        if let Some(peer) = self.peers.get_mut(&node_id) {
            let has_moved = peer.gossip_address != node.address && node.is_alive;
            peer.tags.clone_from(&node.tags);
            peer.gossip_address = node.address;
            let change = turn(node_id, peer, presence, now);
            return change.or(has_moved.then_some(Change::Reachable(node_id)));
        }
        // One that was never there while we were has no history worth a line, but it may come back.
        if !self.make_room() {
            return Some(Change::Full(node_id));
        }
        let peer = Peer {
            tags: node.tags.clone(),
            gossip_address: node.address,
            presence,
            since: now,
        };
        self.peers.insert(node_id, peer);
        Some(change_to(node_id, presence))
    }

    /// Whether there is room for one more, after the one that is gone for longest was forgotten if need be.
    fn make_room(&mut self) -> bool {
        if self.peers.len() < PEERS_MAX {
            return true;
        }
        let gone = self.peers.iter().filter(|(_, peer)| !peer.is_reachable());
        let oldest = gone.min_by_key(|(_, peer)| (peer.presence != Presence::Left, peer.since));
        let oldest = oldest.map(|(node_id, _)| *node_id);
        oldest.is_some_and(|node_id| self.peers.remove(&node_id).is_some())
    }

    /// Removes a node that turned out to belong elsewhere. Whether it was there.
    pub(super) fn remove(&mut self, node_id: NodeId) -> bool {
        self.peers.remove(&node_id).is_some()
    }

    /// Removes a peer for good, unless it is there. Whether it is removed.
    pub(super) fn forget(&mut self, node_id: NodeId) -> bool {
        let is_gone = self.peers.get(&node_id).is_some_and(|peer| !peer.is_reachable());
        is_gone && self.remove(node_id)
    }

    pub(super) fn get(&self, node_id: NodeId) -> Option<&Peer> {
        self.peers.get(&node_id)
    }

    /// As it is published.
    pub(super) fn table(&self) -> PeerTable {
        self.peers.values().cloned().collect()
    }
}

/// memberlist cannot tell a node that failed from one that left; its tags can.
fn presence(is_alive: bool, tags: &Tags) -> Presence {
    match (is_alive, tags.standing) {
        (true, _) => Presence::Reachable,
        (false, Standing::Leaving) => Presence::Left,
        (false, Standing::Joining | Standing::Member) => Presence::Unreachable,
    }
}

fn turn(node_id: NodeId, peer: &mut Peer, presence: Presence, now: Instant) -> Option<Change> {
    if peer.presence == presence {
        return None;
    }
    peer.presence = presence;
    peer.since = now;
    Some(change_to(node_id, presence))
}

fn change_to(node_id: NodeId, presence: Presence) -> Change {
    match presence {
        Presence::Reachable => Change::Reachable(node_id),
        Presence::Unreachable => Change::Unreachable(node_id),
        Presence::Left => Change::Left(node_id),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn seen(node_id: u64, is_alive: bool) -> Seen {
        Seen {
            tags: Tags {
                node_id: NodeId(node_id),
                node_name: format!("node-{node_id}"),
                cluster_name: "annals".to_owned(),
                cluster_id: None,
                rpc_address: None,
                standing: Standing::Member,
                has_data: false,
                program_version: "0.1.0".to_owned(),
            },
            address: SocketAddr::from(([127, 0, 0, 1], 8401)),
            is_alive,
        }
    }

    fn leaving(node_id: u64, is_alive: bool) -> Seen {
        let mut node = seen(node_id, is_alive);
        node.tags.standing = Standing::Leaving;
        node
    }

    const ONE: NodeId = NodeId(1);

    #[test]
    fn a_peer_that_fails_is_out_of_reach_and_stays_known_with_its_last_tags() {
        let mut known = Known::default();
        let (then, now) = (clock::now(), clock::now() + Duration::from_secs(1));
        assert_eq!(
            known.observe(&[seen(1, true)], None, true, then),
            [Change::Reachable(ONE)]
        );
        assert_eq!(known.observe(&[seen(1, true)], None, true, now), []);
        assert_eq!(known.get(ONE).unwrap().since, then);
        assert_eq!(
            known.observe(&[seen(1, false)], None, true, now),
            [Change::Unreachable(ONE)]
        );
        let peer = known.get(ONE).unwrap();
        assert_eq!((peer.presence, peer.since), (Presence::Unreachable, now));
        assert_eq!(peer.tags.node_name, "node-1");
    }

    #[test]
    fn a_peer_that_said_it_would_go_has_left_once_it_is_gone() {
        let mut known = Known::default();
        let now = clock::now();
        known.observe(&[seen(1, true)], None, true, now);
        assert_eq!(known.observe(&[leaving(1, true)], None, true, now), []);
        assert!(known.get(ONE).unwrap().is_reachable());
        assert_eq!(
            known.observe(&[leaving(1, false)], None, true, now),
            [Change::Left(ONE)]
        );
        assert_eq!(
            known.observe(&[seen(1, true)], None, true, now),
            [Change::Reachable(ONE)]
        );
    }

    #[test]
    fn a_peer_that_comes_back_elsewhere_is_reachable_at_its_new_address() {
        let mut known = Known::default();
        let now = clock::now();
        known.observe(&[seen(1, true)], None, true, now);
        let mut moved = seen(1, true);
        moved.address.set_port(9401);
        moved.tags.has_data = true;
        let changes = known.observe(std::slice::from_ref(&moved), None, true, now);
        assert_eq!(changes, [Change::Reachable(ONE)]);
        let peer = known.get(ONE).unwrap();
        assert_eq!((peer.gossip_address, &peer.tags), (moved.address, &moved.tags));
    }

    #[test]
    fn after_a_restart_nothing_is_concluded_from_silence_before_the_first_round() {
        let mut known = Known::default();
        let now = clock::now();
        known.observe(&[seen(1, true), leaving(2, true)], None, true, now);
        let mut known = Known::new(&known.table());
        assert_eq!(known.observe(&[], None, false, now), []);
        assert!(known.get(ONE).unwrap().is_reachable());
        assert_eq!(
            known.observe(&[], None, true, now),
            [Change::Unreachable(ONE), Change::Left(NodeId(2))]
        );
    }

    #[test]
    fn a_node_of_another_cluster_is_no_peer_from_the_moment_both_ids_are_known() {
        let mut known = Known::default();
        let now = clock::now();
        let mut node = seen(1, true);
        node.tags.cluster_id = Some(ClusterId(2));
        let node = [node];
        assert_eq!(known.observe(&node, None, true, now), [Change::Reachable(ONE)]);
        let foreign = [Change::Foreign(ONE, ClusterId(2))];
        assert_eq!(known.observe(&node, Some(ClusterId(1)), true, now), foreign);
        assert!(known.table().is_empty());
        assert_eq!(
            known.observe(&node, Some(ClusterId(2)), true, now),
            [Change::Reachable(ONE)]
        );
    }

    #[test]
    fn only_peers_that_are_gone_can_be_forgotten() {
        let mut known = Known::default();
        let now = clock::now();
        known.observe(&[seen(1, true), seen(2, false)], None, true, now);
        assert!(!known.forget(ONE));
        assert!(known.forget(NodeId(2)));
        assert!(!known.forget(NodeId(3)));
        assert_eq!(known.table().len(), 1);
    }

    #[test]
    fn the_table_is_bounded_and_those_that_left_go_first() {
        let mut known = Known::default();
        let mut now = clock::now();
        let full = PEERS_MAX as u64;
        let mut nodes: Vec<Seen> = (1..=full).map(|number| seen(number, true)).collect();
        known.observe(&nodes, None, true, now);
        assert_eq!(
            known.observe(&[seen(1000, true)], None, false, now),
            [Change::Full(NodeId(1000))]
        );
        for (number, gone) in [(5, seen(5, false)), (6, leaving(6, false))] {
            now += Duration::from_secs(1);
            nodes[number - 1] = gone;
            known.observe(&nodes, None, true, now);
        }
        known.observe(&[seen(1000, true)], None, false, now);
        assert!(known.get(NodeId(6)).is_none());
        known.observe(&[seen(1001, true)], None, false, now);
        assert!(known.get(NodeId(5)).is_none());
        assert_eq!(known.table().len(), PEERS_MAX);
    }
}
