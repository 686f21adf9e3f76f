//! Nodes are cut off, and come back.

use annals::testing::{Cut, TestCluster, until};

use crate::{AT_WORK, values};

#[tokio::test]
async fn a_leader_that_is_cut_off_is_replaced_and_has_everything_when_it_is_back() {
    let _at_work = AT_WORK.read().await;
    let cluster = TestCluster::start(3).await;
    assert_eq!(cluster.produce(["one", "two"]).await, 0..2);

    let leader = cluster.leader().await;
    cluster.cut(leader);
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert_eq!(cluster.produce(["three"]).await, 2..3);
    assert_eq!(values(cluster.records(leader).await), ["one", "two"]);

    cluster.heal(leader);
    assert_eq!(cluster.caught_up(leader).await, 3);
    for number in cluster.running() {
        cluster.caught_up(number).await;
        assert_eq!(values(cluster.records(number).await), ["one", "two", "three"]);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn in_a_partition_the_larger_side_goes_on_and_the_smaller_one_only_reads_what_it_has() {
    let _at_work = AT_WORK.read().await;
    let cluster = TestCluster::start(5).await;
    cluster.produce(["before"]).await;
    for number in 0..5 {
        cluster.caught_up(number).await;
    }

    let leader = cluster.leader().await;
    let other = cluster.follower(leader);
    cluster.partition(&[&[leader, other]]);
    let next = cluster.leader().await;
    assert!(next != leader && next != other, "{next} is on the smaller side");
    cluster.produce(["meanwhile"]).await;
    assert!(
        cluster.linearizable_read(other).await.is_err(),
        "{other} reaches no majority"
    );
    assert_eq!(values(cluster.records(other).await), ["before"]);
    for number in (0..5).filter(|number| ![leader, other].contains(number)) {
        assert_eq!(cluster.caught_up(number).await, 2);
    }

    cluster.heal_all();
    for number in 0..5 {
        assert_eq!(cluster.caught_up(number).await, 2);
        assert_eq!(values(cluster.records(number).await), ["before", "meanwhile"]);
    }
}

#[tokio::test]
async fn a_link_that_is_cut_in_one_direction_keeps_records_from_one_node_alone() {
    let _at_work = AT_WORK.read().await;
    let cluster = TestCluster::start(3).await;
    let leader = cluster.leader().await;
    let behind = cluster.follower(leader);
    cluster.cut_link(leader, behind, Cut::Fail);
    cluster.produce(["one"]).await;
    for number in cluster.running() {
        let has = if number == behind { 0 } else { 1 };
        until("who is reached to have the record", async || {
            cluster.records(number).await.len() == has
        })
        .await;
    }
    cluster.heal(behind);
    assert_eq!(cluster.caught_up(behind).await, 1);
    assert_eq!(values(cluster.records(behind).await), ["one"]);
}
