//! What consensus owes a node that starts: promises first, and no record before it is known to be committed.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use annals::{
    actors::{
        log::NoteCommitted,
        supervision::{Part, policy::EXIT_FAILSAFE},
    },
    consensus::{codec, types::RaftMembership},
    proto::annals::v1::{
        ConsumeRequest, DescribeLogRequest, DescribeLogResponse, ProduceRequest, ReadLevel, Record,
        RecordSet, Start, start::Position,
    },
    storage::{
        Committed, StoredMembership,
        data_dir::{DataDir, DataDirError},
        entry::{Batch, Entry, Payload},
        fs::RealFileSystem,
    },
    types::{LogIndex, Term, TimestampMs},
};

use crate::support::{
    hooked_fs::{Gate, Hook, HookedFileSystem, Point},
    load::{Kinds, Load, read_all, reason_of},
    log_checker::Recorder,
    lone_log::LoneLog,
    node::{Place, TestNode, in_time, until},
    sim_fs::{Call, CallKind, Fault, SimFileSystem},
};

/// Enough requests and records to be sure that all clients are at work.
const AT_WORK: u64 = 150;

/// The file that holds a node's promises.
const VOTE: &str = "vote";
const VOTE_IN_THE_MAKING: &str = "vote.preparing";

fn record_set(value: &str) -> RecordSet {
    let record = Record {
        value: value.to_owned().into(),
        ..Record::default()
    };
    RecordSet {
        records: vec![record],
    }
}

fn request(value: &str) -> ProduceRequest {
    ProduceRequest {
        records: Some(record_set(value)),
        ..ProduceRequest::default()
    }
}

fn consume(level: ReadLevel) -> ConsumeRequest {
    ConsumeRequest {
        start: Some(Start {
            position: Some(Position::Offset(0)),
        }),
        read_level: level.into(),
        ..ConsumeRequest::default()
    }
}

async fn describe(node: &TestNode) -> DescribeLogResponse {
    let mut client = node.client();
    let described = in_time("DescribeLog", client.describe_log(DescribeLogRequest::default())).await;
    described.unwrap().into_inner()
}

async fn term(node: &TestNode) -> u64 {
    describe(node).await.header.expect("every response has one").term
}

/// Lets the writes of a vote wait, from the nth on.
#[derive(Debug)]
struct HoldsVotes {
    gate: Arc<Gate>,
    passes: AtomicI64,
}

impl Hook for HoldsVotes {
    fn before(&self, point: Point, path: &Path) {
        if point != Point::Write || path.file_name().is_none_or(|name| name != VOTE) {
            return;
        }
        if self.passes.fetch_sub(1, Ordering::SeqCst) <= 0 {
            // It lets syncs wait, and this stands for one.
            self.gate.before(Point::Sync, path);
        }
    }
}

/// Clients were shown an empty log for a moment, since nobody had been elected yet who could say what is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_serves_all_that_was_acknowledged_from_the_first_moment_and_decides_nothing_before_it_leads()
 {
    let disk = SimFileSystem::new(1);
    let place = Place::on(Arc::new(disk.clone()));
    let node = TestNode::start(&place).await;
    for value in ["one", "two", "three"] {
        node.client().produce(request(value)).await.unwrap();
    }
    node.shut_down().await;
    // A kill may leave no note of what is committed, or an old one.
    disk.set_bytes(&place.log_directory().join("committed"), &[]);

    let gate = Gate::new();
    gate.close();
    let holds = HoldsVotes {
        gate: gate.clone(),
        // Opening the log writes the second copy once more.
        passes: AtomicI64::new(1),
    };
    let place = place.seen_through(Arc::new(HookedFileSystem::new(disk, Arc::new(holds))));
    let node = TestNode::start_bound(&place).await;
    until("it votes for itself", async || gate.waiting() > 0).await;
    assert_eq!(describe(&node).await.high_watermark, 3);
    let mut client = node.client();
    let local = client
        .consume(consume(ReadLevel::Local))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(local.next_offset, 3);
    let refused = client
        .consume(consume(ReadLevel::Linearizable))
        .await
        .unwrap_err();
    assert_eq!(reason_of(&refused), "NO_LEADER");
    let refused = client.produce(request("four")).await.unwrap_err();
    assert_eq!(reason_of(&refused), "NO_LEADER");
    assert_eq!(node.get("/readyz").await.0, 503);

    gate.open();
    until("it leads", async || node.get("/readyz").await.0 == 200).await;
    let read = client
        .consume(consume(ReadLevel::Linearizable))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.next_offset, 3);
    assert_eq!(
        client
            .produce(request("four"))
            .await
            .unwrap()
            .into_inner()
            .first_offset,
        3
    );
    assert_eq!(node.shut_down().await.exit_code, 0);
}

/// Makes the log of a voter among three, which has so many records, the first of which are known to be committed.
async fn log_of_one_among_three(disk: &SimFileSystem, place: &Place, records: u64, known: u64) {
    let identity = place.identity();
    let cluster_id = identity.cluster_id.expect("it has one");
    let own = identity.node_id.get();
    let log = LoneLog::open_of(
        cluster_id,
        Arc::new(disk.clone()),
        &place.log_directory(),
        1 << 20,
    )
    .await;
    log.votes_in(Term(1)).await;
    let voters = BTreeSet::from([own, own ^ 1, own ^ 2]);
    let membership = RaftMembership::new_with_defaults(vec![voters], []);
    let bytes = codec::encode_membership(&membership);
    let mut entries = vec![Entry {
        log_index: LogIndex(1),
        term: Term::ZERO,
        timestamp: TimestampMs(1),
        payload: Payload::Membership(bytes.clone()),
    }];
    entries.extend((0..records).map(|number| Entry {
        log_index: LogIndex(number + 2),
        term: Term(1),
        timestamp: TimestampMs(1),
        payload: Payload::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 1,
            records: prost::Message::encode_to_vec(&record_set(&format!("record {number}"))).into(),
        }),
    }));
    in_time("the entries", log.append(entries))
        .await
        .unwrap()
        .unwrap();
    let committed = Committed {
        log_index: LogIndex(known + 1),
        term: Term(1),
        membership: Some(StoredMembership {
            log_index: LogIndex(1),
            term: Term::ZERO,
            bytes,
        }),
    };
    log.log.post(NoteCommitted { committed }).unwrap();
    assert_eq!(log.shut_down().await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_among_others_serves_what_it_knows_to_be_committed_and_nothing_behind_it() {
    let disk = SimFileSystem::new(2);
    let place = Place::on(Arc::new(disk.clone()));
    log_of_one_among_three(&disk, &place, 10, 4).await;
    let node = TestNode::start_bound(&place).await;
    let described = describe(&node).await;
    assert_eq!((described.high_watermark, described.tail), (4, 10));
    let mut client = node.client();
    let local = client
        .consume(consume(ReadLevel::Local))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(local.next_offset, 4);
    for level in [ReadLevel::Linearizable, ReadLevel::Lease] {
        let refused = client.consume(consume(level)).await.unwrap_err();
        assert_eq!(reason_of(&refused), "NO_LEADER");
    }
    let refused = client.produce(request("more")).await.unwrap_err();
    assert_eq!(reason_of(&refused), "NO_LEADER");
    node.shut_down().await;
}

/// Its log was taken for that of a node alone, and what nobody had agreed on was served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_voter_among_others_serves_no_more_than_it_knows_to_be_committed() {
    for note_is_lost in [false, true] {
        let disk = SimFileSystem::new(3);
        let place = Place::on(Arc::new(disk.clone()));
        log_of_one_among_three(&disk, &place, 10, 4).await;
        let store = place.log_directory().join("00000000000000000001.store");
        let mut bytes = disk.bytes(&store);
        let damaged = bytes.windows(8).position(|window| window == b"record 7").unwrap();
        bytes[damaged] ^= 1;
        disk.set_bytes(&store, &bytes);
        if note_is_lost {
            disk.set_bytes(&place.log_directory().join("committed"), &[]);
        }
        let node = TestNode::start_bound(&place).await;
        let described = describe(&node).await;
        assert_eq!(described.high_watermark, if note_is_lost { 0 } else { 4 });
        assert_eq!(described.tail, 7);
        let mut client = node.client();
        let refused = client
            .consume(consume(ReadLevel::Linearizable))
            .await
            .unwrap_err();
        assert_eq!(reason_of(&refused), "NO_LEADER");
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_start_of_consensus_is_a_term_of_its_own() {
    let place = Place::real();
    let mut last = 0;
    for _ in 0..3 {
        let node = TestNode::start(&place).await;
        for (generation, part) in [(1, None), (2, Some(Part::Raft)), (3, Some(Part::Log))] {
            if let Some(part) = part {
                assert!(node.control.restart(part).await);
                node.until_running(Part::Raft, generation).await;
                until("it leads again", async || node.get("/readyz").await.0 == 200).await;
            }
            let term = term(&node).await;
            assert!(term > last, "{term} after {last}");
            last = term;
        }
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_high_watermark_and_the_term_never_fall_while_consensus_is_built_again_and_again() {
    let place = Place::real();
    let recorder = Recorder::new();
    let node = TestNode::start(&place).await;
    let load = Load::begin(&node, &recorder, Kinds::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (read_path, stops) = (node.refs.read_path.clone(), stop.clone());
    let watched = tokio::task::spawn_blocking(move || {
        let mut highest = read_path.high_watermark();
        while !stops.load(Ordering::SeqCst) {
            let now = read_path.high_watermark();
            assert!(now >= highest, "{now} after {highest} (LOG-3)");
            highest = now;
            std::thread::yield_now();
        }
        highest
    });
    let mut last_term = 0;
    for generation in 2..=6 {
        load.progresses(AT_WORK).await;
        let part = if generation % 2 == 0 {
            Part::Raft
        } else {
            Part::Log
        };
        assert!(node.control.restart(part).await);
        while node.status_of(Part::Raft).await.generation < generation {
            let term = term(&node).await;
            assert!(term >= last_term, "{term} after {last_term}");
            last_term = term;
        }
    }
    load.progresses(AT_WORK).await;
    load.finish().await;
    stop.store(true, Ordering::SeqCst);
    assert!(in_time("the watch", watched).await.unwrap().get() > AT_WORK);
    read_all(&node, &recorder).await;
    recorder.history().assert_kept();
    assert_eq!(node.shut_down().await.exit_code, 0);
}

/// Both copies are written, and synced, before the first entry of the new term is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_is_durable_before_its_node_appends_anything_as_a_leader() {
    const KIND_AT: usize = 12;
    const MARK: u8 = 5;
    let disk = SimFileSystem::new(4);
    let place = Place::on(Arc::new(disk.clone()));
    TestNode::start(&place).await.shut_down().await;
    let before = disk.trace().len();
    TestNode::start(&place).await.shut_down().await;
    let store = disk.bytes(&place.log_directory().join("00000000000000000001.store"));
    // A mark is no entry, and comes when the log has nothing else to do.
    let is_entry = |call: &Call| {
        let at = usize::try_from(call.position).unwrap();
        call.kind == CallKind::Write && store[at + KIND_AT] != MARK
    };
    let trace = disk.trace();
    let calls: Vec<_> = trace[before..]
        .iter()
        .filter_map(|call| {
            let name = call.path.file_name()?.to_str()?;
            let is_vote = name == VOTE && matches!(call.kind, CallKind::Write | CallKind::Sync);
            let counts = is_vote || (name.ends_with(".store") && is_entry(call));
            counts.then_some((is_vote, call.kind))
        })
        .skip_while(|(is_vote, _)| !is_vote)
        .collect();
    let [write, sync] = [(true, CallKind::Write), (true, CallKind::Sync)];
    assert_eq!(
        calls[..2],
        [write, sync],
        "the mending of what was found: {calls:?}"
    );
    assert_eq!(calls[2..6], [write, sync, write, sync], "{calls:?}");
    assert!(
        calls.contains(&(false, CallKind::Write)),
        "the leader's first entry: {calls:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_that_cannot_be_made_durable_ends_the_node_and_nothing_is_written_after_it() {
    // The first vote makes the file, which keeps its first name in the trace until it is opened again.
    let at_the_first_start = [
        (VOTE_IN_THE_MAKING, CallKind::Create, 1),
        (VOTE_IN_THE_MAKING, CallKind::Write, 1),
        (VOTE_IN_THE_MAKING, CallKind::Sync, 1),
        (VOTE, CallKind::Rename, 1),
        (VOTE_IN_THE_MAKING, CallKind::Sync, 2),
    ];
    // The mending of the copies comes before the new vote.
    let at_a_later_start = [
        (VOTE, CallKind::Write, 2),
        (VOTE, CallKind::Sync, 2),
        (VOTE, CallKind::Sync, 3),
        (VOTE, CallKind::Sync, 4),
    ];
    let cases = at_the_first_start
        .map(|case| (false, case))
        .into_iter()
        .chain(at_a_later_start.map(|case| (true, case)));
    for (seed, (later, (file, kind, nth))) in (0..).zip(cases) {
        let disk = SimFileSystem::new(seed);
        let place = Place::on(Arc::new(disk.clone()));
        let mut stored = 0;
        if later {
            let node = TestNode::start(&place).await;
            node.client().produce(request("one")).await.unwrap();
            stored = 1;
            node.shut_down().await;
        }
        disk.inject(Fault::nth(kind, nth, ErrorKind::Other).at(file));
        let ending = TestNode::start_that_fails(&place).await;
        let case = format!("{kind:?} {nth} of {file}, later: {later}");
        assert_eq!(disk.faults_fired(), 1, "{case}");
        assert_eq!(ending.exit_code, EXIT_FAILSAFE, "{case}: {}", ending.cause);
        assert!(
            ending.cause.contains("a fault of the simulated disk"),
            "{}",
            ending.cause
        );
        let trace = disk.trace();
        let failed = trace.iter().position(|call| call.failed).expect("it was traced");
        assert_eq!(
            trace[failed + 1..],
            [],
            "{case}: after {:?} (STO-3)",
            trace[failed]
        );

        disk.crash(seed);
        let node = TestNode::start(&place).await;
        assert_eq!(describe(&node).await.high_watermark, stored, "{case}");
        node.client().produce(request("more")).await.unwrap();
        assert_eq!(node.shut_down().await.exit_code, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_of_what_is_committed_that_cannot_be_written_costs_nothing() {
    let disk = SimFileSystem::new(5);
    let place = Place::on(Arc::new(disk.clone()));
    let node = TestNode::start(&place).await;
    disk.inject(
        Fault::nth(CallKind::Create, 1, ErrorKind::Other)
            .at("committed")
            .lasting(),
    );
    disk.inject(
        Fault::nth(CallKind::Write, 1, ErrorKind::Other)
            .at("committed")
            .lasting(),
    );
    node.client().produce(request("one")).await.unwrap();
    assert_eq!(node.shut_down().await.exit_code, 0);
    assert!(disk.faults_fired() > 0);
    disk.clear_faults();
    let node = TestNode::start_bound(&place).await;
    assert_eq!(describe(&node).await.high_watermark, 1);
    node.shut_down().await;
}

/// Looks whether it is noted that the log has begun when a node writes its first vote.
#[derive(Debug, Default)]
struct SeesFirstVote {
    noted: OnceLock<bool>,
}

impl Hook for SeesFirstVote {
    fn before(&self, point: Point, path: &Path) {
        let is_vote = [VOTE, VOTE_IN_THE_MAKING]
            .map(|name| path.ends_with(name))
            .contains(&true);
        if point == Point::Write && is_vote {
            let data_dir = path.ancestors().nth(3).unwrap();
            self.noted.get_or_init(|| data_dir.join("begun").exists());
        }
    }
}

/// The bug: a node noted that its log had begun when it served for the first time, and some only at their second start. Before that it
/// may have voted, and with its log lost it came back and voted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_notes_that_its_log_has_begun_before_it_promises_anything_and_not_before_it_has_a_log() {
    let waiting = Place::real().among_others("node-1");
    let node = TestNode::start_bound(&waiting).await;
    assert!(
        !waiting.directory().join("begun").exists(),
        "it has no cluster yet"
    );
    node.kill().await;
    TestNode::start_bound(&waiting).await.kill().await;

    let sees = Arc::new(SeesFirstVote::default());
    let place = Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, sees.clone())));
    TestNode::start(&place).await.kill().await;
    assert_eq!(sees.noted.get(), Some(&true));
    std::fs::remove_dir_all(place.directory().join("logs")).unwrap();
    let refused = DataDir::open(Arc::new(RealFileSystem), place.directory(), "node-0").unwrap_err();
    assert!(matches!(refused, DataDirError::LogGone { .. }), "{refused}");
}
