//! The leader dies: another one takes over, and nothing that was acknowledged is lost.

use std::{sync::Arc, time::Duration};

use annals::{
    actors::{
        raft::{ChangeFailed, HandOver},
        supervision::{Answer, Part, Reply, Sabotage},
    },
    storage::fs::RealFileSystem,
    types::NodeId,
};

use crate::support::{
    cluster::{AT_WORK, Cluster, Port, TIMING},
    hooked_fs::{Gate, HookedFileSystem},
    load::Load,
    log_checker::Moment,
    node::{Place, in_time, until},
};

/// Waits until another node than `old` leads and clients are at work again; how long nobody was acknowledged anything.
async fn taken_over(cluster: &Cluster, load: &Load, old: usize, since: Moment) -> Duration {
    let others: Vec<_> = cluster
        .running()
        .into_iter()
        .filter(|node| *node != old)
        .collect();
    cluster.until_led_among(&others).await;
    load.progresses(AT_WORK).await;
    let history = cluster.recorder.history();
    history.longest_silence(since, cluster.recorder.now())
}

/// Another node leads within two election timeouts; two that stand at the same time need one more, and a machine that does much
/// else is given half as much again.
fn assert_soon(mut silences: Vec<Duration>) {
    println!("{silences:?} without a leader");
    silences.sort_unstable();
    let (median, longest) = (silences[silences.len() / 2], silences[silences.len() - 1]);
    let timeout = TIMING.election_timeout;
    assert!(median < 3 * timeout && longest < 6 * timeout, "{silences:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_leads_when_the_leader_is_killed_and_nothing_acknowledged_is_lost_or_doubled() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let mut silences = Vec::new();
    for _ in 0..3 {
        let leader = cluster.until_led().await;
        let since = cluster.recorder.now();
        cluster.kill(leader).await;
        silences.push(taken_over(&cluster, &load, leader, since).await);
        cluster.start(leader, Port::Other).await;
    }
    assert_soon(silences);
    let (_, summary) = cluster.judge(load).await;
    assert!(summary.unknown > 0, "no batch was under way: {summary:?}");
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_s_consensus_that_panics_is_built_again_and_nothing_acknowledged_is_lost_or_doubled() {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let mut silences = Vec::new();
    for _ in 0..3 {
        let leader = cluster.until_led().await;
        let node = cluster.node(leader);
        let generation = node.status_of(Part::Raft).await.generation;
        let since = cluster.recorder.now();
        until("somebody to strike", async || {
            node.refs.raft.post(Sabotage { of: Part::Raft }).is_ok()
        })
        .await;
        node.until_running(Part::Raft, generation + 1).await;
        cluster.until_led().await;
        load.progresses(AT_WORK).await;
        let history = cluster.recorder.history();
        silences.push(history.longest_silence(since, cluster.recorder.now()));
    }
    assert_soon(silences);
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// Asks a leader to let that node lead.
fn hand_over(cluster: &Cluster, leader: usize, to: usize) -> Answer<Option<NodeId>, ChangeFailed> {
    let (reply, answer) = Reply::channel();
    let to = Some(cluster.id(to));
    let posted = cluster.node(leader).refs.raft.post(HandOver { to, reply });
    assert!(posted.is_ok());
    answer
}

/// It said that the other one leads, with exit code 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_fails_with_words_when_another_node_took_over_than_was_asked() {
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let place = |gate: &Arc<Gate>| Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, gate.clone())));
    let cluster = Cluster::found_at(gates.iter().map(place).collect(), 3).await;
    let leader = cluster.until_led().await;
    let [asked, other] = cluster.others(leader)[..] else {
        panic!("there are three")
    };
    // It hears that it is to lead, and cannot write down that it stands.
    gates[asked].close();
    let first = hand_over(&cluster, leader, asked);
    until("it to stand", async || gates[asked].waiting() > 0).await;
    let second = hand_over(&cluster, leader, other);
    let other_id = cluster.id(other);
    assert_eq!(in_time("the second answer", second).await, Ok(Some(other_id)));
    let first = in_time("the first answer", first).await;
    let Err(ChangeFailed::Refused { why }) = first else {
        panic!("{first:?}")
    };
    assert!(
        why.contains("did not take over") && why.contains(&format!("node {other_id} leads now")),
        "{why}"
    );
    gates[asked].open();
    cluster.until_led().await;
    cluster.stop().await;
}
