//! The gateway over a committer that tests direct: it can be made to keep its answers back. The log is real.

use std::{net::SocketAddr, ops::Deref, sync::Arc, thread::JoinHandle};

use actix::prelude::*;
use annals::{
    actors::{
        committer::{
            ChangeCursor, Committed, CommitterMailbox, Leadership, Propose, ProposeError, ReadIndex,
        },
        gateway::GatewayChild,
        membership::GossipKeysStatus,
        peer::PeerIdentity,
        read_path::ReadPath,
        supervision::{ActorRef, Child, Died, Lifeline, Part, PartStatus, State},
    },
    consensus::DamageBoard,
    net::{
        Options,
        context::{Identity, Parts},
        port::CommitterPort,
        server::Launcher,
        vitals::{Check, DiskRoom, Readiness, Vitals},
    },
    storage::{
        Log, LogOptions,
        control::Control,
        cursors::{CommandPlace, Cursors},
        entry::{Entry, Payload},
        fs::RealFileSystem,
    },
    types::{ClusterId, LogIndex, NodeId, Offset, Term, TimestampMs},
};
use futures::future::BoxFuture;
use slog::{Discard, Logger, o};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Doors, SEGMENT_BYTES, TAIL_CACHE_BYTES, options, within};

/// Who the node is: a number that JSON and signed numbers cannot hold.
const NODE_ID: NodeId = NodeId(0xfedc_ba98_7654_3210);
const CLUSTER_ID: ClusterId = ClusterId(0x0123);
const TERM: Term = Term(3);

/// A staged node with usual options.
pub async fn staged_node() -> StagedNode {
    staged_node_with(options()).await
}

/// A staged node with these options.
pub async fn staged_node_with(options: Options) -> StagedNode {
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
    StagedNode {
        doors: Doors { rpc, admin },
        commands: Some(commands),
        thread: Some(thread),
    }
}

enum Command {
    Block(std::sync::mpsc::Receiver<()>, oneshot::Sender<()>),
    Held(oneshot::Sender<usize>),
    Lose(oneshot::Sender<()>),
    Unplug(oneshot::Sender<()>),
    Hold(bool, oneshot::Sender<()>),
    Ready(Readiness, oneshot::Sender<()>),
    Restart(oneshot::Sender<()>),
    Drain(oneshot::Sender<()>),
}

/// A running node; stops when it is dropped.
pub struct StagedNode {
    doors: Doors,
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl StagedNode {
    /// From now on (or no longer) batches are not committed, but kept.
    pub async fn hold(&self, holding: bool) {
        let (done, held) = oneshot::channel();
        self.command(Command::Hold(holding, done));
        held.await.unwrap();
    }

    /// Waits until so many batches are kept. Room for bytes is taken earlier, when a stream gathers them.
    pub async fn until_held(&self, count: usize) {
        let held = async || {
            let (reply, held) = oneshot::channel();
            self.command(Command::Held(reply));
            held.await.unwrap()
        };
        within(async { while held().await < count {} }).await;
    }

    /// The committer takes nothing out of its mailbox until the sender is dropped.
    pub async fn block(&self) -> std::sync::mpsc::Sender<()> {
        let (unblock, blocked) = std::sync::mpsc::channel();
        let (done, blocking) = oneshot::channel();
        self.command(Command::Block(blocked, done));
        blocking.await.unwrap();
        unblock
    }

    /// What is kept is dropped unanswered, as when the committer dies.
    pub async fn lose(&self) {
        let (done, lost) = oneshot::channel();
        self.command(Command::Lose(done));
        lost.await.unwrap();
    }

    /// There is no committer any more, as while it is being restarted.
    pub async fn unplug(&self) {
        let (done, unplugged) = oneshot::channel();
        self.command(Command::Unplug(done));
        unplugged.await.unwrap();
    }

    /// The node is in this state from now on.
    pub async fn become_ready(&self, readiness: Readiness) {
        let (done, published) = oneshot::channel();
        self.command(Command::Ready(readiness, done));
        published.await.unwrap();
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

    fn command(&self, command: Command) {
        assert!(
            self.commands.as_ref().unwrap().send(command).is_ok(),
            "the node is gone"
        );
    }
}

impl Deref for StagedNode {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

impl Drop for StagedNode {
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
            peer: PeerIdentity::new(NODE_ID, Some(CLUSTER_ID)),
            node_id: NODE_ID,
            node_name: "node-0".to_owned(),
        },
        committer: CommitterPort(Arc::new(CommitterMailbox {
            proposals: committer_ref.recipient(),
            read_indexes: committer_ref.recipient(),
            cursors: committer_ref.recipient(),
        })),
        read_path: read_path.clone(),
        leadership,
        readiness: readiness_of_node,
        vitals: Arc::new(TestVitals(read_path)),
        cluster: None,
        authorization: None,
        peers: None,
        tls: None,
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
            Command::Block(blocked, done) => {
                committer.try_send(Block(blocked, done)).unwrap();
            }
            Command::Held(reply) => {
                reply.send(committer.send(Held).await.unwrap()).unwrap();
            }
            Command::Lose(done) => {
                committer.send(Lose).await.unwrap();
                done.send(()).unwrap();
            }
            Command::Unplug(done) => {
                committer_ref.clear();
                done.send(()).unwrap();
            }
            Command::Hold(holding, done) => {
                committer.send(Hold(holding)).await.unwrap();
                done.send(()).unwrap();
            }
            Command::Ready(state, done) => {
                readiness.send_replace(state);
                done.send(()).unwrap();
            }
            Command::Restart(done) => {
                gateway.start(lifeline(2)).await.unwrap();
                done.send(()).unwrap();
            }
            Command::Drain(done) => {
                let (stopped, peers_door) = (gateway.stop(), gateway.peers_door());
                actix::spawn(async move {
                    stopped.await;
                    peers_door.close();
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
            remark: None,
        }]
    }

    fn storage_full(&self) -> Option<String> {
        None
    }

    fn disk_room(&self) -> Option<DiskRoom> {
        None
    }

    fn gossip_keys(&self) -> Option<GossipKeysStatus> {
        None
    }

    fn supervision(&self) -> BoxFuture<'_, Vec<PartStatus>> {
        let log = PartStatus {
            part: Part::Log,
            dependants: &[],
            state: State::Running,
            generation: 1,
            restarts: 0,
            last_exit: None,
            since: TimestampMs(1),
        };
        Box::pin(async { vec![log] })
    }
}

/// Commits at once, in its own thread, to a real log; or keeps proposals until it is told to go on.
struct TestCommitter {
    log: Log,
    next_index: LogIndex,
    high_watermark: watch::Sender<Offset>,
    holding: bool,
    held: Vec<Propose>,
    cursors: Cursors,
    held_cursors: Vec<ChangeCursor>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hold(bool);

#[derive(Message)]
#[rtype(result = "usize")]
struct Held;

#[derive(Message)]
#[rtype(result = "()")]
struct Lose;

#[derive(Message)]
#[rtype(result = "()")]
struct Block(std::sync::mpsc::Receiver<()>, oneshot::Sender<()>);

impl TestCommitter {
    fn open(directory: &std::path::Path) -> (Self, ReadPath) {
        let options = LogOptions {
            directory: directory.to_owned(),
            cluster_id: CLUSTER_ID,
            segment_bytes: SEGMENT_BYTES,
            segment_age_ms: u64::MAX,
            tail_cache_bytes: TAIL_CACHE_BYTES,
            open_files_max: 16,
            prezero_bytes_per_second: 0,
        };
        let (log, _report) = Log::open(Arc::new(RealFileSystem), options).unwrap();
        let (high_watermark, readers) = watch::channel(Offset::ZERO);
        let read_path = ReadPath::new(Arc::clone(log.state().view()), readers, DamageBoard::default());
        let committer = Self {
            log,
            next_index: LogIndex(1),
            high_watermark,
            holding: false,
            held: Vec::new(),
            cursors: Cursors::default(),
            held_cursors: Vec::new(),
        };
        (committer, read_path)
    }

    fn next_entry(&self, payload: Payload) -> Entry {
        Entry {
            log_index: self.next_index,
            term: TERM,
            timestamp: TimestampMs(1000 + self.next_index.get()),
            payload,
        }
    }

    fn change_cursor(&mut self, ChangeCursor { command, reply }: ChangeCursor) {
        let entry = self.next_entry(Payload::Control(Control::Cursor(command.clone()).encode()));
        let at = CommandPlace {
            log_index: entry.log_index,
            timestamp: entry.timestamp,
            next_offset: self.log.state().checkpoint().next_offset(),
        };
        self.log.append(vec![entry]).unwrap();
        self.log.sync().unwrap();
        self.next_index = self.next_index.plus(1);
        reply.send(Ok(self.cursors.apply(at, &command)));
    }

    fn commit(&mut self, proposal: Propose) {
        let record_count = proposal.batch.record_count;
        let entry = self.next_entry(Payload::Records(proposal.batch));
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

impl Handler<ChangeCursor> for TestCommitter {
    type Result = ();

    fn handle(&mut self, change: ChangeCursor, _: &mut Context<Self>) {
        if self.holding {
            self.held_cursors.push(change);
        } else {
            self.change_cursor(change);
        }
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
            for change in std::mem::take(&mut self.held_cursors) {
                self.change_cursor(change);
            }
        }
    }
}

impl Handler<Held> for TestCommitter {
    type Result = usize;

    fn handle(&mut self, _: Held, _: &mut Context<Self>) -> usize {
        self.held.len() + self.held_cursors.len()
    }
}

impl Handler<Lose> for TestCommitter {
    type Result = ();

    fn handle(&mut self, _: Lose, _: &mut Context<Self>) {
        self.held.clear();
        self.held_cursors.clear();
    }
}

impl Handler<Block> for TestCommitter {
    type Result = ();

    fn handle(&mut self, Block(blocked, blocking): Block, _: &mut Context<Self>) {
        blocking.send(()).unwrap();
        // Ends when the test drops its end.
        blocked.recv().unwrap_err();
    }
}
