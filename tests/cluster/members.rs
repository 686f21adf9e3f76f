//! Nodes join, leave and move.

use annals::actors::{membership::Leave, supervision::Reply};

use crate::support::{
    cluster::{AT_WORK, Cluster, Port, places},
    node::{in_time, until},
};

/// Waits until each node that runs has these voters, and no learners, in a committed membership.
async fn until_voters(cluster: &Cluster, numbers: &[usize]) {
    let wanted: Vec<_> = numbers.iter().map(|number| cluster.id(*number)).collect();
    until(&format!("{numbers:?} to be the voters"), async || {
        numbers.iter().all(|number| {
            let state = cluster.node(*number).refs.cluster.state();
            let voters: Vec<_> = state.members.iter().filter(|(_, member)| member.voter).collect();
            state.settled
                && !state.joint
                && state.members.len() == wanted.len()
                && voters.len() == wanted.len()
                && wanted.iter().all(|id| state.members.contains_key(id))
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_grows_to_three_and_back_to_one_under_load() {
    let mut cluster = Cluster::found_at(places(3), 1).await;
    let load = cluster.load().await;
    for number in [1, 2] {
        cluster.start(number, Port::Other).await;
    }
    until_voters(&cluster, &[0, 1, 2]).await;
    load.progresses(AT_WORK).await;
    for left in [[0, 1].as_slice(), &[0]] {
        let gone = left.len();
        leave(&cluster, gone).await;
        until_voters(&cluster, left).await;
        cluster.nodes.leaves(&format!("node-{gone}"));
        cluster.shut_down(gone).await;
        load.progresses(AT_WORK).await;
    }
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 1);
    cluster.stop().await;
}

/// For good.
async fn leave(cluster: &Cluster, gone: usize) {
    let (reply, left) = Reply::channel();
    assert!(cluster.node(gone).refs.membership.post(Leave { reply }).is_ok());
    in_time("the node to leave", left).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_is_found_and_catches_up() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let follower = cluster.follower(cluster.until_led().await);
    cluster.kill(follower).await;
    load.progresses(AT_WORK).await;
    cluster.start(follower, Port::Other).await;
    let address = cluster.node(follower).addresses.rpc.to_string();
    let id = cluster.id(follower);
    until("all to know the new address", async || {
        cluster.running().into_iter().all(|number| {
            let state = cluster.node(number).refs.cluster.state();
            state.settled && state.members[&id].member.address == address
        })
    })
    .await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
