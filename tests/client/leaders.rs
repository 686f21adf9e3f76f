//! Writes go to the leader, whoever that is.

use std::{collections::HashMap, time::Duration};

use annals::{
    actors::{raft::HandOver, supervision::Reply},
    client::{Client, Offset, Producer, Stored},
};

use crate::{
    passage::{Passage, client_of, passages},
    support::{
        cluster::{Cluster, Port},
        node::{in_time, until},
    },
};

/// So large that what else is said does not count beside it.
const RECORD_BYTES: usize = 32 << 10;

/// What passes to a node that is only asked how it is.
const CHATTER_BYTES: u64 = RECORD_BYTES as u64 / 4;

async fn hand_over(cluster: &Cluster, leader: usize, to: usize) {
    let (reply, answer) = Reply::channel();
    let to = Some(cluster.id(to));
    let posted = cluster.node(leader).refs.raft.post(HandOver { to, reply });
    assert!(posted.is_ok());
    in_time("the hand-over", answer).await.unwrap();
}

/// Whether a record goes to that node and to no other. How often it is asked is why it is counted.
async fn goes_to(passages: &[Passage], leader: usize, send: impl AsyncFn()) -> bool {
    let before: Vec<_> = passages.iter().map(Passage::up).collect();
    send().await;
    let passed = passages
        .iter()
        .zip(before)
        .map(|(passage, before)| passage.up() - before);
    passed.enumerate().all(|(number, bytes)| {
        if number == leader {
            bytes >= RECORD_BYTES as u64
        } else {
            bytes < CHATTER_BYTES
        }
    })
}

async fn send(producer: &Producer) {
    let ticket = producer.send(vec![7; RECORD_BYTES]).await.unwrap();
    in_time("an acknowledgement", ticket).await.unwrap();
}

async fn append_conditionally(client: &Client) {
    let next = client.describe().await.unwrap().high_watermark;
    let append = client.append([vec![7; RECORD_BYTES]]).expected_offset(next);
    match in_time("an answer", append.into_future()).await {
        Ok(_) => {}
        // The node that was asked for the next offset was behind.
        Err(error) => assert_eq!(
            error.reason(),
            Some(annals::client::Reason::ConditionFailed),
            "{error}"
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_to_the_leader_and_follow_it_when_another_one_takes_over() {
    let cluster = Cluster::found(3).await;
    let passages = passages(&cluster).await;
    let client = Client::builder()
        .addresses(passages.iter().map(|passage| passage.address))
        .look_every(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    let producer = client.producer().build();
    for _ in 0..2 {
        let leader = cluster.until_led().await;
        until("records to go to the leader alone", async || {
            goes_to(&passages, leader, async || send(&producer).await).await
        })
        .await;
        until("single appends to go there too", async || {
            goes_to(&passages, leader, async || append_conditionally(&client).await).await
        })
        .await;
        let others = cluster.others(leader);
        hand_over(&cluster, leader, others[0]).await;
    }
    producer.close().await.unwrap();
    cluster.stop().await;
}

/// Sends numbered records until it is told to stop; how many there were.
async fn produce(producer: Producer, name: &str, goes_on: impl Fn() -> bool) -> Vec<(String, Offset)> {
    let mut tickets = Vec::new();
    let mut number = 0;
    while goes_on() {
        let value = format!("{name} {number}");
        let ticket = producer.send(value.clone()).await.unwrap();
        tickets.push((value, ticket));
        number += 1;
        // As fast as it is acknowledged in portions: a test of order needs no more.
        if number % 100 == 0 {
            producer.flush().await.unwrap();
        }
    }
    let mut stored = Vec::new();
    for (value, ticket) in tickets {
        stored.push((value, ticket.await.unwrap()));
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_deaths_of_leaders_each_record_is_stored_once_and_in_order_and_read_once() {
    let mut cluster = Cluster::found(3).await;
    let client = client_of(&cluster).connect().await.unwrap();
    let mut consumer = client.consumer().follow().build();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let producers: Vec<_> = ["one", "two"]
        .map(|name| {
            let (producer, stopped) = (client.producer().build(), stopped.clone());
            tokio::spawn(async move { produce(producer, name, || !*stopped.borrow()).await })
        })
        .into_iter()
        .collect();
    let (seen_sender, seen) = tokio::sync::watch::channel(0_u64);
    let reads = tokio::spawn(async move {
        let mut read: Vec<Stored> = Vec::new();
        while let Some(record) = consumer.next().await {
            let record = record.unwrap();
            let is_last = record.value() == "the end";
            read.push(record);
            seen_sender.send_replace(read.len() as u64);
            if is_last {
                break;
            }
        }
        read
    });
    let progress = async |count: u64| {
        let wanted = *seen.borrow() + count;
        until("records to be read", async || *seen.borrow() >= wanted).await;
    };
    progress(200).await;
    for _ in 0..2 {
        let leader = cluster.until_led().await;
        cluster.kill(leader).await;
        progress(200).await;
        cluster.start(leader, Port::Same).await;
        progress(200).await;
    }
    stop.send_replace(true);
    let mut told = HashMap::new();
    for producer in producers {
        let stored = in_time("the producers to end", producer).await.unwrap();
        assert!(
            stored.windows(2).all(|pair| pair[0].1 < pair[1].1),
            "out of order"
        );
        told.extend(stored.into_iter().map(|(value, offset)| (offset, value)));
    }
    client.append(["the end"]).await.unwrap();
    let read = in_time("the end", reads).await.unwrap();
    for (record, offset) in read.iter().zip(0..) {
        assert_eq!(
            record.offset,
            Offset(offset),
            "something is missing, or there twice"
        );
    }
    let read: HashMap<_, _> = read
        .into_iter()
        .filter(|record| record.value() != "the end")
        .map(|record| {
            let value = String::from_utf8(record.value().to_vec()).unwrap();
            (record.offset, value)
        })
        .collect();
    assert_eq!(
        read, told,
        "something is stored twice, or elsewhere than was said"
    );
    cluster.stop().await;
}
