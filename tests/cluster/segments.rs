//! Nodes that are too far behind to be brought up by entries, and segments that are damaged.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use annals::{
    actors::{raft::ScrubPace, replicator::faults::Cut},
    node::NodeOptions,
    proto::annals::v1::{ConsumeRequest, ReadLevel, Start, start::Position},
    storage::{ReadError, Retention},
};
use futures::future::join_all;

use crate::support::{
    cluster::{AT_WORK, Cluster, Port, places},
    load::{Kinds, Load, reason_of},
    node::{in_time, until},
};

/// Batches of a megabyte, so that all clients are at work.
const LARGE_AT_WORK: u64 = 6;

/// Segments so small that there are many of them soon.
const SEGMENT_BYTES: u64 = 64 << 10;

/// So little is kept that whoever is away for a moment is behind it.
pub(crate) fn little_is_kept(options: &mut NodeOptions) {
    options.log.segment_bytes = SEGMENT_BYTES;
    options.retention = Retention {
        bytes_max: Some(2 * SEGMENT_BYTES),
        age_max_ms: None,
    };
}

/// Sealed segments are looked through all the time, as fast as they can be read.
fn always_looked_through(options: &mut NodeOptions) {
    options.log.segment_bytes = SEGMENT_BYTES;
    options.scrub = ScrubPace {
        bytes_per_second: 1 << 30,
        rest: Duration::from_millis(50),
    };
}

/// Sealed segments are looked through at the start, when there are none, and then never again.
fn looked_through_by_readers_only(options: &mut NodeOptions) {
    options.log.segment_bytes = SEGMENT_BYTES;
    options.scrub = ScrubPace {
        bytes_per_second: 1 << 30,
        rest: Duration::from_secs(24 * 3600),
    };
}

/// Waits until `number` has let go of entries that `behind`, which is parted, still lacks. Where its log begins for readers says
/// less: entries stay while they are being sent to somebody.
pub(crate) async fn until_trimmed_past(cluster: &Cluster, number: usize, behind: usize) {
    until("the log to be trimmed past the other's end", async || {
        let first = cluster.node(number).refs.read_path.view().segment_firsts()[0];
        first > cluster.node(behind).refs.cluster.state().last.plus(1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_parted_until_its_place_was_trimmed_is_brought_up_by_segments_under_load() {
    let cluster = Cluster::found_with(3, little_is_kept).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    cluster.isolate(follower, Cut::Fail);
    until_trimmed_past(&cluster, leader, follower).await;
    cluster.faults.heal_all();
    until("segments to be installed", async || {
        let lines = cluster.node(follower).lines.all();
        lines.iter().any(|line| line.contains("segments installed"))
    })
    .await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_a_log_which_begins_late_is_brought_up_by_segments_and_survives_a_restart() {
    let mut cluster = Cluster::new(places(2), 1, little_is_kept).founded().await;
    let load = cluster.load().await;
    until("the log to begin late", async || {
        cluster.node(0).refs.read_path.view().earliest().get() > 0
    })
    .await;
    cluster.start(1, Port::Other).await;
    until("segments to be installed", async || {
        let lines = cluster.node(1).lines.all();
        lines.iter().any(|line| line.contains("segments installed"))
    })
    .await;
    load.progresses(AT_WORK).await;
    cluster.kill(1).await;
    cluster.start(1, Port::Other).await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_of_a_cluster_with_retention_begins_at_the_same_offset() {
    let cluster = Cluster::found_with(3, little_is_kept).await;
    let load = cluster.load().await;
    until("the log to begin late", async || {
        cluster.node(0).refs.read_path.view().earliest().get() > 0
    })
    .await;
    load.finish().await;
    cluster.until_level().await;
    until("all nodes to begin at the same offset", async || {
        let earliest = |number| cluster.node(number).refs.read_path.view().earliest();
        earliest(0) == earliest(1) && earliest(1) == earliest(2)
    })
    .await;
    cluster.judge_all().await;
    cluster.stop().await;
}

/// The stores of a log, oldest first.
pub(crate) fn stores(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).expect("the log is there");
    let paths = files.map(|file| file.expect("it can be listed").path());
    let mut stores: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "store"))
        .collect();
    stores.sort();
    stores
}

/// The oldest sealed segment but one of a log, once there are some.
async fn sealed_store(directory: &Path) -> PathBuf {
    until("some sealed segments", async || stores(directory).len() > 3).await;
    stores(directory)[1].clone()
}

/// Turns one bit in the middle of a file.
fn damage(path: &Path) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("it is there");
    let position = file.metadata().expect("it has a length").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("it is that long");
    byte[0] ^= 1;
    file.write_all_at(&byte, position).expect("it can be written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_a_sealed_segment_is_found_by_looking_and_repaired_from_another_node() {
    let cluster = Cluster::found_with(3, always_looked_through).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    let store = sealed_store(&cluster.place(follower).log_directory()).await;
    damage(&store);
    until("the segment to be repaired", async || {
        let lines = cluster.node(follower).lines.all();
        lines.iter().any(|line| line.contains("segment repaired"))
    })
    .await;
    assert!(
        cluster
            .node(follower)
            .lines
            .all()
            .iter()
            .any(|line| line.contains("a sealed segment is damaged"))
    );
    let kept = fs::read_dir(cluster.place(follower).log_directory()).expect("the log is there");
    let kept = kept.filter_map(|file| file.ok()?.file_name().into_string().ok());
    assert!(
        kept.into_iter().any(|name| name.contains(".store.")),
        "the damaged file is kept"
    );
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// Reads all that a node has, once; answers how many records that is, or why it ended.
async fn read_through(cluster: &Cluster, number: usize) -> Result<u64, String> {
    let request = ConsumeRequest {
        start: Some(Start {
            position: Some(Position::Earliest(true)),
        }),
        read_level: ReadLevel::Local.into(),
        ..ConsumeRequest::default()
    };
    let mut client = cluster.node(number).client();
    let stream = client
        .consume_stream(request)
        .await
        .map_err(|status| reason_of(&status))?;
    let (mut stream, mut next) = (stream.into_inner(), 0);
    while let Some(response) = stream.message().await.map_err(|status| reason_of(&status))? {
        next = response.next_offset;
    }
    Ok(next)
}

/// How often a node has begun to repair a segment.
fn repairs(cluster: &Cluster, number: usize) -> usize {
    let lines = &cluster.node(number).lines;
    lines.beginning("a sealed segment is damaged").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_a_reader_meets_is_repaired_at_once_and_the_reader_goes_on() {
    // Until there was a way from readers to the repair, damage stood until the next hourly scrub.
    let cluster = Cluster::found_with(3, looked_through_by_readers_only).await;
    let load = cluster.load().await;
    let follower = cluster.follower(cluster.until_led().await);
    let store = sealed_store(&cluster.place(follower).log_directory()).await;
    load.finish().await;
    cluster.until_level().await;
    damage(&store);
    let reads: Vec<_> = (0..8).map(|_| read_through(&cluster, follower)).collect();
    let reads = in_time("the reads", join_all(reads)).await;
    assert!(reads.contains(&Err("CORRUPT".to_owned())), "{reads:?}");
    until("the segment to be read again", async || {
        read_through(&cluster, follower).await == Ok(cluster.high_watermark(follower))
    })
    .await;
    // The story: one that read while the segment was away, and said so when it was there again, had it repaired once more.
    cluster.node(follower).refs.read_path.report(&ReadError::Corrupt {
        path: store,
        position: annals::types::Position(0),
        what: "the segment is quarantined until it is repaired from another node".to_owned(),
    });
    assert_eq!(
        read_through(&cluster, follower).await,
        Ok(cluster.high_watermark(follower))
    );
    assert_eq!(repairs(&cluster, follower), 1, "however many readers met it");
    let summary = cluster.judge_all().await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_meets_damage_in_what_a_follower_lacks_repairs_it_and_goes_on_leading() {
    // A read of the log that fails ends openraft: the leader was restarted until its process ended with 70.
    let mut cluster = Cluster::found_with(3, looked_through_by_readers_only).await;
    let load = cluster.load().await;
    let away = cluster.follower(cluster.until_led().await);
    cluster.kill(away).await;
    let before = stores(&cluster.place(away).log_directory()).len();
    for number in cluster.running() {
        let directory = cluster.place(number).log_directory();
        until("segments that the other one lacks", async || {
            stores(&directory).len() > before + 3
        })
        .await;
    }
    load.finish().await;
    // What was appended since the start is sent from memory.
    let others = cluster.running();
    for number in &others {
        cluster.kill(*number).await;
    }
    for number in &others {
        cluster.begin(*number, Port::Other).await;
    }
    let leader = cluster.until_led().await;
    cluster.until_level().await;
    let sealed = stores(&cluster.place(leader).log_directory());
    damage(&sealed[sealed.len() - 2]);
    cluster.begin(away, Port::Other).await;
    cluster.until_level().await;
    until("the segment to be repaired", async || {
        !cluster
            .node(leader)
            .lines
            .beginning("segment repaired")
            .is_empty()
    })
    .await;
    assert_eq!(repairs(&cluster, leader), 1);
    assert_eq!(
        cluster.node(leader).lines.beginning("consensus cannot go on"),
        [""; 0]
    );
    assert_eq!(cluster.until_led().await, leader);
    let summary = cluster.judge_all().await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_nobody_can_repair_is_looked_at_now_and_then_and_not_at_each_read() {
    let cluster = Cluster::found_with(1, looked_through_by_readers_only).await;
    let load = cluster.load().await;
    let store = sealed_store(&cluster.place(0).log_directory()).await;
    load.finish().await;
    damage(&store);
    until("somebody to look at the damage", async || {
        assert_eq!(read_through(&cluster, 0).await, Err("CORRUPT".to_owned()));
        !cluster.node(0).lines.beginning("segment not repaired").is_empty()
    })
    .await;
    let looked = repairs(&cluster, 0);
    for _ in 0..100 {
        assert_eq!(read_through(&cluster, 0).await, Err("CORRUPT".to_owned()));
    }
    // The rest in between is seconds, and a hundred reads are less, but on a machine that is very slow.
    assert!(repairs(&cluster, 0) < looked + 10);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_at_the_end_of_a_log_is_repaired_before_the_node_takes_part_again() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    load.progresses(5 * AT_WORK).await;
    cluster.shut_down(follower).await;
    let directory = cluster.place(follower).log_directory();
    let last = stores(&directory).pop().expect("there is a segment");
    let before = cluster.node(leader).refs.read_path.high_watermark();
    damage_where_frames_are(&last);
    cluster.start(follower, Port::Other).await;
    until("the log to be repaired", async || {
        let lines = cluster.node(follower).lines.all();
        lines
            .iter()
            .any(|line| line.contains("segment repaired; the log is opened again"))
    })
    .await;
    until("it to have what it had", async || {
        cluster.node(follower).refs.read_path.high_watermark() >= before
    })
    .await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// Turns a bit in the middle of what was written to the last segment, which is longer than that: it has zeros ahead.
fn damage_where_frames_are(path: &Path) {
    let bytes = fs::read(path).expect("it is there");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("something was written");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("it is there");
    let position = end / 2;
    file.write_all_at(&[bytes[position] ^ 1], position as u64)
        .expect("it can be written");
}

/// Three records are a batch that is a little larger than a segment: with its header it fits into none.
fn segments_of_a_batch(options: &mut NodeOptions) {
    options.net.batch_bytes_max = 1 << 20;
    options.net.admission_bytes = 32 << 20;
    options.log.segment_bytes = 1 << 20;
}

/// Configurations have four batches in a segment at least; a log that was told otherwise, as by who builds a node in a program, stores them all
/// the same: an entry that is larger than a segment goes into one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_fit_into_no_segment_are_stored_and_outlive_the_leader() {
    let mut cluster = Cluster::found_with(3, segments_of_a_batch).await;
    let kinds = Kinds {
        unary: 1,
        unary_stamped: 1,
        tails: 1,
        readers: 1,
        lease_readers: 0,
        record_bytes: (1 << 20) / 3 - 16,
        ..Kinds::of_a_cluster()
    };
    let load = Load::begin_on(&cluster.nodes, &cluster.recorder, kinds);
    load.progresses(LARGE_AT_WORK).await;
    let leader = cluster.until_led().await;
    cluster.kill(leader).await;
    load.progresses(LARGE_AT_WORK).await;
    cluster.start(leader, Port::Same).await;
    load.progresses(LARGE_AT_WORK).await;
    let stored = stores(&cluster.place(leader).log_directory()).len();
    assert!(
        stored as u64 > LARGE_AT_WORK,
        "{stored} segments: they hold more than a batch"
    );
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
