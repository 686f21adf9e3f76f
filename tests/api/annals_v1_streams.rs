//! `annals.v1.LogService`: the streams.

use annals::proto::annals::v1::{ConsumeRequest, ProduceRequest, ProduceResponse, start::Position};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::support::{
    answered_at_the_deadline, from, next, node, records, request, staged_node, stamped, within,
};

/// All answers to these requests.
async fn produce_all(
    client: &mut annals::proto::annals::v1::log_service_client::LogServiceClient<tonic::transport::Channel>,
    requests: Vec<ProduceRequest>,
) -> Vec<ProduceResponse> {
    let answers = client
        .produce_stream(stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<Result<ProduceResponse, Status>> = within(answers.collect()).await;
    answers.into_iter().map(Result::unwrap).collect()
}

/// What the requests were told, one by one: offsets, or the reason of a failure.
fn one_by_one(answers: &[ProduceResponse]) -> Vec<Result<(u64, u64), String>> {
    let mut told = Vec::new();
    for answer in answers {
        match &answer.failure {
            Some(failure) => {
                assert_eq!(answer.requests, 1);
                told.push(Err(failure.reason.clone()));
            }
            None => told.push(Ok((answer.first_offset, answer.next_offset))),
        }
    }
    told
}

#[tokio::test]
async fn one_answer_may_acknowledge_many_requests_and_none_is_left_out() {
    let node = node().await;
    let mut client = node.full().await;
    let requests: Vec<ProduceRequest> = (0..5000).map(|number| request(&[format!("{number}")])).collect();
    let answers = produce_all(&mut client, requests).await;
    assert_eq!(answers.iter().map(|answer| answer.requests).sum::<u32>(), 5000);
    assert!(answers.len() < 5000, "nothing was gathered");
    let mut next_offset = 0;
    for answer in &answers {
        assert_eq!(answer.first_offset, next_offset);
        next_offset = answer.next_offset;
        assert_eq!(
            answer.next_offset - answer.first_offset,
            u64::from(answer.requests)
        );
    }
    assert_eq!(next_offset, 5000);
}

#[tokio::test]
async fn a_refused_request_is_answered_in_its_place_and_the_stream_goes_on() {
    let node = node().await;
    let mut client = node.full().await;
    let conditional = |offset| ProduceRequest {
        expected_offset: Some(offset),
        ..request(&["c"])
    };
    let requests = vec![
        request(&["a", "b"]),
        ProduceRequest::default(),
        conditional(9),
        conditional(2),
        ProduceRequest {
            log: "other".to_owned(),
            ..request(&["x"])
        },
        request(&["d"]),
    ];
    let answers = produce_all(&mut client, requests).await;
    let refused = |reason: &str| Err(reason.to_owned());
    let expected = [
        Ok((0, 2)),
        refused("INVALID_REQUEST"),
        refused("CONDITION_FAILED"),
        Ok((2, 3)),
        refused("UNKNOWN_LOG"),
        Ok((3, 4)),
    ];
    assert_eq!(one_by_one(&answers), expected);
    let failure = answers[2].failure.as_ref().unwrap();
    assert_eq!(failure.code, i32::from(Code::Aborted));
    assert_eq!(failure.metadata["next_offset"], "2");
}

#[tokio::test]
async fn a_producer_that_sends_everything_again_gets_the_same_offsets() {
    let node = node().await;
    let mut client = node.full().await;
    let requests: Vec<ProduceRequest> = (0..500)
        .map(|number| stamped(number * 2, 1, &["a", "b"]))
        .collect();
    let first = produce_all(&mut client, requests.clone()).await;
    assert!(first.len() < 500, "nothing was gathered");
    client.produce(request(&["between"])).await.unwrap();

    let again = produce_all(&mut client, requests).await;
    let offsets: Vec<(u64, u64)> = (0..500).map(|number| (number * 2, number * 2 + 2)).collect();
    assert_eq!(
        one_by_one(&again)
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        offsets
    );
    assert!(again.iter().all(|answer| answer.repeated && answer.requests == 1));
}

#[tokio::test]
async fn a_stream_that_breaks_in_the_middle_can_be_sent_again_from_anywhere() {
    let node = node().await;
    let mut client = node.full().await;
    let requests = |range: std::ops::Range<u64>| range.map(|sequence| stamped(sequence, 1, &["r"])).collect();
    produce_all(&mut client, requests(0..137)).await;
    // The client does not know how far it got.
    let again = produce_all(&mut client, requests(100..300)).await;
    let told: u64 = again
        .iter()
        .map(|answer| answer.next_offset - answer.first_offset)
        .sum();
    assert_eq!(told, 200);
    assert!(again.iter().all(|answer| answer.failure.is_none()));
    assert_eq!((again[0].first_offset, again[0].repeated), (100, true));
    assert_eq!(again.last().unwrap().next_offset, 300);
}

#[tokio::test]
async fn a_following_consumer_gets_what_is_there_and_what_comes() {
    let node = node().await;
    let mut client = node.full().await;
    client.produce(request(&["a", "b"])).await.unwrap();
    let follow = ConsumeRequest {
        follow: true,
        ..from(Position::Offset(1))
    };
    let mut responses = client.consume_stream(follow).await.unwrap().into_inner();
    assert_eq!(
        records(&next(&mut responses).await.unwrap()),
        [(1, "b".to_owned())]
    );
    client.produce(request(&["c"])).await.unwrap();
    let response = next(&mut responses).await.unwrap();
    assert_eq!(records(&response), [(2, "c".to_owned())]);
    assert_eq!(response.header.unwrap().high_watermark, 3);
}

#[tokio::test]
async fn a_consumer_of_only_what_is_new_gets_nothing_old() {
    let node = node().await;
    let mut client = node.full().await;
    client.produce(request(&["old"])).await.unwrap();
    let latest = ConsumeRequest {
        follow: true,
        records_max: 1,
        ..from(Position::Latest(true))
    };
    let mut responses = client.consume_stream(latest).await.unwrap().into_inner();
    client.produce(request(&["new", "newer"])).await.unwrap();
    assert_eq!(
        records(&next(&mut responses).await.unwrap()),
        [(1, "new".to_owned())]
    );
    assert!(
        within(responses.next()).await.is_none(),
        "one record was asked for"
    );
}

#[tokio::test]
async fn a_large_log_is_read_in_responses_of_bounded_size() {
    let node = node().await;
    let mut client = node.full().await;
    // One batch of 1000 records of 1000 bytes: larger than a chunk.
    let batch: Vec<String> = (0..1000).map(|number| format!("{number:01000}")).collect();
    for _ in 0..10 {
        client.produce(request(&batch)).await.unwrap();
    }
    let mut responses = client
        .consume_stream(ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut next_offset = 0;
    while let Some(response) = within(responses.message()).await.unwrap() {
        let size = prost::Message::encoded_len(&response);
        assert!(size < 300 << 10, "{size} bytes in one response");
        for (offset, value) in records(&response) {
            assert_eq!(
                (offset, value),
                (next_offset, format!("{:01000}", next_offset % 1000))
            );
            next_offset += 1;
        }
    }
    assert_eq!(next_offset, 10_000);
}

#[tokio::test]
async fn a_stream_ends_at_the_deadline_that_the_client_set() {
    let node = node().await;
    let client = node.full().await;
    let followed = async || {
        let mut follow = Request::new(ConsumeRequest {
            follow: true,
            ..ConsumeRequest::default()
        });
        follow.set_timeout(std::time::Duration::from_millis(200));
        let mut responses = client.clone().consume_stream(follow).await?.into_inner();
        next(&mut responses).await
    };
    let status = answered_at_the_deadline(followed).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn requests_in_flight_are_answered_in_the_order_sent() {
    let node = staged_node().await;
    let mut client = node.full().await;
    node.hold(true).await;
    let (sender, requests) = mpsc::channel(64);
    let mut answers = client
        .produce_stream(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    for number in 0..40 {
        sender
            .send(request(&[format!("{number}"), "x".to_owned()]))
            .await
            .unwrap();
    }
    node.hold(false).await;
    let mut offset = 0;
    while offset < 80 {
        let answer = next(&mut answers).await.unwrap();
        assert_eq!(answer.first_offset, offset);
        offset = answer.next_offset;
    }
}
