//! A producer with an id tries the same batch again, at another node, in another term, in another life: it is stored once,
//! and each answer is the same.

use std::time::Duration;

use annals::{
    actors::replicator::faults::Cut,
    proto::annals::v1::{ProduceRequest, Producer, Record, RecordSet},
};
use tokio::time::{interval, timeout};

use crate::support::{
    cluster::{Cluster, Port},
    load::reason_of,
    node::{DEADLINE, in_time, until},
};

/// How soon it tries again.
const PACE: Duration = Duration::from_millis(5);

/// One batch of two records.
fn batch(sequence: u64) -> ProduceRequest {
    let record = |number: u64| Record {
        value: format!("record {number}").into(),
        ..Record::default()
    };
    ProduceRequest {
        records: Some(RecordSet {
            records: vec![record(sequence), record(sequence + 1)],
        }),
        producer: Some(Producer {
            id: 7,
            epoch: 0,
            sequence,
        }),
        ..ProduceRequest::default()
    }
}

/// Tries at one node until it is told the offset.
async fn stored_at(cluster: &Cluster, number: usize, sequence: u64) -> u64 {
    let mut client = cluster.node(number).client();
    let mut pace = interval(PACE);
    let tries = async {
        loop {
            pace.tick().await;
            let answer = timeout(DEADLINE, client.produce(batch(sequence))).await;
            match answer.expect("each try is answered") {
                Ok(response) => return response.into_inner().first_offset,
                Err(status) => {
                    let reason = reason_of(&status);
                    let passes = ["NO_LEADER", "NOT_LEADER", "OUTCOME_UNKNOWN", "LOG_NOT_READY"];
                    assert!(passes.contains(&reason.as_str()), "{status:?}");
                }
            }
        }
    };
    in_time("the batch to be stored", tries).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_sent_again_to_each_node_in_each_term_is_stored_once() {
    let mut cluster = Cluster::found(3).await;
    let first = stored_at(&cluster, cluster.until_led().await, 0).await;
    for _ in 0..2 {
        let leader = cluster.until_led().await;
        cluster.kill(leader).await;
        cluster.until_led().await;
        for number in cluster.running() {
            assert_eq!(stored_at(&cluster, number, 0).await, first);
        }
        cluster.start(leader, Port::Other).await;
        assert_eq!(stored_at(&cluster, leader, 0).await, first);
    }
    // And so it is when nothing is left in memory.
    for number in cluster.running() {
        cluster.kill(number).await;
    }
    for number in 0..3 {
        cluster.begin(number, Port::Other).await;
    }
    let leader = cluster.until_led().await;
    assert_eq!(stored_at(&cluster, leader, 0).await, first);
    assert_eq!(stored_at(&cluster, leader, 2).await, first + 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_the_tail_of_a_leader_that_was_parted_is_stored_once_by_the_next_one() {
    let cluster = Cluster::found(3).await;
    let old = cluster.until_led().await;
    let first = stored_at(&cluster, old, 0).await;
    cluster.isolate(old, Cut::Hang);
    let mut client = cluster.node(old).client();
    let lost = tokio::spawn(async move { client.produce(batch(2)).await });
    let others = cluster.others(old);
    let new = cluster.until_led_among(&others).await;
    assert_eq!(stored_at(&cluster, new, 2).await, first + 2);
    assert_eq!(stored_at(&cluster, new, 4).await, first + 4);
    cluster.faults.heal_all();
    cluster.until_led().await;
    let lost = in_time("an answer of the leader that was parted", lost)
        .await
        .unwrap();
    if let Ok(response) = &lost {
        panic!("acknowledged what was never its to acknowledge: {response:?}");
    }
    for sequence in [0, 2, 4] {
        assert_eq!(stored_at(&cluster, old, sequence).await, first + sequence);
    }
    until("all to have six records", async || {
        (0..3).all(|number| cluster.high_watermark(number) == first + 6)
    })
    .await;
    cluster.stop().await;
}
