//! Single appends, with conditions and without, and what else is asked once.

use std::{num::NonZeroU64, time::Duration};

use annals::client::{Client, Offset, Reason, Refusal};
use futures::future::join_all;

use crate::{
    passage::client_of,
    support::{
        cluster::Cluster,
        node::{Place, TestNode, in_time, until},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_expect_the_same_offset_one_is_right() {
    let node = TestNode::start(&Place::real()).await;
    let clients: Vec<_> = (0..4)
        .map(|_| Client::builder().address(node.addresses.rpc).build().unwrap())
        .collect();
    for expected in 0..5_u64 {
        let appends = clients
            .iter()
            .map(|client| client.append(["mine"]).expected_offset(expected).into_future());
        let (mut stored, mut refused) = (0, 0);
        for appended in join_all(appends).await {
            match appended {
                Ok(offsets) => {
                    assert_eq!(offsets, Offset(expected)..Offset(expected + 1));
                    stored += 1;
                }
                Err(error) => {
                    assert_eq!(error.reason(), Some(Reason::ConditionFailed), "{error}");
                    assert!(error.has_no_side_effects() && !error.is_retryable());
                    let next = error.refusal().and_then(Refusal::next_offset);
                    assert_eq!(next, Some(Offset(expected + 1)), "{error}");
                    refused += 1;
                }
            }
        }
        assert_eq!((stored, refused), (1, 3));
    }
    assert_eq!(clients[0].describe().await.unwrap().high_watermark, 5);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_refused_does_not_stop_those_behind_it() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let nothing: [&str; 0] = [];
    let error = client.append(nothing).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidRequest), "{error}");
    assert!(error.has_no_side_effects());
    assert_eq!(client.append(["next"]).await.unwrap(), Offset(0)..Offset(1));
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_refused_is_no_matter_of_those_under_way_at_the_same_time() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    // The nodes here take no more than 64 KiB at a time.
    let sizes = (0..60).map(|number| if number % 7 == 3 { 70_000 } else { number });
    let appends = sizes
        .clone()
        .map(|size| client.append([vec![7; size]]).into_future());
    let appended = in_time("all of them", join_all(appends)).await;
    let mut stored = Vec::new();
    for (size, appended) in sizes.zip(appended) {
        match appended {
            Ok(offsets) => stored.push((offsets.start, size)),
            Err(error) => {
                assert_eq!(error.reason(), Some(Reason::RecordTooLarge), "{error}");
                assert_eq!(size, 70_000);
            }
        }
    }
    let page = client.read(..).await.unwrap();
    let read: Vec<_> = page
        .records
        .iter()
        .map(|record| (record.offset, record.value().len()))
        .collect();
    assert_eq!(read, stored, "each once, and in their order");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_resumed_stores_nothing_twice() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let id = NonZeroU64::new(7).unwrap();
    let first = client.producer().resume(id, 0).build();
    let offsets = first.send_batch(["a", "b"]).await.unwrap().await.unwrap();
    assert_eq!(first.id(), 7);
    // Another process, which does not know how far the first one came.
    let again = client.producer().resume(id, 0).build();
    assert_eq!(
        again.send_batch(["a", "b"]).await.unwrap().await.unwrap(),
        offsets
    );
    let next = again.send("c").await.unwrap();
    assert_eq!(next.await.unwrap(), Offset(2));
    // And one that takes over, so that the others are shut out.
    let newer = client.producer().resume(id, 0).epoch(1).build();
    newer.send("d").await.unwrap().await.unwrap();
    let error = again.send("e").await.unwrap().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Fenced), "{error}");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_the_cluster_are_described_and_watched_and_trimmed() {
    let mut cluster = Cluster::found(3).await;
    let client = client_of(&cluster)
        .within(Duration::from_secs(20))
        .build()
        .unwrap();
    let mut views = client.watch();
    let view = in_time("a first view", views.next()).await.unwrap().unwrap();
    assert_eq!(view.servers.len(), 3);
    client.append(["a", "b", "c"]).await.unwrap();
    client.trim(2_u64).await.unwrap();
    // Each node drops them in its own time.
    until("what was dropped to be gone", async || {
        let read = client.read(0..3).await;
        read.is_err_and(|error| error.reason() == Some(Reason::OffsetOutOfRange))
    })
    .await;
    let error = client.trim(99_u64).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidRequest), "{error}");

    let leader = cluster.until_led().await;
    cluster.kill(leader).await;
    let old = cluster.id(leader).get();
    let new = async {
        loop {
            let view = views.next().await.unwrap().unwrap();
            let leader = view.header.unwrap().leader_id;
            if leader != 0 && leader != old {
                return leader;
            }
        }
    };
    let new = in_time("the watch to tell of another leader", new).await;
    // Any node may be asked, and hears of its leader in its own time.
    until("each node to tell of that leader", async || {
        let servers = client.servers().await.unwrap();
        servers.header.unwrap().leader_id == new
    })
    .await;
    cluster.stop().await;
}
