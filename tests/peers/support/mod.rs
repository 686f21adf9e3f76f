//! Nodes in this process, at ports of the system's choice, with everything of the network and nothing of consensus.

mod fake;
mod lines;

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use actix::prelude::*;
use annals::{
    actors::{
        agent::{AgentActor, Shutdown},
        committer::{ChangeCursor, Committer, Leadership, Propose, ReadIndex},
        gateway::GatewayChild,
        membership::GossipKeysStatus,
        peer::{HandlerSlot, PeerIdentity},
        read_path::{HighWatermark, ReadPath},
        replicator::{
            Directory, ReplicatorSetup, Replicators, ReplicatorsActor, ReplicatorsChild, faults::LinkFaults,
        },
        supervision::{ActorRef, Child, PartStatus, PostError, Timing},
    },
    consensus::{
        DamageBoard,
        links::{Lane, LinkError, PeerLinks},
        messages::AppendRequest,
        network::{PeerNetwork, PeerNetworks},
        types::{RaftEntry, RaftLogId, RaftVote, raft_log_id},
    },
    net::{
        Options,
        context::{Identity, Parts},
        peers::PeerServing,
        port::CommitterPort,
        refusals::PeerRefusal,
        server::Launcher,
        vitals::{Check, DiskRoom, Readiness, Vitals},
    },
    storage::LogView,
    types::{ClusterId, LogIndex, NodeId, Offset, Term},
};
use futures::future::BoxFuture;
use openraft::{EntryPayload, network::RPCOption};
use tokio::sync::{oneshot, watch};

pub use fake::{Event, Fake};
pub use lines::Lines;

/// Everything that tests wait for happens within this, or they fail.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at that nobody tells the change of.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Where all nodes are, unless a test says otherwise.
pub const CLUSTER: ClusterId = ClusterId(0x00c1_0573);

/// Waits, but not for ever.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let in_time = tokio::time::timeout(PATIENCE, future).await;
    in_time.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until `holds`.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let held = async {
        loop {
            looks.tick().await;
            if holds().await {
                return;
            }
        }
    };
    within(what, held).await;
}

/// A cluster's worth of nodes: where they are, and which links are cut.
#[derive(Clone, Debug)]
pub struct Stage {
    pub addresses: Arc<Mutex<HashMap<NodeId, String>>>,
    pub faults: LinkFaults,
    /// The shortest and the longest rest of a link after a failure.
    pub rest: (Duration, Duration),
}

impl Stage {
    pub fn new() -> Self {
        Self {
            addresses: Arc::default(),
            faults: LinkFaults::new(),
            rest: (Duration::from_millis(20), Duration::from_millis(200)),
        }
    }

    /// A node of [`CLUSTER`] whose address everybody knows.
    pub async fn node(&self, id: u64) -> Node {
        self.node_of(id, CLUSTER).await
    }

    /// The same, of another cluster.
    pub async fn node_of(&self, id: u64, cluster: ClusterId) -> Node {
        let node = Node::start(self, NodeId(id), cluster, |_| ()).await;
        self.move_to(id, node.rpc.to_string());
        node
    }

    /// From now on everybody finds node `id` at `address`.
    pub fn move_to(&self, id: u64, address: String) {
        self.addresses.lock().unwrap().insert(NodeId(id), address);
    }

    fn directory(&self) -> Directory {
        let addresses = Arc::clone(&self.addresses);
        Directory::new(move |node| addresses.lock().unwrap().get(&node).cloned())
    }
}

/// A node. Stops when it is dropped.
pub struct Node {
    pub id: NodeId,
    pub rpc: SocketAddr,
    pub replicators: Replicators,
    pub set: ActorRef<ReplicatorsActor>,
    pub handlers: HandlerSlot,
    pub fake: Arc<Fake>,
    pub lines: Lines,
    pub read_path: ReadPath,
    agent: Addr<AgentActor>,
    thread: Option<JoinHandle<()>>,
}

type Started = (
    SocketAddr,
    Replicators,
    ActorRef<ReplicatorsActor>,
    Addr<AgentActor>,
    ReadPath,
);

impl Node {
    /// Starts a node; `adjust` its network options.
    pub async fn start(
        stage: &Stage,
        id: NodeId,
        cluster: ClusterId,
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Options {
            rpc_address: any,
            admin_address: any,
            drain_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        adjust(&mut options);
        let (handlers, fake, lines) = (HandlerSlot::new(), Arc::new(Fake::new()), Lines::new());
        handlers.set(Arc::clone(&fake) as _);
        let (started_sender, started) = oneshot::channel();
        let (stage, handlers_of_node, logger) = (stage.clone(), handlers.clone(), lines.logger());
        let thread = std::thread::spawn(move || {
            let runtime = || {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(2).enable_all().build().unwrap()
            };
            let identity = PeerIdentity::new(id, Some(cluster));
            System::with_tokio_rt(runtime).block_on(run(
                stage,
                identity,
                options,
                handlers_of_node,
                logger,
                started_sender,
            ));
        });
        let (rpc, replicators, set, agent, read_path) = within("the node's start", started).await.unwrap();
        Self {
            id,
            rpc,
            replicators,
            set,
            handlers,
            fake,
            lines,
            read_path,
            agent,
            thread: Some(thread),
        }
    }

    /// openraft's way from here to `peer`.
    pub fn network(&self, peer: &Node, lane: Lane) -> PeerNetwork {
        self.networks().network(peer.id, lane)
    }

    pub fn networks(&self) -> PeerNetworks {
        PeerNetworks::new(self.id, self.links())
    }

    pub fn links(&self) -> Arc<dyn PeerLinks> {
        Arc::new(self.replicators.clone())
    }

    /// Waits until every lane to `peer` is open.
    pub async fn until_connected(&self, peer: NodeId) {
        self.until_link(peer, true).await;
    }

    /// Waits until a lane to `peer` is lost.
    pub async fn until_disconnected(&self, peer: NodeId) {
        self.until_link(peer, false).await;
    }

    async fn until_link(&self, peer: NodeId, connected: bool) {
        drop(self.links().channel(peer, Lane::Control).await);
        let mut link = self.replicators.watch(peer).unwrap();
        let reached = link.wait_for(|link| link.connected == connected);
        within(&format!("connected={connected} to {peer}"), reached)
            .await
            .unwrap();
    }

    /// What is said to whoever asks for a connection to `peer`, once a try has failed.
    pub async fn refusal(&self, peer: NodeId) -> LinkError {
        self.links().channel(peer, Lane::Control).await.unwrap_err()
    }

    /// Stops it and waits for its end.
    pub async fn stop(mut self) {
        self.agent.send(Shutdown).await.unwrap();
        let thread = self.thread.take().unwrap();
        let joined = tokio::task::spawn_blocking(move || thread.join());
        within("the node's end", joined).await.unwrap().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(self.agent.try_send(Shutdown));
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

async fn run(
    stage: Stage,
    identity: PeerIdentity,
    options: Options,
    handlers: HandlerSlot,
    logger: slog::Logger,
    started: oneshot::Sender<Started>,
) {
    let runtime = tokio::runtime::Handle::current();
    let setup = ReplicatorSetup {
        rest: stage.rest,
        faults: stage.faults.clone(),
        ..ReplicatorSetup::new(
            identity.clone(),
            stage.directory(),
            runtime.clone(),
            logger.clone(),
        )
    };
    let replicators_child = ReplicatorsChild::new(setup);
    let (replicators, set) = (replicators_child.replicators(), replicators_child.actor());
    let high_watermark = HighWatermark::new();
    let view = Arc::new(arc_swap::ArcSwap::from_pointee(LogView::unopened()));
    let read_path = ReadPath::new(view, high_watermark.subscribe(), DamageBoard::default());
    let parts = Parts {
        options,
        identity: Identity {
            peer: identity.clone(),
            node_id: identity.node_id(),
            node_name: format!("node-{}", identity.node_id()),
        },
        committer: CommitterPort(Arc::new(Nobody)),
        read_path: read_path.clone(),
        leadership: watch::channel(Leadership::default()).1,
        readiness: watch::channel(Readiness::Ready).1,
        vitals: Arc::new(NoVitals),
        cluster: None,
        authorization: None,
        peers: Some(PeerServing {
            identity,
            handlers,
            replicators: replicators.clone(),
            refusal: PeerRefusal::new(),
            runtime: runtime.clone(),
        }),
        tls: None,
        log: logger.clone(),
    };
    let launcher = Launcher::new(runtime, parts);
    let children: Vec<Box<dyn Child>> = vec![
        Box::new(replicators_child),
        Box::new(GatewayChild::new(Box::new(launcher.clone()))),
    ];
    let timing = Timing {
        back_off_min: Duration::from_millis(10),
        back_off_max: Duration::from_millis(20),
        ..Timing::default()
    };
    let (agent, end) = AgentActor::new(children, timing, &logger);
    let agent = agent.start();
    until("the gateway's start", async || launcher.ports().rpc.is_some()).await;
    let rpc = launcher.ports().rpc.unwrap();
    assert!(started.send((rpc, replicators, set, agent, read_path)).is_ok());
    assert_eq!(end.wait().await.exit_code, 0);
}

#[derive(Debug)]
struct NoVitals;

impl Vitals for NoVitals {
    fn tail(&self) -> Offset {
        Offset::ZERO
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
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
        Box::pin(async { Vec::new() })
    }
}

/// The vote of a leader.
pub fn vote(term: u64, node: u64) -> RaftVote {
    RaftVote::new_committed(term, node)
}

/// Entry `index` of term 1, counted from 1.
pub fn id(index: u64) -> RaftLogId {
    raft_log_id(LogIndex(index), Term(1)).unwrap()
}

/// A request with the one entry `index`, counted from 1.
pub fn request(index: u64) -> AppendRequest {
    AppendRequest {
        vote: vote(1, 1),
        prev_log_id: raft_log_id(LogIndex(index - 1), Term(1)),
        leader_commit: None,
        entries: vec![RaftEntry {
            log_id: id(index),
            payload: EntryPayload::Blank,
        }],
    }
}

/// openraft allows a call this long. What a loaded machine needs, and not what openraft would say.
pub fn option() -> RPCOption {
    RPCOption::new(PATIENCE)
}

/// No clients are served here.
#[derive(Debug)]
struct Nobody;

impl Committer for Nobody {
    fn propose(&self, propose: Propose) -> Result<(), PostError<Propose>> {
        Err(PostError::Gone(propose))
    }

    fn read_index(&self, read: ReadIndex) -> Result<(), PostError<ReadIndex>> {
        Err(PostError::Gone(read))
    }

    fn change_cursor(&self, change: ChangeCursor) -> Result<(), PostError<ChangeCursor>> {
        Err(PostError::Gone(change))
    }
}
