//! Links follow gossip: whoever waits after a failure tries at once where a peer is somewhere else, or there again.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use super::Replicators;
use crate::{
    actors::membership::{PeerDirectory, PeerTable},
    types::NodeId,
};

/// Where a peer is, and since when gossip reaches it.
type Whereabouts = (String, SocketAddr, Instant);

/// Nudges the link to each peer of which `directory` has such news. Ends when nobody publishes any more, which nodes never do. Cancel:
/// safe.
pub async fn follow_moves(directory: PeerDirectory, links: Replicators) {
    let mut tables = directory.subscribe();
    drop(directory);
    let mut known = BTreeMap::new();
    loop {
        let now = whereabouts(&tables.borrow_and_update());
        for (node, place) in &now {
            if known.get(node) != Some(place) {
                links.nudge(*node);
            }
        }
        known = now;
        if tables.changed().await.is_err() {
            return;
        }
    }
}

fn whereabouts(table: &PeerTable) -> BTreeMap<NodeId, Whereabouts> {
    let places = table.reachable().filter_map(|(node, peer)| {
        let address = peer.tags.rpc_address.clone()?;
        Some((node, (address, peer.gossip_address, peer.since)))
    });
    places.collect()
}
