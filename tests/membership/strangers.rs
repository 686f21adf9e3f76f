//! Nodes that do not belong together are pointed at each other.

use annals::{
    actors::membership::{PeerTable, Presence},
    types::{ClusterId, NodeId},
};

use crate::node::{Node, Place, all_reach_each_other, three, until};

/// Who is in a table.
fn ids(node: &Node) -> Vec<u64> {
    node.directory
        .table()
        .iter()
        .map(|(node_id, _)| node_id.get())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_of_different_names_do_not_mix_and_say_so() {
    let blue = Node::start(&Place::new(1).of_cluster("blue")).await;
    let blue_too = Node::start(&Place::new(2).of_cluster("blue").with_seed(&blue)).await;
    let red = Node::start(&Place::new(3).of_cluster("red").with_seed(&blue)).await;
    // A seed of each other: whoever joins whom, and through whom.
    let red_too = Place::new(4)
        .of_cluster("red")
        .with_seed(&red)
        .with_seed(&blue_too);
    let red_too = Node::start(&red_too).await;
    for (node, other) in [
        (&blue, "red"),
        (&blue_too, "red"),
        (&red, "blue"),
        (&red_too, "blue"),
    ] {
        let line = node.says("a node of another cluster is ignored").await;
        assert!(line.contains(&format!("its_cluster={other}")), "{line}");
    }
    all_reach_each_other(&[&blue, &blue_too]).await;
    all_reach_each_other(&[&red, &red_too]).await;
    assert_eq!((ids(&blue), ids(&blue_too)), (vec![2], vec![1]));
    assert_eq!((ids(&red), ids(&red_too)), (vec![4], vec![3]));
    // Once a minute for each stranger, whatever is heard of it.
    assert!(red.lines.beginning("a node of another cluster is ignored").len() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_of_one_name_part_when_their_ids_are_known() {
    let [first, second, third] = three().await;
    first.own.set_cluster_id(ClusterId(1)).unwrap();
    second.own.set_cluster_id(ClusterId(1)).unwrap();
    third.own.set_cluster_id(ClusterId(2)).unwrap();
    let without = |number| move |table: &PeerTable| table.get(NodeId(number)).is_none();
    first.sees("no node-3", without(3)).await;
    second.sees("no node-3", without(3)).await;
    third.sees("no node-1", without(1)).await;
    third.sees("no node-2", without(2)).await;
    let line = first.says("a node of another cluster is ignored").await;
    for id in [ClusterId(1), ClusterId(2)] {
        assert!(line.contains(&id.to_string()), "{line}");
    }
    // The two that belong together are still together.
    first.sees_peer(2, Presence::Reachable).await;
    second.sees_peer(1, Presence::Reachable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_different_keys_do_not_see_each_other() {
    let first = Node::start(&Place::new(1).with_key(1)).await;
    let second = Node::start(&Place::new(2).with_key(1).with_seed(&first)).await;
    let other_key = Node::start(&Place::new(3).with_key(2).with_seed(&first)).await;
    let no_key = Node::start(&Place::new(4).with_seed(&first)).await;
    all_reach_each_other(&[&first, &second]).await;
    for stranger in [&other_key, &no_key] {
        let line = stranger.says("cannot join").await;
        assert!(line.contains("another gossip key"), "{line}");
        // By then the first tries would have come of something.
        until("a fourth try", || {
            stranger.lines.all().iter().any(|line| line.contains("attempt=4"))
        })
        .await;
        assert_eq!(ids(stranger), [0_u64; 0]);
    }
    assert_eq!((ids(&first), ids(&second)), (vec![2], vec![1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_with_the_id_of_a_node_is_not_let_in_and_says_what_may_be_wrong() {
    let [first, second, third] = three().await;
    let address = third.address();
    let copy = Node::start(&Place::new(3).with_seed(&first)).await;
    let line = copy.says("another process uses this node's id").await;
    assert!(line.contains(&address.to_string()), "{line}");
    for other in [&first, &second] {
        let peer = other.sees_peer(3, Presence::Reachable).await;
        assert_eq!(peer.gossip_address, address);
    }
}
