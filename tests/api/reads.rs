//! How large the responses of a read are, and where it ends.

use annals::{
    net::Options,
    proto::annals::v1::{ConsumeRequest, ProduceRequest, start::Position},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::support::{from, options, records, request, staged_node, staged_node_with, within};

#[tokio::test]
async fn batches_of_next_to_nothing_never_make_a_response_that_cannot_be_sent() {
    // The story: limits counted the bytes of records only, and many tiny batches made a message of which most was framing,
    // and which was above the limit of messages.
    let batches = 3000;
    let node = staged_node_with(Options {
        message_bytes_max: 48 << 10,
        batch_bytes_max: 24 << 10,
        consume_chunk_bytes: 48 << 10,
        ..options()
    })
    .await;
    let mut client = node.full().await;
    // With a condition, each request is a batch of its own.
    let requests = (0..batches).map(|offset| ProduceRequest {
        expected_offset: Some(offset),
        ..request(&["x"])
    });
    let answers = client.produce_stream(stream::iter(requests)).await.unwrap();
    assert_eq!(
        within(answers.into_inner().count()).await,
        usize::try_from(batches).unwrap()
    );

    let read = client.consume_stream(ConsumeRequest::default()).await.unwrap();
    let responses: Vec<_> = within(read.into_inner().try_collect()).await.unwrap();
    let offsets = responses.iter().flat_map(records).map(|(offset, _)| offset);
    assert!(offsets.eq(0..batches));

    let (mut next, mut reads) = (0, 0);
    while next < batches {
        let request = ConsumeRequest {
            bytes_max: 24 << 10,
            ..from(Position::Offset(next))
        };
        let response = within(client.consume(request)).await.unwrap().into_inner();
        assert!(response.next_offset > next);
        next = response.next_offset;
        reads += 1;
    }
    assert!(reads < 10, "{reads} reads, of which each could have held more");
}

#[tokio::test]
async fn a_read_that_does_not_follow_ends_where_the_log_ended_when_it_began() {
    let node = staged_node().await;
    let mut client = node.full().await;
    let batch = vec!["x".repeat(1000); 900];
    for _ in 0..8 {
        client.produce(request(&batch)).await.unwrap();
    }
    let read = client.consume_stream(ConsumeRequest::default()).await.unwrap();
    // The windows between client and server hold a part of the 7 MB, so the read is not at its end yet.
    client.produce(request(&batch)).await.unwrap();
    let responses: Vec<_> = within(read.into_inner().try_collect()).await.unwrap();
    assert_eq!(responses.last().unwrap().next_offset, 8 * 900);
}

#[tokio::test]
async fn a_stream_begins_small_and_grows_and_its_large_batches_come_whole_whether_their_rests_are_kept_or_read_again()
 {
    let node = staged_node().await;
    let mut client = node.full().await;
    let value = |number: usize| format!("{number:0>1000}");
    // Of the first, nothing may be kept: the client has taken nothing yet.
    for batch in 0..4 {
        let batch: Vec<_> = (batch * 900..(batch + 1) * 900).map(value).collect();
        client.produce(request(&batch)).await.unwrap();
    }
    let read = client.consume_stream(ConsumeRequest::default()).await.unwrap();
    let responses: Vec<_> = within(read.into_inner().try_collect()).await.unwrap();
    let got = responses.iter().flat_map(records);
    let wanted = (0..3600).map(|number| (number as u64, value(number)));
    assert!(got.eq(wanted));

    let bytes: Vec<usize> = responses
        .iter()
        .map(|response| records(response).iter().map(|(_, value)| value.len()).sum())
        .collect();
    assert!(bytes[0] <= 16 << 10, "{bytes:?}");
    let largest = bytes.iter().max().unwrap();
    assert!((200 << 10..=256 << 10).contains(largest), "{bytes:?}");
    // A single read is one response, and as large as ever.
    let response = client
        .consume(ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    let bytes: usize = records(&response).iter().map(|(_, value)| value.len()).sum();
    assert!(bytes > 200 << 10, "{bytes}");
}
