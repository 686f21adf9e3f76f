//! Links between nodes are cut, and heal.

use annals::actors::replicator::faults::Cut;

use crate::support::{
    cluster::{AT_WORK, Cluster, TIMING},
    load::{ACKNOWLEDGED, Kinds, Load, TIMED_OUT},
    log_checker::Level,
    node::until,
};

/// Clients who do not wait for a node that cannot answer.
fn impatient() -> Kinds {
    Kinds {
        patience: Some(TIMING.election_timeout / 3),
        ..Kinds::of_a_cluster()
    }
}

/// Waits until producers have been told so many times more that there is no leader.
async fn refused(load: &Load, count: u64) {
    let wanted = load.answers("NO_LEADER") + count;
    until("refusals", async || load.answers("NO_LEADER") >= wanted).await;
}

/// Parts the leader from the others under load, and heals the links once another one leads.
async fn leader_is_parted(how: Cut) {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let old = cluster.until_led().await;
    cluster.isolate(old, how);
    let parted = cluster.recorder.now();
    let at_the_old_one = cluster.load_at(old, impatient());
    until("it to lead no more", async || {
        cluster.leader_of(old).await.is_none()
    })
    .await;
    let led_on = cluster.recorder.now().since(parted);
    println!("the leader steps down after {led_on:?}");
    assert!(led_on < 2 * TIMING.election_timeout, "{led_on:?}");
    assert!(cluster.linearizable_read(old).await.is_err());
    refused(&at_the_old_one, 20).await;
    let answers = at_the_old_one.finish().await;
    assert_eq!(answers.produced.get(ACKNOWLEDGED), None, "{answers:?}");
    let unknown = ["OUTCOME_UNKNOWN", TIMED_OUT]
        .iter()
        .filter_map(|reason| answers.produced.get(*reason));
    assert!(
        unknown.sum::<u64>() > 0,
        "nothing is in its log alone: {answers:?}"
    );
    let fresh = cluster.recorder.history().reads.into_iter().filter(|read| {
        read.level == Level::Linearizable && read.began > parted && &*read.node.name == cluster.name(old)
    });
    assert_eq!(fresh.count(), 0);
    cluster.until_led_among(&cluster.others(old)).await;
    load.progresses(AT_WORK).await;
    cluster.faults.heal_all();
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_nothing_reaches_acknowledges_nothing_and_steps_down_and_its_tail_is_cut_off() {
    leader_is_parted(Cut::Hang).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_links_break_acknowledges_nothing_and_steps_down_and_its_tail_is_cut_off() {
    leader_is_parted(Cut::Fail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_parted_for_long_does_not_disturb_the_others_and_catches_up() {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let term = cluster.node(leader).refs.cluster.state().term;
    let follower = cluster.follower(leader);
    let since = cluster.recorder.now();
    cluster.isolate(follower, Cut::Hang);
    let stood_at = cluster.high_watermark(follower);
    until("it to know no leader", async || {
        cluster.leader_of(follower).await.is_none()
    })
    .await;
    load.progresses(20 * AT_WORK).await;
    assert!(cluster.linearizable_read(follower).await.is_err());
    assert!(cluster.local_read(follower).await.is_ok());
    let lag = cluster.high_watermark(leader) - stood_at;
    cluster.faults.heal_all();
    assert_eq!(
        cluster.until_led().await,
        leader,
        "it was thrown out by who came back"
    );
    let silence = cluster
        .recorder
        .history()
        .longest_silence(since, cluster.recorder.now());
    println!("{lag} records behind; {silence:?} of silence");
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(
        cluster.node(leader).refs.cluster.state().term,
        term,
        "there was an election"
    );
    assert!(lag > AT_WORK && summary.contents == 3, "{lag}, {summary:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_write_on_and_one_alone_refuses_to_and_still_serves_what_it_has() {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let [gone, last] = cluster.others(leader)[..] else {
        panic!("there are three")
    };
    cluster.isolate(gone, Cut::Fail);
    load.progresses(5 * AT_WORK).await;
    cluster.isolate(last, Cut::Fail);
    for number in [leader, gone, last] {
        until("nobody to lead", async || {
            cluster.leader_of(number).await.is_none()
        })
        .await;
    }
    let acknowledged = load.answers(ACKNOWLEDGED);
    refused(&load, 100).await;
    assert_eq!(load.answers(ACKNOWLEDGED), acknowledged);
    for number in [leader, gone, last] {
        assert!(cluster.linearizable_read(number).await.is_err());
        assert!(cluster.local_read(number).await.unwrap() > 0);
    }
    cluster.faults.heal_all();
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    cluster.judge(load).await;
    cluster.stop().await;
}
