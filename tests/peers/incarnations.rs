//! Two processes of one node: somebody has copied a data directory.

use annals::consensus::links::LinkError;

use crate::support::{CLUSTER, Node, Stage, until};

/// Another process of the node, at another address.
async fn copy_of(stage: &Stage, node: &Node) -> Node {
    Node::start(stage, node.id, CLUSTER, |_| ()).await
}

#[tokio::test]
async fn of_two_processes_of_a_node_peers_know_the_one_that_is_connected_and_the_other_takes_no_part() {
    // Each would have voted with what it knew: a vote twice in one term.
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    one.until_connected(two.id).await;
    two.until_connected(one.id).await;
    let copy = copy_of(&stage, &two).await;
    let error = copy.refusal(one.id).await;
    let LinkError::Contested { cause, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        cause.contains(&format!("connected at {}", two.rpc)),
        "both are named: {cause}"
    );
    assert!(cause.contains("the one at 127.0.0.1:"), "{cause}");
    // Somebody who has met neither of them finds the copy, which answers nothing and asks nothing.
    stage.move_to(2, copy.rpc.to_string());
    let three = stage.node(3).await;
    let error = three.refusal(two.id).await;
    assert!(
        error.to_string().contains("peers take another process"),
        "{error}"
    );
    let error = copy.refusal(three.id).await;
    assert!(matches!(error, LinkError::Contested { .. }), "{error}");
    assert!(copy.fake.is_quiet() && three.fake.is_quiet());
    // The one is told of once, whichever of its connections it tried.
    let mut link = copy.replicators.watch(one.id).unwrap();
    link.wait_for(|link| link.failures >= 4).await.unwrap();
    let told = || one.lines.beginning("refused a peer").len();
    until("a loud word", async || told() > 0).await;
    link.wait_for(|link| link.failures >= 8).await.unwrap();
    assert_eq!(told(), 1);
    assert!(one.replicators.is_connected(two.id));
    // When the other one ends it is the node.
    two.stop().await;
    copy.until_connected(one.id).await;
    copy.until_connected(three.id).await;
    one.until_connected(copy.id).await;
}

#[tokio::test]
async fn a_peer_that_is_found_at_the_address_of_a_second_process_of_it_is_not_taken_for_the_first() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.until_connected(one.id).await;
    let copy = copy_of(&stage, &two).await;
    stage.move_to(2, copy.rpc.to_string());
    let error = one.refusal(two.id).await;
    assert!(error.to_string().contains("another process is node 2"), "{error}");
    assert!(copy.fake.is_quiet());
}

#[tokio::test]
async fn a_process_that_is_refused_for_another_one_says_so_within_seconds() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.until_connected(one.id).await;
    let copy = copy_of(&stage, &two).await;
    drop(copy.refusal(one.id).await);
    until("a loud word", async || {
        let lines = copy.lines.beginning("another process uses this node's id");
        lines
            .iter()
            .any(|line| line.contains("was its data directory copied?"))
    })
    .await;
    assert!(two.lines.beginning("another process").is_empty());
}

#[tokio::test]
async fn a_node_that_is_started_again_gets_in_at_once_wherever_it_listens() {
    let stage = Stage::new();
    let (one, mut two) = (stage.node(1).await, stage.node(2).await);
    for _ in 0..5 {
        one.until_connected(two.id).await;
        two.until_connected(one.id).await;
        two.stop().await;
        two = stage.node(2).await;
    }
    one.until_connected(two.id).await;
    two.until_connected(one.id).await;
    assert!(two.lines.beginning("another process").is_empty());
    let refused = one.lines.beginning("refused a peer");
    assert!(refused.is_empty(), "{refused:?}");
}
