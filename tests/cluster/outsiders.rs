//! Nodes that gossip and do not belong.

#[path = "../membership/node.rs"]
#[expect(dead_code, reason = "tests of gossip alone use the rest of it")]
mod gossiping;

use annals::{
    proto::annals::v1::{GetClusterRequest, Role, cluster_service_client::ClusterServiceClient},
    types::{ClusterId, NodeId},
};

use crate::support::{cluster::Cluster, log_lines, node::until};

/// A node that there is in no log.
const OUTSIDER: NodeId = NodeId(77);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outsider_is_shown_until_it_turns_out_to_be_of_another_cluster() {
    let cluster = Cluster::found(1).await;
    let seed = cluster.node(0).refs.gossip.as_ref().unwrap().get().unwrap();
    let mut place = gossiping::Place::new(OUTSIDER.get());
    place.cluster.seeds.push(seed.to_string());
    let outsider = gossiping::Node::start(&place).await;
    let address = format!("http://{}", cluster.node(0).addresses.rpc);
    let client = ClusterServiceClient::connect(address).await.unwrap();
    let shown = async || {
        let mut client = client.clone();
        let cluster = client.get_cluster(GetClusterRequest::default()).await.unwrap();
        let mut servers = cluster.into_inner().servers.into_iter();
        servers.any(|server| server.node_id == OUTSIDER.get() && server.role() == Role::Outsider)
    };
    until("it to be shown", &shown).await;
    // It comes to the cluster that it is of, which is another one of the same name; and it gossips on.
    outsider.own.set_cluster_id(ClusterId(5)).unwrap();
    until("it to be shown no more", async || !shown().await).await;
    let told = || {
        let lines = &cluster.node(0).lines;
        lines.beginning("a node of another cluster is ignored")
    };
    until("an operator to be told", async || !told().is_empty()).await;
    assert!(told()[0].contains(&OUTSIDER.to_string()), "{:?}", told());
    assert!(!shown().await);
    drop(outsider);
    cluster.stop().await;
}
