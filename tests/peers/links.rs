//! Connections that come and go.

use std::time::Duration;

use annals::{
    actors::{
        membership::{Peer, PeerBoard, PeerTable, Presence, Standing, Tags},
        replicator::{faults::Cut, follow_moves},
        supervision::{Part, Sabotage},
    },
    consensus::{
        links::{Lane, LinkError},
        messages::AppendRequest,
        network::PeerNetwork,
    },
    types::NodeId,
};
use futures::StreamExt;
use openraft::{RaftNetworkV2, error::RPCError, network::RPCOption};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{Event, Node, Stage, id, option, request, until, within};

/// Whether a request gets through and is answered.
async fn answered(network: &mut PeerNetwork) -> bool {
    let asked = Box::pin(network.append_entries(request(1), option()));
    within("an answer or none", asked).await.is_ok()
}

async fn until_answered(from: &Node, to: &Node) {
    let network = from.network(to, Lane::Control);
    until("an answer", async || answered(&mut network.clone()).await).await;
}

#[tokio::test]
async fn a_peer_that_comes_back_at_another_port_is_found() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    until_answered(&one, &two).await;
    let old = two.rpc;
    two.stop().await;
    one.until_disconnected(NodeId(2)).await;
    let two = stage.node(2).await;
    assert_ne!(two.rpc, old);
    until_answered(&one, &two).await;
    let (_, status, silent_for) = one.replicators.status().remove(0);
    assert_eq!(status.address, Some(two.rpc.to_string()));
    assert!(silent_for.is_some());
}

/// A stage whose links rest for two hours after a failure.
fn patient(stage: &Stage) -> Stage {
    Stage {
        rest: (Duration::from_secs(7200), Duration::from_secs(7200)),
        ..stage.clone()
    }
}

/// What gossip says of node 2.
fn at(rpc_address: String) -> PeerTable {
    let tags = Tags {
        node_id: NodeId(2),
        node_name: "node-2".to_owned(),
        cluster_name: "annals".to_owned(),
        cluster_id: None,
        rpc_address: Some(rpc_address),
        standing: Standing::Member,
        has_data: true,
        program_version: "0.1.0".to_owned(),
    };
    let peer = Peer {
        tags,
        gossip_address: ([127, 0, 0, 1], 1).into(),
        presence: Presence::Reachable,
        since: annals::clock::now(),
    };
    [peer].into_iter().collect()
}

/// The link waited for the end of its rest, which it took for failures at the old address.
#[tokio::test]
async fn a_peer_that_gossip_finds_elsewhere_is_not_left_to_rest() {
    let stage = Stage::new();
    let (one, two) = (patient(&stage).node(1).await, stage.node(2).await);
    let board = PeerBoard::new();
    board.publish(at(two.rpc.to_string()));
    let moves = tokio::spawn(follow_moves(board.directory(), one.replicators.clone()));
    until_answered(&one, &two).await;
    two.stop().await;
    one.until_disconnected(NodeId(2)).await;
    let status = one.replicators.watch(NodeId(2)).unwrap();
    until("a failure", async || status.borrow().failures > 0).await;
    let two = stage.node(2).await;
    board.publish(at(two.rpc.to_string()));
    until_answered(&one, &two).await;
    drop(board);
    within("the end of who follows", moves).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_moves_while_it_is_tried_at_its_old_address_is_not_left_to_rest() {
    let stage = Stage::new();
    let one = patient(&stage).node(1).await;
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    stage.move_to(2, silent.local_addr().unwrap().to_string());
    let tried = tokio::spawn({
        let mut network = one.networks().network(NodeId(2), Lane::Control);
        async move { answered(&mut network).await }
    });
    let _held = within("a try", silent.accept()).await.unwrap();
    let two = stage.node(2).await;
    until_answered(&one, &two).await;
    tried.abort();
}

#[tokio::test]
async fn a_peer_whose_address_nobody_knows_is_found_when_somebody_does() {
    let stage = Stage::new();
    let one = stage.node(1).await;
    assert_eq!(
        one.refusal(NodeId(2)).await,
        LinkError::NoAddress { target: NodeId(2) }
    );
    let two = stage.node(2).await;
    until_answered(&one, &two).await;
}

#[tokio::test]
async fn a_peer_that_greets_is_not_left_to_rest() {
    // Node 2 gave up on node 1 for an hour; when node 1 calls, it knows better.
    let stage = Stage::new();
    let one = stage.node(1).await;
    let address = stage.addresses.lock().unwrap().remove(&NodeId(1)).unwrap();
    let two = patient(&stage).node(2).await;
    two.refusal(NodeId(1)).await;
    let status = two.replicators.watch(NodeId(1)).unwrap();
    assert!(status.borrow().failures > 0);
    stage.move_to(1, address);
    until_answered(&one, &two).await;
    two.until_connected(NodeId(1)).await;
}

#[tokio::test]
async fn a_link_that_fails_refuses_at_once_and_heals() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    until_answered(&one, &two).await;
    until_answered(&two, &one).await;
    stage.faults.cut(one.id, two.id, Cut::Fail);
    one.until_disconnected(two.id).await;
    assert!(!answered(&mut one.network(&two, Lane::Control)).await);
    assert!(
        answered(&mut two.network(&one, Lane::Control)).await,
        "the other direction is whole"
    );
    stage.faults.heal(one.id, two.id);
    until_answered(&one, &two).await;
}

#[tokio::test]
async fn a_link_that_hangs_answers_nothing_and_is_given_up_after_a_while() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    one.until_connected(two.id).await;
    stage.faults.part(one.id, two.id, Cut::Hang);
    let soon = RPCOption::new(Duration::from_millis(400));
    let error = one
        .network(&two, Lane::Control)
        .append_entries(request(1), soon)
        .await
        .unwrap_err();
    assert!(matches!(error, RPCError::Timeout(_)), "{error:?}");
    assert!(two.fake.is_quiet());
    one.until_disconnected(two.id).await;
    stage.faults.heal_all();
    until_answered(&one, &two).await;
    assert_eq!(two.fake.next().await, Event::Alone(1));
}

#[tokio::test]
async fn what_hangs_for_a_moment_only_arrives_late() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let (feed, requests) = mpsc::unbounded_channel::<AppendRequest>();
    let mut network = one.network(&two, Lane::Appends);
    let requests = UnboundedReceiverStream::new(requests);
    let mut results = within("the stream", network.stream_append(requests, option()))
        .await
        .unwrap();
    stage.faults.cut(one.id, two.id, Cut::Hang);
    feed.send(request(1)).unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(300), results.next()).await;
    assert!(silence.is_err());
    assert!(two.fake.is_quiet());
    stage.faults.heal(one.id, two.id);
    let result = within("a result", results.next()).await.unwrap().unwrap();
    assert_eq!(result, Ok(Some(id(1))));
}

#[tokio::test]
async fn a_replicator_that_panics_comes_back_and_the_others_notice_nothing() {
    let stage = Stage::new();
    let (one, two, three) = (stage.node(1).await, stage.node(2).await, stage.node(3).await);
    one.until_connected(two.id).await;
    let (feed, requests) = mpsc::unbounded_channel::<AppendRequest>();
    let mut to_three = one.network(&three, Lane::Appends);
    let requests = UnboundedReceiverStream::new(requests);
    let mut results = within("the stream", to_three.stream_append(requests, option()))
        .await
        .unwrap();
    for index in 1..=5 {
        one.until_connected(two.id).await;
        let actor = one.replicators.actor(two.id).unwrap();
        let sabotage = Sabotage { of: Part::Replicator };
        until("somebody to strike", async || actor.post(sabotage).is_ok()).await;
        until("its death", async || {
            one.lines.beginning("a replicator died").len() as u64 == index
        })
        .await;
        feed.send(request(index)).unwrap();
        let result = within("a result", results.next()).await.unwrap().unwrap();
        assert_eq!(
            result,
            Ok(Some(id(index))),
            "the stream to the third node goes on"
        );
        until_answered(&one, &two).await;
    }
    assert_eq!(one.lines.beginning("a replicator died").len(), 5);
    assert_eq!(
        one.lines.beginning("a part failed").len(),
        0,
        "the Agent hears nothing of it"
    );
}

#[tokio::test]
async fn the_set_that_panics_comes_back_with_all_its_links() {
    let stage = Stage::new();
    let (one, two, three) = (stage.node(1).await, stage.node(2).await, stage.node(3).await);
    until_answered(&one, &two).await;
    until_answered(&one, &three).await;
    let sabotage = Sabotage {
        of: Part::Replicators,
    };
    one.set.post(sabotage).unwrap();
    until("the Agent's notice", async || {
        !one.lines.beginning("a part failed").is_empty()
    })
    .await;
    one.until_connected(two.id).await;
    one.until_connected(three.id).await;
    until_answered(&one, &two).await;
    until_answered(&one, &three).await;
}

#[tokio::test]
async fn links_to_nodes_that_are_peers_no_more_are_closed() {
    let stage = Stage::new();
    let (one, two, three) = (stage.node(1).await, stage.node(2).await, stage.node(3).await);
    one.replicators.keep([two.id, three.id]);
    one.until_connected(two.id).await;
    one.until_connected(three.id).await;
    let channel = one.links().channel(three.id, Lane::Bulk).await.unwrap();
    let (feed, requests) = mpsc::unbounded_channel::<AppendRequest>();
    let mut network = one.network(&three, Lane::Appends);
    let requests = UnboundedReceiverStream::new(requests);
    let mut results = within("the stream", network.stream_append(requests, option()))
        .await
        .unwrap();
    feed.send(request(1)).unwrap();
    assert!(within("a result", results.next()).await.unwrap().is_ok());
    one.replicators.keep([two.id]);
    assert!(
        within("the end of the stream", results.next())
            .await
            .unwrap()
            .is_err()
    );
    until("the end of the connection", async || !channel.is_open()).await;
    let linked: Vec<NodeId> = one.replicators.status().iter().map(|link| link.0).collect();
    assert_eq!(linked, [two.id]);
    until_answered(&one, &two).await;
}
