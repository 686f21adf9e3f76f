//! The disk of a real node fails, hangs or fills up while clients are at work, or shows other bytes than were written.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use annals::{
    actors::supervision::{
        Part,
        policy::{EXIT_ESCALATED, EXIT_FAILSAFE},
    },
    proto::annals::v1::{
        ConsumeRequest, DescribeLogRequest, ProduceRequest, Record, RecordSet, Start, start::Position,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    hooked_fs::{Gate, HookedFileSystem},
    load::{ACKNOWLEDGED, BROKEN, Kinds, Load, read_all, reason_of},
    log_checker::{Answer, Node, Recorder},
    node::{Place, TestNode, in_time, until},
    sim_fs::{CallKind, Fault, Leaves, SimFileSystem},
};

/// Enough requests and records to be sure that all clients are at work.
const AT_WORK: u64 = 150;

/// What producers may hear when a node ends by a bad disk: until it does, from it, and when it is gone.
const WHILE_THE_DISK_FAILS: [&str; 7] = [
    ACKNOWLEDGED,
    "OUTCOME_UNKNOWN",
    "FAILSAFE",
    "LOG_NOT_READY",
    "OUT_OF_ORDER",
    "SHUTTING_DOWN",
    BROKEN,
];

fn request(value: &str) -> ProduceRequest {
    let record = Record {
        value: value.to_owned().into(),
        ..Record::default()
    };
    ProduceRequest {
        records: Some(RecordSet {
            records: vec![record],
        }),
        ..ProduceRequest::default()
    }
}

fn consume_at(offset: u64) -> ConsumeRequest {
    ConsumeRequest {
        start: Some(Start {
            position: Some(Position::Offset(offset)),
        }),
        ..ConsumeRequest::default()
    }
}

/// Lets one call fail under load. The node must end at once, say why, touch nothing any more, and after a power loss
/// have all that it acknowledged.
async fn one_call_fails(kind: CallKind, nth: u64, leaves: Leaves, seed: u64) {
    let disk = SimFileSystem::new(seed);
    let place = Place::on(Arc::new(disk.clone()));
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| options.log.segment_bytes = 64 << 10).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    let fault = Fault::nth(kind, nth, ErrorKind::Other).leaving(leaves);
    // An index is a cache, the note of what is committed a lower bound: the log does without.
    disk.inject(fault.sparing(&[".index", "committed"]));

    let lines = node.lines.clone();
    let ending = node.ended().await;
    assert_eq!(disk.faults_fired(), 1);
    assert_eq!(ending.exit_code, EXIT_FAILSAFE, "{}", ending.cause);
    let directory = place.log_directory().display().to_string();
    assert!(ending.cause.contains(&directory), "{}", ending.cause);
    assert!(
        ending.cause.contains("a fault of the simulated disk"),
        "{}",
        ending.cause
    );
    let trace = disk.trace();
    let failed = trace.iter().position(|call| call.failed).expect("it was traced");
    assert_eq!(trace[failed + 1..], [], "after {:?} (STO-3)", trace[failed]);
    // Whoever waited was answered at once, not when somebody lost patience.
    assert_eq!(lines.beginning("did not stop in time"), [""; 0]);
    let answers = load.finish().await;
    answers.assert_produced_only(&WHILE_THE_DISK_FAILS);

    disk.crash(seed);
    let node = TestNode::start(&place).await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    load.finish().await.assert_produced_only(&[ACKNOWLEDGED]);
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_ends_the_node_and_loses_nothing() {
    for (seed, nth) in [(1, 1), (2, 2), (3, 9)] {
        one_call_fails(CallKind::Sync, nth, Leaves::Nothing, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_node_and_loses_nothing() {
    for (seed, leaves) in [
        (4, Leaves::Nothing),
        (5, Leaves::Mixture),
        (6, Leaves::Everything),
    ] {
        one_call_fails(CallKind::Write, seed, leaves, seed).await;
    }
}

/// The segment's actor dies of it while appends wait for the next segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_fails_ends_the_node_and_answers_those_that_wait_for_the_next_segment() {
    for seed in [7, 8] {
        one_call_fails(CallKind::SetLen, 1, Leaves::Nothing, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_segment_that_cannot_be_made_ends_the_node_and_loses_nothing() {
    for (seed, kind) in [
        (9, CallKind::Create),
        (10, CallKind::Rename),
        (11, CallKind::SyncDir),
    ] {
        one_call_fails(kind, 1, Leaves::Nothing, seed).await;
    }
}

/// `annals health` said only that it serves, `annals top` that its disk is ok, and `annals log describe` nothing.
async fn all_who_ask_are_told(node: &TestNode) {
    for (args, wanted) in [
        ("health", "serves; its disk is nearly full: "),
        (
            "health -o json",
            "\"healthy\":true,\"storage_full\":\"nearly full: ",
        ),
        ("top --once", "its disk is nearly full: "),
        ("top --once -o json", "\"storage_full\":\"nearly full: "),
        ("log describe", "\ndisk       nearly full: "),
        ("log describe -o json", "\"storage_full\":\"nearly full: "),
    ] {
        let mut line = std::process::Command::new(env!("CARGO_BIN_EXE_annals"));
        line.args(args.split(' '))
            .args(["--addr", &node.addresses.rpc.to_string()])
            .env("ANNALS_CONFIG_DIR", "/nowhere");
        let ran = tokio::task::spawn_blocking(move || line.output());
        let ran = ran.await.unwrap().unwrap();
        let out = String::from_utf8_lossy(&ran.stdout);
        assert!(
            ran.status.success() && out.contains(wanted),
            "{args}: {out}{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_nearly_full_refuses_appends_and_takes_them_again_by_itself() {
    const FLOOR: u64 = 1 << 30;
    let disk = SimFileSystem::new(12);
    let place = Place::on(Arc::new(disk.clone()));
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| options.free_bytes_min = FLOOR).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;

    disk.set_free_bytes(FLOOR - 1);
    until("the disk is found full", async || {
        load.answers("STORAGE_FULL") > AT_WORK
    })
    .await;
    let refused = node.client().produce(request("too much")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused).as_str()),
        (Code::ResourceExhausted, "STORAGE_FULL")
    );
    let details = refused.get_details_error_info().unwrap().metadata;
    assert_eq!(details["free_bytes"], (FLOOR - 1).to_string());
    assert_eq!(details["floor_bytes"], FLOOR.to_string());
    let stored = read_all(&node, &recorder).await;
    assert!(stored > AT_WORK);
    let (status, body) = node.get("/readyz").await;
    assert!(
        status == 503 && body.contains("disk failed: nearly full"),
        "{status} {body}"
    );
    let (_, body) = node.get("/status").await;
    assert!(body.contains(r#""readiness":"not ready""#), "{body}");
    all_who_ask_are_told(&node).await;

    disk.set_free_bytes(FLOOR);
    load.progresses(AT_WORK).await;
    let answers = load.finish().await;
    answers.assert_produced_only(&[ACKNOWLEDGED, "STORAGE_FULL", "OUT_OF_ORDER"]);
    answers.assert_reads_refused_only(&[]);
    assert_eq!(node.get("/readyz").await.0, 200);
    assert!(read_all(&node, &recorder).await > stored);
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
}

/// What `/status` says about the admission budget: free, and all of it.
async fn admission_bytes(node: &TestNode) -> (i64, i64) {
    let (_, body) = node.get("/status").await;
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    let bytes = |name: &str| status["gateway"][name].as_i64().unwrap();
    (bytes("admission_bytes_free"), bytes("admission_bytes_max"))
}

/// A client that sends without ever waiting for an answer, and how much it has got rid of.
struct Flood {
    sent: Arc<AtomicUsize>,
    answered: JoinHandle<()>,
}

impl Flood {
    const REQUESTS: usize = 2000;
    const REQUEST_BYTES: usize = 4000;

    fn begin(node: &TestNode, recorder: &Recorder) -> Self {
        let sent = Arc::new(AtomicUsize::new(0));
        let (requests, receiver) = mpsc::channel(1);
        let (attempts, mut under_way) = mpsc::unbounded_channel();
        let (mut client, counter) = (node.client(), sent.clone());
        let notes = recorder.client("flood");
        let answered_notes = notes.clone();
        tokio::spawn(async move {
            for number in 0..Self::REQUESTS {
                let room = requests.reserve().await.expect("the stream goes on");
                let value = format!("flood {number} {}", ".".repeat(Self::REQUEST_BYTES));
                let attempt = notes.attempt(&Node::new("node-0", 0), &[&value], None, None);
                attempts.send(attempt).expect("the other half goes on");
                room.send(request(&value));
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        let notes = answered_notes;
        let answered = tokio::spawn(async move {
            let responses = client.produce_stream(ReceiverStream::new(receiver)).await;
            let mut responses = responses.unwrap().into_inner();
            while let Some(response) = responses.message().await.unwrap() {
                assert_eq!(response.failure, None);
                for first_offset in response.first_offset..response.next_offset {
                    let attempt = under_way.recv().await.expect("no more answers than requests");
                    notes.answered(attempt, Answer::acknowledged(first_offset..first_offset + 1));
                }
            }
        });
        Self { sent, answered }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_hangs_requests_are_refused_at_once_and_when_it_goes_on_all_are_answered() {
    const BUDGET_BYTES: usize = 64 << 10;
    const WINDOW_BYTES: u32 = 64 << 10;
    let gate = Gate::new();
    let place = Place::on(Arc::new(HookedFileSystem::new(
        SimFileSystem::new(13),
        gate.clone(),
    )));
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| {
        options.net.batch_bytes_max = 16 << 10;
        options.net.admission_bytes = BUDGET_BYTES;
        options.net.stream_window_bytes = WINDOW_BYTES;
        options.net.connection_window_bytes = WINDOW_BYTES;
    })
    .await;
    // More producers than the budget has room for, so that some are always refused. No streams but the flood: those that
    // share a connection share its window, and would stop each other.
    let kinds = Kinds {
        unary: 40,
        streams: 0,
        streams_stamped: 0,
        record_bytes: 2000,
        ..Kinds::default()
    };
    let load = Load::begin(&node, &recorder, kinds);
    load.progresses(AT_WORK).await;

    gate.close();
    until("the disk hangs", async || gate.waiting() > 0).await;
    let flood = Flood::begin(&node, &recorder);
    until("no room", async || load.answers("OVERLOADED") > AT_WORK).await;
    // Meanwhile a server that reads on would have taken all of it.
    until("no room for long", async || {
        load.answers("OVERLOADED") > 5 * AT_WORK
    })
    .await;
    let (free, all) = admission_bytes(&node).await;
    assert_eq!(all, BUDGET_BYTES as i64);
    assert!((0..all).contains(&free), "{free} of {all}");
    // The budget, the window, and about as much again in the buffers of the two connections' ends.
    let bytes = flood.sent() * Flood::REQUEST_BYTES;
    assert!(bytes < 16 * BUDGET_BYTES, "{bytes} bytes were taken");

    gate.open();
    in_time("an answer to each request", flood.answered)
        .await
        .unwrap();
    assert_eq!(flood.sent.load(Ordering::SeqCst), Flood::REQUESTS);
    load.progresses(AT_WORK).await;
    let answers = load.finish().await;
    answers.assert_produced_only(&[ACKNOWLEDGED, "OVERLOADED", "OUT_OF_ORDER"]);
    until("the whole budget is back", async || {
        admission_bytes(&node).await.0 == all
    })
    .await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_for_good_ends_the_node() {
    let gate = Gate::new();
    let disk = SimFileSystem::new(14);
    let place = Place::on(Arc::new(HookedFileSystem::new(disk.clone(), gate.clone())));
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| {
        options.timing.heartbeat_every = Duration::from_millis(50);
        // A thread may be kept from running for a second where there is much else to do.
        options.timing.stuck_after = Duration::from_secs(3);
        options.timing.stop_within_when_failed = Duration::from_millis(300);
    })
    .await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    gate.close();
    until("the disk hangs", async || gate.waiting() > 0).await;
    let ending = in_time("the Agent gives the log up", node.ended()).await;
    assert_eq!(ending.exit_code, EXIT_ESCALATED, "{}", ending.cause);
    assert!(
        ending.cause == "log is stuck" || ending.cause == "raft is stuck",
        "{}",
        ending.cause
    );
    load.finish().await;

    // The process would be gone now, and its writes with it.
    disk.kill();
    gate.open();
    disk.crash(14);
    let node = TestNode::start(&place).await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_read_up_to_the_damage_and_takes_no_writes() {
    let disk = SimFileSystem::new(15);
    let place = Place::on(Arc::new(disk.clone()));
    let node = TestNode::start(&place).await;
    let mut client = node.client();
    for number in 0..100 {
        client
            .produce(request(&format!("record {number}")))
            .await
            .unwrap();
    }
    node.shut_down().await;
    let store = place.log_directory().join("00000000000000000001.store");
    let mut bytes = disk.bytes(&store);
    let damaged = bytes
        .windows(9)
        .position(|window| window == b"record 60")
        .unwrap();
    bytes[damaged] ^= 1;
    disk.set_bytes(&store, &bytes);

    let node = TestNode::start(&place).await;
    let mut client = node.client();
    let below = client.consume(consume_at(0)).await.unwrap().into_inner();
    assert_eq!(below.next_offset, 60);
    let at_it = client.consume(consume_at(60)).await.unwrap_err();
    assert_eq!(
        (at_it.code(), reason_of(&at_it).as_str()),
        (Code::DataLoss, "CORRUPT")
    );
    let refused = client.produce(request("more")).await.unwrap_err();
    assert_eq!(reason_of(&refused), "FAILSAFE");
    let cause = &refused.get_details_error_info().unwrap().metadata["cause"];
    assert!(
        cause.contains(&store.display().to_string()) && cause.contains("position"),
        "{cause}"
    );
    let (status, body) = node.get("/readyz").await;
    assert!(
        status == 503 && body.contains(&store.display().to_string()),
        "{status} {body}"
    );
    let described = client
        .describe_log(DescribeLogRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((described.earliest, described.high_watermark), (0, 60));
    assert_eq!(&described.failsafe, cause);
    assert_eq!(disk.bytes(&store), bytes, "nothing is touched");
    assert_eq!(node.shut_down().await.exit_code, 0);
}

/// The log ended below what had been committed, and the committer panicked of it until the process ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_is_met_when_the_log_is_built_again_leaves_the_rest_readable() {
    let disk = SimFileSystem::new(16);
    let place = Place::on(Arc::new(disk.clone()));
    let node = TestNode::start(&place).await;
    let mut client = node.client();
    for number in 0..100 {
        client
            .produce(request(&format!("record {number}")))
            .await
            .unwrap();
    }
    let store = place.log_directory().join("00000000000000000001.store");
    let mut bytes = disk.bytes(&store);
    let damaged = bytes
        .windows(9)
        .position(|window| window == b"record 60")
        .unwrap();
    bytes[damaged] ^= 1;
    disk.set_bytes(&store, &bytes);
    assert!(node.control.restart(Part::Log).await);
    node.until_running(Part::Log, 2).await;
    node.until_running(Part::Raft, 2).await;

    let below = client.consume(consume_at(0)).await.unwrap().into_inner();
    assert_eq!(below.next_offset, 60);
    let at_it = client.consume(consume_at(60)).await.unwrap_err();
    assert_eq!(reason_of(&at_it), "CORRUPT");
    let refused = client.produce(request("more")).await.unwrap_err();
    assert_eq!(reason_of(&refused), "FAILSAFE");
    assert_eq!(node.status_of(Part::Raft).await.restarts, 0);
    assert_eq!(node.shut_down().await.exit_code, 0);
}
