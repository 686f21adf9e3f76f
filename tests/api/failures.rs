//! What callers are told when the committer is slow, away or dead.

use std::time::Duration;

use annals::proto::{
    annals::v1::{ConsumeRequest, ProduceRequest, Producer},
    log::v1,
};
use futures::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use tokio::time::interval;
use tonic::{Code, Status};

use crate::support::{code_and_reason, next, request, small_request, staged_node, within};

/// The requests of two producers in turn: each is a batch of its own.
fn in_turn(number: u64) -> ProduceRequest {
    let producer = Producer {
        id: 1 + number % 2,
        epoch: 0,
        sequence: number / 2,
    };
    ProduceRequest {
        producer: Some(producer),
        ..request(&["in turn"])
    }
}

fn assert_overloaded(refused: &Status) {
    assert_eq!(
        code_and_reason(refused),
        (Code::ResourceExhausted, "OVERLOADED".to_owned())
    );
}

#[tokio::test]
async fn a_full_mailbox_refuses_unary_requests_and_makes_streams_wait() {
    let node = staged_node().await;
    let mut client = node.full().await;
    let unblock = node.block().await;
    let requests = stream::iter((0..200).map(in_turn));
    let mut streaming = client.clone();
    let answers = tokio::spawn(async move {
        let answers = streaming.produce_stream(requests).await.unwrap().into_inner();
        answers.map(|answer| answer.unwrap()).collect::<Vec<_>>().await
    });
    // The stream fills the mailbox; a request that comes before that waits in it. One more comes now and then until one is refused,
    // and those behind it may be as well.
    let mut unary = FuturesUnordered::new();
    let mut comes = interval(Duration::from_millis(100));
    let refused = within(async {
        loop {
            tokio::select! {
                _ = comes.tick() => {
                    let mut client = client.clone();
                    unary.push(async move { client.produce(request(&["unary"])).await });
                }
                Some(answer) = unary.next() => break answer.expect_err("nothing is taken out of it"),
            }
        }
    })
    .await;
    assert_overloaded(&refused);

    drop(unblock);
    let answers = within(answers).await.unwrap();
    assert_eq!(answers.len(), 200);
    assert!(
        answers.iter().all(|answer| answer.failure.is_none()),
        "{answers:?}"
    );
    while let Some(answer) = within(unary.next()).await {
        answer.map_or_else(|refused| assert_overloaded(&refused), drop);
    }
    within(client.produce(request(&["after"]))).await.unwrap();
}

#[tokio::test]
async fn a_committer_that_dies_leaves_the_outcome_unknown() {
    let node = staged_node().await;
    node.hold(true).await;
    let mut client = node.full().await;
    let mut unary = client.clone();
    let waiting = tokio::spawn(async move { unary.produce(request(&["unary"])).await });
    node.until_held(1).await;
    let mut answers = client
        .produce_stream(stream::iter([request(&["streamed"])]))
        .await
        .unwrap()
        .into_inner();
    node.until_held(2).await;
    node.lose().await;
    let status = within(waiting).await.unwrap().unwrap_err();
    assert_eq!(
        code_and_reason(&status),
        (Code::Unknown, "OUTCOME_UNKNOWN".to_owned())
    );
    let failure = next(&mut answers).await.unwrap().failure.unwrap();
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::Unknown.into(), "OUTCOME_UNKNOWN")
    );
    assert!(within(answers.next()).await.is_none());
}

#[tokio::test]
async fn a_committer_that_is_away_is_said_to_be_back_soon() {
    let node = staged_node().await;
    let mut client = node.full().await;
    client.produce(request(&["before"])).await.unwrap();
    node.unplug().await;
    let not_ready = (Code::Unavailable, "LOG_NOT_READY".to_owned());
    let produce = client.produce(request(&["a"])).await.unwrap_err();
    assert_eq!(code_and_reason(&produce), not_ready);
    let consume = client.consume(ConsumeRequest::default()).await.unwrap_err();
    assert_eq!(
        code_and_reason(&consume),
        not_ready,
        "a linearizable read needs it too"
    );
    let requests = stream::iter([request(&["b"]), request(&["c"])]);
    let answers = client.produce_stream(requests).await.unwrap().into_inner();
    let refused = within(
        answers
            .map(|answer| answer.unwrap().failure.unwrap().reason)
            .collect::<Vec<_>>(),
    )
    .await;
    assert_eq!(refused, ["LOG_NOT_READY"; 2]);
    let mut small = node.small().await;
    let requests = stream::iter([small_request("d"), small_request("e")]);
    let mut answers = small.produce_stream(requests).await.unwrap().into_inner();
    assert_eq!(code_and_reason(&next(&mut answers).await.unwrap_err()), not_ready);
    // Old data may be read all the same.
    let mut records = small
        .consume_stream(v1::ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next(&mut records).await.unwrap().record.unwrap().value, "before");
}
