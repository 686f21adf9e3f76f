//! What a producer holds, and what becomes of what is dropped.

use std::time::Duration;

use annals::client::{Client, Error, ErrorKind, Offset, Producer, Reason};
use futures::FutureExt;

use crate::support::node::{Place, TestNode, in_time};

const LIMIT: usize = 10_000;

/// Of a cluster that is not there, and is waited for.
fn producer() -> Producer {
    let client = Client::builder()
        .address("127.0.0.1:1")
        .within(Duration::from_secs(60))
        .build()
        .unwrap();
    client.producer().unacknowledged_bytes_max(LIMIT).build()
}

#[tokio::test]
async fn no_more_is_taken_than_may_be_unacknowledged() {
    let producer = producer();
    let mut tickets = Vec::new();
    while let Some(ticket) = producer.try_send(vec![7; 98]).unwrap() {
        tickets.push(ticket);
    }
    // A record of 98 bytes takes 102, with what goes around it.
    assert_eq!(tickets.len(), LIMIT / 102);
    let waits = producer.send(vec![7; 98]);
    assert!(waits.now_or_never().is_none(), "it does not wait");
    // What was given up waiting was not taken, nor is its room.
    assert!(producer.try_send("").unwrap().is_some());
    assert!(tickets.into_iter().all(|ticket| ticket.now_or_never().is_none()));
}

#[tokio::test]
async fn a_record_that_is_larger_than_all_there_may_be_goes_alone() {
    let producer = producer();
    assert!(producer.try_send(vec![7; 10 * LIMIT]).unwrap().is_some());
    assert!(producer.try_send("x").unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_stored_whatever_is_dropped() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let producer = client.producer().unacknowledged_bytes_max(LIMIT).build();
    for _ in 0..1000 {
        // Its ticket is dropped, and it waits for room again and again.
        drop(in_time("room", producer.send(vec![7; 98])).await.unwrap());
    }
    let again = producer.clone();
    drop(producer);
    let last = again.send("last").await.unwrap();
    drop(again);
    assert_eq!(in_time("the last of them", last).await.unwrap(), Offset(1000));
    let page = client
        .read_from(annals::client::Position::FromEnd(1))
        .await
        .unwrap();
    assert_eq!(page.records[0].value(), "last");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_closed_has_sent_everything_and_takes_nothing_more() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    // Nothing but the end of its patience would send an open batch, were it not closed.
    let producer = client.producer().linger(Duration::from_secs(3600)).build();
    let (first, second) = (
        producer.send("a").await.unwrap(),
        producer.send("b").await.unwrap(),
    );
    let batch = producer.send_batch(["c", "d"]).await.unwrap();
    let third = producer.send("e").await.unwrap();
    in_time("all of it", producer.close()).await.unwrap();
    let offsets = [first.await.unwrap(), second.await.unwrap(), third.await.unwrap()];
    assert_eq!(offsets, [Offset(0), Offset(1), Offset(4)]);
    assert_eq!(batch.await.unwrap(), Offset(2)..Offset(4));
    let error = producer.send("f").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
    producer.flush().await.unwrap();
    node.shut_down().await;
}

/// It ended the producer, whose later sends were told again of the record that was too large.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_is_refused_alone_and_the_producer_goes_on() {
    // It takes no more than 64 KiB at a time.
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let assert_too_large = |error: &Error| {
        let ErrorKind::RecordTooLarge { bytes, bytes_max } = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!((*bytes, *bytes_max), (70_008, 64 << 10), "{error}");
        assert_eq!(error.reason(), Some(Reason::RecordTooLarge));
        assert!(error.has_no_side_effects() && !error.is_retryable());
    };
    // Before anybody was asked what a node takes: among records that would not fit together either.
    let producer = client.producer().build();
    let mut tickets = Vec::new();
    for number in 0..200_usize {
        let bytes = if number == 77 { 70_000 } else { 1000 };
        tickets.push(producer.send(vec![7; bytes]).await.unwrap());
    }
    let mut offsets = Vec::new();
    for (number, ticket) in tickets.into_iter().enumerate() {
        match in_time("an answer", ticket).await {
            Ok(offset) => offsets.push(offset.get()),
            Err(error) => {
                assert_eq!(number, 77, "{error}");
                assert_too_large(&error);
            }
        }
    }
    assert_eq!(offsets, (0..199).collect::<Vec<_>>());
    // And from then on where it is sent.
    assert_too_large(&producer.send(vec![7; 70_000]).await.unwrap_err());
    assert_too_large(&producer.try_send(vec![7; 70_000]).unwrap_err());
    assert_too_large(&producer.send_batch([vec![7; 70_000]]).await.unwrap_err());
    assert_too_large(
        &client
            .append([vec![7; 70_000]])
            .expected_offset(199)
            .await
            .unwrap_err(),
    );
    let next = producer.send("next").await.unwrap();
    assert_eq!(next.await.unwrap(), Offset(199));
    producer.close().await.unwrap();
    node.shut_down().await;
}

/// A batch that turned out to be empty ended the producer, and with it what came behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_without_records_is_refused_alone_and_the_producer_goes_on() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let producer = client.producer().build();
    let error = producer.send_batch([""; 0]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoRecords), "{error:?}");
    assert_eq!(error.reason(), Some(Reason::InvalidRequest));
    assert!(error.has_no_side_effects() && !error.is_retryable());
    let next = producer.send("next").await.unwrap();
    assert_eq!(in_time("the next one", next).await.unwrap(), Offset(0));
    node.shut_down().await;
}
