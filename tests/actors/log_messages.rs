//! What LogActor does with messages that come in an unlucky order. The disk hangs while they are posted, so that they
//! are all there when it goes on.

use std::{io, sync::Arc};

use annals::{
    actors::{
        log::{Append, AppendFailed, Close, Describe, OnPersisted, Trim, Truncate},
        supervision::{Exit, Part, Reply, Sabotage, Unanswered},
    },
    proto::annals::v1::{ProduceRequest, ProduceResponse, Record, RecordSet},
    storage::{
        Placed,
        control::Control,
        entry::{Entry, Outcome, Payload},
        frame::FRAME_HEADER_LEN,
    },
    types::{LogIndex, Offset, Term, TimestampMs},
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Response, Status};

use crate::support::{
    hooked_fs::{Gate, HookedFileSystem},
    node::{Place, TestNode, in_time, until},
    sim_fs::{Call, CallKind, SimFileSystem},
};

type Persisted = Result<Vec<Placed>, AppendFailed>;

/// A node whose log's thread hangs in the sync of a record.
struct Held {
    node: TestNode,
    gate: Arc<Gate>,
    disk: SimFileSystem,
    /// The record's entry, which is the last one there is.
    last: LogIndex,
    produced: JoinHandle<Result<Response<ProduceResponse>, Status>>,
}

impl Held {
    async fn new() -> Self {
        Self::with_segments_of(1 << 20).await
    }

    async fn with_segments_of(segment_bytes: u64) -> Self {
        Self::behind(0, segment_bytes).await
    }

    /// So many records of 4000 bytes are there already.
    async fn behind(records: usize, segment_bytes: u64) -> Self {
        let gate = Gate::new();
        let disk = SimFileSystem::new(1);
        let place = Place::on(Arc::new(HookedFileSystem::new(disk.clone(), gate.clone())));
        let node = TestNode::start_with(&place, |options| options.log.segment_bytes = segment_bytes).await;
        for _ in 0..records {
            node.client().produce(request(4000)).await.unwrap();
        }
        let (reply, standing) = Reply::channel();
        node.refs.log.post(Describe { reply }).unwrap();
        let last = in_time("where the log stands", standing)
            .await
            .unwrap()
            .last_log_index;
        gate.close();
        let mut client = node.client();
        let produced = tokio::spawn(async move { client.produce(request(1000)).await });
        until("the disk hangs", async || gate.waiting() > 0).await;
        Self {
            node,
            gate,
            disk,
            last: last.plus(1),
            produced,
        }
    }

    /// The entry that is so many behind the last.
    fn entry(&self, behind: u64, bytes: usize) -> Entry {
        let mut control = Control::Trim { below: Offset(0) }.encode().to_vec();
        control.resize(bytes.max(control.len()), 0);
        Entry {
            log_index: self.last.plus(behind),
            term: Term(1),
            timestamp: TimestampMs(1),
            payload: Payload::Control(control.into()),
        }
    }

    /// Posts an append of that entry.
    fn append(&self, behind: u64, bytes: usize) -> oneshot::Receiver<Persisted> {
        let (sender, persisted) = oneshot::channel();
        let append = Append {
            entries: vec![self.entry(behind, bytes)],
            on_persisted: OnPersisted::new(move |persisted| drop(sender.send(persisted))),
        };
        self.node.refs.log.post(append).unwrap();
        persisted
    }
}

fn request(bytes: usize) -> ProduceRequest {
    let record = Record {
        value: vec![b'.'; bytes].into(),
        ..Record::default()
    };
    ProduceRequest {
        records: Some(RecordSet {
            records: vec![record],
        }),
        ..ProduceRequest::default()
    }
}

/// Such an append was answered as if the disk were bad, though the log was back in a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_on_its_way_to_the_segment_when_the_log_panics_is_known_not_to_be_stored() {
    let held = Held::new().await;
    let persisted = held.append(1, 100);
    held.node.refs.log.post(Sabotage { of: Part::Log }).unwrap();
    held.gate.open();
    let persisted = in_time("an answer", persisted)
        .await
        .expect("it is answered, not dropped");
    assert_eq!(persisted, Err(AppendFailed::Unavailable));
    // What was in the sync is stored, and said to be.
    in_time("the record", held.produced).await.unwrap().unwrap();
    held.node.until_running(Part::Log, 2).await;
    held.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_panics_when_the_log_rolls_takes_the_log_with_it_at_once() {
    let held = Held::with_segments_of(4096).await;
    held.node.refs.log.post(Sabotage { of: Part::Segment }).unwrap();
    let rolls = held.append(1, 5000);
    let waits = held.append(2, 100);
    held.gate.open();
    for persisted in [rolls, waits] {
        let dropped = in_time("an answer", persisted).await;
        assert!(dropped.is_err(), "nobody knows, not {dropped:?}");
    }
    in_time("the record", held.produced).await.unwrap().unwrap();
    held.node.until_running(Part::Log, 2).await;
    held.node.until_running(Part::Raft, 2).await;
    held.node.client().produce(request(10)).await.unwrap();
    // Two actors died, one failure counts.
    let status = held.node.status_of(Part::Log).await;
    assert_eq!((status.restarts, status.last_exit), (1, Some(Exit::Panicked)));
    held.node.shut_down().await;
}

/// A planned restart came while the log rolled, and what waited for the next segment was dropped: nobody knew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_closed_while_it_rolls_stores_first_what_waits() {
    let held = Held::with_segments_of(4096).await;
    let fills = held.append(1, 2500);
    let rolls = held.append(2, 2500);
    let waits = held.append(3, 100);
    let (reply, closed) = Reply::channel();
    held.node.refs.log.post(Close { reply }).unwrap();
    held.gate.open();
    for (behind, persisted) in [(1, fills), (2, rolls), (3, waits)] {
        let persisted = in_time("an answer", persisted)
            .await
            .expect("it is answered, not dropped");
        assert_eq!(persisted.unwrap()[0].log_index, held.last.plus(behind));
    }
    in_time("the close", closed).await.unwrap();
    in_time("the record", held.produced).await.unwrap().unwrap();
    // The Agent did not ask for it, and so builds the log again.
    held.node.until_running(Part::Log, 2).await;
    held.node.until_running(Part::Raft, 2).await;
    held.node.client().produce(request(10)).await.unwrap();
    held.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_an_append_and_a_restart_while_the_log_rolls_are_all_answered() {
    let held = Held::with_segments_of(4096).await;
    let fills = held.append(1, 2500);
    let rolls = held.append(2, 2500);
    let (reply, truncated) = Reply::channel();
    let from = held.last.plus(3);
    held.node.refs.log.post(Truncate { from, reply }).unwrap();
    let behind = held.append(3, 100);
    assert!(held.node.control.restart(Part::Log).await);
    held.gate.open();
    for persisted in [fills, rolls, behind] {
        let persisted = in_time("an answer", persisted)
            .await
            .expect("it is answered, not dropped");
        assert!(matches!(persisted.unwrap()[0].outcome, Outcome::Stored { .. }));
    }
    in_time("the truncation", truncated).await.unwrap();
    in_time("the record", held.produced).await.unwrap().unwrap();
    held.node.until_running(Part::Log, 2).await;
    held.node.until_running(Part::Raft, 2).await;
    held.node.client().produce(request(10)).await.unwrap();
    assert_eq!(held.node.status_of(Part::Log).await.restarts, 0);
    held.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_of_what_is_not_in_the_log_is_refused_and_the_log_goes_on() {
    let held = Held::new().await;
    let (reply, truncated) = Reply::channel();
    let from = held.last.plus(100);
    held.node.refs.log.post(Truncate { from, reply }).unwrap();
    held.gate.open();
    let refused = in_time("the truncation", truncated).await.unwrap_err();
    assert!(refused.to_string().contains("is not in the log"), "{refused}");
    in_time("the record", held.produced).await.unwrap().unwrap();
    held.node.client().produce(request(10)).await.unwrap();
    assert_eq!(held.node.status_of(Part::Log).await.generation, 1);
    held.node.shut_down().await;
}

/// A trim of very many segments held up all else for longer than the Agent's patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_is_stored_while_a_long_trim_goes_on() {
    const SEGMENTS: u64 = 60;
    let held = Held::behind(usize::try_from(SEGMENTS).unwrap(), 4096).await;
    let (reply, trimmed) = Reply::channel();
    let below = Offset(SEGMENTS);
    held.node.refs.log.post(Trim { below, reply }).unwrap();
    let (sender, seen) = oneshot::channel();
    let (read_path, entry) = (held.node.refs.read_path.clone(), held.entry(1, 100));
    let append = Append {
        entries: vec![entry],
        on_persisted: OnPersisted::new(move |persisted| {
            drop(sender.send((persisted, read_path.view().earliest())));
        }),
    };
    held.node.refs.log.post(append).unwrap();
    held.gate.open();
    let (persisted, earliest) = in_time("an answer", seen).await.unwrap();
    persisted.unwrap();
    let trimmed = in_time("the trim", trimmed).await.unwrap();
    assert!(earliest < trimmed.earliest, "all was trimmed before the append");
    assert!(trimmed.complete);
    assert_eq!((trimmed.earliest, trimmed.segments as u64), (below, SEGMENTS));
    assert!(trimmed.bytes > SEGMENTS * 4000);
    in_time("the record", held.produced).await.unwrap().unwrap();
    held.node.shut_down().await;
}

/// A committer that was built again took what was placed for what was synced, and published it as committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_entries_that_are_not_synced() {
    let held = Held::new().await;
    let persisted = held.append(1, 100);
    let (reply, standing) = Reply::channel();
    held.node.refs.log.post(Describe { reply }).unwrap();
    // The first one is that of the record, which hangs.
    held.disk.fail_nth(CallKind::Sync, 2, io::ErrorKind::Other);
    held.gate.open();
    assert_eq!(in_time("where the log stands", standing).await, Err(Unanswered));
    let persisted = in_time("an answer", persisted).await.unwrap();
    assert!(
        matches!(persisted, Err(AppendFailed::Unknown { .. })),
        "{persisted:?}"
    );
    in_time("the record", held.produced).await.unwrap().unwrap();
    held.node.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_nothing_to_do_marks_that_all_of_it_is_synced() {
    let disk = SimFileSystem::new(2);
    let place = Place::on(Arc::new(disk.clone()));
    let node = TestNode::start(&place).await;
    node.client().produce(request(10)).await.unwrap();
    let is_mark = |call: &Call| call.kind == CallKind::Write && call.length == FRAME_HEADER_LEN as u64;
    until("a mark", async || disk.trace().iter().any(is_mark)).await;
    node.shut_down().await;
    let marks = disk.trace().iter().filter(|call| is_mark(call)).count();
    assert_eq!(marks, 1, "one says it all");
}

/// The log rolls by itself what nobody appends to, or its last records would never be old enough to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_too_old_goes_though_nobody_appends_any_more() {
    let place = Place::on(Arc::new(SimFileSystem::new(3)));
    let node = TestNode::start_with(&place, |options| {
        options.log.segment_age_ms = 1;
        options.retention.age_max_ms = Some(1);
    })
    .await;
    // Once: a second append, or the trim of what the first has sealed, would roll the log too.
    node.client().produce(request(10)).await.unwrap();
    let read_path = node.refs.read_path.clone();
    until("all is trimmed", async || {
        read_path.view().earliest() == Offset(1)
    })
    .await;
    assert_eq!(
        node.client()
            .produce(request(10))
            .await
            .unwrap()
            .into_inner()
            .first_offset,
        1
    );
    node.shut_down().await;
}
