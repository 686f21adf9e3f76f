//! Cursors: of two who hold one the newer goes on, and a consumer resumes where it was, whoever leads.

use annals::client::{Client, CursorState, ErrorKind, HeldCursor, Offset, Reason};
use futures::FutureExt;

use crate::{
    passage::client_of,
    support::{
        cluster::{Cluster, Port},
        node::{Place, TestNode, in_time},
    },
};

async fn take(client: &Client, name: &str) -> HeldCursor {
    in_time("the take", client.cursor(name).take()).await.unwrap()
}

/// Reads so many records from where the cursor stands.
async fn read(client: &Client, cursor: &HeldCursor, count: u64) -> Vec<u64> {
    // What `from` says counts only while nothing was ever committed.
    let builder = client.consumer().cursor(cursor).from(5_u64);
    let mut consumer = builder.count(count).follow().build();
    let mut offsets = Vec::new();
    while let Some(record) = in_time("a record", consumer.next()).await {
        offsets.push(record.unwrap().offset.get());
    }
    offsets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_handles_of_one_name_the_older_is_fenced_and_commits_nothing() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    client
        .append((0..10).map(|number| number.to_string()))
        .await
        .unwrap();
    let mut older = take(&client, "billing").await;
    assert_eq!(older.offset(), None);
    older.commit(3_u64).await.unwrap();
    assert_eq!(older.offset(), Some(Offset(3)));

    let mut newer = take(&client, "billing").await;
    assert!(newer.epoch() > older.epoch());
    assert_eq!(
        newer.offset(),
        Some(Offset(3)),
        "it goes on where the older one was"
    );
    let fenced = older.commit(7_u64).await.unwrap_err();
    assert_eq!(fenced.reason(), Some(Reason::Fenced), "{fenced}");
    assert!(
        !fenced.is_retryable() && fenced.has_no_side_effects(),
        "{fenced:?}"
    );
    assert_eq!(
        older.offset(),
        Some(Offset(3)),
        "what was refused was not committed"
    );
    let without = client.cursor("billing").commit(7_u64).await.unwrap_err();
    assert_eq!(without.reason(), Some(Reason::Fenced), "{without}");
    newer.commit(4_u64).await.unwrap();
    assert_eq!(
        client.cursor("billing").get().await.unwrap().offset,
        Some(Offset(4))
    );
    let ahead = newer.commit(11_u64).await.unwrap_err();
    assert_eq!(ahead.reason(), Some(Reason::OffsetOutOfRange), "{ahead}");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_are_listed_by_name_and_who_holds_one_that_is_deleted_is_told() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    client
        .append((0..10).map(|number| number.to_string()))
        .await
        .unwrap();
    let mut held = take(&client, "b").await;
    let committed = client.cursor("a").commit(4_u64).await.unwrap();
    assert_eq!((committed.epoch, committed.behind()), (0, Some(6)));
    let listed = client.cursors().await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|state| (state.name.as_str(), state.epoch, state.offset))
        .collect();
    assert_eq!(shown, [("a", 0, Some(Offset(4))), ("b", held.epoch(), None)]);
    assert_eq!(behind(&listed), [Some(6), Some(10)]);

    let deleted = client.cursor("b").delete().await.unwrap();
    assert_eq!(deleted.epoch, held.epoch());
    let errors = [
        held.commit(1_u64).await.unwrap_err(),
        client.cursor("b").get().await.unwrap_err(),
        client.cursor("b").delete().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.reason(), Some(Reason::UnknownCursor), "{error}");
        assert!(error.has_no_side_effects(), "{error:?}");
    }
    node.shut_down().await;
}

fn behind(states: &[CursorState]) -> Vec<Option<u64>> {
    states.iter().map(CursorState::behind).collect()
}

/// The story: `behind` counted records that were trimmed, and was not there at all before the first commit, where there is the most to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_behind_by_the_records_that_it_would_yet_get() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    client
        .append((0..10).map(|number| number.to_string()))
        .await
        .unwrap();
    client.cursor("at-the-end").commit(10_u64).await.unwrap();
    client.cursor("overtaken").commit(2_u64).await.unwrap();
    client.cursor("within").commit(8_u64).await.unwrap();
    let taken = take(&client, "taken").await;
    assert_eq!(taken.state().behind(), Some(10));
    client.trim(7_u64).await.unwrap();
    let listed = client.cursors().await.unwrap();
    // By name: at-the-end, overtaken, taken, within.
    assert_eq!(behind(&listed), [Some(0), Some(3), Some(3), Some(2)]);
    for state in &listed {
        let alone = client.cursor(&*state.name).get().await.unwrap();
        assert_eq!(alone.behind(), state.behind(), "{}", state.name);
    }
    let page = client.read(7_u64..).await.unwrap();
    assert_eq!(page.records.len(), 3, "as many as it says");
    node.shut_down().await;
}

#[tokio::test]
async fn what_is_no_name_of_a_cursor_is_refused_before_anybody_is_asked() {
    // Nobody listens on port 1, and is waited for.
    let client = Client::builder().address("127.0.0.1:1").build().unwrap();
    let cursor = client.cursor("a/b");
    let errors = [
        cursor.take().now_or_never().map(Result::unwrap_err),
        cursor.get().now_or_never().map(Result::unwrap_err),
        cursor.commit(1_u64).now_or_never().map(Result::unwrap_err),
        cursor.delete().now_or_never().map(Result::unwrap_err),
    ];
    for error in errors.map(|error| error.expect("nobody is waited for")) {
        assert!(matches!(error.kind(), ErrorKind::NoCursorName(_)), "{error:?}");
        assert!(error.to_string().contains("1 to 128 characters"), "{error}");
        assert!(error.has_no_side_effects() && !error.is_retryable(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_resumes_where_it_was_over_the_death_of_the_leader_and_its_old_holder_stays_fenced() {
    let mut cluster = Cluster::found(3).await;
    let client = client_of(&cluster).connect().await.unwrap();
    client
        .append((0..20).map(|number| number.to_string()))
        .await
        .unwrap();
    let mut older = take(&client, "billing").await;
    assert_eq!(read(&client, &older, 3).await, [5, 6, 7]);
    older.commit(8_u64).await.unwrap();

    let leader = cluster.until_led().await;
    cluster.kill(leader).await;
    // The same handle goes on, at the next leader.
    in_time("a commit at the next leader", older.commit(9_u64))
        .await
        .unwrap();
    let mut newer = take(&client, "billing").await;
    assert_eq!(read(&client, &newer, 3).await, [9, 10, 11]);
    newer.commit(12_u64).await.unwrap();
    let fenced = older.commit(10_u64).await.unwrap_err();
    assert_eq!(fenced.reason(), Some(Reason::Fenced), "{fenced}");

    cluster.start(leader, Port::Same).await;
    let state = in_time("an answer", client.cursor("billing").get())
        .await
        .unwrap();
    assert_eq!((state.epoch, state.offset), (newer.epoch(), Some(Offset(12))));
    cluster.stop().await;
}
