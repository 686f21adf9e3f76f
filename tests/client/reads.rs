//! Reads spread over the followers that have what is asked for.

use std::{collections::BTreeMap, time::Duration};

use annals::{
    actors::replicator::faults::Cut,
    client::{Client, ErrorKind, Offset, Page, Position, ReadLevel, Reason, Record, Refusal},
};

use crate::{
    passage::client_of,
    support::{
        cluster::{Cluster, Port},
        node::{Place, TestNode, in_time, until},
    },
};

const READS: usize = 200;

/// Who answers so many reads of a record, by their numbers.
async fn served_by(
    cluster: &Cluster,
    read: impl AsyncFn() -> Result<Page, annals::client::Error>,
) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..READS {
        let page = in_time("an answer", read()).await.unwrap();
        let number = (0..3).find(|number| cluster.id(*number).get() == page.node_id);
        *counts.entry(number.unwrap()).or_default() += 1;
    }
    counts
}

fn numbers(counts: &BTreeMap<usize, usize>) -> Vec<usize> {
    counts.keys().copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_spread_over_the_followers_and_none_goes_to_one_that_does_not_have_it() {
    let cluster = Cluster::found_steady(3).await;
    let client = client_of(&cluster).connect().await.unwrap();
    let first = client.append(["first"]).await.unwrap();
    let leader = cluster.until_led().await;
    let followers = cluster.others(leader);
    let reads_first = async || client.read(first.clone()).await;
    until("both followers to be known to keep up", async || {
        numbers(&served_by(&cluster, reads_first).await) == followers
    })
    .await;
    let counts = served_by(&cluster, reads_first).await;
    println!("{counts:?}, and {leader} leads");
    assert!(
        followers.iter().all(|follower| counts[follower] > READS / 5),
        "{counts:?}"
    );

    // One of them is parted from the others, not from its clients.
    let [parted, other] = followers[..] else {
        panic!("there are three")
    };
    cluster.isolate(parted, Cut::Hang);
    let second = in_time("a majority", client.append(["second"]).into_future())
        .await
        .unwrap();
    let reads_own = async || {
        let read = client.read(second.clone()).min_offset(second.end);
        read.level(ReadLevel::Local).await
    };
    // From the first read on, not once it has been found out.
    let counts = served_by(&cluster, reads_own).await;
    assert!(!counts.contains_key(&parted), "{counts:?}");
    until("the other follower to be known to have it", async || {
        numbers(&served_by(&cluster, reads_own).await) == [other]
    })
    .await;
    cluster.faults.heal_all();
    until("both to be asked again", async || {
        numbers(&served_by(&cluster, reads_own).await) == followers
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_down_is_passed_over_and_taken_back() {
    let mut cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let down = cluster.follower(leader);
    let client = client_of(&cluster).connect().await.unwrap();
    let first = client.append(["first"]).await.unwrap();
    let reads = async || client.read(first.clone()).within(Duration::from_secs(20)).await;
    let followers = cluster.others(leader);
    until("both followers to be asked", async || {
        numbers(&served_by(&cluster, reads).await) == followers
    })
    .await;
    cluster.kill(down).await;
    // Not one of them fails.
    let counts = served_by(&cluster, reads).await;
    assert!(!counts.contains_key(&down), "{counts:?}");
    cluster.start(down, Port::Same).await;
    until("it to be asked again", async || {
        served_by(&cluster, reads).await.contains_key(&down)
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_leaves_a_follower_that_hears_nothing_any_more() {
    let cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let client = client_of(&cluster).connect().await.unwrap();
    let first = client.append(["first"]).await.unwrap();
    let followers = cluster.others(leader);
    until("both followers to be asked", async || {
        numbers(&served_by(&cluster, async || client.read(first.clone()).await).await) == followers
    })
    .await;
    // One reader at each, more or less: with ten, each follower has some.
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let mut consumer = client.consumer().follow().build();
            tokio::spawn(async move {
                let mut values = Vec::new();
                while values.len() < 2 {
                    values.push(consumer.next().await.unwrap().unwrap().record.value);
                }
                values
            })
        })
        .collect();
    cluster.isolate(followers[0], Cut::Hang);
    client.append(["second"]).await.unwrap();
    for reader in readers {
        let values = in_time("the second record", reader).await.unwrap();
        assert_eq!(values, ["first", "second"]);
    }
    cluster.faults.heal_all();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_addresses_only_reads_from_the_first_of_them_that_answers() {
    let cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let named = cluster.follower(leader);
    let client = Client::builder()
        .address("127.0.0.1:1")
        .address(cluster.node(named).addresses.rpc)
        .address(cluster.node(leader).addresses.rpc)
        .only_these_addresses()
        .connect()
        .await
        .unwrap();
    // The follower hands it on.
    let offsets = client.append(["first"]).await.unwrap();
    // What it has itself: it asks nobody, who may not answer, and then it is another one that does.
    let reads = async || {
        let read = client.read(offsets.clone()).min_offset(offsets.end);
        read.level(ReadLevel::Local).await
    };
    assert_eq!(numbers(&served_by(&cluster, reads).await), [named]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_what_was_appended() {
    let node = TestNode::start(&Place::real()).await;
    let client = Client::builder().address(node.addresses.rpc).build().unwrap();
    let records = [
        Record::new("a").key("k").header("n", "v").header("n", ""),
        Record::new(""),
        Record::new(vec![7; 30_000]),
    ];
    let offsets = client.append(records.clone()).await.unwrap();
    assert_eq!(offsets, Offset(0)..Offset(3));
    let page = client.read(..).await.unwrap();
    let read: Vec<_> = page.records.iter().map(|stored| stored.record.clone()).collect();
    assert_eq!(read, records);
    assert_eq!((page.next_offset, page.high_watermark), (Offset(3), Offset(3)));
    assert!(
        page.records
            .iter()
            .all(|stored| stored.appended_ms > 0 && stored.term > 0)
    );
    let values =
        |page: Page| -> Vec<usize> { page.records.iter().map(|record| record.value().len()).collect() };
    assert_eq!(values(client.read(1..2).await.unwrap()), [0]);
    assert_eq!(values(client.read(..=Offset(1)).await.unwrap()), [1, 0]);
    assert_eq!(
        values(client.read_from(Position::FromEnd(1)).await.unwrap()),
        [30_000]
    );
    assert_eq!(values(client.read(..).count(1).await.unwrap()), [1]);
    assert_eq!(values(client.read(..).bytes_max(10).await.unwrap()), [1]);
    let error = client.read(9..).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::OffsetOutOfRange));
    let readable = error.refusal().and_then(Refusal::readable);
    assert_eq!(readable, Some(Offset(0)..Offset(3)));
    assert!(!error.is_retryable() && error.has_no_side_effects());
    node.shut_down().await;
}

/// It was "no node could be reached", which sent people to look for a node that is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_no_node_has_is_told_as_that_with_how_far_they_are_and_waited_for_until_then() {
    let cluster = Cluster::found_steady(3).await;
    let soon = Duration::from_millis(2500);
    let all = client_of(&cluster).within(soon).build().unwrap();
    let one = client_of(&cluster).only_these_addresses();
    let one = one.within(soon).build().unwrap();
    all.append(["a", "b"]).await.unwrap();
    for client in [all, one] {
        let mut consumer = client.consumer().min_offset(99_u64).build();
        let errors = [
            client.read(..).min_offset(99_u64).await.unwrap_err(),
            in_time("its end", consumer.next()).await.unwrap().unwrap_err(),
        ];
        for error in errors {
            let ErrorKind::AheadOfAll {
                min_offset,
                high_watermark,
                address,
            } = error.kind()
            else {
                panic!("{error:?}")
            };
            assert_eq!((*min_offset, *high_watermark), (99, 2), "{error}");
            assert!(cluster.addresses().iter().any(|of| of.to_string() == *address));
            assert!(error.is_retryable() && error.has_no_side_effects(), "{error:?}");
        }
    }
    // What comes in time is waited for.
    let client = client_of(&cluster).build().unwrap();
    let waits = tokio::spawn(client.read(..).min_offset(3_u64).into_future());
    let appends = client_of(&cluster).build().unwrap();
    appends.append(["c"]).await.unwrap();
    let page = in_time("what it waits for", waits).await.unwrap().unwrap();
    assert_eq!(page.records.len(), 3);
    cluster.stop().await;
}
