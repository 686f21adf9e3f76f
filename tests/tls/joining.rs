//! Nodes that hold the key of gossip, and whom nobody believes.
//!
//! The bug: gossip alone made a node a learner. One without a good certificate got nothing, and stayed a member whom nobody could reach
//! until somebody removed it.

use std::sync::Arc;

use annals::proto::annals::v1::{
    AddServerRequest, GetClusterRequest, NodeRef, Role, Server, cluster_service_client::ClusterServiceClient,
};
use tonic::transport::Channel;

use crate::support::{
    cluster::{Cluster, Port, patient},
    node::{Place, in_time, until},
    tls::{CLUSTER, Credentials},
};

/// Two nodes that are one cluster, and a third that has begun and gossips with them.
async fn with_a_third(third: impl FnOnce() -> Place) -> (Cluster, Arc<Credentials>) {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let place = || Place::real().secured(&credentials);
    let mut cluster = Cluster::found_at_with(vec![place(), place(), third()], 2, patient).await;
    cluster.begin(2, Port::Other).await;
    (cluster, credentials)
}

/// The third node, as the cluster shows it.
async fn shown(mut client: ClusterServiceClient<Channel>, cluster: &Cluster) -> Option<Server> {
    let view = client.get_cluster(GetClusterRequest::default()).await.unwrap();
    let mut servers = view.into_inner().servers.into_iter();
    servers.find(|server| server.node_id == cluster.id(2).get())
}

/// Waits until both sides say why the third node is not taken in, and looks whether it is.
async fn until_told(cluster: &Cluster, to_the_leader: &str, to_itself: &str) {
    let leader = cluster.until_led_among(&[0, 1]).await;
    let follower = 1 - leader;
    until("the leader to tell of it", async || {
        let told = cluster
            .node(leader)
            .lines
            .beginning("a node that gossips is not taken in");
        told.iter()
            .any(|line| line.contains("name=node-2") && line.contains(to_the_leader))
    })
    .await;
    // Another node shows what the leader knows.
    until("the cluster to show it", async || {
        let shown = shown(cluster.node(follower).cluster_client(), cluster).await;
        shown.is_some_and(|server| server.role() == Role::Outsider && server.problem.contains(to_the_leader))
    })
    .await;
    until("the node to know itself", async || {
        let (_, status) = cluster.node(2).get("/status").await;
        status.contains("whose leader takes it in once it has a connection to") && status.contains(to_itself)
    })
    .await;
    let told = cluster
        .node(2)
        .lines
        .beginning("this node is not taken into its cluster");
    assert!(told.iter().any(|line| line.contains(to_itself)), "{told:?}");
    for number in [0, 1] {
        let state = cluster.node(number).refs.cluster.state();
        assert!(!state.members.contains_key(&cluster.id(2)), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_tls_is_no_member_until_it_has_a_certificate() {
    let (mut cluster, credentials) = with_a_third(Place::real).await;
    until_told(
        &cluster,
        "the other side does not speak TLS",
        "it speaks TLS, and this node has no [tls]",
    )
    .await;
    // Nor does an operator's command make it one.
    let leader = cluster.until_led_among(&[0, 1]).await;
    let mut client = cluster.node(leader).cluster_client();
    let add = AddServerRequest {
        node: Some(NodeRef {
            node_id: cluster.id(2).get(),
            name: String::new(),
        }),
        ..AddServerRequest::default()
    };
    let refused = in_time("a refusal", client.add_server(add)).await.unwrap_err();
    let why = "node-2 does not answer this node, and nobody is taken in who does not";
    assert!(refused.message().contains(why), "{refused}");
    cluster.kill(2).await;
    cluster.certify(2, &credentials);
    cluster.start(2, Port::Other).await;
    let leader = cluster.until_led().await;
    let state = cluster.node(leader).refs.cluster.state();
    assert!(state.members.contains_key(&cluster.id(2)), "{state:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_certificate_of_another_authority_is_no_member() {
    let stranger = Arc::new(Credentials::of(CLUSTER));
    let (cluster, _) = with_a_third(|| Place::real().secured(&stranger)).await;
    until_told(
        &cluster,
        "signed by no authority that is believed here",
        "it does not believe the authority that signed this side's certificate",
    )
    .await;
    cluster.stop().await;
}
