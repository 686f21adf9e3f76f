//! What is bounded, and what is said when a bound is reached.

use std::time::Duration;

use annals::{
    net::Options,
    proto::{
        annals::v1::{ConsumeRequest, ProduceRequest},
        log::v1 as small,
    },
};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::MissedTickBehavior,
};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::{
    Counter, answered_at_the_deadline, code_and_reason, next, options, request, small_request, staged_node,
    staged_node_with, within,
};

fn small_budget() -> Options {
    Options {
        admission_bytes: 100_000,
        batch_bytes_max: 100_000,
        ..options()
    }
}

#[tokio::test]
async fn a_request_without_room_is_refused_at_once_and_told_when_to_come_back() {
    let node = staged_node_with(small_budget()).await;
    let mut client = node.full().await;
    node.hold(true).await;
    let mut first = client.clone();
    let waiting = tokio::spawn(async move { first.produce(request(&["x".repeat(90_000)])).await });
    node.until_in_flight(90_000).await;
    let refused = within(client.produce(request(&["y".repeat(90_000)])))
        .await
        .unwrap_err();
    assert_eq!(
        code_and_reason(&refused),
        (Code::ResourceExhausted, "OVERLOADED".to_owned())
    );
    let retry = refused.get_error_details().retry_info().cloned().unwrap();
    assert!(retry.retry_delay.is_some_and(|delay| delay > Duration::ZERO));
    node.hold(false).await;
    within(waiting).await.unwrap().unwrap();
    within(client.produce(request(&["y".repeat(90_000)])))
        .await
        .unwrap();
}

/// Windows so small that what a client has sent was taken from it, but for a few dozen requests of 1 KB.
fn small_windows() -> Options {
    Options {
        stream_window_bytes: 64 << 10,
        connection_window_bytes: 64 << 10,
        ..small_budget()
    }
}

/// Waits until so many requests at least were taken from a client's stream and it stands still; how many were taken.
async fn until_stalled(sent: &Counter, taken_min: usize) -> usize {
    within(async {
        let mut last = 0;
        let mut beat = tokio::time::interval(Duration::from_millis(200));
        // Two looks that were late say nothing of what happened between them.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let now = sent.get();
            if now == last && now >= taken_min {
                break now;
            }
            last = now;
        }
    })
    .await
}

#[tokio::test]
async fn a_stream_without_room_waits_and_is_not_read_from() {
    let node = staged_node_with(small_windows()).await;
    let mut client = node.small().await;
    node.hold(true).await;
    let sent = Counter::default();
    let counted = sent.clone();
    let requests = stream::iter(0..8000).map(move |_| {
        counted.add();
        small_request(&"z".repeat(1000))
    });
    let mut answers = within(client.produce_stream(requests))
        .await
        .unwrap()
        .into_inner();
    let first = tokio::spawn(async move { (next(&mut answers).await.unwrap().offset, answers) });
    // The budget has room for 99; without it the stream's own limit would let all 8000 in.
    let stalled = until_stalled(&sent, 99).await;
    assert!(
        stalled < 500,
        "{stalled} requests were taken from a client that gets no answers"
    );
    node.hold(false).await;
    let (offset, answers) = within(first).await.unwrap();
    assert_eq!(offset, 0);
    assert_eq!(within(answers.count()).await, 7999);
}

#[tokio::test]
async fn a_deadline_that_passes_says_that_the_outcome_is_unknown() {
    let node = staged_node_with(Options {
        request_timeout: Duration::from_millis(300),
        ..options()
    })
    .await;
    node.hold(true).await;
    let client = node.full().await;
    let by_client = async || {
        let mut produce = Request::new(request(&["a"]));
        produce.set_timeout(Duration::from_millis(600));
        client.clone().produce(produce).await
    };
    let by_server = async || client.clone().produce(request(&["b"])).await;
    for status in [
        answered_at_the_deadline(by_client).await,
        answered_at_the_deadline(by_server).await,
    ] {
        assert_eq!(
            code_and_reason(&status),
            (Code::DeadlineExceeded, "OUTCOME_UNKNOWN".to_owned())
        );
        assert!(
            status.message().contains("outcome is unknown"),
            "{}",
            status.message()
        );
    }
    let mut client = client;
    let requests = stream::iter([request(&["c"])]);
    let mut answers = client.produce_stream(requests).await.unwrap().into_inner();
    let failure = next(&mut answers).await.unwrap().failure.unwrap();
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::DeadlineExceeded.into(), "OUTCOME_UNKNOWN")
    );
    let mut small_client = node.small().await;
    let mut answers = small_client
        .produce_stream(stream::iter([small_request("d")]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        next(&mut answers).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
}

#[tokio::test]
async fn a_stream_of_nothing_but_mistakes_is_not_read_from_while_too_many_answers_wait() {
    let node = staged_node_with(small_windows()).await;
    let mut client = node.full().await;
    node.hold(true).await;
    let sent = Counter::default();
    let counted = sent.clone();
    let mistakes = stream::iter(0..5000).map(move |_| {
        counted.add();
        ProduceRequest {
            log: "no such log".repeat(90),
            ..ProduceRequest::default()
        }
    });
    // Answers come in order, so those of the mistakes wait for the first one.
    let requests = stream::iter([request(&["held back"])]).chain(mistakes);
    let answers = within(client.produce_stream(requests)).await.unwrap();
    let stalled = until_stalled(&sent, 1000).await;
    assert!(stalled < 1500, "{stalled} mistakes were taken, not about 1024");
    node.hold(false).await;
    let refused = answers
        .into_inner()
        .filter(|answer| std::future::ready(answer.as_ref().is_ok_and(|answer| answer.failure.is_some())));
    assert_eq!(within(refused.count()).await, 5000);
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once_and_counted() {
    let node = staged_node_with(Options {
        connections_max: 2,
        ..options()
    })
    .await;
    let mut first = node.small().await;
    let _second = node.small().await;
    first.produce(small_request("a")).await.unwrap();
    let mut third = within(tokio::net::TcpStream::connect(node.rpc)).await.unwrap();
    let mut end = Vec::new();
    let read = within(tokio::io::AsyncReadExt::read_to_end(&mut third, &mut end)).await;
    assert!(
        read.is_err() || end.is_empty(),
        "the connection is closed without a word"
    );
    let (_, status) = crate::support::get(node.admin, "/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["gateway"]["connections"], 2);
    assert_eq!(status["gateway"]["connections_refused"], 1);
    first.produce(small_request("b")).await.unwrap();
}

#[tokio::test]
async fn a_message_above_the_transports_limit_ends_a_stream_with_a_reason() {
    let node = staged_node().await;
    let mut client = node.small().await;
    let record = small::Record {
        value: vec![0; 5 << 20].into(),
        ..small::Record::default()
    };
    let requests = stream::iter([small::ProduceRequest { record: Some(record) }]);
    let mut answers = client.produce_stream(requests).await.unwrap().into_inner();
    let status = next(&mut answers).await.unwrap_err();
    assert_eq!(
        code_and_reason(&status),
        (Code::InvalidArgument, "RECORD_TOO_LARGE".to_owned())
    );
}

#[tokio::test]
async fn one_consuming_stream_too_many_is_refused_until_another_ends() {
    let limited = Options {
        consumers_max: 2,
        ..options()
    };
    let node = staged_node_with(limited).await;
    let follow = ConsumeRequest {
        follow: true,
        ..Default::default()
    };
    let mut full = node.full().await;
    let mut small = node.small().await;
    let first = full.consume_stream(follow.clone()).await.unwrap();
    let _second = small
        .consume_stream(small::ConsumeRequest { offset: 0 })
        .await
        .unwrap();
    for refused in [
        full.consume_stream(follow.clone()).await.unwrap_err(),
        small
            .consume_stream(small::ConsumeRequest { offset: 0 })
            .await
            .unwrap_err(),
    ] {
        assert_eq!(
            code_and_reason(&refused),
            (Code::ResourceExhausted, "OVERLOADED".to_owned())
        );
        assert!(
            refused.message().contains("limits.consumers_max"),
            "{}",
            refused.message()
        );
    }
    drop(first);
    let again = async {
        while full.consume_stream(follow.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(again).await;
}

#[tokio::test]
async fn a_message_above_the_limit_is_told_its_size_and_not_that_an_offset_is_out_of_range() {
    let node = staged_node_with(Options {
        message_bytes_max: 100_000,
        ..small_budget()
    })
    .await;
    let large = "x".repeat(200_000);
    let mut full = node.full().await;
    let refused = within(full.produce(request(std::slice::from_ref(&large))))
        .await
        .unwrap_err();
    assert_eq!(
        code_and_reason(&refused),
        (Code::InvalidArgument, "RECORD_TOO_LARGE".to_owned())
    );
    assert!(
        refused.message().contains("the most is 100000"),
        "{}",
        refused.message()
    );
    let requests = stream::iter([small_request(&large)]);
    let answers = node
        .small()
        .await
        .produce_stream(requests)
        .await
        .unwrap()
        .into_inner();
    let refused = within(answers.map(|answer| answer.unwrap_err()).next())
        .await
        .unwrap();
    assert_eq!(
        code_and_reason(&refused),
        (Code::InvalidArgument, "RECORD_TOO_LARGE".to_owned())
    );
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    const PING: u8 = 6;
    let node = staged_node_with(Options {
        keepalive_interval: Duration::from_millis(50),
        keepalive_timeout: Duration::from_millis(50),
        ..options()
    })
    .await;
    let mut client = within(tokio::net::TcpStream::connect(node.rpc)).await.unwrap();
    // The preface and empty SETTINGS, as of a client that is frozen after that.
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.write_all(greeting).await.unwrap();
    let mut heard = Vec::new();
    // A reset is an end too.
    drop(within(client.read_to_end(&mut heard)).await);

    let mut kinds = Vec::new();
    let mut frames = heard.as_slice();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames = rest.get(length..).unwrap_or_default();
    }
    assert!(kinds.contains(&PING), "closed without being asked: {kinds:?}");
}
