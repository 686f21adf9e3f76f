//! Nodes are killed while they found their cluster: it comes about all the same, and there is one.

use crate::support::{
    cluster::{Cluster, Port},
    node::until,
};

/// Kills a node as soon as it has said this, starts it again, and waits for the cluster.
async fn killed_at(number: usize, said: &str) {
    let mut cluster = Cluster::of(3);
    cluster.begin_all().await;
    let lines = cluster.node(number).lines.clone();
    until(said, async || !lines.beginning(said).is_empty()).await;
    cluster.kill(number).await;
    cluster.start(number, Port::Other).await;
    cluster.until_led().await;
    let load = cluster.load().await;
    cluster.judge(load).await;
    let id = cluster.header(0).await.unwrap().cluster_id;
    for number in [1, 2] {
        assert_eq!(cluster.header(number).await.unwrap().cluster_id, id);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_is_killed_as_soon_as_it_made_the_cluster_s_id_founds_it_in_its_next_life() {
    killed_at(0, "belongs to a cluster").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_is_killed_as_soon_as_its_log_is_open_founds_it_in_its_next_life() {
    killed_at(0, "log opened").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_is_killed_as_soon_as_the_cluster_is_founded_belongs_to_it_in_its_next_life() {
    killed_at(0, "cluster founded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_as_soon_as_it_heard_of_its_cluster_belongs_to_it_in_its_next_life() {
    killed_at(1, "belongs to a cluster").await;
}
