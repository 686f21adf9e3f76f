//! A cluster whose nodes and clients all have certificates does what one without does.

use std::sync::Arc;

use crate::support::{
    cluster::{AT_WORK, Cluster, Port, patient},
    load::ACKNOWLEDGED,
    tls::{CLUSTER, Credentials},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_tls_stores_and_reads_at_each_node() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let cluster = Cluster::found_secured_by(&credentials, 3, patient).await;
    let load = cluster.patient_load().await;
    let (answers, summary) = cluster.judge(load).await;
    answers.assert_produced_only(&[ACKNOWLEDGED]);
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_tls_outlives_its_leader() {
    let mut cluster = Cluster::found_secured(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    cluster.kill(leader).await;
    let others = cluster.running();
    cluster.until_led_among(&others).await;
    load.progresses(AT_WORK).await;
    cluster.start(leader, Port::Other).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
