//! Parts of a real node panic while clients are at work: each comes back, and no promise breaks.

use annals::actors::supervision::{Exit, Part, Sabotage, policy::EXIT_ESCALATED};

use crate::support::{
    hooked_fs::{HookedFileSystem, PanicHook, Point},
    load::{ACKNOWLEDGED, BROKEN, Kinds, Load, read_all},
    log_checker::Recorder,
    node::{Place, TestNode, until},
    sim_fs::SimFileSystem,
};

/// What producers may hear while the log or consensus is built again. Not FAILSAFE: nothing is wrong with the disk.
const WHILE_THE_LOG_RESTARTS: [&str; 6] = [
    ACKNOWLEDGED,
    "LOG_NOT_READY",
    "NO_LEADER",
    "OUTCOME_UNKNOWN",
    "OUT_OF_ORDER",
    "UNKNOWN_PRODUCER",
];

/// How often each part is struck in one test; less than what the budget allows.
const STRIKES: u64 = 4;

/// Enough requests and records to be sure that all clients are at work again.
const AT_WORK: u64 = 150;

/// Lets `part` panic, once there is an actor to do it.
pub(super) async fn strike(node: &TestNode, part: Part) {
    let sabotage = Sabotage { of: part };
    until("somebody to strike", async || match part {
        Part::Log | Part::Segment => node.refs.log.post(sabotage).is_ok(),
        Part::Raft => node.refs.raft.post(sabotage).is_ok(),
        Part::Gateway => node.refs.gateway.post(sabotage).is_ok(),
        Part::Replicators | Part::Replicator | Part::Membership => unreachable!("a node alone has no peers"),
    })
    .await;
}

/// The part that is built again for it.
fn owner(part: Part) -> Part {
    if part == Part::Segment { Part::Log } else { part }
}

/// Strikes `part` again and again under load. Answers the clients' answers.
async fn strikes_under_load(place: &Place, part: Part) -> crate::support::load::Answers {
    let recorder = Recorder::new();
    let node = TestNode::start(place).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    for count in 1..=STRIKES {
        strike(&node, part).await;
        node.until_running(owner(part), count + 1).await;
        node.until_running(Part::Raft, 1).await;
        node.until_running(Part::Gateway, 1).await;
        load.progresses(AT_WORK).await;
    }
    let status = node.status_of(owner(part)).await;
    assert_eq!((status.restarts, status.generation), (STRIKES, STRIKES + 1));
    assert_eq!(status.last_exit, Some(Exit::Panicked));
    let answers = load.finish().await;
    assert!(read_all(&node, &recorder).await > AT_WORK * STRIKES);
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);

    let node = TestNode::start(place).await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    node.shut_down().await;
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_panics_comes_back_and_breaks_no_promise() {
    let answers = strikes_under_load(&Place::real(), Part::Log).await;
    answers.assert_produced_only(&WHILE_THE_LOG_RESTARTS);
    answers.assert_reads_refused_only(&["LOG_NOT_READY", "NO_LEADER"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_panics_comes_back_with_its_log_and_breaks_no_promise() {
    let answers = strikes_under_load(&Place::real(), Part::Segment).await;
    answers.assert_produced_only(&WHILE_THE_LOG_RESTARTS);
    answers.assert_reads_refused_only(&["LOG_NOT_READY", "NO_LEADER"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consensus_that_panics_comes_back_and_breaks_no_promise() {
    let answers = strikes_under_load(&Place::real(), Part::Raft).await;
    answers.assert_produced_only(&WHILE_THE_LOG_RESTARTS);
    answers.assert_reads_refused_only(&["LOG_NOT_READY", "NO_LEADER"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_panics_comes_back_at_the_same_address_and_breaks_no_promise() {
    let answers = strikes_under_load(&Place::real(), Part::Gateway).await;
    answers.assert_produced_only(&[ACKNOWLEDGED, "SHUTTING_DOWN", BROKEN]);
    answers.assert_reads_refused_only(&["SHUTTING_DOWN", BROKEN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_that_panic_at_once_come_back_and_break_no_promise() {
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start(&place).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    for count in 1..=2 {
        for part in [Part::Gateway, Part::Segment, Part::Raft, Part::Log] {
            strike(&node, part).await;
        }
        node.until_running(Part::Log, count + 1).await;
        node.until_running(Part::Raft, count + 1).await;
        node.until_running(Part::Gateway, count + 1).await;
        load.progresses(AT_WORK).await;
    }
    load.finish().await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_panics_too_often_ends_the_process() {
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start(&place).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    for generation in 2..=6 {
        strike(&node, Part::Log).await;
        node.until_running(Part::Log, generation).await;
    }
    strike(&node, Part::Log).await;
    let ending = node.ended().await;
    assert_eq!(
        (ending.cause.as_str(), ending.exit_code),
        ("log panicked, after 5 restarts within 60s", EXIT_ESCALATED)
    );
    load.finish().await;
    let node = TestNode::start(&place).await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_inside_a_write_or_a_sync_is_a_panic_of_the_segment() {
    for point in [Point::Write, Point::Sync] {
        let hook = PanicHook::new(point);
        let disk = SimFileSystem::new(1);
        let place = Place::on(std::sync::Arc::new(HookedFileSystem::new(disk, hook.clone())));
        let recorder = Recorder::new();
        let node = TestNode::start(&place).await;
        let load = Load::begin(&node, &recorder, Kinds::default());
        load.progresses(AT_WORK).await;
        for count in 1..=STRIKES {
            hook.arm(3);
            node.until_running(Part::Log, count + 1).await;
            node.until_running(Part::Raft, count + 1).await;
            load.progresses(AT_WORK).await;
            assert_eq!(hook.fired(), count);
        }
        let panics = node.lines.beginning("a part failed and is restarted");
        assert_eq!(panics.len() as u64, STRIKES, "{panics:?}");
        assert!(
            panics
                .iter()
                .all(|line| line.contains("part=segment exit=panicked")),
            "{panics:?}"
        );
        let answers = load.finish().await;
        answers.assert_produced_only(&WHILE_THE_LOG_RESTARTS);
        read_all(&node, &recorder).await;
        recorder.history().assert_kept();
        assert_eq!(node.shut_down().await.exit_code, 0);
    }
}
