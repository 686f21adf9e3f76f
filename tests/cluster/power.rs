//! The power of a node goes while its log is cut or exchanged: at every call to its disk, one after the other. Each time it starts
//! again from what was synced and a mixture of the rest, and comes to the same log as the others.
//!
//! What is counted are the calls that change the log's files, from the moment on when the node is let into what is to be cut short
//! until it has what the others have.

use std::{cell::Cell, io::ErrorKind, sync::Arc};

use annals::{
    actors::{
        raft::{HandOver, TrimBelow},
        replicator::faults::Cut,
        supervision::Reply,
    },
    node::NodeOptions,
    proto::annals::v1::{Record, RecordSet},
    storage::{
        Retention,
        entry::{Batch, Entry, Payload},
    },
    types::{LogIndex, Offset, Term, TimestampMs},
};

use crate::lost_beginnings::MISSING;
use crate::support::{
    cluster::{Cluster, Port},
    load::{ACKNOWLEDGED, Kinds, Load},
    lone_log::LoneLog,
    node::{Place, in_time, until},
    sim_fs::{Call, CallKind, Fault, On, SimFileSystem},
};

/// Small, and yet more than all records of these tests that are not to fill one.
const SEGMENT_BYTES: u64 = 64 << 10;
/// Some of them fill a segment.
const LARGE: usize = 8000;
/// None of them does.
const SMALL: usize = 50;
/// What a node has that is truncated: so many appends of so many large records, which are some segments.
const TAIL_APPENDS: u64 = 6;
/// See [`TAIL_APPENDS`].
const ENTRIES_AT_ONCE: u64 = 3;
/// What a node logs when all is removed that a trim lets go.
const TRIMMED: &str = "log trimmed ";
/// More calls than any of this takes.
const CALLS_MAX: u64 = 150;
/// What a node writes beside its log, and the directory it is in: these calls come at any time, and are not counted.
const BESIDE_THE_LOG: &[&str] = &["vote", "committed", "peers", "identity", ".tmp"];

fn small_segments(options: &mut NodeOptions) {
    options.log.segment_bytes = SEGMENT_BYTES;
}

/// So little is kept that whoever is away for a moment is behind it.
fn little_is_kept(options: &mut NodeOptions) {
    small_segments(options);
    options.retention = Retention {
        bytes_max: Some(2 * SEGMENT_BYTES),
        age_max_ms: None,
    };
}

/// A cluster of three, and the node whose power goes.
struct Outage {
    cluster: Cluster,
    disks: Vec<SimFileSystem>,
    node: usize,
    /// Length of its disk's trace when calls began to count.
    counts_from: usize,
}

impl Outage {
    /// Founds the cluster; the node is one that follows.
    async fn at_a_follower(adjust: fn(&mut NodeOptions)) -> Self {
        let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
        let places = disks
            .iter()
            .map(|disk| Place::on(Arc::new(disk.clone())))
            .collect();
        let cluster = Cluster::found_at_with(places, 3, adjust).await;
        let node = cluster.follower(cluster.until_led().await);
        Self {
            cluster,
            disks,
            node,
            counts_from: 0,
        }
    }

    fn disk(&self) -> &SimFileSystem {
        &self.disks[self.node]
    }

    /// The power goes at the nth call from now on.
    fn arm(&mut self, nth: u64) {
        assert!(nth <= CALLS_MAX, "it never comes to an end");
        self.counts_from = self.disk().trace().len();
        let fault = Fault::nth(On::Any, nth, ErrorKind::Other);
        self.disk().inject(fault.sparing(BESIDE_THE_LOG).cutting_power());
    }

    /// Waits until the power is gone, or `is_over` before that; says which.
    async fn power_goes_before(&self, is_over: impl Fn(&Self) -> bool) -> bool {
        until("the power to go, or all to be over", async || {
            self.disk().power_is_off() || is_over(self)
        })
        .await;
        self.disk().power_is_off()
    }

    /// The calls that counted, since [`Self::arm`].
    fn counted(&self) -> Vec<Call> {
        let calls = self.disk().trace().split_off(self.counts_from);
        let counts = |call: &Call| {
            let name = call.path.file_name().unwrap_or_default().to_string_lossy();
            !BESIDE_THE_LOG.iter().any(|spared| name.contains(spared))
        };
        calls.into_iter().filter(counts).collect()
    }

    /// Ends the node where it has no power, lets the disk forget what it may, and starts the node from the rest.
    async fn power_returns(&mut self, seed: u64) {
        self.cluster.kill(self.node).await;
        self.disk().clear_faults();
        self.disk().crash(seed);
        self.cluster.start(self.node, Port::Same).await;
        self.until_level().await;
    }

    /// The last entry that is synced at a node.
    fn last(&self, number: usize) -> Option<(LogIndex, Term)> {
        self.cluster.node(number).refs.read_path.view().last_log_id().ok()
    }

    /// Whether all nodes have the same entries, and the same records are committed, and readable.
    fn is_level(&self) -> bool {
        let state = |number| {
            let earliest = self.cluster.node(number).refs.read_path.view().earliest();
            (self.last(number), self.cluster.high_watermark(number), earliest)
        };
        state(0).0.is_some() && state(0) == state(1) && state(1) == state(2)
    }

    async fn until_level(&self) {
        until("all nodes to have the same", async || self.is_level()).await;
    }

    /// Reads all that each node has, and judges it.
    async fn judge(&self) {
        let summary = self.cluster.judge_all().await;
        assert_eq!(summary.contents % 3, 0, "{summary:?}");
        let lines = &self.cluster.node(self.node).lines;
        assert_eq!(
            lines.beginning(MISSING),
            [""; 0],
            "a log that was cut short looks robbed"
        );
    }

    /// Waits until somebody leads who is not the node, and answers who.
    async fn leader(&self) -> usize {
        let leader = self.cluster.until_led().await;
        if leader == self.node {
            self.hand_over_to(self.cluster.follower(leader)).await;
        }
        self.cluster.until_led().await
    }

    /// Lets that node lead, in a new term. On a machine that has no time for it, it is tried again.
    async fn hand_over_to(&self, to: usize) {
        until("the other one to lead", async || {
            let leader = self.cluster.until_led_among(&self.running_others()).await;
            let (reply, handed_over) = Reply::channel();
            let message = HandOver {
                to: Some(self.cluster.id(to)),
                reply,
            };
            let posted = self.cluster.node(leader).refs.raft.post(message).is_ok();
            leader == to || (posted && handed_over.await.is_ok())
        })
        .await;
    }

    /// Has so many more batches stored, of records of so many bytes.
    async fn stores(&self, batches: u64, record_bytes: usize) {
        let kinds = Kinds {
            unary: 2,
            unary_stamped: 2,
            streams: 0,
            streams_stamped: 0,
            tails: 0,
            readers: 0,
            lease_readers: 0,
            record_bytes,
            ..Kinds::of_a_cluster()
        };
        let load = Load::begin_on(&self.cluster.nodes, &self.cluster.recorder, kinds);
        until("batches to be stored", async || {
            load.answers(ACKNOWLEDGED) >= batches
        })
        .await;
        load.finish().await;
    }

    /// Starts the node where it reaches nobody.
    async fn begin_parted(&mut self) {
        self.cluster.isolate(self.node, Cut::Fail);
        self.cluster.begin(self.node, Port::Same).await;
    }

    /// Ends the node, and lets it come back with entries that nobody else has, and that will not be: the leader of its term
    /// sent them to it alone, and lost them itself when its power went.
    async fn comes_back_with_a_tail(&mut self) {
        let old = self.leader().await;
        self.until_level().await;
        self.end().await;
        let others = self.running_others();
        let new = others.iter().find(|number| **number != old);
        self.hand_over_to(*new.expect("there are three")).await;
        let (first, last, term) = self.write_tail().await;
        until("the others to have entries of a newer term instead", async || {
            others.iter().all(|other| {
                let view = self.cluster.node(*other).refs.read_path.view();
                let instead = view.log_id_of(first).expect("it can be read");
                // One of the same term would be the same entry.
                instead.is_some_and(|instead| instead.1 > term)
            })
        })
        .await;
        self.stores(1, SMALL).await;
        self.begin_parted().await;
        assert_eq!(self.last(self.node), Some((last, term)));
    }

    /// Ends the node, and lets it come back when the others do not have any more what it lacks.
    async fn comes_back_behind_the_trim(&mut self) {
        self.end().await;
        let log = self.log_of_the_ended().await;
        let ended_at = log.standing().await.last_log_index;
        assert_eq!(log.shut_down().await.exit_code, 0);
        let others = self.running_others();
        self.cluster.until_led_among(&others).await;
        // More than is kept, and the segment that it ended in: three segments.
        self.stores(3 * SEGMENT_BYTES / LARGE as u64, LARGE).await;
        until("what it lacks to be trimmed", async || {
            let begins_behind = |other: &usize| self.segment_firsts(*other)[0] > ended_at.plus(1);
            others.iter().all(begins_behind)
        })
        .await;
        self.begin_parted().await;
    }

    /// Ends the node, nobody of whom is told.
    async fn end(&mut self) {
        self.cluster.kill(self.node).await;
        self.disk().kill();
    }

    /// The others, all of which run.
    fn running_others(&self) -> Vec<usize> {
        self.cluster.others(self.node)
    }

    /// The first entries of the segments that a node has.
    fn segment_firsts(&self, number: usize) -> Vec<LogIndex> {
        self.cluster.node(number).refs.read_path.view().segment_firsts()
    }

    /// How often the node was done with a trim so far, in all its lives.
    fn trims(&self) -> usize {
        self.cluster.node(self.node).lines.beginning(TRIMMED).len()
    }

    /// Has all trimmed that is in sealed segments, and waits until a leader has done so.
    async fn trim(&self) {
        let leader = Cell::new(0);
        until("a trim to be committed", async || {
            leader.set(self.cluster.until_led_among(&self.running_others()).await);
            let (reply, trimmed) = Reply::channel();
            let message = TrimBelow {
                below: Offset(self.cluster.high_watermark(leader.get())),
                reply,
            };
            let posted = self.cluster.node(leader.get()).refs.raft.post(message);
            posted.is_ok() && trimmed.await.is_ok()
        })
        .await;
        until("a leader to trim", async || {
            self.segment_firsts(leader.get()).len() == 1
        })
        .await;
    }

    /// There is nothing left to cut: what is there in the end is judged, and the cluster stopped.
    async fn over(self) {
        self.disk().clear_faults();
        self.judge().await;
        self.cluster.stop().await;
    }

    /// The log of the node, which has ended.
    async fn log_of_the_ended(&self) -> LoneLog {
        let place = self.cluster.place(self.node);
        let cluster_id = place.identity().cluster_id.expect("it belongs to one");
        let disk = Arc::new(self.disk().clone());
        LoneLog::open_of(cluster_id, disk, &place.log_directory(), SEGMENT_BYTES).await
    }

    /// Appends some segments of entries to the log of the node, which has ended, in the term of its last one; answers the first of
    /// them, the last, and the term.
    async fn write_tail(&self) -> (LogIndex, LogIndex, Term) {
        let log = self.log_of_the_ended().await;
        let standing = log.standing().await;
        let (mut last, term) = (standing.last_log_index, standing.last_term);
        for _ in 0..TAIL_APPENDS {
            let entries: Vec<_> = (1..=ENTRIES_AT_ONCE)
                .map(|number| never_sent(last.plus(number), term))
                .collect();
            last = last.plus(ENTRIES_AT_ONCE);
            in_time("the tail", log.append(entries)).await.unwrap().unwrap();
        }
        assert_eq!(log.shut_down().await.exit_code, 0);
        (standing.last_log_index.plus(1), last, term)
    }
}

/// An entry with a record that no client has sent.
fn never_sent(log_index: LogIndex, term: Term) -> Entry {
    let record = Record {
        value: vec![b'?'; LARGE].into(),
        ..Record::default()
    };
    let records = RecordSet {
        records: vec![record],
    };
    Entry {
        log_index,
        term,
        timestamp: TimestampMs(1),
        payload: Payload::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 1,
            records: prost::Message::encode_to_vec(&records).into(),
        }),
    }
}

/// How many of these calls there are on files whose names end like that.
fn count(calls: &[Call], kind: CallKind, name_ends: &str) -> usize {
    let is_one = |call: &&Call| call.kind == kind && call.path.to_string_lossy().ends_with(name_ends);
    calls.iter().filter(is_one).count()
}

/// Says what was cut short, call by call.
fn tell(cuts: u64, calls: &[Call]) {
    assert!(calls.len() as u64 <= cuts, "{cuts} are fewer than {calls:#?}");
    println!("{cuts} power cuts, one before each of these calls and of those that followed:");
    for call in calls {
        let name = call.path.file_name().unwrap_or_default();
        println!("{:?} {}", call.kind, name.to_string_lossy());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_comes_to_its_end_after_a_power_cut_at_any_of_its_calls() {
    let mut outage = Outage::at_a_follower(small_segments).await;
    let mut cuts = 0;
    loop {
        outage.comes_back_with_a_tail().await;
        outage.arm(cuts + 1);
        outage.cluster.faults.heal_all();
        if !outage.power_goes_before(Outage::is_level).await {
            break;
        }
        cuts += 1;
        outage.power_returns(cuts).await;
        outage.judge().await;
    }
    let calls = outage.counted();
    tell(cuts, &calls);
    assert!(count(&calls, CallKind::Remove, ".store") >= 2, "{calls:#?}");
    assert!(count(&calls, CallKind::Remove, ".index") >= 2, "{calls:#?}");
    assert!(
        count(&calls, CallKind::Write, "00001.store") >= 1,
        "what is kept has no end to zero: {calls:#?}"
    );
    outage.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_of_segments_comes_to_its_end_after_a_power_cut_at_any_of_its_calls() {
    let mut outage = Outage::at_a_follower(little_is_kept).await;
    let mut cuts = 0;
    loop {
        outage.comes_back_behind_the_trim().await;
        outage.arm(cuts + 1);
        outage.cluster.faults.heal_all();
        if !outage.power_goes_before(Outage::is_level).await {
            break;
        }
        cuts += 1;
        outage.power_returns(cuts).await;
        outage.judge().await;
    }
    let calls = outage.counted();
    tell(cuts, &calls);
    assert_eq!(
        count(&calls, CallKind::Rename, "manifest.installing"),
        1,
        "{calls:#?}"
    );
    assert_eq!(
        count(&calls, CallKind::Remove, "manifest.installing"),
        1,
        "{calls:#?}"
    );
    assert!(count(&calls, CallKind::Remove, ".store") >= 1, "{calls:#?}");
    assert_eq!(count(&calls, CallKind::Rename, "beginning"), 1, "{calls:#?}");
    outage.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trim_comes_to_its_end_after_a_power_cut_at_any_of_its_calls() {
    let mut outage = Outage::at_a_follower(small_segments).await;
    let mut cuts = 0;
    loop {
        // Some segments to go.
        outage.stores(15, LARGE).await;
        outage.leader().await;
        outage.until_level().await;
        let trims = outage.trims();
        let is_over =
            |outage: &Outage| outage.trims() > trims && outage.segment_firsts(outage.node).len() == 1;
        outage.arm(cuts + 1);
        outage.trim().await;
        if !outage.power_goes_before(is_over).await {
            break;
        }
        cuts += 1;
        outage.power_returns(cuts).await;
        outage.judge().await;
    }
    let calls = outage.counted();
    tell(cuts, &calls);
    assert!(count(&calls, CallKind::Remove, ".store") >= 2, "{calls:#?}");
    assert!(count(&calls, CallKind::Remove, ".index") >= 2, "{calls:#?}");
    assert_eq!(count(&calls, CallKind::Rename, "beginning"), 1, "{calls:#?}");
    outage.over().await;
}
