//! The keys of gossip are changed while nodes gossip.

use annals::actors::membership::{PeerTable, Presence};

use crate::node::{Node, Place, all_reach_each_other, keys, three_of, until};

/// The steps of docs/operations.md, one node after the other: in between, nodes of two steps must understand each other.
const STEPS: [&[u8]; 3] = [&[1, 2], &[2, 1], &[2]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_changed_one_node_after_the_other_and_nobody_is_lost() {
    let nodes = three_of(|place| place.with_key(1)).await;
    for (step, wanted) in STEPS.iter().enumerate() {
        for (at, node) in nodes.iter().enumerate() {
            assert_eq!(node.place.cluster.gossip_keys.set(keys(wanted)), Ok(true));
            // News come through from the one that has changed to those that have not, and to those that have.
            let address = format!("127.0.0.1:{}", 1000 + 10 * step + at);
            node.own.set_rpc_address(&address).unwrap();
            for other in nodes
                .iter()
                .filter(|other| other.place.node_id != node.place.node_id)
            {
                let is_told = |table: &PeerTable| {
                    let peer = table.get(node.place.node_id).unwrap();
                    peer.tags.rpc_address.as_deref() == Some(address.as_str())
                };
                other.sees("the address that was set last", is_told).await;
            }
        }
    }
    let [first, second, third] = &nodes;
    all_reach_each_other(&[first, second, third]).await;

    let old = Node::start(&Place::new(4).with_key(1).with_seed(first)).await;
    let new = Node::start(&Place::new(5).with_key(2).with_seed(first)).await;
    all_reach_each_other(&[first, second, third, &new]).await;
    until("a third try with the old key", || {
        old.lines.all().iter().any(|line| line.contains("attempt=3"))
    })
    .await;
    assert!(
        old.directory.table().iter().next().is_none(),
        "the old key is worth nothing"
    );
    first.sees_peer(5, Presence::Reachable).await;
}
