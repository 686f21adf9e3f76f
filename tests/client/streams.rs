//! Consumers: where they begin and end, and that who drops one ends its read.

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use annals::client::{Client, Interruption, Position, ReadLevel};
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::{
    passage::client_of,
    support::{
        cluster::{Cluster, Port},
        node::{Place, TestNode, in_time, until},
    },
};

async fn with_records(count: usize) -> (TestNode, Client) {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let records = (0..count).map(|number| number.to_string());
    client.append(records).await.unwrap();
    (node, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_begins_and_ends_where_it_was_told() {
    let (node, client) = with_records(100).await;
    let offsets = async |builder: annals::client::ConsumerBuilder| -> Vec<u64> {
        let stream = builder.build().map_ok(|record| record.offset.get());
        in_time("its end", stream.try_collect()).await.unwrap()
    };
    let range = |from: u64, until: u64| (from..until).collect::<Vec<_>>();
    assert_eq!(offsets(client.consumer()).await, range(0, 100));
    assert_eq!(offsets(client.consumer().from(98_u64)).await, range(98, 100));
    assert_eq!(
        offsets(client.consumer().from(Position::FromEnd(3)).count(2)).await,
        range(97, 99)
    );
    assert_eq!(
        offsets(client.consumer().from(5_u64).until(7_u64)).await,
        range(5, 7)
    );
    // Also one that follows ends at its own limits, and does not wait for the next record.
    assert_eq!(
        offsets(client.consumer().from(95_u64).until(100_u64).follow()).await,
        range(95, 100)
    );
    assert_eq!(offsets(client.consumer().count(3).follow()).await, range(0, 3));
    let level = client.consumer().level(ReadLevel::Local).min_offset(100_u64);
    assert_eq!(offsets(level).await.len(), 100);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_that_is_given_up_skips_no_record_and_a_consumer_that_is_dropped_ends_its_read() {
    let (node, client) = with_records(3).await;
    let mut consumer = client.consumer().from(Position::Latest).follow().build();
    let is_read = || node.refs.read_path.is_waited_on();
    until("it to wait at the tail", || {
        // Given up again and again.
        let waits = consumer.next().now_or_never().is_none();
        ready(waits && is_read())
    })
    .await;
    client.append(["a", "b"]).await.unwrap();
    for wanted in ["a", "b"] {
        let record = in_time("a record", async {
            loop {
                if let Some(record) = consumer.next().now_or_never() {
                    return record.unwrap().unwrap();
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(record.await.value(), wanted);
    }
    drop(consumer);
    until("its read to end", async || !is_read()).await;
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_follows_waits_for_the_whole_cluster_to_come_back_and_says_what_interrupts_it() {
    let mut cluster = Cluster::found(3).await;
    let client = client_of(&cluster).build().unwrap();
    client.append(["a"]).await.unwrap();
    let interruptions = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&interruptions);
    let mut consumer = client
        .consumer()
        .follow()
        .within(std::time::Duration::from_secs(4))
        .on_interruption(move |interruption| into.lock().unwrap().push(interruption.clone()))
        .build();
    assert_eq!(
        in_time("a record", consumer.next())
            .await
            .unwrap()
            .unwrap()
            .value(),
        "a"
    );
    for number in 0..3 {
        cluster.kill(number).await;
    }
    until("it to notice", || {
        let waits = consumer.next().now_or_never().is_none();
        ready(waits && !interruptions.lock().unwrap().is_empty())
    })
    .await;
    // For longer than it would wait for the first answer.
    let read = client.read(..).within(std::time::Duration::from_secs(5)).await;
    assert!(read.is_err(), "nobody is there");
    for number in 0..3 {
        cluster.begin(number, Port::Same).await;
    }
    cluster.until_led().await;
    client.append(["b"]).await.unwrap();
    let record = in_time("the next record", StreamExt::next(&mut consumer)).await;
    assert_eq!(record.unwrap().unwrap().value(), "b");
    // It is not told of each try, of which there were many; but of the three deaths there may be one each.
    let told = interruptions.lock().unwrap().clone();
    let began = |told: &Interruption| matches!(told, Interruption::Began(_));
    let ended = |told: &Interruption| matches!(told, Interruption::Ended { .. });
    assert!((2..=6).contains(&told.len()), "{told:?}");
    for pair in told.chunks(2) {
        assert!(began(&pair[0]) && pair.get(1).is_some_and(ended), "{told:?}");
    }
    cluster.stop().await;
}
