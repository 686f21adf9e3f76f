//! What a node does in a long life (roll, trim, restart, stop), while clients are at work.

use annals::{
    actors::supervision::{Part, Sabotage, State},
    proto::annals::v1::{
        ConsumeRequest, DescribeLogRequest, DescribeLogResponse, ProduceRequest, Record, RecordSet, Start,
        start::Position,
    },
    storage::Retention,
};
use tonic_types::StatusExt;

use crate::support::{
    load::{ACKNOWLEDGED, BROKEN, Kinds, Load, read_all, reason_of},
    log_checker::Recorder,
    node::{Place, TestNode, in_time, until},
};

/// Enough requests and records to be sure that all clients are at work.
const AT_WORK: u64 = 150;

async fn describe(node: &TestNode) -> DescribeLogResponse {
    let mut client = node.client();
    let described = in_time("DescribeLog", client.describe_log(DescribeLogRequest::default())).await;
    described.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_roll_and_nobody_notices() {
    for prezero_bytes_per_second in [0, 64 << 20] {
        let place = Place::real();
        let recorder = Recorder::new();
        let node = TestNode::start_with(&place, |options| {
            options.log.segment_bytes = 32 << 10;
            options.log.prezero_bytes_per_second = prezero_bytes_per_second;
        })
        .await;
        let load = Load::begin(&node, &recorder, Kinds::default());
        until("ten segments", async || describe(&node).await.segments.len() > 10).await;
        let answers = load.finish().await;
        answers.assert_produced_only(&[ACKNOWLEDGED]);
        answers.assert_reads_refused_only(&[]);
        read_all(&node, &recorder).await;
        recorder.history().assert_kept();
        assert_eq!(node.shut_down().await.exit_code, 0);
        let node = TestNode::start(&place).await;
        read_all(&node, &recorder).await;
        recorder.history().assert_kept();
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_panics_between_its_segments_breaks_no_promise() {
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| {
        options.log.segment_bytes = 8 << 10;
        options.log.prezero_bytes_per_second = 64 << 20;
    })
    .await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    for generation in 2..=5 {
        load.progresses(AT_WORK).await;
        node.refs.log.post(Sabotage { of: Part::Log }).unwrap();
        node.until_running(Part::Log, generation).await;
        node.until_running(Part::Raft, generation).await;
    }
    load.progresses(AT_WORK).await;
    load.finish()
        .await
        .assert_reads_refused_only(&["LOG_NOT_READY", "NO_LEADER"]);
    assert!(describe(&node).await.segments.len() > 10);
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
    let node = TestNode::start(&place).await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_trims_and_only_who_is_behind_notices() {
    const RECORD_BYTES: usize = 2000;
    /// Further than a consumer falls behind because the machine is busy.
    const RETENTION_BYTES: u64 = 4 << 20;
    const WINDOW_BYTES: u32 = 64 << 10;
    /// More than lies between the log and a client that does not read: its window, and the node's own buffers.
    const ON_THE_WAY_BYTES: u64 = 2 << 20;
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| {
        options.log.segment_bytes = 128 << 10;
        options.net.consume_chunk_bytes = 16 << 10;
        options.retention = Retention {
            bytes_max: Some(RETENTION_BYTES),
            age_max_ms: None,
        };
    })
    .await;
    let kinds = Kinds {
        record_bytes: RECORD_BYTES,
        ..Kinds::default()
    };
    let load = Load::begin(&node, &recorder, kinds);
    load.progresses(AT_WORK).await;
    let from_the_beginning = || ConsumeRequest {
        start: Some(Start {
            position: Some(Position::Offset(0)),
        }),
        follow: true,
        ..ConsumeRequest::default()
    };
    let mut client = node.client_with_window(WINDOW_BYTES);
    let slow = in_time("a stream", client.consume_stream(from_the_beginning())).await;
    let mut slow = slow.unwrap().into_inner();
    let far = ON_THE_WAY_BYTES / RECORD_BYTES as u64;
    until("much is trimmed", async || describe(&node).await.earliest > far).await;

    let mut next = 0;
    let falls_behind = async {
        loop {
            match slow.message().await {
                Ok(response) => next = response.expect("it follows").next_offset,
                Err(status) => break status,
            }
        }
    };
    let behind = in_time("the slow consumer is told", falls_behind).await;
    let late = in_time("a refusal", client.consume_stream(from_the_beginning())).await;
    let late = late.unwrap_err();
    for (status, at_least) in [(behind, next), (late, far)] {
        assert_eq!(reason_of(&status), "OFFSET_OUT_OF_RANGE");
        let details = status.get_details_error_info().unwrap().metadata;
        let earliest: u64 = details["earliest"].parse().unwrap();
        assert!(earliest > at_least, "{details:?}, expected above {at_least}");
        assert!(earliest <= describe(&node).await.earliest);
    }
    load.progresses(AT_WORK).await;
    let answers = load.finish().await;
    answers.assert_produced_only(&[ACKNOWLEDGED]);
    answers.assert_reads_refused_only(&[]);
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert!(describe(&node).await.bytes < RETENTION_BYTES * 2);
    assert_eq!(node.shut_down().await.exit_code, 0);
    let node = TestNode::start(&place).await;
    assert!(describe(&node).await.earliest > far);
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_restarted_on_request_while_it_rolls_breaks_no_promise() {
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start_with(&place, |options| options.log.segment_bytes = 8 << 10).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    for generation in 2..=10 {
        load.progresses(AT_WORK).await;
        assert!(node.control.restart(Part::Log).await);
        node.until_running(Part::Log, generation).await;
        node.until_running(Part::Raft, generation).await;
    }
    load.progresses(AT_WORK).await;
    load.finish()
        .await
        .assert_reads_refused_only(&["LOG_NOT_READY", "NO_LEADER"]);
    let status = node.status_of(Part::Log).await;
    assert_eq!((status.restarts, status.last_exit), (0, None));
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.lines.beginning("did not stop in time"), [""; 0]);
    assert_eq!(node.shut_down().await.exit_code, 0);
}

/// The gateway served before it was published where the log stands: for a moment the log looked empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_serves_knows_where_its_log_ends() {
    let place = Place::real();
    for starts in 0..20 {
        let node = TestNode::start(&place).await;
        assert_eq!(describe(&node).await.high_watermark, starts);
        let record = Record {
            value: "one more".into(),
            ..Record::default()
        };
        let request = ProduceRequest {
            records: Some(RecordSet {
                records: vec![record],
            }),
            ..ProduceRequest::default()
        };
        let produced = node.client().produce(request).await.unwrap().into_inner();
        assert_eq!(produced.first_offset, starts);
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_answers_everybody_and_keeps_everything() {
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start(&place).await;
    let status = node.control.status().await;
    let running = |part| (part, State::Running, 1);
    assert_eq!(
        status
            .iter()
            .map(|part| (part.part, part.state, part.generation))
            .collect::<Vec<_>>(),
        [Part::Replicators, Part::Log, Part::Raft, Part::Gateway].map(running)
    );
    let load = Load::begin(&node, &recorder, Kinds::default());
    load.progresses(AT_WORK).await;
    let lines = node.lines.clone();
    let ending = node.shut_down().await;
    assert_eq!((ending.cause.as_str(), ending.exit_code), ("asked to stop", 0));
    assert_eq!(
        lines.beginning("running part="),
        ["replicators", "log", "raft", "gateway"].map(|part| format!("running part={part} generation=1"))
    );
    assert_eq!(
        lines.beginning("stopped part="),
        ["gateway", "raft", "log", "replicators"].map(|part| format!("stopped part={part}"))
    );
    assert_eq!(lines.beginning("did not stop in time"), [""; 0]);
    let answers = load.finish().await;
    answers.assert_produced_only(&[ACKNOWLEDGED, "SHUTTING_DOWN", BROKEN]);
    answers.assert_reads_refused_only(&["SHUTTING_DOWN", BROKEN]);
    assert!(
        answers.refused_reads["SHUTTING_DOWN"] > 0,
        "consumers that follow: {answers:?}"
    );

    let node = TestNode::start(&place).await;
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    node.shut_down().await;
}
