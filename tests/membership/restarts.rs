//! MembershipActor panics and is built again by its Agent.

use std::net::{TcpListener, UdpSocket};

use annals::{
    actors::{
        membership::{PeerTable, Presence, Standing},
        supervision::{Exit, Part, Sabotage, policy::EXIT_CANNOT_START},
    },
    types::NodeId,
};

use crate::node::{Node, Place, all_reach_each_other, three};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_panics_comes_back_at_its_port_and_rejoins() {
    let [first, second, third] = three().await;
    let address = third.address();
    for generation in 2..=4 {
        third.actor.post(Sabotage { of: Part::Membership }).unwrap();
        third.runs(generation).await;
        assert_eq!(third.address(), address);
        // What it says about itself meanwhile is not lost.
        let rpc_address = format!("127.0.0.1:{generation}");
        third.own.set_rpc_address(&rpc_address).unwrap();
        all_reach_each_other(&[&first, &second, &third]).await;
        for other in [&first, &second] {
            let is_told = |table: &PeerTable| {
                table.get(NodeId(3)).unwrap().tags.rpc_address.as_deref() == Some(&rpc_address)
            };
            other.sees("the address that was set last", is_told).await;
        }
    }
    let status = third.status().await;
    assert_eq!((status.restarts, status.last_exit), (3, Some(Exit::Panicked)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_stands_while_the_actor_is_built_again() {
    let [first, second, third] = three().await;
    let before = third.directory.table();
    let mut tables = third.directory.subscribe();
    third.actor.post(Sabotage { of: Part::Membership }).unwrap();
    third.runs(2).await;
    third.reaches(&[&first, &second]).await;
    let after = tables.borrow_and_update().clone();
    for (node_id, peer) in before.iter() {
        let now = after.get(node_id).unwrap();
        assert_eq!(
            (now.presence, now.since),
            (Presence::Reachable, peer.since),
            "{node_id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_actors_that_panic_at_once_find_each_other_again() {
    let nodes = three().await;
    for node in &nodes {
        node.actor.post(Sabotage { of: Part::Membership }).unwrap();
    }
    for node in &nodes {
        node.runs(2).await;
    }
    let [first, second, third] = &nodes;
    all_reach_each_other(&[first, second, third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_does_not_come_back_by_a_restart() {
    let [first, second, third] = three().await;
    third.own.set_standing(Standing::Leaving);
    let is_told = |table: &PeerTable| {
        table
            .get(NodeId(3))
            .is_some_and(|peer| peer.tags.standing == Standing::Leaving)
    };
    first.sees("node-3 about to leave", is_told).await;
    second.sees("node-3 about to leave", is_told).await;
    third.actor.post(Sabotage { of: Part::Membership }).unwrap();
    third.runs(2).await;
    for other in [&first, &second] {
        other.sees_peer(3, Presence::Left).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_is_free_when_the_node_has_stopped() {
    let node = Node::start(&Place::new(1)).await;
    let address = node.address();
    node.shut_down().await;
    UdpSocket::bind(address).unwrap();
    TcpListener::bind(address).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_another_process_has_is_named_and_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut place = Place::new(1);
    place.listen = taken.local_addr().unwrap();
    let ending = Node::begin(&place).await.ends().await;
    assert_eq!(ending.exit_code, EXIT_CANNOT_START, "{}", ending.cause);
    assert!(
        ending.cause.contains(&place.listen.to_string()),
        "{}",
        ending.cause
    );
    assert!(ending.cause.contains("in use"), "{}", ending.cause);
}
