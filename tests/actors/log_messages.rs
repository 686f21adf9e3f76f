//! What LogActor does with messages that come in an unlucky order. The disk hangs while they are posted, so that they
//! are all there when it goes on.

use std::{io, path::Path, sync::Arc};

use annals::{
    actors::{
        log::{Append, AppendFailed, Close, Describe, OnPersisted, Trim, Truncate},
        supervision::{Exit, Part, Reply, Sabotage, Unanswered},
    },
    proto::annals::v1::{ProduceRequest, Record, RecordSet},
    storage::{
        entry::{Batch, Entry, Outcome, Payload},
        frame::FRAME_HEADER_LEN,
    },
    types::{LogIndex, Offset, Term, TimestampMs},
};
use tokio::sync::oneshot;

use crate::support::{
    hooked_fs::{Gate, HookedFileSystem},
    lone_log::{LoneLog, Persisted},
    node::{Place, TestNode, in_time, until},
    sim_fs::{Call, CallKind, SimFileSystem},
};

/// Where the log is on the simulated disk.
const DIRECTORY: &str = "/log";

/// A log whose thread hangs in the sync of a record.
struct Held {
    log: LoneLog,
    gate: Arc<Gate>,
    disk: SimFileSystem,
    /// The record's entry, which is the last one there is.
    last: LogIndex,
    record: oneshot::Receiver<Persisted>,
}

impl Held {
    async fn new() -> Self {
        Self::with_segments_of(1 << 20).await
    }

    async fn with_segments_of(segment_bytes: u64) -> Self {
        Self::behind(0, segment_bytes).await
    }

    /// So many records of 4000 bytes are there already.
    async fn behind(records: u64, segment_bytes: u64) -> Self {
        let gate = Gate::new();
        let disk = SimFileSystem::new(1);
        let hooked = Arc::new(HookedFileSystem::new(disk.clone(), gate.clone()));
        let log = LoneLog::open(hooked, Path::new(DIRECTORY), segment_bytes).await;
        log.votes_in(Term(1)).await;
        for log_index in 1..=records {
            let stored = log.append(vec![entry(LogIndex(log_index), 4000)]);
            in_time("a record", stored).await.unwrap().unwrap();
        }
        let last = LogIndex(records + 1);
        gate.close();
        let record = log.append(vec![entry(last, 1000)]);
        until("the disk hangs", async || gate.waiting() > 0).await;
        Self {
            log,
            gate,
            disk,
            last,
            record,
        }
    }

    /// Posts an append of the entry that is so many behind the last.
    fn append(&self, behind: u64, bytes: usize) -> oneshot::Receiver<Persisted> {
        self.log.append(vec![entry(self.last.plus(behind), bytes)])
    }

    /// What was in the sync is stored, and said to be.
    async fn record_is_stored(&mut self) {
        let stored = in_time("the record", &mut self.record).await;
        stored.unwrap().unwrap();
    }

    /// The log takes the next entry, whatever has become of it meanwhile.
    async fn goes_on(&self) {
        let next = self.log.standing().await.last_log_index.plus(1);
        let stored = self.log.append(vec![entry(next, 10)]);
        in_time("an answer", stored).await.unwrap().unwrap();
    }
}

/// An entry with one record of about so many bytes.
fn entry(log_index: LogIndex, bytes: usize) -> Entry {
    let value = vec![b'.'; bytes];
    let record = Record {
        value: value.into(),
        ..Record::default()
    };
    let records = RecordSet {
        records: vec![record],
    };
    Entry {
        log_index,
        term: Term(1),
        timestamp: TimestampMs(1),
        payload: Payload::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 1,
            records: prost::Message::encode_to_vec(&records).into(),
        }),
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
    let mut held = Held::new().await;
    let persisted = held.append(1, 100);
    held.log.log.post(Sabotage { of: Part::Log }).unwrap();
    held.gate.open();
    let persisted = in_time("an answer", persisted)
        .await
        .expect("it is answered, not dropped");
    assert_eq!(persisted, Err(AppendFailed::Unavailable));
    held.record_is_stored().await;
    held.log.until_running(2).await;
    held.log.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_panics_when_the_log_rolls_takes_the_log_with_it_at_once() {
    let mut held = Held::with_segments_of(4096).await;
    held.log.log.post(Sabotage { of: Part::Segment }).unwrap();
    let rolls = held.append(1, 5000);
    let waits = held.append(2, 100);
    held.gate.open();
    for persisted in [rolls, waits] {
        let dropped = in_time("an answer", persisted).await;
        assert!(dropped.is_err(), "nobody knows, not {dropped:?}");
    }
    held.record_is_stored().await;
    held.log.until_running(2).await;
    held.goes_on().await;
    // Two actors died, one failure counts.
    let status = held.log.status().await;
    assert_eq!((status.restarts, status.last_exit), (1, Some(Exit::Panicked)));
    held.log.shut_down().await;
}

/// A planned restart came while the log rolled, and what waited for the next segment was dropped: nobody knew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_closed_while_it_rolls_stores_first_what_waits() {
    let mut held = Held::with_segments_of(4096).await;
    let fills = held.append(1, 2500);
    let rolls = held.append(2, 2500);
    let waits = held.append(3, 100);
    let (reply, closed) = Reply::channel();
    held.log.log.post(Close { reply }).unwrap();
    held.gate.open();
    for (behind, persisted) in [(1, fills), (2, rolls), (3, waits)] {
        let persisted = in_time("an answer", persisted)
            .await
            .expect("it is answered, not dropped");
        assert_eq!(persisted.unwrap()[0].log_index, held.last.plus(behind));
    }
    in_time("the close", closed).await.unwrap();
    held.record_is_stored().await;
    // The Agent did not ask for it, and so builds the log again.
    held.log.until_running(2).await;
    held.goes_on().await;
    held.log.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_an_append_and_a_restart_while_the_log_rolls_are_all_answered() {
    let mut held = Held::with_segments_of(4096).await;
    let fills = held.append(1, 2500);
    let rolls = held.append(2, 2500);
    let (reply, truncated) = Reply::channel();
    let from = held.last.plus(3);
    held.log.log.post(Truncate { from, reply }).unwrap();
    let behind = held.append(3, 100);
    held.log.restart().await;
    held.gate.open();
    for persisted in [fills, rolls, behind] {
        let persisted = in_time("an answer", persisted)
            .await
            .expect("it is answered, not dropped");
        assert!(matches!(persisted.unwrap()[0].outcome, Outcome::Stored { .. }));
    }
    in_time("the truncation", truncated).await.unwrap();
    held.record_is_stored().await;
    held.log.until_running(2).await;
    held.goes_on().await;
    assert_eq!(held.log.status().await.restarts, 0);
    held.log.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_of_what_is_not_in_the_log_is_refused_and_the_log_goes_on() {
    let mut held = Held::new().await;
    let (reply, truncated) = Reply::channel();
    let from = held.last.plus(100);
    held.log.log.post(Truncate { from, reply }).unwrap();
    held.gate.open();
    let refused = in_time("the truncation", truncated).await.unwrap_err();
    assert!(refused.to_string().contains("is not in the log"), "{refused}");
    held.record_is_stored().await;
    held.goes_on().await;
    assert_eq!(held.log.status().await.generation, 1);
    held.log.shut_down().await;
}

/// A trim of very many segments held up all else for longer than the Agent's patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_is_stored_while_a_long_trim_goes_on() {
    const SEGMENTS: u64 = 60;
    let mut held = Held::behind(SEGMENTS, 4096).await;
    let (reply, trimmed) = Reply::channel();
    let below = Offset(SEGMENTS);
    held.log
        .log
        .post(Trim {
            below,
            last: held.last,
            reply,
        })
        .unwrap();
    let (sender, seen) = oneshot::channel();
    let view = held.log.view.clone();
    let append = Append {
        entries: vec![entry(held.last.plus(1), 100)],
        on_persisted: OnPersisted::new(move |persisted| {
            drop(sender.send((persisted, view.load().earliest())));
        }),
    };
    held.log.log.post(append).unwrap();
    held.gate.open();
    let (persisted, earliest) = in_time("an answer", seen).await.unwrap();
    persisted.unwrap();
    let trimmed = in_time("the trim", trimmed).await.unwrap();
    assert!(earliest < trimmed.earliest, "all was trimmed before the append");
    assert!(trimmed.complete);
    assert_eq!((trimmed.earliest, trimmed.segments as u64), (below, SEGMENTS));
    assert!(trimmed.bytes > SEGMENTS * 4000);
    held.record_is_stored().await;
    held.log.shut_down().await;
}

/// Consensus that was built again took what was placed for what was synced, and published it as committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_entries_that_are_not_synced() {
    let mut held = Held::new().await;
    let persisted = held.append(1, 100);
    let (reply, standing) = Reply::channel();
    held.log.log.post(Describe { reply }).unwrap();
    // The first one is that of the record, which hangs.
    held.disk.fail_nth(CallKind::Sync, 2, io::ErrorKind::Other);
    held.gate.open();
    assert_eq!(in_time("where the log stands", standing).await, Err(Unanswered));
    let persisted = in_time("an answer", persisted).await.unwrap();
    assert!(
        matches!(persisted, Err(AppendFailed::Unknown { .. })),
        "{persisted:?}"
    );
    held.record_is_stored().await;
    held.log.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_nothing_to_do_marks_that_all_of_it_is_synced() {
    let disk = SimFileSystem::new(2);
    let log = LoneLog::open(Arc::new(disk.clone()), Path::new(DIRECTORY), 1 << 20).await;
    let stored = log.append(vec![entry(LogIndex(1), 10)]);
    in_time("a record", stored).await.unwrap().unwrap();
    let is_mark = |call: &Call| call.kind == CallKind::Write && call.length == FRAME_HEADER_LEN as u64;
    until("a mark", async || disk.trace().iter().any(is_mark)).await;
    log.shut_down().await;
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

/// Consensus that was built again before the next note of what is committed looked for entries which were trimmed since the last
/// one, and the process ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consensus_that_panics_right_after_a_trim_goes_on_with_what_is_left() {
    let place = Place::on(Arc::new(SimFileSystem::new(4)));
    let node = TestNode::start_with(&place, |options| {
        options.log.segment_age_ms = 1;
        options.retention.age_max_ms = Some(1);
    })
    .await;
    let view = || node.refs.read_path.view();
    for generation in 2..=5 {
        let begins_at = view().segment_firsts()[0];
        node.client().produce(request(10)).await.unwrap();
        until("the log to begin later", async || {
            view().segment_firsts()[0] > begins_at
        })
        .await;
        until("somebody to strike", async || {
            node.refs.raft.post(Sabotage { of: Part::Raft }).is_ok()
        })
        .await;
        node.until_running(Part::Raft, generation).await;
        until("it leads again", async || node.get("/readyz").await.0 == 200).await;
    }
    node.client().produce(request(10)).await.unwrap();
    node.shut_down().await;
}
