//! All is well: what is written anywhere is read everywhere.

use crate::support::{
    cluster::{AT_WORK, Cluster},
    load::{ACKNOWLEDGED, Kinds, read_all_of},
    log_checker::Level,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_at_the_leader_is_read_at_each_node() {
    let cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let load = cluster.load_at(leader, Kinds::of_a_whole_cluster());
    load.progresses(AT_WORK).await;
    let (answers, summary) = cluster.judge(load).await;
    answers.assert_produced_only(&[ACKNOWLEDGED]);
    answers.assert_reads_refused_only(cluster.refusals_of_a_standstill());
    assert_eq!(summary.contents, 3);
    for number in cluster.others(leader) {
        read_all_of(
            &cluster.nodes,
            cluster.name(number),
            Level::Local,
            &cluster.recorder,
        )
        .await;
    }
    cluster.recorder.history().assert_kept();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_at_a_follower_is_stored_by_the_leader_and_read_at_each_node() {
    let cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let load = cluster.load_at(cluster.follower(leader), Kinds::of_a_whole_cluster());
    load.progresses(AT_WORK).await;
    let (answers, summary) = cluster.judge(load).await;
    answers.assert_produced_only(&[ACKNOWLEDGED]);
    answers.assert_reads_refused_only(cluster.refusals_of_a_standstill());
    assert_eq!(summary.contents, 3);
    assert!(summary.linearizable_reads > 0, "{summary:?}");
    cluster.stop().await;
}
