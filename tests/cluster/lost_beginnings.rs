//! Nodes that lost the first segments of their logs while they were down. To readers, and to other nodes that were brought up from
//! there, these looked trimmed.

use std::{fs, path::PathBuf};

use annals::{
    actors::{raft::TrimBelow, supervision::Reply},
    node::NodeOptions,
    types::{LogIndex, Offset},
};

use crate::{
    segments::stores,
    support::{
        cluster::{AT_WORK, Cluster, Port, places},
        load::{Kinds, Load},
        log_checker::Recorder,
        node::{Place, TestNode, until},
    },
};

/// Segments so small that there are many of them soon.
fn small_segments(options: &mut NodeOptions) {
    options.log.segment_bytes = 64 << 10;
}

fn segment_firsts(node: &TestNode) -> Vec<LogIndex> {
    node.refs.read_path.view().segment_firsts()
}

async fn until_segments(cluster: &Cluster, number: usize, segments: usize) {
    until("segments to be sealed", async || {
        segment_firsts(cluster.node(number)).len() > segments
    })
    .await;
}

/// Removes the oldest stores of a node that does not run, with their indexes.
fn lose_the_beginning(place: &Place, segments: usize) {
    for store in stores(&place.log_directory()).drain(..segments) {
        fs::remove_file(&store).expect("it is there");
        // One that nobody has read may have none.
        drop(fs::remove_file(store.with_extension("index")));
    }
}

fn says(cluster: &Cluster, number: usize, what: &str) -> bool {
    let lines = cluster.node(number).lines.all();
    lines.iter().any(|line| line.contains(what))
}

/// What a node says that misses some.
pub(crate) const MISSING: &str = "the first segments of the log are missing, and were not trimmed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_its_first_segments_has_them_from_the_others_again() {
    let mut cluster = Cluster::found_with(3, small_segments).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    // With the note of what is committed, and then without: consensus has to wait for the repair.
    for note_is_lost in [false, true] {
        until_segments(&cluster, follower, 5).await;
        let repairs = cluster.node(follower).lines.beginning("segment repaired").len();
        cluster.shut_down(follower).await;
        let before = cluster.high_watermark(leader);
        let directory = cluster.place(follower).log_directory();
        lose_the_beginning(cluster.place(follower), 3);
        if note_is_lost {
            fs::remove_file(directory.join("committed")).expect("it was written at the end");
        }
        cluster.start(follower, Port::Other).await;
        until("the segments to be written anew", async || {
            let lines = &cluster.node(follower).lines;
            lines.beginning("segment repaired").len() > repairs
        })
        .await;
        assert!(says(&cluster, follower, MISSING));
        assert_eq!(
            says(&cluster, follower, "consensus starts once the log is repaired"),
            note_is_lost
        );
        until("it to have what it had", async || {
            cluster.high_watermark(follower) >= before
        })
        .await;
        assert!(stores(&directory)[0].ends_with("00000000000000000001.store"));
    }
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    for number in cluster.running() {
        assert_eq!(cluster.node(number).refs.read_path.view().earliest(), Offset(0));
        cluster
            .node(number)
            .refs
            .read_path
            .view()
            .scrub(|_| ())
            .expect("all of it is sound");
    }
    cluster.stop().await;
}

/// Then nobody has them, and nobody needs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_what_is_trimmed_meanwhile_comes_up_without_it() {
    let mut cluster = Cluster::found_with(3, small_segments).await;
    let load = cluster.load().await;
    let follower = cluster.follower(cluster.until_led().await);
    until_segments(&cluster, follower, 5).await;
    cluster.shut_down(follower).await;
    lose_the_beginning(cluster.place(follower), 2);
    let lost = PathBuf::from(&stores(&cluster.place(follower).log_directory())[0]);
    load.finish().await;
    let leader = cluster.until_led().await;
    let all = Offset(cluster.high_watermark(leader));
    let (reply, trimmed) = Reply::channel();
    let posted = cluster
        .node(leader)
        .refs
        .raft
        .post(TrimBelow { below: all, reply });
    assert!(posted.is_ok() && trimmed.await.is_ok());
    for number in cluster.running() {
        until("the others to have let go of it", async || {
            segment_firsts(cluster.node(number)).len() == 1
        })
        .await;
    }
    cluster.start(follower, Port::Other).await;
    until("it to begin where the others do", async || {
        cluster.node(follower).refs.read_path.view().earliest() == all
    })
    .await;
    until("it to let go of it as well", async || !lost.exists()).await;
    assert!(says(&cluster, follower, MISSING));
    cluster.shut_down(follower).await;
    cluster.start(follower, Port::Other).await;
    assert_eq!(cluster.node(follower).lines.beginning(MISSING).len(), 1);
    let load = cluster.load().await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_node_has_any_more_is_not_handed_on_as_if_it_had_been_trimmed() {
    let mut cluster = Cluster::new(places(3), 2, small_segments).founded().await;
    let load = cluster.load().await;
    for number in [0, 1] {
        until_segments(&cluster, number, 5).await;
    }
    load.finish().await;
    cluster.until_level().await;
    for number in [0, 1] {
        cluster.shut_down(number).await;
        lose_the_beginning(cluster.place(number), 2);
    }
    for number in [0, 1] {
        cluster.begin(number, Port::Other).await;
    }
    cluster.until_led().await;
    cluster.begin(2, Port::Other).await;
    until("it to be told why", async || {
        says(&cluster, 2, "the segment is missing, and was not trimmed")
    })
    .await;
    assert_eq!(segment_firsts(cluster.node(2)), [LogIndex(1)]);
    assert_eq!(cluster.node(2).lines.beginning("segments installed"), [""; 0]);
    // Who has lost it says so to its clients.
    for number in [0, 1] {
        assert_eq!(cluster.node(number).refs.read_path.view().earliest(), Offset(0));
        assert!(says(&cluster, number, MISSING));
        assert!(says(&cluster, number, "segment not repaired"));
        // It serves what it has, and whoever looks closely is told what it has not.
        let below = segment_firsts(cluster.node(number))[1];
        let told = format!(
            "[+] log ok, but it is damaged at its beginning: the segments with the entries below {below} are missing"
        );
        until("it to say so of its log", async || {
            let (_, text) = cluster.node(number).get("/readyz?verbose").await;
            text.contains(&told)
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_that_lost_its_first_segments_refuses_to_start_and_says_what_to_do() {
    let place = Place::real();
    let node = TestNode::start_with(&place, small_segments).await;
    let load = Load::begin(&node, &Recorder::new(), Kinds::default());
    until("segments to be sealed", async || segment_firsts(&node).len() > 4).await;
    load.finish().await;
    let next = segment_firsts(&node)[2];
    assert_eq!(node.shut_down().await.exit_code, 0);
    lose_the_beginning(&place, 2);
    let ending = TestNode::start_that_fails(&place).await;
    let directory = place.log_directory().display().to_string();
    let last = LogIndex(next.get() - 1).to_string();
    let said = ending.cause.replace(&directory, "LOG").replace(&last, "LAST");
    assert_eq!(
        (ending.exit_code, said.as_str()),
        (
            78,
            "cannot start the raft: consensus cannot start: the log in LOG begins with entry 1 and offset 0, and its first segments, with \
             the entries up to LAST, are missing; restore their files from a backup, or, to give up what they held, remove \
             LOG/beginning"
        )
    );
    // As it says: what is left is read from where it begins.
    fs::remove_file(place.log_directory().join("beginning")).expect("it is there");
    let node = TestNode::start_with(&place, small_segments).await;
    assert!(node.refs.read_path.view().earliest() > Offset(0));
    assert_eq!(node.shut_down().await.exit_code, 0);
}
