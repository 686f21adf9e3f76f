//! `annals.v1.ClusterService`, on a node that is alone and on three.

use std::collections::BTreeSet;

use annals::proto::{
    annals::v1::{
        AddServerRequest, GetClusterRequest, GetClusterResponse, GetSupervisionTreeRequest, NodeRef,
        Presence, RemoveServerRequest, Role, Server, TransferLeaderRequest, TrimRequest, WatchClusterRequest,
    },
    log::v1::GetServersRequest,
};
use tonic::Code;

use crate::support::{Doors, code_and_reason, get, next, node, request, told, trio, within};

fn named(name: &str) -> Option<NodeRef> {
    Some(NodeRef {
        node_id: 0,
        name: name.to_owned(),
    })
}

async fn cluster_at(node: &Doors) -> GetClusterResponse {
    let request = GetClusterRequest::default();
    let answer = within(node.cluster().await.get_cluster(request)).await;
    answer.unwrap().into_inner()
}

/// What `node` shows, as soon as it is what is waited for.
async fn until(node: &Doors, holds: impl Fn(&GetClusterResponse) -> bool) -> GetClusterResponse {
    let looks = async {
        loop {
            let cluster = cluster_at(node).await;
            if holds(&cluster) {
                return cluster;
            }
        }
    };
    within(looks).await
}

fn leader(cluster: &GetClusterResponse) -> &Server {
    let mut leaders = cluster
        .servers
        .iter()
        .filter(|server| server.role() == Role::Leader);
    let leader = leaders.next().expect("there is a leader");
    assert!(leaders.next().is_none(), "there are two: {cluster:?}");
    leader
}

fn all_are_known(cluster: &GetClusterResponse) -> bool {
    let is_known = |server: &Server| {
        let level = server.lag == Some(0) && server.applied.is_some() && server.term.is_some();
        level && server.answered && server.presence() == Presence::Reachable && server.problem.is_empty()
    };
    cluster.servers.len() == 3 && cluster.servers.iter().all(is_known) && !cluster.changing
}

#[tokio::test]
async fn a_node_alone_is_a_cluster_that_cannot_be_taken_apart() {
    let node = node().await;
    let cluster = cluster_at(&node).await;
    let [only] = &cluster.servers[..] else {
        panic!("{cluster:?}")
    };
    assert_eq!(
        (only.node_id, only.role(), only.voter, only.lag),
        (node.node_id, Role::Leader, true, Some(0))
    );
    assert_eq!(only.address, node.rpc.to_string());
    assert_eq!(cluster.leader_address, only.address);
    let header = cluster.header.unwrap();
    assert_eq!(
        (header.cluster_id.as_str(), header.leader_id, header.term),
        (node.cluster_id.as_str(), node.node_id, node.term)
    );

    let mut client = node.cluster().await;
    let itself = RemoveServerRequest {
        node: named("node-0"),
        ..RemoveServerRequest::default()
    };
    let refused = client.remove_server(itself).await.unwrap_err();
    let wanted = (Code::FailedPrecondition, "CHANGE_REFUSED".to_owned());
    assert_eq!(code_and_reason(&refused), wanted);
    assert!(refused.message().contains("the only voter"), "{refused:?}");
    let nobody = RemoveServerRequest {
        node: named("node-7"),
        ..RemoveServerRequest::default()
    };
    let unknown = client.remove_server(nobody).await.unwrap_err();
    let wanted = (Code::NotFound, "UNKNOWN_NODE".to_owned());
    assert_eq!(code_and_reason(&unknown), wanted);
    let elsewhere = GetClusterRequest {
        log: "another".to_owned(),
        local: false,
    };
    let unknown = client.get_cluster(elsewhere).await.unwrap_err();
    assert_eq!(code_and_reason(&unknown).1, "UNKNOWN_LOG");
}

#[tokio::test]
async fn a_trim_is_not_above_what_is_committed() {
    let node = node().await;
    let produced = node.full().await.produce(request(&["a", "b"])).await;
    assert_eq!(produced.unwrap().into_inner().next_offset, 2);
    let mut client = node.cluster().await;
    let below = |below| TrimRequest {
        below,
        ..TrimRequest::default()
    };
    let above = client.trim(below(3)).await.unwrap_err();
    assert_eq!(code_and_reason(&above).1, "INVALID_REQUEST");
    client.trim(below(1)).await.unwrap();
    // The segment stays whole on the disk, and begins later for readers: where, is the same on all nodes. The log hears of it behind
    // the commit that is answered.
    within(async {
        while node.status().await["log"]["earliest"] != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_supervision_tree_names_every_part() {
    let node = node().await;
    let tree = node.cluster().await;
    let tree = { tree }
        .get_supervision_tree(GetSupervisionTreeRequest {})
        .await
        .unwrap()
        .into_inner();
    let parts: Vec<_> = tree
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.state.as_str(), part.generation))
        .collect();
    for part in ["replicators", "log", "raft", "gateway"] {
        assert!(
            parts.contains(&(part, "running", 1)),
            "{part} is not in {parts:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_shows_the_whole_cluster_and_the_same_leader() {
    let nodes = trio().await;
    let mut seen = BTreeSet::new();
    for node in &nodes {
        let cluster = until(node, all_are_known).await;
        let leader = leader(&cluster);
        assert_eq!(cluster.leader_address, leader.address);
        let names: Vec<_> = cluster
            .servers
            .iter()
            .map(|server| server.name.as_str())
            .collect();
        assert_eq!(names, ["node-0", "node-1", "node-2"]);
        seen.insert(leader.node_id);

        let servers = node.small().await.get_servers(GetServersRequest {}).await;
        let servers = servers.unwrap().into_inner().servers;
        let leads: Vec<_> = servers
            .iter()
            .map(|server| (server.id.as_str(), server.rpc_addr.clone(), server.is_leader))
            .collect();
        let wanted: Vec<_> = cluster
            .servers
            .iter()
            .map(|server| {
                (
                    server.name.as_str(),
                    server.address.clone(),
                    server.node_id == leader.node_id,
                )
            })
            .collect();
        assert_eq!(leads, wanted);

        let status = node.status().await;
        assert_eq!(status["cluster"]["leader_address"], leader.address);
        let own = cluster
            .servers
            .iter()
            .find(|server| server.node_id == node.node_id);
        let role = match own.unwrap().role() {
            Role::Leader => "leader",
            _ => "follower",
        };
        assert_eq!(status["cluster"]["role"], role);
    }
    assert_eq!(seen.len(), 1, "they differ about who leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_the_leaders_and_a_removed_node_serves_no_more() {
    let nodes = trio().await;
    let cluster = until(&nodes[0], all_are_known).await;
    let leads = leader(&cluster).node_id;
    let of = |is_leader: bool| {
        nodes
            .iter()
            .filter(move |node| (node.node_id == leads) == is_leader)
    };
    let (old, mut followers) = (of(true).next().unwrap(), of(false));
    let (follower, other) = (followers.next().unwrap(), followers.next().unwrap());
    let mut watch = follower.cluster().await;
    let watched = watch.watch_cluster(WatchClusterRequest::default()).await;
    let mut watched = watched.unwrap().into_inner();
    assert_eq!(next(&mut watched).await.unwrap().servers.len(), 3);

    let to = TransferLeaderRequest {
        to: Some(NodeRef {
            node_id: follower.node_id,
            name: String::new(),
        }),
        ..TransferLeaderRequest::default()
    };
    let refused = follower.cluster().await.transfer_leader(to.clone()).await;
    let (code, reason, metadata) = told(&refused.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "NOT_LEADER"));
    assert_eq!(metadata["leader_address"], old.rpc.to_string());
    assert_eq!(metadata["leader_id"], old.node_id.to_string());
    let transferred = within(old.cluster().await.transfer_leader(to)).await.unwrap();
    assert_eq!(transferred.into_inner().leader.unwrap().node_id, follower.node_id);
    // For a moment nobody leads.
    let leads = |cluster: &GetClusterResponse| {
        let leader = cluster
            .servers
            .iter()
            .find(|server| server.role() == Role::Leader);
        leader.is_some_and(|leader| leader.node_id == follower.node_id)
    };
    let sees_it = async { while !leads(&next(&mut watched).await.unwrap()) {} };
    within(sees_it).await;

    until(follower, all_are_known).await;
    let removal = RemoveServerRequest {
        node: Some(NodeRef {
            node_id: other.node_id,
            name: String::new(),
        }),
        ..RemoveServerRequest::default()
    };
    let removed = within(follower.cluster().await.remove_server(removal))
        .await
        .unwrap();
    assert_eq!(removed.into_inner().server.unwrap().node_id, other.node_id);
    // It finds that out by itself.
    let is_fenced = async { while !get(other.admin, "/readyz").await.1.contains("was removed") {} };
    within(is_fenced).await;
    let refused = other.full().await.produce(request(&["x"])).await.unwrap_err();
    assert_eq!(
        code_and_reason(&refused),
        (Code::FailedPrecondition, "REMOVED".to_owned())
    );
    let back = AddServerRequest {
        node: Some(NodeRef {
            node_id: other.node_id,
            name: String::new(),
        }),
        ..AddServerRequest::default()
    };
    let refused = follower.cluster().await.add_server(back).await.unwrap_err();
    assert!(
        ["UNKNOWN_NODE", "CHANGE_REFUSED"].contains(&code_and_reason(&refused).1.as_str()),
        "{refused:?}"
    );
    let left = until(old, |cluster| cluster.servers.len() == 2).await;
    assert!(left.servers.iter().all(|server| server.node_id != other.node_id));
}
