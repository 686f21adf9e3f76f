//! A node in this process, on ports of the system's choice, and what tests do with it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use actix::prelude::*;
use annals::{
    actors::{
        committer::{Committed, Leadership, Propose, ProposeError, ReadIndex},
        gateway::GatewayChild,
        read_path::ReadPath,
        supervision::{ActorRef, Child, Died, Lifeline, Part},
    },
    net::{
        Options,
        context::{Identity, Parts},
        port::CommitterPort,
        server::Launcher,
        vitals::{Check, Readiness, Vitals},
    },
    proto::{
        annals::v1::{self, log_service_client::LogServiceClient},
        log::v1 as small,
    },
    storage::{
        Log, LogOptions,
        entry::{Entry, Payload},
        fs::RealFileSystem,
    },
    types::{ClusterId, LogIndex, NodeId, Offset, Term, TimestampMs},
};
use futures::{Stream, StreamExt};
use slog::{Discard, Logger, o};
use small::log_client::LogClient;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

/// Everything that tests wait for happens within this, or they fail.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Who the node is.
pub const NODE_ID: NodeId = NodeId(0xfedc_ba98_7654_3210);
/// Its cluster.
pub const CLUSTER_ID: ClusterId = ClusterId(0x0123);
/// Its term.
pub const TERM: Term = Term(3);

/// Options of a test's node: ports of the system's choice.
pub fn options() -> Options {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        rpc_address: any,
        admin_address: any,
        drain_timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

/// A node with usual options.
pub async fn node() -> Node {
    node_with(options()).await
}

/// A node with these options.
pub async fn node_with(options: Options) -> Node {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (started, ports) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().build().unwrap()
        };
        System::with_tokio_rt(runtime).block_on(run(options, inbox, started));
    });
    let (rpc, admin) = ports.await.unwrap();
    Node {
        rpc,
        admin,
        commands: Some(commands),
        thread: Some(thread),
    }
}

enum Command {
    Hold(bool, oneshot::Sender<()>),
    Ready(Readiness),
    Restart(oneshot::Sender<()>),
    Drain(oneshot::Sender<()>),
}

/// A running node; stops when it is dropped.
pub struct Node {
    /// Where clients connect.
    pub rpc: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.rpc);
        within(Channel::from_shared(uri).unwrap().connect())
            .await
            .unwrap()
    }

    /// A client of the small API.
    pub async fn small(&self) -> LogClient<Channel> {
        LogClient::new(self.channel().await)
    }

    /// A client of the full API.
    pub async fn full(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel().await)
    }

    /// From now on (or no longer) batches are not committed, but kept.
    pub async fn hold(&self, holding: bool) {
        let (done, held) = oneshot::channel();
        self.command(Command::Hold(holding, done));
        held.await.unwrap();
    }

    /// The node is in this state from now on.
    pub fn become_ready(&self, readiness: Readiness) {
        self.command(Command::Ready(readiness));
    }

    /// The gateway is built again, as after a failure.
    pub async fn restart_gateway(&self) {
        let (done, restarted) = oneshot::channel();
        self.command(Command::Restart(done));
        within(restarted).await.unwrap();
    }

    /// The gateway begins to drain; the receiver learns when it is done.
    pub fn drain(&self) -> oneshot::Receiver<()> {
        let (done, drained) = oneshot::channel();
        self.command(Command::Drain(done));
        drained
    }

    /// Waits until batches of so many bytes wait for their commit.
    pub async fn until_in_flight(&self, bytes: u64) {
        let in_flight = async || {
            let status: serde_json::Value =
                serde_json::from_str(&get(self.admin, "/status").await.1).unwrap();
            let bytes = |name: &str| status["gateway"][name].as_u64().unwrap();
            bytes("admission_bytes_max") - bytes("admission_bytes_free")
        };
        within(async { while in_flight().await < bytes {} }).await;
    }

    fn command(&self, command: Command) {
        assert!(
            self.commands.as_ref().unwrap().send(command).is_ok(),
            "the node is gone"
        );
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.commands = None;
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

async fn run(
    options: Options,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    started: oneshot::Sender<(SocketAddr, SocketAddr)>,
) {
    let directory = tempfile::tempdir().unwrap();
    let (committer, read_path) = TestCommitter::open(directory.path());
    let committer = committer.start();
    let committer_ref = ActorRef::new();
    committer_ref.set(committer.clone());
    let (readiness, readiness_of_node) = watch::channel(Readiness::Ready);
    let leadership = watch::channel(Leadership {
        term: TERM,
        leader: Some(NODE_ID),
    })
    .1;
    let parts = Parts {
        options,
        identity: Identity {
            cluster_id: CLUSTER_ID,
            node_id: NODE_ID,
            node_name: "node-0".to_owned(),
        },
        committer: CommitterPort {
            proposals: committer_ref.recipient(),
            read_indexes: committer_ref.recipient(),
        },
        read_path: read_path.clone(),
        leadership,
        readiness: readiness_of_node,
        vitals: Arc::new(TestVitals(read_path)),
        log: Logger::root(Discard, o!()),
    };
    let launcher = Launcher::new(tokio::runtime::Handle::current(), parts);
    let mut gateway = GatewayChild::new(Box::new(launcher.clone()));
    let deaths = Deaths.start().recipient::<Died>();
    let lifeline = |generation| Lifeline::new(Part::Gateway, generation, deaths.clone());
    gateway.start(lifeline(1)).await.unwrap();
    let ports = launcher.ports();
    started.send((ports.rpc.unwrap(), ports.admin.unwrap())).unwrap();

    while let Some(command) = inbox.recv().await {
        match command {
            Command::Hold(holding, done) => {
                committer.send(Hold(holding)).await.unwrap();
                done.send(()).unwrap();
            }
            Command::Ready(state) => drop(readiness.send_replace(state)),
            Command::Restart(done) => {
                gateway.start(lifeline(2)).await.unwrap();
                done.send(()).unwrap();
            }
            Command::Drain(done) => {
                let stopped = gateway.stop();
                actix::spawn(async move {
                    stopped.await;
                    // A test may have stopped listening.
                    let _done: Result<(), ()> = done.send(());
                });
            }
        }
    }
}

/// Stands where the Agent would hear of the gateway's end.
struct Deaths;

impl Actor for Deaths {
    type Context = Context<Self>;
}

impl Handler<Died> for Deaths {
    type Result = ();

    fn handle(&mut self, _: Died, _: &mut Context<Self>) {}
}

#[derive(Debug)]
struct TestVitals(ReadPath);

impl Vitals for TestVitals {
    fn tail(&self) -> Offset {
        self.0.high_watermark()
    }

    fn checks(&self) -> Vec<Check> {
        vec![Check {
            name: "disk",
            problem: None,
        }]
    }

    fn supervision(&self) -> futures::future::BoxFuture<'_, serde_json::Value> {
        Box::pin(async { serde_json::json!([{ "part": "log", "restarts": 0 }]) })
    }
}

/// Commits at once, in its own thread, to a real log; or keeps proposals until it is told to go on.
struct TestCommitter {
    log: Log,
    next_index: LogIndex,
    high_watermark: watch::Sender<Offset>,
    holding: bool,
    held: Vec<Propose>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hold(bool);

impl TestCommitter {
    fn open(directory: &std::path::Path) -> (Self, ReadPath) {
        let options = LogOptions {
            directory: directory.to_owned(),
            cluster_id: CLUSTER_ID,
            segment_bytes: 8 << 20,
            segment_age_ms: u64::MAX,
            tail_cache_bytes: 64 << 10,
            open_files_max: 16,
            prezero_bytes_per_second: 0,
        };
        let (log, _report) = Log::open(Arc::new(RealFileSystem), options).unwrap();
        let (high_watermark, readers) = watch::channel(Offset::ZERO);
        let read_path = ReadPath::new(Arc::clone(log.state().view()), readers);
        let committer = Self {
            log,
            next_index: LogIndex(1),
            high_watermark,
            holding: false,
            held: Vec::new(),
        };
        (committer, read_path)
    }

    fn commit(&mut self, proposal: Propose) {
        let record_count = proposal.batch.record_count;
        let entry = Entry {
            log_index: self.next_index,
            term: TERM,
            timestamp: TimestampMs(1000 + self.next_index.get()),
            payload: Payload::Records(proposal.batch),
        };
        let placed = self.log.append(vec![entry]).unwrap()[0];
        self.log.sync().unwrap();
        self.next_index = self.next_index.plus(1);
        let next_offset = self.log.state().checkpoint().next_offset();
        self.high_watermark
            .send_if_modified(|current| std::mem::replace(current, next_offset) != next_offset);
        let Committed {
            log_index, outcome, ..
        } = Committed {
            log_index: placed.log_index,
            outcome: placed.outcome,
            record_count,
        };
        proposal.reply.send(Ok(Committed {
            log_index,
            outcome,
            record_count,
        }));
    }
}

impl Actor for TestCommitter {
    type Context = Context<Self>;
}

impl Handler<Propose> for TestCommitter {
    type Result = ();

    fn handle(&mut self, proposal: Propose, _: &mut Context<Self>) {
        if self.holding {
            self.held.push(proposal)
        } else {
            self.commit(proposal)
        }
    }
}

impl Handler<ReadIndex> for TestCommitter {
    type Result = ();

    fn handle(&mut self, question: ReadIndex, _: &mut Context<Self>) {
        question
            .reply
            .send(Ok::<_, ProposeError>(*self.high_watermark.borrow()));
    }
}

impl Handler<Hold> for TestCommitter {
    type Result = ();

    fn handle(&mut self, hold: Hold, _: &mut Context<Self>) {
        self.holding = hold.0;
        if !self.holding {
            for proposal in std::mem::take(&mut self.held) {
                self.commit(proposal);
            }
        }
    }
}

/// Waits, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it took too long")
}

/// The next item of a stream that has one.
pub async fn next<T>(stream: &mut (impl Stream<Item = Result<T, Status>> + Unpin)) -> Result<T, Status> {
    within(stream.next()).await.expect("the stream ended")
}

/// A request of the small API.
pub fn small_request(value: &str) -> small::ProduceRequest {
    let record = small::Record {
        value: value.to_owned().into(),
        ..small::Record::default()
    };
    small::ProduceRequest { record: Some(record) }
}

/// A request of the full API with a record for each value.
pub fn request<V: AsRef<[u8]>>(values: &[V]) -> v1::ProduceRequest {
    let record = |value: &V| v1::Record {
        value: value.as_ref().to_vec().into(),
        ..v1::Record::default()
    };
    let records = v1::RecordSet {
        records: values.iter().map(record).collect(),
    };
    v1::ProduceRequest {
        records: Some(records),
        ..v1::ProduceRequest::default()
    }
}

/// The same with a producer's stamp.
pub fn stamped(sequence: u64, epoch: u32, values: &[&str]) -> v1::ProduceRequest {
    v1::ProduceRequest {
        producer: Some(v1::Producer {
            id: 9,
            epoch,
            sequence,
        }),
        ..request(values)
    }
}

/// A read from this position.
pub fn from(position: v1::start::Position) -> v1::ConsumeRequest {
    v1::ConsumeRequest {
        start: Some(v1::Start {
            position: Some(position),
        }),
        ..v1::ConsumeRequest::default()
    }
}

/// Offsets and values of a response, and that its batches fit together.
pub fn records(response: &v1::ConsumeResponse) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for batch in &response.batches {
        let records = &batch.records.as_ref().unwrap().records;
        assert_eq!(records.len(), batch.record_count as usize);
        let value = |record: &v1::Record| String::from_utf8(record.value.to_vec()).unwrap();
        all.extend((batch.base_offset..).zip(records.iter().map(value)));
    }
    if let Some((last, _)) = all.last() {
        assert_eq!(response.next_offset, last + 1);
    }
    all
}

/// Code, reason and metadata of a status.
pub fn told(status: &Status) -> (Code, String, std::collections::HashMap<String, String>) {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "annals");
    (status.code(), info.reason.clone(), info.metadata.clone())
}

/// Code and reason of a status.
pub fn code_and_reason(status: &Status) -> (Code, String) {
    let (code, reason, _) = told(status);
    (code, reason)
}

/// What the admin listener answers: code and body.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = within(tokio::net::TcpStream::connect(address)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(stream.read_to_string(&mut response)).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Counts what it is told, for streams of requests that note how far they were read.
#[derive(Clone, Default)]
pub struct Counter(Arc<Mutex<usize>>);

impl Counter {
    /// One more.
    pub fn add(&self) {
        *self.0.lock().unwrap() += 1;
    }

    /// So far.
    pub fn get(&self) -> usize {
        *self.0.lock().unwrap()
    }
}
