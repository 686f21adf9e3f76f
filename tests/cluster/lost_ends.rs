//! Disks that lost or changed what was synced while the node was down.

use std::{fs, os::unix::fs::FileExt, path::Path};

use annals::{
    actors::replicator::faults::Cut,
    node::NodeOptions,
    proto::annals::v1::{ProduceRequest, Record, RecordSet},
};
use tokio::time::{Duration, interval, timeout};

use crate::{
    segments::stores,
    support::{
        cluster::{AT_WORK, Cluster, Port},
        node::{in_time, until},
    },
};

/// Between two tries of a client.
const PACE: Duration = Duration::from_millis(20);
/// How long a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Puts zeros over the second half of what was written there, as if it had never been.
fn lose_the_end(directory: &Path) {
    let path = stores(directory).pop().expect("there is a segment");
    let bytes = fs::read(&path).expect("it is there");
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("something was written")
        + 1;
    let from = written / 2;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("it is there");
    file.write_all_at(&vec![0; written - from], from as u64)
        .expect("it can be written");
}

/// Stores a record of that value by that node, with as many tries as it takes.
async fn store(cluster: &Cluster, number: usize, value: &str) -> u64 {
    let mut client = cluster.node(number).client();
    let record = Record {
        value: value.to_owned().into(),
        ..Record::default()
    };
    let mut pace = interval(PACE);
    let tries = async {
        loop {
            pace.tick().await;
            let request = ProduceRequest {
                records: Some(RecordSet {
                    records: vec![record.clone()],
                }),
                ..ProduceRequest::default()
            };
            if let Ok(Ok(response)) = timeout(DEADLINE, client.produce(request)).await {
                return response.into_inner().first_offset;
            }
        }
    };
    in_time("the record to be stored", tries).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_the_end_of_its_log_fetches_it_before_it_takes_part_again() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    load.progresses(5 * AT_WORK).await;
    cluster.shut_down(follower).await;
    let before = cluster.node(leader).refs.read_path.high_watermark();
    lose_the_end(&cluster.place(follower).log_directory());
    cluster.start(follower, Port::Other).await;
    until("the log to be repaired", async || {
        let lines = cluster.node(follower).lines.all();
        lines
            .iter()
            .any(|line| line.contains("segment repaired; the log is opened again"))
    })
    .await;
    let lines = cluster.node(follower).lines.all();
    assert!(
        lines.iter().any(|line| line.contains("were committed here")),
        "{lines:#?}"
    );
    until("it to have what it had", async || {
        cluster.node(follower).refs.read_path.high_watermark() >= before
    })
    .await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_even_the_note_of_its_end_is_brought_up_by_the_same_leader() {
    let mut cluster = Cluster::found_steady(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    load.progresses(5 * AT_WORK).await;
    cluster.shut_down(follower).await;
    let before = cluster.high_watermark(leader);
    let directory = cluster.place(follower).log_directory();
    lose_the_end(&directory);
    fs::remove_file(directory.join("committed")).expect("it was written at the end");
    cluster.start(follower, Port::Other).await;
    until("it to have what it had", async || {
        cluster.high_watermark(follower) >= before
    })
    .await;
    load.progresses(AT_WORK).await;
    assert_eq!(
        cluster.until_led().await,
        leader,
        "nobody else had to lead for it"
    );
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// The story: it ended with 78, though the two others had the segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_newest_segment_lost_its_header_fetches_it_before_it_takes_part_again() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    load.progresses(5 * AT_WORK).await;
    cluster.shut_down(follower).await;
    let before = cluster.high_watermark(leader);
    let newest = stores(&cluster.place(follower).log_directory())
        .pop()
        .expect("there is a segment");
    let mut bytes = fs::read(&newest).expect("it is there");
    bytes[30] ^= 1;
    fs::write(&newest, bytes).expect("it can be written");
    // Without the leader nobody has all that it may have acknowledged: it must not help to elect the other one.
    let other = cluster.others(leader);
    let other = other
        .into_iter()
        .find(|number| *number != follower)
        .expect("there are three");
    cluster.isolate(leader, Cut::Fail);
    cluster.start(follower, Port::Other).await;
    until("it to look for what it lost", async || {
        let lines = cluster.node(follower).lines.all();
        lines
            .iter()
            .any(|line| line.contains("the log is not repaired yet, tried again"))
    })
    .await;
    let states = [other, follower].map(|number| cluster.node(number).refs.cluster.state().leader);
    assert!(
        states
            .iter()
            .all(|known| known.is_none_or(|known| known == cluster.id(leader))),
        "{states:?}"
    );
    cluster.faults.heal_all();
    until("it to have what it had", async || {
        cluster.high_watermark(follower) >= before
    })
    .await;
    let lines = cluster.node(follower).lines.all();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("segment repaired; the log is opened again")),
        "{lines:#?}"
    );
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// More disks than a minority lose what was acknowledged, and all that could tell. The one node that still has it must not go on
/// with other records than the others at the same offsets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_committed_records_a_leader_contradicts_stops_and_says_so() {
    let mut cluster = Cluster::found(3).await;
    let whole = cluster.until_led().await;
    let [robbed, absent] = cluster.others(whole)[..] else {
        panic!("there are three");
    };
    store(&cluster, whole, "first").await;
    cluster.until_level().await;
    cluster.kill(absent).await;
    for number in 0..20 {
        store(&cluster, whole, &format!("acknowledged {number}")).await;
    }
    until("the other to have it", async || {
        cluster.high_watermark(robbed) == cluster.high_watermark(whole)
    })
    .await;
    cluster.shut_down(robbed).await;
    // In order, so that it remembers what is committed.
    cluster.shut_down(whole).await;
    let directory = cluster.place(robbed).log_directory();
    lose_the_end(&directory);
    fs::remove_file(directory.join("committed")).expect("it was written at the end");
    cluster.begin(robbed, Port::Other).await;
    cluster.begin(absent, Port::Other).await;
    cluster.until_led_among(&[robbed, absent]).await;
    store(&cluster, robbed, "in the place of another").await;
    cluster.begin(whole, Port::Other).await;
    let lines = cluster.node(whole).lines.clone();
    let ending = cluster.ended(whole).await;
    assert_eq!(ending.exit_code, 70, "{ending:?}");
    assert!(ending.cause.contains("is committed here with term"), "{ending:?}");
    assert!(
        lines
            .all()
            .iter()
            .any(|line| line.contains("has lost what it had acknowledged"))
    );
    cluster.stop().await;
}

/// Segments so small that there are many of them soon.
fn small_segments(options: &mut NodeOptions) {
    options.log.segment_bytes = 64 << 10;
}

/// Turns a bit of the store at a position.
fn turn_a_bit(path: &Path, position: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("it can be read");
    file.write_all_at(&[byte[0] ^ 1], position)
        .expect("it can be written");
}

/// Consensus reads some entries at its start, and ended the process where they were damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_sealed_segments_were_damaged_while_it_was_down_is_repaired_as_it_starts() {
    let mut cluster = Cluster::found_with(3, small_segments).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    // Of the first segment the first frame, then the header; of another one the header.
    for (number, position) in [(0, 4100), (0, 40), (1, 40)] {
        let sealed = || {
            cluster
                .node(follower)
                .refs
                .read_path
                .view()
                .segment_firsts()
                .len()
        };
        until("segments to be sealed", async || sealed() > 4).await;
        cluster.shut_down(follower).await;
        let before = cluster.high_watermark(leader);
        let stores = stores(&cluster.place(follower).log_directory());
        turn_a_bit(&stores[number], position);
        cluster.start(follower, Port::Other).await;
        until("it to have what it had", async || {
            cluster.high_watermark(follower) >= before
        })
        .await;
        until("the segment to be repaired", async || {
            let lines = cluster.node(follower).lines.all();
            lines.iter().any(|line| line.contains("segment repaired"))
        })
        .await;
    }
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
