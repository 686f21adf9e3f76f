//! Appends in a stream, as openraft sends and receives them.

use annals::consensus::{
    links::{CONNECTION_WINDOW_BYTES, Lane},
    messages::{AppendRequest, AppendResult},
    network::PeerNetwork,
};
use annals::{
    consensus::types::{Member, Proposal, ProposalContent, RaftLogId},
    storage::entry::Batch,
    types::TimestampMs,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::{EntryPayload, RaftNetworkFactory, RaftNetworkV2, error::RPCError, raft::StreamAppendError};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{Event, Node, Stage, id, option, request, within};

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
    let mut network = one.network(&two, Lane::Appends);
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
    // Those that are ready together are answered by one.
    two.fake.allow(200);
    assert_eq!(all_up_to(&mut results, 200).await.last(), Some(&id(200)));
    two.fake.allow(300);
    assert_eq!(all_up_to(&mut results, 500).await.last(), Some(&id(500)));
}

/// Up to where results accept, until one accepts entry `last`.
async fn all_up_to(results: &mut Results<'_>, last: u64) -> Vec<RaftLogId> {
    let mut accepted = Vec::new();
    while accepted.last() != Some(&id(last)) {
        accepted.push(next(results).await.unwrap().unwrap().unwrap());
    }
    assert!(accepted.is_sorted(), "{accepted:?}");
    accepted
}

#[tokio::test]
async fn requests_that_are_answered_together_are_answered_by_one_which_leaves_room_for_as_many() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let mut network = one.network(&two, Lane::Appends);
    // Far more than may be unanswered at a time.
    let requests = stream::iter((1..=20_000).map(request));
    let mut results = open(&mut network, requests).await;
    let accepted = all_up_to(&mut results, 20_000).await;
    assert!(accepted.len() < 20_000, "not one by one");
    assert_eq!(next(&mut results).await, None);
}

#[tokio::test]
async fn a_stream_that_its_sender_closes_ends_when_all_is_answered() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let mut network = one.network(&two, Lane::Appends);
    let mut results = open(&mut network, stream::iter([request(1), request(2)])).await;
    for expected in [Event::Append(1), Event::Append(2), Event::RequestsEnded] {
        assert_eq!(two.fake.next().await, expected);
    }
    two.fake.allow(2);
    all_up_to(&mut results, 2).await;
    assert_eq!(next(&mut results).await, None);
    assert_eq!(two.fake.next().await, Event::ResultsDropped);
}

#[tokio::test]
async fn dropping_the_results_ends_both_sides_though_no_request_comes() {
    // The story: the transport polls requests for as long as they may come, so that a stream nobody wanted stayed open.
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let mut network = one.network(&two, Lane::Appends);
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
    let mut network = one.network(&two, Lane::Appends);
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
    let mut network = one.network(&two, Lane::Appends);
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
    let mut network = one.network(&two, Lane::Appends);
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

/// A request without entries: tells how far the log is committed, here up to entry `index`.
fn commit(index: u64) -> AppendRequest {
    AppendRequest {
        leader_commit: Some(id(index)),
        entries: Vec::new(),
        ..request(index + 1)
    }
}

/// What arrives of an entry, and of a commit with another entry right behind it.
async fn arrives_of_a_commit_with_an_entry_behind(one: &Node, two: &Node) -> Vec<Event> {
    let mut network = one.network(two, Lane::Appends);
    let (feed, requests) = mpsc::unbounded_channel();
    let requests = UnboundedReceiverStream::new(requests).flat_map(stream::iter);
    let mut results = open(&mut network, requests).await;
    feed.send(vec![request(1)]).unwrap();
    assert_eq!(next(&mut results).await, Some(Ok(Some(id(1)))));
    feed.send(vec![commit(1), request(2)]).unwrap();
    drop(feed);
    while let Some(result) = next(&mut results).await {
        assert!(result.is_ok());
    }
    let mut arrived = vec![two.fake.next().await];
    while arrived.last() != Some(&Event::ResultsDropped) {
        arrived.push(two.fake.next().await);
    }
    arrived.retain(|event| matches!(event, Event::Append(_)));
    arrived
}

#[tokio::test]
async fn a_commit_goes_with_the_next_entry_unless_readers_at_the_follower_wait_for_it() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let without = [1, 2].map(Event::Append);
    assert_eq!(
        arrives_of_a_commit_with_an_entry_behind(&one, &two).await,
        without
    );
    let reader = two.read_path.begin_to_wait();
    let with = [1, 1, 2].map(Event::Append);
    assert_eq!(arrives_of_a_commit_with_an_entry_behind(&one, &two).await, with);
    drop(reader);
    assert_eq!(
        arrives_of_a_commit_with_an_entry_behind(&one, &two).await,
        without
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
        let mut bulk = one.network(&two, Lane::Appends);
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
        let sent = heartbeats.stream_append(stream::iter([heartbeat]), option());
        let mut results = within("the heartbeat", sent).await.unwrap();
        assert_eq!(next(&mut results).await, Some(Ok(None)));
        assert_eq!(next(&mut results).await, None);
        assert_eq!(two.fake.next().await, Event::Alone(0));
    }
    assert!(*taken.borrow() < 50, "the streams never stood still");
}
