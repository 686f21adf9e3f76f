//! Nodes that have no business with each other.

use annals::{
    consensus::links::{Lane, LinkError},
    types::{ClusterId, NodeId},
};
use tonic::transport::{Channel, Endpoint};

use crate::support::{CLUSTER, Node, Stage, until};

const OTHER: ClusterId = ClusterId(0xbad);

async fn refused(from: &Node, target: NodeId) -> String {
    let error = from.refusal(target).await;
    let LinkError::Refused { cause, .. } = error else {
        panic!("{error}");
    };
    cause
}

#[tokio::test]
async fn nodes_of_two_clusters_refuse_each_other_loudly_once_and_nothing_passes() {
    let stage = Stage::new();
    let (one, other) = (stage.node(1).await, stage.node_of(2, OTHER).await);
    for (from, to, mine, theirs) in [(&one, &other, CLUSTER, OTHER), (&other, &one, OTHER, CLUSTER)] {
        let cause = refused(from, to.id).await;
        for named in [mine.to_string(), theirs.to_string()] {
            assert!(cause.contains(&named), "{cause}");
        }
        // Tried again and again, told once on each side.
        let mut link = from.replicators.watch(to.id).unwrap();
        link.wait_for(|link| link.failures >= 4).await.unwrap();
        assert_eq!(from.lines.beginning("a peer refuses this node").len(), 1);
        let told = to.lines.beginning("refused a peer");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(&mine.to_string()) && told[0].contains(&theirs.to_string()));
        assert!(to.fake.is_quiet());
    }
}

#[tokio::test]
async fn a_node_at_the_address_of_another_refuses_and_names_both() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    stage.move_to(3, two.rpc.to_string());
    let cause = refused(&one, NodeId(3)).await;
    assert!(cause.contains("this is node 2"), "{cause}");
    assert!(cause.contains("means node 3"), "{cause}");
    assert!(two.fake.is_quiet());
    let mut link = one.replicators.watch(NodeId(3)).unwrap();
    link.wait_for(|link| link.failures >= 3).await.unwrap();
    assert_eq!(
        one.replicators.silent_for(NodeId(3)),
        None,
        "what node 2 says is no word of node 3"
    );
    // Once the address is right it goes on.
    let three = stage.node(3).await;
    one.until_connected(three.id).await;
}

#[tokio::test]
async fn every_call_is_checked_and_not_the_greeting_alone() {
    // Somebody who skips the greeting, and says nothing about himself.
    let stage = Stage::new();
    let node = stage.node(1).await;
    let channel = peer_like(&node).await;
    let mut client = annals::proto::peer::peer_service_client::PeerServiceClient::new(channel);
    let request = || annals::proto::peer::VoteRequest {
        vote: Some(annals::proto::peer::Vote {
            term: 1,
            node_id: 1,
            committed: false,
        }),
        ..Default::default()
    };
    let status = client.vote(request()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
    let mut half = tonic::Request::new(request());
    for (name, value) in [
        ("annals-cluster-id", CLUSTER.to_string()),
        ("annals-from-node", "2".to_owned()),
        ("annals-from-incarnation", "1".to_owned()),
        ("annals-to-node", "7".to_owned()),
    ] {
        half.metadata_mut().insert(name, value.parse().unwrap());
    }
    let status = client.vote(half).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("means node 7"), "{status}");
    assert!(node.fake.is_quiet());
}

#[tokio::test]
async fn a_link_that_was_refused_opens_when_the_cause_is_gone() {
    let stage = Stage::new();
    let (one, stranger) = (stage.node(1).await, stage.node_of(2, OTHER).await);
    refused(&one, stranger.id).await;
    stranger.stop().await;
    let two = stage.node(2).await;
    until("a connection", async || {
        one.links().channel(two.id, Lane::Bulk).await.is_ok()
    })
    .await;
}

/// A connection that says the peers' byte, by other code than the replicators'.
async fn peer_like(node: &Node) -> Channel {
    let rpc = node.rpc;
    let connector = tower::service_fn(move |_| async move {
        let mut stream = tokio::net::TcpStream::connect(rpc).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[1]).await?;
        Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
    });
    Endpoint::from_static("http://peer")
        .connect_with_connector(connector)
        .await
        .unwrap()
}
