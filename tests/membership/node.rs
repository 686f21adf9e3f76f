//! A node that does nothing but gossip, on threads of its own, so that it can be killed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix::prelude::*;
use annals::{
    actors::{
        agent::{AgentActor, Shutdown, Status},
        membership::{
            ClusterOptions, GossipAddress, GossipRing, GossipTiming, MembershipActor, MembershipChild,
            MembershipSetup, NodeIdentity, OwnTags, Peer, PeerDirectory, PeerTable, Presence,
        },
        supervision::{ActorRef, Child, Ending, PartStatus, State, Timing},
    },
    storage::fs::RealFileSystem,
    types::{GossipKey, GossipKeys, NodeId},
};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::oneshot,
    time::{interval, timeout},
};

use super::log_lines::LogLines;

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// What a node is, and where its data is; from it the node can be started again and again.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    pub(crate) cluster: ClusterOptions,
    pub(crate) listen: SocketAddr,
    directory: Arc<TempDir>,
}

impl Place {
    /// `node-1` with the id 1 and so on, of the cluster `annals`, at a port of the system's choice.
    pub(crate) fn new(number: u64) -> Self {
        Self {
            node_id: NodeId(number),
            name: format!("node-{number}"),
            cluster: ClusterOptions {
                name: "annals".to_owned(),
                seeds: Vec::new(),
                gossip_keys: GossipRing::new(None),
                advertise: None,
            },
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    pub(crate) fn with_seed(mut self, node: &Node) -> Self {
        self.cluster.seeds.push(node.address().to_string());
        self
    }

    pub(crate) fn of_cluster(mut self, name: &str) -> Self {
        name.clone_into(&mut self.cluster.name);
        self
    }

    pub(crate) fn with_key(mut self, byte: u8) -> Self {
        self.cluster.gossip_keys = GossipRing::new(Some(keys(&[byte])));
        self
    }

    pub(crate) fn without_seeds(mut self) -> Self {
        self.cluster.seeds.clear();
        self
    }

    /// Where `node` listens.
    pub(crate) fn at_port_of(mut self, node: &Node) -> Self {
        self.listen = node.address();
        self
    }

    pub(crate) fn peers_file(&self) -> PathBuf {
        self.data_dir().join("peers")
    }

    fn data_dir(&self) -> &Path {
        self.directory.path()
    }
}

/// Keys of these bytes, in this order.
pub(crate) fn keys(bytes: &[u8]) -> GossipKeys {
    let keys = bytes.iter().map(|byte| GossipKey::Aes256([*byte; 32]));
    GossipKeys::new(keys.collect()).unwrap()
}

/// Fast enough for a test, and slow enough for a machine that does much else.
fn timing() -> GossipTiming {
    GossipTiming {
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(100),
        gossip_interval: Duration::from_millis(20),
        // Not in time to help: what a test waits for must come by joining and by news.
        exchange_interval: Duration::from_secs(300),
        connection_timeout: Duration::from_secs(1),
        reclaim_after: Duration::from_millis(50),
        join_wait_min: Duration::from_millis(50),
        join_wait_max: Duration::from_millis(400),
    }
}

/// A node that runs, or is about to.
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) directory: PeerDirectory,
    pub(crate) own: OwnTags,
    pub(crate) actor: ActorRef<MembershipActor>,
    pub(crate) lines: LogLines,
    address: GossipAddress,
    agent: Addr<AgentActor>,
    ending: oneshot::Receiver<Ending>,
    process: Process,
}

/// The threads of a node; when it is dropped nothing of the node goes on.
struct Process {
    /// Dropped to end the thread.
    life: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // The sockets first, so that nobody is told anything.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        drop(self.life.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Node {
    /// Starts it, and waits until it gossips.
    pub(crate) async fn start(place: &Place) -> Self {
        let node = Self::begin(place).await;
        until("the node to gossip", || node.address.get().is_some()).await;
        node
    }

    /// Starts it.
    pub(crate) async fn begin(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let lines = LogLines::new();
        let setup = MembershipSetup {
            identity: NodeIdentity {
                node_id: place.node_id,
                name: place.name.clone(),
            },
            cluster: place.cluster.clone(),
            listen: place.listen,
            file_system: Arc::new(RealFileSystem),
            data_dir: place.data_dir().to_owned(),
            runtime: runtime.handle().clone(),
            timing: timing(),
            logger: lines.logger(),
        };
        let (sender, started) = oneshot::channel();
        let (ended, ending) = oneshot::channel();
        let (life, death) = oneshot::channel();
        let thread = thread::spawn(move || {
            System::new().block_on(async move {
                let child = MembershipChild::new(setup.clone()).unwrap();
                let parts = (
                    child.directory(),
                    child.own_tags(),
                    child.actor(),
                    child.address(),
                );
                let children: Vec<Box<dyn Child>> = vec![Box::new(child)];
                let quick = Timing {
                    back_off_min: Duration::from_millis(5),
                    heartbeat_every: Duration::from_millis(50),
                    ..Timing::default()
                };
                let (agent, end) = AgentActor::new(children, quick, &setup.logger);
                drop(sender.send((parts, agent.start())));
                tokio::select! {
                    ending = end.wait() => drop(ended.send(ending)),
                    _ = death => {}
                }
            });
        });
        let ((directory, own, actor, address), agent) = started.await.unwrap();
        Self {
            place: place.clone(),
            directory,
            own,
            actor,
            lines,
            address,
            agent,
            ending,
            process: Process {
                life: Some(life),
                thread: Some(thread),
                runtime: Some(runtime),
            },
        }
    }

    /// Where it gossips.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.get().expect("it was waited for")
    }

    /// Waits until it sees a table that `holds`.
    pub(crate) async fn sees(&self, what: &str, holds: impl FnMut(&PeerTable) -> bool) -> PeerTable {
        let mut tables = self.directory.subscribe();
        let seen = timeout(DEADLINE, tables.wait_for(holds)).await;
        let seen = seen.map(|table| table.unwrap().clone());
        seen.unwrap_or_else(|_| {
            panic!(
                "{} does not see {what}: {:#?}\n{:#?}",
                self.place.name,
                self.directory.table(),
                self.lines.all()
            )
        })
    }

    /// Waits until it sees that node so.
    pub(crate) async fn sees_peer(&self, number: u64, presence: Presence) -> Peer {
        let is_so = |table: &PeerTable| {
            table
                .get(NodeId(number))
                .is_some_and(|peer| peer.presence == presence)
        };
        let table = self.sees(&format!("node-{number} {presence:?}"), is_so).await;
        table.get(NodeId(number)).unwrap().clone()
    }

    /// Waits until it has reached all of them.
    pub(crate) async fn reaches(&self, others: &[&Self]) {
        for other in others {
            let (node_id, address) = (other.place.node_id, other.address());
            let is_there = |table: &PeerTable| {
                let peer = table.get(node_id);
                peer.is_some_and(|peer| peer.is_reachable() && peer.gossip_address == address)
            };
            self.sees(&other.place.name, is_there).await;
        }
    }

    /// Waits for a line that begins like this, and answers it.
    pub(crate) async fn says(&self, start: &str) -> String {
        until(&format!("{} to say {start:?}", self.place.name), || {
            !self.lines.beginning(start).is_empty()
        })
        .await;
        self.lines.beginning(start).remove(0)
    }

    /// The part as the Agent sees it.
    pub(crate) async fn status(&self) -> PartStatus {
        self.agent.send(Status).await.unwrap().remove(0)
    }

    /// Waits until that instance runs.
    pub(crate) async fn runs(&self, generation: u64) {
        let runs = async {
            loop {
                let status = self.status().await;
                if status.state == State::Running && status.generation == generation {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, runs).await.expect("the part runs again");
    }

    /// Ends it as SIGTERM would.
    pub(crate) async fn shut_down(self) -> Ending {
        self.agent.send(Shutdown).await.unwrap();
        self.ends().await
    }

    /// Waits for its end.
    pub(crate) async fn ends(self) -> Ending {
        timeout(DEADLINE, self.ending).await.unwrap().unwrap()
    }

    /// Ends it as `kill -9` would: from one moment to the next nothing of it runs, and its sockets are gone.
    pub(crate) fn kill(self) {
        drop(self.process);
    }
}

/// Three nodes that know each other; the first is the others' seed.
pub(crate) async fn three() -> [Node; 3] {
    three_of(|place| place).await
}

/// The same, each made another by `with`.
pub(crate) async fn three_of(with: impl Fn(Place) -> Place) -> [Node; 3] {
    let first = Node::start(&with(Place::new(1))).await;
    let second = Node::start(&with(Place::new(2)).with_seed(&first)).await;
    let third = Node::start(&with(Place::new(3)).with_seed(&first)).await;
    all_reach_each_other(&[&first, &second, &third]).await;
    [first, second, third]
}

/// Waits until each of them has reached all others.
pub(crate) async fn all_reach_each_other(nodes: &[&Node]) {
    for node in nodes {
        let others: Vec<&Node> = nodes
            .iter()
            .copied()
            .filter(|other| other.place.node_id != node.place.node_id)
            .collect();
        node.reaches(&others).await;
    }
}

/// Waits until `holds`; panics when it never does.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        let mut looks = interval(Duration::from_millis(5));
        while !holds() {
            looks.tick().await;
        }
    };
    let in_time = timeout(DEADLINE, held).await;
    in_time.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"));
}
