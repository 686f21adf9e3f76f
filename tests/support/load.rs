//! Clients at work on one node or a cluster: producers and consumers of every kind, who note what they see and go on
//! whatever happens, at another node when the one they asked is gone, or says who leads.

mod caller;
mod consume;
mod nodes;
mod produce;
mod produce_stream;
mod read_all;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use caller::{Caller, Refused};

use super::{
    log_checker::{Level, Recorder},
    node::{DEADLINE, TestNode, in_time, until},
};

pub(crate) use nodes::Nodes;
pub(crate) use read_all::{read_all, read_all_of, read_all_running};

/// What a status without our details counts as: the connection broke.
pub(crate) const BROKEN: &str = "(connection)";
/// What no answer counts as, when a client has no more patience.
pub(crate) const TIMED_OUT: &str = "(timeout)";
/// What a success counts as.
pub(crate) const ACKNOWLEDGED: &str = "(acknowledged)";

/// How soon a client tries again, and how often a stream sends: clients, too, leave the processor to others.
const PACE: Duration = Duration::from_millis(2);

/// What a node by itself is called.
const ONLY_NODE: &str = "node-0";

/// How many clients of which kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    /// Producers without and with a stamp, one request at a time.
    pub(crate) unary: u64,
    pub(crate) unary_stamped: u64,
    /// The same with many requests under way.
    pub(crate) streams: u64,
    pub(crate) streams_stamped: u64,
    /// Consumers that follow.
    pub(crate) tails: u64,
    /// Linearizable reads near the end of the log, one after the other, and looks at the watermark.
    pub(crate) readers: u64,
    /// The same with lease reads.
    pub(crate) lease_readers: u64,
    /// Length of a record.
    pub(crate) record_bytes: usize,
    /// How long a client waits for an answer before it goes elsewhere. `None`: every request has to be answered.
    pub(crate) patience: Option<Duration>,
    /// How long a producer with a stamp, one request at a time, tries the same batch; then its next epoch begins.
    pub(crate) batch_deadline: Duration,
}

impl Kinds {
    /// For nodes that may be killed, cut off or stopped: clients do not wait for them.
    pub(crate) fn of_a_cluster() -> Self {
        Self {
            readers: 2,
            lease_readers: 1,
            patience: Some(Duration::from_secs(2)),
            ..Self::default()
        }
    }

    /// For nodes that nothing is done to: every request has to be answered, and where the machine stands still, it is waited for.
    pub(crate) fn of_a_whole_cluster() -> Self {
        Self {
            patience: None,
            ..Self::of_a_cluster()
        }
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            unary: 2,
            unary_stamped: 2,
            streams: 1,
            streams_stamped: 1,
            tails: 2,
            readers: 1,
            lease_readers: 0,
            record_bytes: 100,
            patience: None,
            batch_deadline: DEADLINE,
        }
    }
}

/// Clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What all clients share.
struct Shared {
    recorder: Recorder,
    nodes: Nodes,
    kinds: Kinds,
    stop: CancellationToken,
    /// Answers to producers, by reason.
    produced: Mutex<BTreeMap<String, u64>>,
    /// Why reads ended, by reason.
    refused_reads: Mutex<BTreeMap<String, u64>>,
    acknowledged: watch::Sender<u64>,
    consumed: watch::Sender<u64>,
    /// Everything below is acknowledged.
    acknowledged_to: AtomicU64,
}

/// Makes producers different, also those of the node's next life.
static NEXT_PRODUCER: AtomicU64 = AtomicU64::new(1);

impl Load {
    /// Sets clients to work on one node.
    pub(crate) fn begin(node: &TestNode, recorder: &Recorder, kinds: Kinds) -> Self {
        Self::begin_on(&Nodes::of([(ONLY_NODE, node.addresses.rpc)]), recorder, kinds)
    }

    /// Sets clients to work on a cluster; each begins at another node.
    pub(crate) fn begin_on(nodes: &Nodes, recorder: &Recorder, kinds: Kinds) -> Self {
        let shared = Arc::new(Shared {
            recorder: recorder.clone(),
            nodes: nodes.clone(),
            kinds,
            stop: CancellationToken::new(),
            produced: Mutex::default(),
            refused_reads: Mutex::default(),
            acknowledged: watch::Sender::new(0),
            consumed: watch::Sender::new(0),
            acknowledged_to: AtomicU64::new(0),
        });
        let mut clients = JoinSet::new();
        let mut number = 0;
        let mut caller = |kind: &str| {
            number += 1;
            Caller::new(&shared, format!("{kind}-{number}"), number)
        };
        let producer = || NEXT_PRODUCER.fetch_add(1, Ordering::Relaxed);
        for (count, stamped) in [(kinds.unary, false), (kinds.unary_stamped, true)] {
            for _ in 0..count {
                clients.spawn(produce::unary(caller("unary"), producer(), stamped));
            }
        }
        for (count, stamped) in [(kinds.streams, false), (kinds.streams_stamped, true)] {
            for _ in 0..count {
                clients.spawn(produce_stream::stream(caller("stream"), producer(), stamped));
            }
        }
        for _ in 0..kinds.tails {
            clients.spawn(consume::tail(caller("tail")));
        }
        for (count, level) in [
            (kinds.readers, Level::Linearizable),
            (kinds.lease_readers, Level::Lease),
        ] {
            for _ in 0..count {
                clients.spawn(consume::reader(caller("reader"), level));
            }
        }
        Self { shared, clients }
    }

    /// Waits until so many more requests are acknowledged and so many more records consumed: the node is at work.
    pub(crate) async fn progresses(&self, count: u64) {
        for (what, sender) in [
            ("more acknowledgements", &self.shared.acknowledged),
            ("more records for consumers", &self.shared.consumed),
        ] {
            let mut counter = sender.subscribe();
            let wanted = *counter.borrow() + count;
            let reached = in_time(what, counter.wait_for(|now| *now >= wanted)).await;
            reached.expect("the counter is ours");
        }
    }

    /// Waits until so many more records are acknowledged.
    pub(crate) async fn stores(&self, records: u64) {
        let stored = || self.shared.acknowledged_to.load(Ordering::SeqCst);
        let wanted = stored() + records;
        until("more records to be stored", async || stored() >= wanted).await;
    }

    /// Answers so far that producers got for this reason.
    pub(crate) fn answers(&self, reason: &str) -> u64 {
        let produced = self
            .shared
            .produced
            .lock()
            .expect("no call panics while it has the lock");
        produced.get(reason).copied().unwrap_or(0)
    }

    /// Lets the clients finish what is under way, and says what answers there were to producers and consumers.
    ///
    /// Panics: when one gets no answer, or saw what must not be.
    pub(crate) async fn finish(mut self) -> Answers {
        self.shared.stop.cancel();
        let all = async {
            while let Some(client) = self.clients.join_next().await {
                client.expect("clients are satisfied");
            }
        };
        in_time("an answer to each client", all).await;
        Answers {
            produced: self
                .shared
                .produced
                .lock()
                .expect("no call panics while it has the lock")
                .clone(),
            refused_reads: self
                .shared
                .refused_reads
                .lock()
                .expect("no call panics while it has the lock")
                .clone(),
        }
    }
}

/// How often clients were answered what.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) produced: BTreeMap<String, u64>,
    pub(crate) refused_reads: BTreeMap<String, u64>,
}

impl Answers {
    /// Panics when a producer got an answer that is not one of these.
    pub(crate) fn assert_produced_only(&self, allowed: &[&str]) {
        let others = self
            .produced
            .keys()
            .filter(|reason| !allowed.contains(&reason.as_str()));
        assert_eq!(others.count(), 0, "{:?}; allowed are {allowed:?}", self.produced);
    }

    /// Panics when a reader got an error that is not one of these.
    pub(crate) fn assert_reads_refused_only(&self, allowed: &[&str]) {
        let others = self
            .refused_reads
            .keys()
            .filter(|reason| !allowed.contains(&reason.as_str()));
        assert_eq!(
            others.count(),
            0,
            "{:?}; allowed are {allowed:?}",
            self.refused_reads
        );
    }
}

impl Shared {
    /// A record like no other.
    fn record(&self, producer: u64, number: u64) -> Bytes {
        let mut record = format!("p{producer} r{number} ").into_bytes();
        record.resize(self.kinds.record_bytes.max(record.len()), b'.');
        record.into()
    }

    fn acknowledged(&self, next_offset: u64, requests: u64) {
        self.acknowledged_to.fetch_max(next_offset, Ordering::SeqCst);
        self.acknowledged.send_modify(|count| *count += requests);
        count(&self.produced, ACKNOWLEDGED, requests);
    }

    fn refused(&self, refused: &Refused) {
        count(&self.produced, &refused.reason, 1);
    }

    fn read_refused(&self, reason: &str) {
        count(&self.refused_reads, reason, 1);
    }
}

fn count(counts: &Mutex<BTreeMap<String, u64>>, what: &str, more: u64) {
    let mut counts = counts.lock().expect("no call panics while it has the lock");
    *counts.entry(what.to_owned()).or_default() += more;
}

/// Why, as a client reads it.
pub(crate) fn reason_of(status: &Status) -> String {
    Refused::from(status).reason
}

fn pace() -> Interval {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
