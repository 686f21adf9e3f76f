//! A data directory that was copied: two processes are one node.

use crate::support::{
    cluster::{AT_WORK, Cluster, Port},
    node::until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_node_takes_no_part_while_the_node_runs_and_is_the_node_when_it_is_gone() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    cluster.kill(follower).await;
    let place = cluster.place(follower).copy();
    cluster.start(follower, Port::Other).await;
    load.progresses(AT_WORK).await;
    let copy = cluster.begin_at(&place).await;
    until("the copy to say what is wrong", async || {
        !copy
            .lines
            .beginning("another process uses this node's id")
            .is_empty()
    })
    .await;
    let stood = copy.refs.cluster.state();
    // A majority is the leader and the node itself: nothing would be committed if the copy had its place.
    let other = (0..3)
        .find(|number| ![leader, follower].contains(number))
        .unwrap();
    cluster.kill(other).await;
    load.progresses(AT_WORK).await;
    assert_eq!(copy.refs.cluster.state().last, stood.last, "it was sent nothing");
    cluster.start(other, Port::Other).await;
    // Now it is what a node is that was moved.
    cluster.kill(follower).await;
    let reached = cluster.high_watermark(leader);
    until("the copy to catch up", async || {
        copy.refs.read_path.high_watermark().get() > reached
    })
    .await;
    load.progresses(AT_WORK).await;
    let ending = copy.shut_down().await;
    assert_eq!(ending.exit_code, 0, "{ending:?}");
    cluster.judge(load).await;
    cluster.stop().await;
}
