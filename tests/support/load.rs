//! Clients at work: producers and consumers of every kind, who note what they see and go on whatever happens.

mod consume;
mod produce;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals::proto::annals::v1::{ResponseHeader, log_service_client::LogServiceClient};
use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use super::{
    log_checker::{Answer, Recorder, Tick},
    node::{TestNode, in_time},
};

pub(crate) use consume::read_all;

/// What a status without our details counts as: the connection broke.
pub(crate) const BROKEN: &str = "(connection)";
/// What a success counts as.
pub(crate) const ACKNOWLEDGED: &str = "(acknowledged)";

/// How soon a client tries again, and how often a stream sends: clients, too, leave the processor to others.
const PACE: Duration = Duration::from_millis(2);

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
    /// Length of a record.
    pub(crate) record_bytes: usize,
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
            record_bytes: 100,
        }
    }
}

/// Clients at work on one node.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What all clients share.
struct Shared {
    recorder: Recorder,
    client: Mutex<Vec<LogServiceClient<Channel>>>,
    record_bytes: usize,
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
    /// Sets clients to work.
    pub(crate) fn begin(node: &TestNode, recorder: &Recorder, kinds: Kinds) -> Self {
        let shared = Arc::new(Shared {
            recorder: recorder.clone(),
            // Two connections, so that clients share one, and the loss of one does not stop all.
            client: Mutex::new(vec![node.client(), node.client()]),
            record_bytes: kinds.record_bytes,
            stop: CancellationToken::new(),
            produced: Mutex::default(),
            refused_reads: Mutex::default(),
            acknowledged: watch::Sender::new(0),
            consumed: watch::Sender::new(0),
            acknowledged_to: AtomicU64::new(0),
        });
        let mut clients = JoinSet::new();
        let producer = || NEXT_PRODUCER.fetch_add(1, Ordering::Relaxed);
        for (count, stamped) in [(kinds.unary, false), (kinds.unary_stamped, true)] {
            for _ in 0..count {
                clients.spawn(produce::unary(shared.clone(), producer(), stamped));
            }
        }
        for (count, stamped) in [(kinds.streams, false), (kinds.streams_stamped, true)] {
            for _ in 0..count {
                clients.spawn(produce::stream(shared.clone(), producer(), stamped));
            }
        }
        for _ in 0..kinds.tails {
            clients.spawn(consume::tail(shared.clone()));
        }
        for _ in 0..kinds.readers {
            clients.spawn(consume::reader(shared.clone()));
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
    /// A client; its connection is shared with some others.
    fn client(&self) -> LogServiceClient<Channel> {
        let mut clients = self.client.lock().expect("no call panics while it has the lock");
        clients.rotate_left(1);
        clients[0].clone()
    }

    /// A record like no other.
    fn record(&self, producer: u64, number: u64) -> Bytes {
        let mut record = format!("producer {producer} record {number} ").into_bytes();
        record.resize(self.record_bytes.max(record.len()), b'.');
        record.into()
    }

    fn watermark(&self, began: Tick, header: Option<ResponseHeader>) -> u64 {
        let header = header.expect("every response has a header");
        let node = header.node_id.to_string();
        self.recorder.watermark(&node, began, header.high_watermark);
        header.high_watermark
    }

    fn acknowledged(&self, next_offset: u64, requests: u64) {
        self.acknowledged_to.fetch_max(next_offset, Ordering::SeqCst);
        self.acknowledged.send_modify(|count| *count += requests);
        *self
            .produced
            .lock()
            .expect("no call panics while it has the lock")
            .entry(ACKNOWLEDGED.to_owned())
            .or_default() += requests;
    }

    /// Counts a refused request, and says what is known of its records.
    fn refused(&self, reason: &str) -> Answer {
        *self
            .produced
            .lock()
            .expect("no call panics while it has the lock")
            .entry(reason.to_owned())
            .or_default() += 1;
        match reason {
            "LOG_NOT_READY" | "OVERLOADED" | "STORAGE_FULL" | "FAILSAFE" | "OUT_OF_ORDER"
            | "UNKNOWN_PRODUCER" => Answer::Failed,
            "OUTCOME_UNKNOWN" | "SHUTTING_DOWN" | BROKEN => Answer::Unknown,
            other => panic!("no producer here deserves {other}"),
        }
    }

    fn read_refused(&self, reason: &str) {
        *self
            .refused_reads
            .lock()
            .expect("no call panics while it has the lock")
            .entry(reason.to_owned())
            .or_default() += 1;
    }
}

/// Why, as a client reads it.
pub(crate) fn reason_of(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map_or_else(|| BROKEN.to_owned(), |info| info.reason)
}

fn pace() -> Interval {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
