//! Calls that are one question and one answer.

use std::{collections::BTreeMap, time::Duration};

use annals::{
    actors::peer::{PeerCalls, PeerError, SegmentRange},
    consensus::{
        links::Lane,
        messages::{AppendResponse, SnapshotMeta, TransferRequest, VoteRequest},
        types::{Member, RaftMembership, RaftStoredMembership, SnapshotManifest, TypeConfig},
    },
    types::{LogIndex, NodeId, Position},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future};
use openraft::{
    RaftNetworkV2,
    error::{RPCError, ReplicationClosed, StreamingError},
};

use crate::support::{Event, PATIENCE, Stage, id, option, request, vote, within};

#[tokio::test]
async fn votes_and_questions_for_votes_reach_their_own_handlers() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let mut network = one.network(&two, Lane::Appends);
    let mut asked = VoteRequest::new(vote(4, 1), Some(id(3)));
    asked.leadership_transfer = true;
    let response = within("a vote", network.vote(asked.clone(), option()))
        .await
        .unwrap();
    assert!(response.vote_granted);
    assert_eq!(response.last_log_id, Some(id(3)));
    assert_eq!(two.fake.next().await, Event::Vote(asked.clone()));
    let response = within("a pre-vote", network.pre_vote(asked.clone(), option()))
        .await
        .unwrap();
    assert!(!response.vote_granted);
    assert_eq!(two.fake.next().await, Event::PreVote(asked));
}

#[tokio::test]
async fn an_append_alone_and_a_transfer_are_answered() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let mut network = one.network(&two, Lane::Control);
    let response = within("an append", network.append_entries(request(3), option()))
        .await
        .unwrap();
    assert_eq!(response, AppendResponse::Success);
    assert_eq!(two.fake.next().await, Event::Alone(3));
    let wish = TransferRequest::new(vote(1, 1), 2, Some(id(3)));
    let response = within("a transfer", network.transfer_leader(wish.clone(), option()))
        .await
        .unwrap();
    assert_eq!(response, Ok(()));
    assert_eq!(two.fake.next().await, Event::Transfer(wish));
}

fn snapshot() -> openraft::alias::SnapshotOf<TypeConfig, SnapshotManifest> {
    let member = Member {
        name: "node-1".to_owned(),
        address: "h:1".to_owned(),
    };
    let membership = RaftMembership::new(vec![[1].into()], BTreeMap::from([(1, member)])).unwrap();
    openraft::alias::SnapshotOf::<TypeConfig, SnapshotManifest> {
        meta: SnapshotMeta {
            last_log_id: Some(id(9)),
            last_membership: RaftStoredMembership::new(Some(id(1)), membership),
        },
        snapshot: SnapshotManifest(Bytes::from_static(b"files")),
    }
}

#[tokio::test]
async fn a_snapshot_says_whom_to_fetch_from_and_may_take_its_time() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let mut network = one.network(&two, Lane::Appends);
    // openraft's figure is far too small, and does not count.
    let at_once = openraft::network::RPCOption::new(Duration::ZERO);
    let sent = network.full_snapshot(vote(1, 1), snapshot(), future::pending(), at_once);
    let answered = async {
        let Event::Install(from, installed) = two.fake.next().await else {
            panic!("something else was asked");
        };
        two.fake.allow(1);
        (from, installed)
    };
    let (response, (from, installed)) = within("the snapshot", future::join(sent, answered)).await;
    assert_eq!(response.unwrap().vote, vote(1, 1));
    assert_eq!(from, one.id);
    assert_eq!(installed.meta, snapshot().meta);
    assert_eq!(installed.manifest, snapshot().snapshot);
}

#[tokio::test]
async fn a_snapshot_that_openraft_gives_up_ends_at_the_receiver_too() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let mut network = one.network(&two, Lane::Appends);
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let cancelled = async move {
        drop(cancelled.await);
        ReplicationClosed::new("on purpose")
    };
    let sent = network.full_snapshot(vote(1, 1), snapshot(), cancelled, option());
    let given_up = async {
        assert!(matches!(two.fake.next().await, Event::Install(..)));
        drop(cancel);
        two.fake.next().await
    };
    let (closed, ended) = within("the snapshot", future::join(sent, given_up)).await;
    assert!(matches!(closed, Err(StreamingError::Closed(_))), "{closed:?}");
    assert_eq!(ended, Event::ResultsDropped);
}

#[tokio::test]
async fn the_leader_answers_for_the_read_index_and_a_follower_names_it() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let calls = PeerCalls::new(one.links());
    assert_eq!(calls.read_index(two.id, PATIENCE).await.unwrap(), LogIndex(7));
    two.fake.follow(NodeId(9));
    let error = calls.read_index(two.id, PATIENCE).await.unwrap_err();
    let PeerError::NotLeader { leader } = error else {
        panic!("{error}");
    };
    assert_eq!(leader, Some(NodeId(9)));
}

#[tokio::test]
async fn a_segment_comes_in_pieces_in_order_and_a_missing_one_is_named() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let calls = PeerCalls::new(one.links());
    assert_eq!(calls.manifest(two.id).await.unwrap().0, "segments");
    let range = SegmentRange {
        first_log_index: LogIndex(5),
        position: Position(100),
        bytes_max: 6,
    };
    let missing = calls.read_segment(two.id, range).await.err().unwrap();
    assert!(
        matches!(
            missing,
            PeerError::NoSuchSegment {
                first_log_index: LogIndex(5)
            }
        ),
        "{missing}"
    );
    let pieces = vec![Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
    *two.fake.segment.lock().unwrap() = Some(pieces.clone());
    let read = calls.read_segment(two.id, range).await.unwrap();
    let read: Vec<Bytes> = within("the segment", read.try_collect()).await.unwrap();
    assert_eq!(read, pieces);
}

#[tokio::test]
async fn a_node_without_consensus_says_that_it_is_not_ready_and_answers_when_it_is() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.handlers.clear();
    let mut network = one.network(&two, Lane::Appends);
    let error = network
        .vote(VoteRequest::new(vote(1, 1), None), option())
        .await
        .unwrap_err();
    assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("not ready"), "{error}");
    // Openraft asks again at once: a leader wrote a hundred thousand lines a second about a follower that was away.
    let began = tokio::time::Instant::now();
    let refused = network
        .stream_append(futures::stream::iter([request(1)]), option())
        .await;
    assert!(matches!(refused.err(), Some(RPCError::Unreachable(_))));
    assert!(began.elapsed() >= Duration::from_millis(200), "it rests first");
    two.handlers.set(two.fake.clone());
    let mut results = within(
        "the stream",
        network.stream_append(futures::stream::iter([request(1)]), option()),
    )
    .await
    .unwrap();
    assert_eq!(
        within("a result", results.next()).await.unwrap().unwrap(),
        Ok(Some(id(1)))
    );
}
