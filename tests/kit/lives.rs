//! Nodes end and start, and clusters stand beside each other.

use annals::testing::TestCluster;

use crate::{AT_WORK, values};

#[tokio::test]
async fn a_node_that_was_killed_and_one_that_was_stopped_have_everything_when_they_are_back() {
    let _at_work = AT_WORK.read().await;
    let mut cluster = TestCluster::start(3).await;
    cluster.produce(["one"]).await;

    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    assert_eq!(cluster.running().len(), 2);
    assert_eq!(cluster.addresses().len(), 2);
    assert_ne!(cluster.leader().await, leader);
    cluster.produce(["two"]).await;
    cluster.restart(leader).await;
    let client = cluster.client();
    assert_eq!(client.append(["by the client"]).await.unwrap().start.get(), 2);

    let other = cluster.follower(leader);
    let ending = cluster.shut_down(other).await;
    assert_eq!(ending.exit_code, 0, "{ending:?}");
    cluster.produce(["three"]).await;
    cluster.restart(other).await;

    for number in 0..3 {
        cluster.restart(number).await;
        cluster.caught_up(number).await;
        assert_eq!(
            values(cluster.records(number).await),
            ["one", "two", "by the client", "three"]
        );
    }
}

#[tokio::test]
async fn a_node_that_joins_has_everything_and_one_that_lost_its_disk_gets_it_back() {
    let _at_work = AT_WORK.read().await;
    let mut cluster = TestCluster::start(3).await;
    cluster.produce(["one"]).await;

    let number = cluster.join().await;
    assert_eq!(number, 3);
    assert_eq!(cluster.caught_up(number).await, 1);
    assert_eq!(values(cluster.records(number).await), ["one"]);

    let before = cluster.id(number);
    cluster.kill(number).await;
    cluster.wipe(number);
    cluster.restart(number).await;
    assert_ne!(cluster.id(number), before, "an empty disk is another node");
    cluster.caught_up(number).await;
    assert_eq!(values(cluster.records(number).await), ["one"]);
}

#[tokio::test]
async fn two_clusters_in_one_process_know_nothing_of_each_other() {
    let _at_work = AT_WORK.read().await;
    let (one, other) = tokio::join!(TestCluster::start(1), TestCluster::start(3));
    one.produce(["of one"]).await;
    other.produce(["of the other"]).await;
    let leader = one.leader().await;
    one.cut(leader);
    assert_eq!(values(one.records(0).await), ["of one"]);
    for number in 0..3 {
        other.caught_up(number).await;
        assert_eq!(values(other.records(number).await), ["of the other"]);
    }
    drop(one);
    assert_eq!(other.produce(["more"]).await, 1..2);
}

#[tokio::test]
async fn options_hold_for_each_start_of_each_node() {
    let _at_work = AT_WORK.read().await;
    let mut cluster = TestCluster::start_with(1, |options| options.log.segment_bytes = 64 << 10).await;
    cluster.restart(0).await;
    for _ in 0..8 {
        cluster.produce([vec![7; 32 << 10]]).await;
    }
    let stores = std::fs::read_dir(cluster.place(0).log_directory()).unwrap();
    let stores = stores.filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|end| end == "store")
    });
    assert!(stores.count() >= 4, "segments are of the usual size");
}
