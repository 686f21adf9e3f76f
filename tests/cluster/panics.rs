//! Actors panic on the nodes of a cluster: each node heals without its process ending.

use annals::actors::supervision::{Part, Sabotage};

use crate::support::{
    cluster::{AT_WORK, Cluster},
    node::{TestNode, until},
};

/// A replicator is none of the Agent's children, so its restarts are told by its log alone.
const REPLICATOR_RESTARTS: &str = "a replicator died and is started again";

/// Lets the actor of `part` panic, once there is one; of a replicator, the one to `peer`.
async fn strike(cluster: &Cluster, node: &TestNode, part: Part, peer: usize) {
    let sabotage = Sabotage { of: part };
    until("somebody to strike", async || match part {
        Part::Log | Part::Segment => node.refs.log.post(sabotage).is_ok(),
        Part::Raft => node.refs.raft.post(sabotage).is_ok(),
        Part::Gateway => node.refs.gateway.post(sabotage).is_ok(),
        Part::Membership => node.refs.membership.post(sabotage).is_ok(),
        Part::Replicator => {
            let actor = node.refs.links.actor(cluster.id(peer));
            actor.is_some_and(|actor| actor.post(sabotage).is_ok())
        }
        // Nobody gives its address away, so an operator asks for it.
        Part::Replicators => node.control.restart(part).await,
    })
    .await;
}

/// How often a part of the node was built so far.
async fn generation(node: &TestNode, part: Part) -> u64 {
    match part {
        Part::Replicator => node.lines.beginning(REPLICATOR_RESTARTS).len() as u64,
        Part::Segment => node.status_of(Part::Log).await.generation,
        part => node.status_of(part).await.generation,
    }
}

/// Strikes these parts of a node at once, and waits until each is built again and the cluster at work.
async fn strike_all(cluster: &Cluster, number: usize, parts: &[Part]) {
    let node = cluster.node(number);
    let mut before = Vec::new();
    for part in parts {
        before.push((*part, generation(node, *part).await));
    }
    for part in parts {
        strike(cluster, node, *part, cluster.follower(number)).await;
    }
    for (part, generation_before) in before {
        until(&format!("the {part} to be built again"), async || {
            generation(node, part).await > generation_before
        })
        .await;
        match part {
            Part::Replicator => {}
            Part::Segment => node.until_running(Part::Log, generation_before + 1).await,
            part => node.until_running(part, generation_before + 1).await,
        }
    }
    cluster.until_led().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_that_panics_comes_back_at_the_leader_and_at_a_follower() {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    for part in [
        Part::Replicator,
        Part::Membership,
        Part::Raft,
        Part::Log,
        Part::Gateway,
    ] {
        let leader = cluster.until_led().await;
        strike_all(&cluster, leader, &[part]).await;
        load.progresses(AT_WORK).await;
        let follower = cluster.follower(cluster.until_led().await);
        strike_all(&cluster, follower, &[part]).await;
        load.progresses(AT_WORK).await;
    }
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_that_panic_at_once_come_back_at_one_node_and_at_all() {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let all = [
        Part::Gateway,
        Part::Membership,
        Part::Replicator,
        Part::Raft,
        Part::Log,
    ];
    let leader = cluster.until_led().await;
    strike_all(&cluster, leader, &all).await;
    load.progresses(AT_WORK).await;
    let nodes = [0, 1, 2].map(|number| strike_all(&cluster, number, &all));
    futures::future::join_all(nodes).await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
