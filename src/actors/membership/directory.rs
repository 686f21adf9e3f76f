//! What is published of the other nodes: who they are, where they are, and whether gossip reaches them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use tokio::sync::watch;

use crate::types::NodeId;

use super::Tags;

/// Whether gossip reaches a peer. It suggests and decides nothing: a peer that is unreachable still votes (G7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Yes.
    Reachable,
    /// Not at present: it failed, it restarts, or a network is cut.
    Unreachable,
    /// It said that it would go, and went.
    Left,
}

/// Another node of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it last said about itself.
    pub tags: Tags,
    /// Where it gossips.
    pub gossip_address: SocketAddr,
    /// Whether gossip reaches it.
    pub presence: Presence,
    /// Since when that is so.
    pub since: Instant,
}

impl Peer {
    /// Whether gossip reaches it.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.presence == Presence::Reachable
    }
}

/// All other nodes of this cluster that are known, by id. Immutable, and cheap to clone. The node itself is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerTable {
    peers: Arc<BTreeMap<NodeId, Peer>>,
}

impl PeerTable {
    /// The peer of that id.
    #[must_use]
    pub fn get(&self, node_id: NodeId) -> Option<&Peer> {
        self.peers.get(&node_id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(node_id, peer)| (*node_id, peer))
    }

    /// Those that gossip reaches, by id.
    pub fn reachable(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.iter().filter(|(_, peer)| peer.is_reachable())
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

impl FromIterator<Peer> for PeerTable {
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> Self {
        let by_id = peers.into_iter().map(|peer| (peer.tags.node_id, peer));
        Self {
            peers: Arc::new(by_id.collect()),
        }
    }
}

/// Where MembershipActor publishes the table. Outlives its restarts, so that readers keep what was known.
#[derive(Clone, Debug, Default)]
pub struct PeerBoard {
    table: Arc<watch::Sender<PeerTable>>,
}

impl PeerBoard {
    /// With nobody known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this is the table. Wakes readers only when it differs from the last one.
    pub fn publish(&self, table: PeerTable) {
        self.table.send_if_modified(|current| {
            let differs = *current != table;
            *current = table;
            differs
        });
    }

    /// The readers' end.
    #[must_use]
    pub fn directory(&self) -> PeerDirectory {
        PeerDirectory {
            table: Arc::clone(&self.table),
        }
    }
}

/// The table for readers: replicators, the router, whoever decides about membership. Cheap to clone; outlives restarts of
/// MembershipActor, and stays empty on a node that does not gossip.
#[derive(Clone, Debug)]
pub struct PeerDirectory {
    table: Arc<watch::Sender<PeerTable>>,
}

impl PeerDirectory {
    /// The table as it is now.
    #[must_use]
    pub fn table(&self) -> PeerTable {
        self.table.borrow().clone()
    }

    /// Where clients and peers reach that node, by its own account; reachable or not.
    #[must_use]
    pub fn rpc_address_of(&self, node_id: NodeId) -> Option<String> {
        let table = self.table.borrow();
        table.get(node_id).and_then(|peer| peer.tags.rpc_address.clone())
    }

    /// What that node is called, by its own account.
    #[must_use]
    pub fn name_of(&self, node_id: NodeId) -> Option<String> {
        let table = self.table.borrow();
        table.get(node_id).map(|peer| peer.tags.node_name.clone())
    }

    /// The table and every later one. Never closes, for as long as a directory is there.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<PeerTable> {
        self.table.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{actors::membership::Standing, clock};

    fn peer(node_id: u64, presence: Presence) -> Peer {
        Peer {
            tags: Tags {
                node_id: NodeId(node_id),
                node_name: format!("node-{node_id}"),
                cluster_name: "annals".to_owned(),
                cluster_id: None,
                rpc_address: Some(format!("127.0.0.1:{node_id}")),
                standing: Standing::Member,
                has_data: false,
                program_version: "0.1.0".to_owned(),
            },
            gossip_address: SocketAddr::from(([127, 0, 0, 1], 8401)),
            presence,
            since: clock::now(),
        }
    }

    #[test]
    fn readers_see_what_is_published_and_are_woken_by_differences_alone() {
        let board = PeerBoard::new();
        let directory = board.directory();
        let mut subscriber = directory.subscribe();
        assert!(directory.table().is_empty());
        let table: PeerTable = [peer(1, Presence::Reachable), peer(2, Presence::Unreachable)]
            .into_iter()
            .collect();
        board.publish(table.clone());
        assert!(subscriber.has_changed().unwrap());
        assert_eq!(*subscriber.borrow_and_update(), table);
        board.publish(table.iter().map(|(_, peer)| peer.clone()).collect());
        assert!(!subscriber.has_changed().unwrap());
        let reachable: Vec<NodeId> = directory
            .table()
            .reachable()
            .map(|(node_id, _)| node_id)
            .collect();
        assert_eq!(reachable, [NodeId(1)]);
    }

    #[test]
    fn an_address_is_known_whether_the_peer_is_reachable_or_not() {
        let board = PeerBoard::new();
        board.publish([peer(2, Presence::Unreachable)].into_iter().collect());
        let directory = board.directory();
        assert_eq!(
            directory.rpc_address_of(NodeId(2)).as_deref(),
            Some("127.0.0.1:2")
        );
        assert_eq!(directory.rpc_address_of(NodeId(3)), None);
    }

    #[test]
    fn a_subscriber_waits_on_even_when_nobody_publishes_any_more() {
        let directory = PeerBoard::new().directory();
        assert!(!directory.subscribe().has_changed().unwrap());
    }
}
