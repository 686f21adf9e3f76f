//! Appends in a stream, as openraft sends and receives them.

use std::time::Duration;

use annals::consensus::{
    links::{CONNECTION_WINDOW_BYTES, Lane},
    messages::{AppendRequest, AppendResult},
    network::PeerNetwork,
};
use annals::{
    consensus::types::{Member, Proposal, ProposalContent},
    storage::entry::Batch,
    types::TimestampMs,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::{
    EntryPayload, RaftNetworkFactory, RaftNetworkV2, error::RPCError, network::RPCOption,
    raft::StreamAppendError,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{Event, Stage, id, option, request, within};

/// A stream that the test feeds, and whether it is still polled.
fn fed() -> (
    mpsc::UnboundedSender<AppendRequest>,
    UnboundedReceiverStream<AppendRequest>,
) {
    let (feed, requests) = mpsc::unbounded_channel();
    (feed, UnboundedReceiverStream::new(requests))
}

type Results<'s> =
    futures::stream::BoxStream<'s, Result<AppendResult, RPCError<annals::consensus::types::TypeConfig>>>;

async fn open<S>(network: &mut PeerNetwork, requests: S) -> Results<'_>
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    within("the stream", network.stream_append(requests, option()))
        .await
        .unwrap()
}

async fn next(results: &mut Results<'_>) -> Option<AppendResult> {
    within("a result", results.next()).await.map(Result::unwrap)
}

#[tokio::test]
async fn requests_do_not_wait_for_responses_and_those_come_in_order() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let mut network = one.network(&two, Lane::Bulk);
    let (feed, requests) = fed();
    let mut results = open(&mut network, requests).await;
    for index in 1..=500 {
        feed.send(request(index)).unwrap();
        assert_eq!(
            two.fake.next().await,
            Event::Append(index),
            "not one was answered yet"
        );
    }
    two.fake.allow(500);
    for index in 1..=500 {
        assert_eq!(next(&mut results).await, Some(Ok(Some(id(index)))));
    }
}

#[tokio::test]
async fn a_stream_that_its_sender_closes_ends_when_all_is_answered() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let mut network = one.network(&two, Lane::Bulk);
    let mut results = open(&mut network, stream::iter([request(1), request(2)])).await;
    for expected in [Event::Append(1), Event::Append(2), Event::RequestsEnded] {
        assert_eq!(two.fake.next().await, expected);
    }
    two.fake.allow(2);
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(1)))));
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(2)))));
    assert_eq!(next(&mut results).await, None);
    assert_eq!(two.fake.next().await, Event::ResultsDropped);
}

#[tokio::test]
async fn dropping_the_results_ends_both_sides_though_no_request_comes() {
    // The story: the transport polls requests for as long as they may come, so that a stream nobody wanted stayed open.
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let mut network = one.network(&two, Lane::Bulk);
    let (feed, requests) = fed();
    let mut results = open(&mut network, requests).await;
    feed.send(request(1)).unwrap();
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(1)))));
    assert_eq!(two.fake.next().await, Event::Append(1));
    drop(results);
    within("the end of the requests here", feed.closed()).await;
    let mut ended = [two.fake.next().await, two.fake.next().await];
    ended.sort_by_key(|event| *event == Event::ResultsDropped);
    assert_eq!(ended, [Event::RequestsEnded, Event::ResultsDropped]);
}

#[tokio::test]
async fn a_conflict_ends_both_sides() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.conflict_at(2);
    let mut network = one.network(&two, Lane::Bulk);
    let (feed, requests) = fed();
    let mut results = open(&mut network, requests).await;
    for index in 1..=2 {
        feed.send(request(index)).unwrap();
    }
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(1)))));
    assert_eq!(
        next(&mut results).await,
        Some(Err(StreamAppendError::Conflict(id(2))))
    );
    assert_eq!(next(&mut results).await, None);
    drop(results);
    within("the end of the requests here", feed.closed()).await;
}

#[tokio::test]
async fn a_request_that_makes_no_sense_ends_the_stream_behind_the_answers_to_those_before_it() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let mut network = one.network(&two, Lane::Bulk);
    let mut nonsense = request(2);
    nonsense.entries.push(nonsense.entries[0].clone());
    let (feed, requests) = fed();
    let mut results = open(&mut network, requests).await;
    feed.send(request(1)).unwrap();
    feed.send(nonsense).unwrap();
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(1)))));
    let error = within("the refusal", results.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
    assert!(
        error.to_string().contains("does not follow on entry 2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_breaks_with_the_peer_and_openraft_is_told() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let peer = two.id;
    let mut network = one.network(&two, Lane::Bulk);
    let (feed, requests) = fed();
    let mut results = open(&mut network, requests).await;
    feed.send(request(1)).unwrap();
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(1)))));
    two.stop().await;
    let error = within("the end", results.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(error, RPCError::Network(_) | RPCError::Unreachable(_)),
        "{error:?}"
    );
    drop(results);
    within("the end of the requests here", feed.closed()).await;
    one.until_disconnected(peer).await;
    let again = network.stream_append(stream::iter([request(1)]), option()).await;
    assert!(
        matches!(again.err(), Some(RPCError::Unreachable(_))),
        "so that it rests"
    );
}

/// A request with a megabyte of records.
fn large(index: u64) -> AppendRequest {
    let batch = Batch {
        producer: None,
        expected_offset: None,
        record_count: 1,
        records: Bytes::from(vec![7; 1 << 20]),
    };
    let proposal = Proposal {
        timestamp: TimestampMs(1),
        content: ProposalContent::Records(batch),
    };
    let mut request = request(index);
    request.entries[0].payload = EntryPayload::Normal(proposal);
    request
}

#[tokio::test]
async fn heartbeats_pass_streams_that_stand_still_with_all_that_they_can_hold() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.be_deaf();
    // Together they fill the connection's window, whoever of them gets how much of it: nothing passes there any more.
    let fills_the_connection = u64::from(CONNECTION_WINDOW_BYTES >> 20);
    let (count, mut taken) = watch::channel(0);
    let mut stalled = JoinSet::new();
    for _ in 0..3 {
        let mut bulk = one.network(&two, Lane::Bulk);
        let count = count.clone();
        let requests = stream::iter(1..=100).map(move |index| {
            count.send_modify(|taken| *taken += 1);
            large(index)
        });
        stalled.spawn(async move { open(&mut bulk, requests).await.next().await });
    }
    within(
        "the stall",
        taken.wait_for(|taken| *taken >= fills_the_connection),
    )
    .await
    .unwrap();
    let member = Member::default();
    let mut heartbeats = one.networks().new_heartbeat_client(two.id.get(), &member).await;
    for _ in 0..20 {
        let mut heartbeat = request(1);
        heartbeat.entries.clear();
        let soon = RPCOption::new(Duration::from_secs(10));
        let sent = heartbeats.stream_append(stream::iter([heartbeat]), soon);
        let mut results = within("the heartbeat", sent).await.unwrap();
        assert_eq!(next(&mut results).await, Some(Ok(None)));
        assert_eq!(next(&mut results).await, None);
        assert_eq!(two.fake.next().await, Event::Alone(0));
    }
    assert!(*taken.borrow() < 50, "the streams never stood still");
}
