//! Nodes that do not believe each other: what the one that calls finds out.

use std::sync::Arc;

use crate::support::{
    cluster::Cluster,
    node::{Place, until},
    tls::{CLUSTER, Credentials},
};

/// Nodes 0 and 1 of one authority, and node 2 as it is given; what node 0 says of the link to node 2.
async fn problem_with(third: impl FnOnce(&Arc<Credentials>) -> Place) -> (Cluster, String) {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let place = || Place::real().secured(&credentials);
    let mut cluster = Cluster::new(vec![place(), place(), third(&credentials)], 3, |_| ());
    cluster.begin_all().await;
    until("node 0 to find node 2 out", async || problem(&cluster).is_some()).await;
    let found = problem(&cluster).unwrap();
    (cluster, found)
}

fn problem(cluster: &Cluster) -> Option<String> {
    let links = cluster.node(0).refs.links.status();
    let link = links.into_iter().find(|(node, ..)| *node == cluster.id(2));
    let problem = link.and_then(|(_, status, _)| status.problem);
    problem.filter(|problem| problem.contains("do not trust"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_authority_is_refused_by_both_and_named() {
    let (cluster, problem) =
        problem_with(|_| Place::real().secured(&Arc::new(Credentials::of(CLUSTER)))).await;
    assert!(
        problem.contains("signed by no authority that is believed here"),
        "{problem}"
    );
    let told = cluster
        .node(0)
        .lines
        .beginning("a peer and this node do not trust each other");
    assert!(!told.is_empty());
    until("/status to say so", async || {
        let (_, status) = cluster.node(0).get("/status").await;
        status.contains("do not trust each other")
    })
    .await;
    // The two others are a majority.
    cluster.until_led_among(&[0, 1]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_the_certificate_of_another_node_is_not_believed_to_be_itself() {
    let (cluster, problem) = problem_with(|own| Place::real().secured(own).certified_as("node-9")).await;
    assert!(
        problem
            .contains("that of annals://annals/node/node-9, and it is annals://annals/node/node-2 that was"),
        "{problem}"
    );
    cluster.stop().await;
}
