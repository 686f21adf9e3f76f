//! The clients that work on clusters: they find the leader, outlive whatever becomes of nodes, and what they note is
//! enough to tell a good log from a bad one. The leader is a real node, the others are stand-ins.

mod stand_ins;

use std::{sync::Arc, time::Duration};

use annals::actors::supervision::Part;
use stand_ins::{Follower, Mute, nobody};

use super::sabotage::strike;
use crate::support::{
    load::{ACKNOWLEDGED, BROKEN, Kinds, Load, Nodes, TIMED_OUT, read_all, read_all_of, read_all_running},
    log_checker::{Answer, History, Level, Read, Recorder, Rule},
    node::{Place, TestNode, until},
};

/// Enough requests and records to be sure that all clients are at work.
const AT_WORK: u64 = 150;

/// Producers only, one of each kind.
fn producers() -> Kinds {
    Kinds {
        unary: 1,
        unary_stamped: 1,
        streams: 1,
        streams_stamped: 1,
        tails: 0,
        readers: 0,
        lease_readers: 0,
        ..Kinds::of_a_cluster()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_find_the_leader_wherever_they_begin_and_wherever_it_comes_back() {
    let place = Place::real();
    let recorder = Recorder::new();
    let follower = Follower::start();
    let nodes = Nodes::of([("node-1", follower.address), ("node-2", nobody().await)]);
    let mut leader = TestNode::start(&place).await;
    nodes.starts("node-0", leader.addresses.rpc);
    follower.hears_of(leader.addresses.rpc);
    let load = Load::begin_on(&nodes, &recorder, Kinds::of_a_cluster());
    for part in [Part::Log, Part::Raft, Part::Gateway] {
        load.progresses(AT_WORK).await;
        strike(&leader, part).await;
        leader.until_running(part, 2).await;
        load.progresses(AT_WORK).await;
        assert_eq!(leader.shut_down().await.exit_code, 0);
        nodes.ends("node-0");
        leader = TestNode::start(&place).await;
        nodes.starts("node-0", leader.addresses.rpc);
        follower.hears_of(leader.addresses.rpc);
    }
    load.progresses(AT_WORK).await;
    let answers = load.finish().await;
    for reason in [ACKNOWLEDGED, "NOT_LEADER", BROKEN] {
        assert!(answers.produced.contains_key(reason), "{answers:?}");
    }
    nodes.leaves("node-1");
    nodes.leaves("node-2");
    assert!(read_all_running(&nodes, &recorder).await > 4 * AT_WORK);
    read_all_of(&nodes, "node-0", Level::Local, &recorder).await;
    let history = recorder.history();
    let summary = history.assert_kept();
    assert!(summary.failed > 0 && summary.unknown > 0, "{summary:?}");
    assert!(
        summary.linearizable_reads > 0 && summary.watermarks > 0,
        "{summary:?}"
    );
    assert_eq!(summary.contents, 2);
    let last_life = history.contents[0].node.life;
    assert_eq!(last_life, 3, "each start of a process is a life");
    leader.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_none_of_the_nodes_known_is_found_by_the_address_it_is_said_to_have() {
    let recorder = Recorder::new();
    let leader = TestNode::start(&Place::real()).await;
    let follower = Follower::start();
    let nodes = Nodes::of([("node-1", follower.address)]);
    let load = Load::begin_on(&nodes, &recorder, producers());
    until("refusals", async || load.answers("NO_LEADER") > AT_WORK).await;
    follower.hears_of(leader.addresses.rpc);
    until("acknowledgements", async || load.answers(ACKNOWLEDGED) > AT_WORK).await;
    load.finish()
        .await
        .assert_produced_only(&[ACKNOWLEDGED, "NO_LEADER", "NOT_LEADER"]);
    read_all(&leader, &recorder).await;
    recorder.history().assert_kept();
    leader.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_answers_leaves_outcomes_unknown_and_nobody_waiting() {
    let recorder = Recorder::new();
    let leader = TestNode::start(&Place::real()).await;
    let mute = Mute::start().await;
    let nodes = Nodes::of([("node-0", leader.addresses.rpc), ("node-1", mute.address)]);
    let kinds = Kinds {
        patience: Some(Duration::from_millis(200)),
        ..Kinds::of_a_cluster()
    };
    let load = Load::begin_on(&nodes, &recorder, kinds);
    load.progresses(AT_WORK).await;
    until("impatience", async || load.answers(TIMED_OUT) > 0).await;
    let answers = load.finish().await;
    assert!(answers.refused_reads.contains_key(TIMED_OUT), "{answers:?}");
    read_all(&leader, &recorder).await;
    let summary = recorder.history().assert_kept();
    assert!(summary.unknown > 0, "{summary:?}");
    leader.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_time_is_up_is_given_up_and_the_producer_goes_on_in_its_next_epoch() {
    let recorder = Recorder::new();
    let leader = TestNode::start(&Place::real()).await;
    let follower = Follower::start();
    let nodes = Nodes::of([("node-1", follower.address)]);
    let kinds = Kinds {
        batch_deadline: Duration::from_millis(20),
        unary: 0,
        streams: 0,
        streams_stamped: 0,
        ..producers()
    };
    let load = Load::begin_on(&nodes, &recorder, kinds);
    until("refusals", async || load.answers("NO_LEADER") > AT_WORK).await;
    follower.hears_of(leader.addresses.rpc);
    until("acknowledgements", async || load.answers(ACKNOWLEDGED) > AT_WORK).await;
    load.finish().await;
    read_all(&leader, &recorder).await;
    let history = recorder.history();
    history.assert_kept();
    let acknowledged = history
        .attempts
        .iter()
        .filter(|attempt| matches!(attempt.answer, Some((_, Answer::Acknowledged { .. }))));
    let epochs = acknowledged.map(|attempt| attempt.stamp.expect("it has one").epoch);
    assert!(epochs.max().is_some_and(|epoch| epoch > 0));
    leader.shut_down().await;
}

/// What the clients of a real node saw, and all that it had.
async fn real_history() -> History {
    let recorder = Recorder::new();
    let node = TestNode::start(&Place::real()).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    load.finish().await;
    read_all(&node, &recorder).await;
    node.shut_down().await;
    recorder.history()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_note_of_a_real_node_gives_each_kind_of_breach_away() {
    let good = real_history().await;
    good.assert_kept();

    let mut lost = good.clone();
    let contents = &mut lost.contents[0];
    contents.high_watermark -= 1;
    contents.records = contents.records[..contents.records.len() - 1].into();
    assert!(lost.judge().rules().contains(&Rule::Kept));

    let mut changed = good.clone();
    let mut records = changed.contents[0].records.to_vec();
    records[3].content.hash ^= 1;
    changed.contents[0].records = records.into();
    let rules = changed.judge().rules();
    assert!(
        rules.contains(&Rule::OneValue) && rules.contains(&Rule::NoPhantom),
        "{rules:?}"
    );

    let mut of_another_term = good.clone();
    let mut records = of_another_term.contents[0].records.to_vec();
    records[3].origin.timestamp_ms += 1;
    of_another_term.contents[0].records = records.into();
    assert_eq!(of_another_term.judge().rules(), [Rule::Identical]);

    let mut stale = good.clone();
    let fresh = |read: &&mut Read| read.level.is_fresh() && read.from > 0;
    let mut reads = stale.reads.iter_mut();
    let read = reads.rfind(fresh).expect("readers read");
    (read.records, read.high_watermark) = (Arc::new([]), read.from - 1);
    assert!(stale.judge().rules().contains(&Rule::Linearizable));

    let mut fallen = good.clone();
    let last = fallen
        .watermarks
        .iter_mut()
        .max_by_key(|watermark| watermark.began);
    last.expect("readers ask").value = 0;
    assert_eq!(fallen.judge().rules(), [Rule::WatermarkRises]);

    let mut refused = good;
    let records = refused.attempts[0].records.clone();
    for attempt in refused
        .attempts
        .iter_mut()
        .filter(|attempt| attempt.records == records)
    {
        attempt.answer = attempt.answer.map(|(ended, _)| (ended, Answer::Failed));
    }
    assert_eq!(refused.judge().rules(), [Rule::FailedIsNotStored]);
}
