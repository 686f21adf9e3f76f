//! Nodes are restarted on purpose, one after the other or all at once.

use annals::consensus::Timing;

use crate::support::{
    cluster::{AT_WORK, Cluster, Port},
    load::read_all_of,
    log_checker::Level,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_and_clients_wait_less_than_for_an_election() {
    // As it is shipped: nobody notices a restart that is announced, however patient consensus is.
    let shipped = Timing::default();
    let mut cluster = Cluster::found_with(3, |options| options.consensus = Timing::default()).await;
    let load = cluster.load().await;
    let mut silences = Vec::new();
    for number in 0..3 {
        let leader = cluster.until_led().await;
        let since = cluster.recorder.now();
        let ending = cluster.shut_down(number).await;
        assert_eq!(ending.exit_code, 0, "{ending:?}");
        cluster.start(number, Port::Same).await;
        cluster.until_led().await;
        load.progresses(AT_WORK).await;
        let history = cluster.recorder.history();
        if leader == number {
            silences.push(history.longest_silence(since, cluster.recorder.now()));
        }
    }
    println!("{silences:?} while leadership was handed over");
    silences.sort_unstable();
    assert!(!silences.is_empty(), "the leader was never stopped");
    // One that is refused, as on a machine that has no time for it, ends in an election.
    let (median, longest) = (silences[silences.len() / 2], silences[silences.len() - 1]);
    let timeout = shipped.election_timeout;
    assert!(median < timeout && longest < 4 * timeout, "{silences:?}");
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_killed_at_once_come_back_with_all_that_was_acknowledged() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let numbers = cluster.running();
    for number in &numbers {
        cluster.kill(*number).await;
    }
    // One alone knows nothing for certain but what it noted.
    cluster.begin(0, Port::Other).await;
    assert!(cluster.linearizable_read(0).await.is_err());
    read_all_of(&cluster.nodes, "node-0", Level::Local, &cluster.recorder).await;
    for number in [1, 2] {
        cluster.begin(number, Port::Other).await;
    }
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 4);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_stopped_at_once_come_back_where_they_were() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    for number in cluster.running() {
        assert_eq!(cluster.shut_down(number).await.exit_code, 0);
    }
    for number in 0..3 {
        cluster.begin(number, Port::Same).await;
    }
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    cluster.judge(load).await;
    cluster.stop().await;
}
