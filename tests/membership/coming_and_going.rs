//! Nodes join, change, fail, move, come back and leave.

use annals::{
    actors::{
        membership::{Forget, Leave, Members, PeerTable, Presence, Standing},
        supervision::{Reply, policy::EXIT_GRACEFUL},
    },
    types::{ClusterId, NodeId},
};

use crate::node::{Node, Place, all_reach_each_other, three};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_with_one_seed_know_each_other_and_what_each_says() {
    let [first, second, third] = three().await;
    let peer = second.sees_peer(3, Presence::Reachable).await;
    assert_eq!(peer.gossip_address, third.address());
    assert_eq!(peer.tags, third.own.get());
    assert_eq!(first.directory.table().len(), 2);

    let (reply, members) = Reply::channel();
    first.actor.post(Members { reply }).unwrap();
    assert_eq!(members.await.unwrap(), first.directory.table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_learns_about_itself_is_seen_by_all_others() {
    let [first, second, third] = three().await;
    third.own.set_rpc_address("127.0.0.1:8400").unwrap();
    third.own.set_cluster_id(ClusterId(7)).unwrap();
    third.own.set_standing(Standing::Member);
    third.own.set_has_data(true);
    for other in [&first, &second] {
        let is_told = |table: &PeerTable| {
            table
                .get(NodeId(3))
                .is_some_and(|peer| peer.tags == third.own.get())
        };
        other.sees("the new tags of node-3", is_told).await;
        let address = other.directory.rpc_address_of(NodeId(3));
        assert_eq!(address.as_deref(), Some("127.0.0.1:8400"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_is_out_of_reach_and_not_gone_and_comes_back_at_another_port() {
    let [first, second, third] = three().await;
    let (place, old_address) = (third.place.clone(), third.address());
    third.kill();
    for other in [&first, &second] {
        let peer = other.sees_peer(3, Presence::Unreachable).await;
        assert_eq!(peer.tags.node_name, "node-3");
    }
    let third = Node::start(&place).await;
    assert_ne!(third.address(), old_address);
    all_reach_each_other(&[&first, &second, &third]).await;
}

/// The others believe for a while that it is alive at its old port, and refuse the new one; from the node itself all looks
/// well. It once waited there for the next exchange, by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moves_before_its_death_was_noticed_is_found_at_its_new_port() {
    let [first, second, third] = three().await;
    let place = third.place.clone();
    third.kill();
    let third = Node::start(&place).await;
    all_reach_each_other(&[&first, &second, &third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_at_its_port_says_what_it_says_now() {
    let [first, second, third] = three().await;
    third.own.set_has_data(true);
    let was_told = |table: &PeerTable| table.get(NodeId(3)).is_some_and(|peer| peer.tags.has_data);
    first.sees("data on node-3", was_told).await;
    let place = third.place.clone().at_port_of(&third);
    third.kill();
    let third = Node::start(&place).await;
    third.own.set_rpc_address("127.0.0.1:9000").unwrap();
    for other in [&first, &second] {
        let is_new = |table: &PeerTable| {
            table
                .get(NodeId(3))
                .is_some_and(|peer| peer.tags == third.own.get())
        };
        other.sees("the tags of node-3 after its restart", is_new).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_has_left_to_all_others() {
    let [first, second, third] = three().await;
    let (reply, left) = Reply::channel();
    third.actor.post(Leave { reply }).unwrap();
    left.await.unwrap();
    for other in [&first, &second] {
        let peer = other.sees_peer(3, Presence::Left).await;
        assert_eq!(peer.tags.standing, Standing::Leaving);
        assert!(other.lines.beginning("a peer is out of reach").is_empty());
    }
    // Leaving again is answered too, and its process can go on and end.
    let (reply, left) = Reply::channel();
    third.actor.post(Leave { reply }).unwrap();
    left.await.unwrap();
    assert_eq!(third.shut_down().await.exit_code, EXIT_GRACEFUL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_can_join_again() {
    let [first, second, third] = three().await;
    let place = third.place.clone();
    let (reply, left) = Reply::channel();
    third.actor.post(Leave { reply }).unwrap();
    left.await.unwrap();
    first.sees_peer(3, Presence::Left).await;
    third.shut_down().await;
    let third = Node::start(&place).await;
    all_reach_each_other(&[&first, &second, &third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_has_not_left() {
    let [first, second, third] = three().await;
    assert_eq!(third.shut_down().await.exit_code, EXIT_GRACEFUL);
    for other in [&first, &second] {
        other.sees_peer(3, Presence::Unreachable).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_comes_later_is_found() {
    let seed = Node::start(&Place::new(1)).await;
    let place = seed.place.clone().at_port_of(&seed);
    let early = Place::new(2).with_seed(&seed);
    seed.kill();
    let early = Node::start(&early).await;
    early.says("cannot join").await;
    let seed = Node::start(&place).await;
    all_reach_each_other(&[&seed, &early]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_lost_each_other_find_each_other_again() {
    let [first, second, third] = three().await;
    let places = [&first, &third].map(|node| node.place.clone().at_port_of(node));
    first.kill();
    third.kill();
    second.sees_peer(1, Presence::Unreachable).await;
    second.sees_peer(3, Presence::Unreachable).await;
    // Neither was told of the other; all goes through the one that stayed.
    let first = Node::start(&places[0].clone().without_seeds()).await;
    let third = Node::start(&places[1].clone().without_seeds()).await;
    all_reach_each_other(&[&first, &second, &third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_wiped_is_another_node_of_the_same_name() {
    let [first, second, third] = three().await;
    let mut wiped = Place::new(33).with_seed(&first).at_port_of(&third);
    wiped.name.clone_from(&third.place.name);
    third.kill();
    let wiped = Node::start(&wiped).await;
    all_reach_each_other(&[&first, &second, &wiped]).await;
    for other in [&first, &second] {
        let old = other.sees_peer(3, Presence::Unreachable).await;
        let new = other.sees_peer(33, Presence::Reachable).await;
        assert_eq!(old.tags.node_name, new.tags.node_name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_gone_can_be_forgotten_and_one_that_is_there_cannot() {
    let [first, second, third] = three().await;
    third.kill();
    first.sees_peer(3, Presence::Unreachable).await;
    first.actor.post(Forget(NodeId(3))).unwrap();
    first.actor.post(Forget(NodeId(2))).unwrap();
    let table = first
        .sees("node-3 forgotten", |table| table.get(NodeId(3)).is_none())
        .await;
    assert!(table.get(NodeId(2)).unwrap().is_reachable());
    second.sees_peer(3, Presence::Unreachable).await;
}
