//! A node: the actors put together, from an opened data directory to the end of the process.
//!
//! The parts in start order, each with the thread it runs on:
//!
//! ```text
//! main thread        Agent, RaftActor, GrpcGatewayActor
//! thread "log"       LogActor, SegmentActor; the only actors that may block on the disk
//! thread "prepare"   no actor: writes zeros ahead of the log
//! pool               the servers of tonic and axum; reads that must wait for the disk, on its blocking threads
//! ```

mod announce;
mod descriptors;
mod options;
mod process;
mod readiness;
mod vitals;

use std::{net::SocketAddr, sync::Arc};

use actix::prelude::*;
use arc_swap::ArcSwap;
use slog::{Logger, info, o};
use tokio::{runtime::Handle, sync::watch};

pub use options::{NodeOptions, OptionsError};
pub use process::{ProcessError, run};

use crate::{
    actors::{
        agent::{AgentActor, Restart, Shutdown, Status},
        committer::Leadership,
        gateway::{GatewayChild, GrpcGatewayActor},
        log::{ConditionBoard, LogActor, LogChild, LogSetup, LogShared},
        peer::HandlerSlot,
        raft::{PeerRoute, PortParts, RaftActor, RaftChild, RaftPort, RaftSetup},
        read_path::{HighWatermark, ReadPath},
        supervision::{ActorRef, Child, EndOfProcess, Ending, Part, PartStatus, Timing},
    },
    consensus::{
        PeerNetworks,
        links::{Lane, LinkError, PeerChannel, PeerLinks},
        types::{Member, Members},
    },
    net::{
        context::{Identity, Parts},
        port::CommitterPort,
        server::Launcher,
        vitals::Readiness,
    },
    storage::{LogView, data_dir::DataDir},
    types::NodeId,
};

use self::{announce::AnnouncedGateway, vitals::NodeVitals};

/// A running node. Dropping it does not stop it; [`NodeControl::shutdown`] does.
#[derive(Debug)]
pub struct Node {
    agent: Addr<AgentActor>,
    ending: watch::Receiver<Option<Ending>>,
    addresses: watch::Receiver<Option<Addresses>>,
    readiness: watch::Receiver<Readiness>,
    refs: NodeRefs,
    /// This process's alone for as long as the node runs.
    data_dir: DataDir,
}

/// Where the node's actors are at present; for tests and tools.
#[derive(Clone, Debug)]
pub struct NodeRefs {
    /// LogActor.
    pub log: ActorRef<LogActor>,
    /// RaftActor.
    pub raft: ActorRef<RaftActor>,
    /// The gateway.
    pub gateway: ActorRef<GrpcGatewayActor>,
    /// The log, for reading.
    pub read_path: ReadPath,
}

impl Node {
    /// Starts the node's actors in the current System, and its servers on `runtime`, a multi-thread one. It is ready some
    /// milliseconds later: see [`Node::ready`].
    #[must_use]
    pub fn start(options: NodeOptions, data_dir: DataDir, runtime: &Handle, logger: &Logger) -> Self {
        let identity = Identity {
            cluster_id: options.log.cluster_id,
            node_id: data_dir.identity().node_id,
            node_name: options.node_name.clone(),
        };
        let logger = logger.new(o!("node" => identity.node_name.clone()));
        info!(logger, "node starts"; "node_id" => identity.node_id.get(),
            "cluster_id" => %identity.cluster_id, "data_dir" => %data_dir.path().display(), "new" => data_dir.is_new());
        let (view, board, high_watermark) = (
            Arc::new(ArcSwap::from_pointee(LogView::unopened())),
            ConditionBoard::new(),
            HighWatermark::new(),
        );
        let read_path = ReadPath::new(view.clone(), high_watermark.subscribe());
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let thread = Arbiter::new();
        let shared = LogShared {
            thread: thread.handle(),
            log: ActorRef::new(),
        };
        let raft = ActorRef::new();
        let (_cluster_id_sender, cluster_id) = watch::channel(data_dir.identity().cluster_id);
        let (founding_sender, founding) = watch::channel(None);
        let links: Arc<dyn PeerLinks> = Arc::new(NoLinks);
        let leadership_sender = Arc::new(leadership_sender);
        let port = RaftPort::new(PortParts {
            node_id: identity.node_id,
            leadership: leadership.clone(),
            board: board.clone(),
            read_path: read_path.clone(),
            route: Arc::new(PeerRoute::new(links.clone(), Arc::new(|_| None), runtime.clone())),
            runtime: runtime.clone(),
        });
        let (addresses_sender, addresses) = watch::channel(None);
        let readiness = readiness::follow(&board, leadership.clone(), runtime);
        let vitals = Arc::new(NodeVitals::new(board.clone()));
        let launcher = Launcher::new(
            runtime.clone(),
            Parts {
                options: options.net,
                identity: identity.clone(),
                committer: CommitterPort(Arc::new(port.clone())),
                read_path: read_path.clone(),
                leadership: leadership.clone(),
                readiness: readiness.clone(),
                vitals: vitals.clone(),
                peers: None,
                log: logger.clone(),
            },
        );
        let log_setup = LogSetup {
            file_system: options.file_system,
            options: options.log,
            cluster_id: cluster_id.clone(),
            free_bytes_min: options.free_bytes_min,
            view,
            board: board.clone(),
            logger: logger.clone(),
        };
        let raft_setup = RaftSetup {
            node_id: identity.node_id,
            cluster_name: "annals".to_owned(),
            cluster_id,
            founding,
            network: PeerNetworks::new(identity.node_id, links),
            timing: options.consensus,
            log: shared.log.clone(),
            view: log_setup.view.clone(),
            board,
            high_watermark,
            leadership: leadership_sender,
            port,
            peers: HandlerSlot::new(),
            retention: options.retention,
            retention_every: options.retention_every,
            runtime: runtime.clone(),
            logger: logger.clone(),
        };
        let gateway = GatewayChild::new(Box::new(launcher.clone()));
        let refs = NodeRefs {
            log: shared.log.clone(),
            raft: raft.clone(),
            gateway: gateway.actor(),
            read_path,
        };
        let children: Vec<Box<dyn Child>> = vec![
            Box::new(LogChild::new(log_setup, shared.clone())),
            Box::new(RaftChild::new(raft_setup, raft)),
            Box::new(AnnouncedGateway {
                gateway,
                launcher,
                addresses: addresses_sender,
            }),
        ];
        let (agent, end) = AgentActor::new(children, options.timing, &logger);
        let agent = agent.start();
        vitals.set_agent(agent.clone());
        found_alone(identity, addresses.clone(), founding_sender);
        Self {
            agent,
            ending: publish(end, thread),
            addresses,
            readiness,
            refs,
            data_dir,
        }
    }

    /// Waits until the node serves: its addresses are bound, and it knows who leads, or that its log is only
    /// read. `None` when it has ended instead; then
    /// [`Node::wait`] says why.
    ///
    /// Cancel: safe.
    pub async fn ready(&self) -> Option<Addresses> {
        let addresses = self.bound().await?;
        let mut readiness = self.readiness.clone();
        let serves =
            |readiness: &Readiness| matches!(readiness, Readiness::Ready | Readiness::Failsafe { .. });
        tokio::select! {
            ready = readiness.wait_for(serves) => ready.ok().map(|_| addresses),
            _ = self.wait() => None,
        }
    }

    /// Waits until the node's addresses are bound. `None` when it has ended instead.
    ///
    /// Cancel: safe.
    pub async fn bound(&self) -> Option<Addresses> {
        let mut addresses = self.addresses.clone();
        tokio::select! {
            ready = addresses.wait_for(Option::is_some) => ready.ok().and_then(|addresses| *addresses),
            _ = self.wait() => None,
        }
    }

    /// Where the actors are at present.
    #[must_use]
    pub fn refs(&self) -> &NodeRefs {
        &self.refs
    }

    /// The node's data directory.
    #[must_use]
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// A handle to steer the node with, from any thread.
    #[must_use]
    pub fn control(&self) -> NodeControl {
        NodeControl {
            agent: self.agent.clone(),
        }
    }

    /// Waits for the node's end; everything is synced and closed then.
    ///
    /// Cancel: safe.
    pub async fn wait(&self) -> Ending {
        let mut ending = self.ending.clone();
        let ended = ending
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ending| ending.clone());
        ended.expect("the task that waits for the Agent publishes how it ended before it goes")
    }
}

/// Steers a running node.
#[derive(Clone, Debug)]
pub struct NodeControl {
    agent: Addr<AgentActor>,
}

impl NodeControl {
    /// Drains, syncs and ends the node. Asking again changes nothing.
    pub async fn shutdown(&self) {
        // An Agent that has ended already has done what is asked.
        self.agent.send(Shutdown).await.unwrap_or(());
    }

    /// Builds a part again. Whether it will be done.
    pub async fn restart(&self, part: Part) -> bool {
        self.agent.send(Restart(part)).await.unwrap_or(false)
    }

    /// The supervision tree; empty when the node has ended.
    pub async fn status(&self) -> Vec<PartStatus> {
        self.agent.send(Status).await.unwrap_or_default()
    }
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub rpc: SocketAddr,
    /// For probes.
    pub admin: SocketAddr,
}

/// Publishes how the node ends, and lets go of the log's thread then. The thread may be stuck in the disk, which is why
/// the node ended: it is not waited for.
fn publish(end: EndOfProcess, thread: Arbiter) -> watch::Receiver<Option<Ending>> {
    let (sender, receiver) = watch::channel(None);
    actix::spawn(async move {
        sender.send_replace(Some(end.wait().await));
        thread.stop();
    });
    receiver
}

/// A node that is a cluster by itself founds it once it knows where it is reached.
fn found_alone(
    identity: Identity,
    mut addresses: watch::Receiver<Option<Addresses>>,
    founding: watch::Sender<Option<Members>>,
) {
    actix::spawn(async move {
        let Ok(bound) = addresses.wait_for(Option::is_some).await.map(|bound| *bound) else {
            return;
        };
        let member = Member {
            name: identity.node_name,
            address: bound.map(|bound| bound.rpc.to_string()).unwrap_or_default(),
        };
        founding.send_replace(Some(Members::from([(identity.node_id, member)])));
    });
}

/// The timing of the Agent for a node: its stops must outlast the gateway's drain.
#[must_use]
pub fn timing_for(drain_timeout: std::time::Duration) -> Timing {
    let timing = Timing::default();
    Timing {
        stop_within: timing
            .stop_within
            .max(drain_timeout + std::time::Duration::from_secs(1)),
        ..timing
    }
}

#[derive(Debug)]
struct NoLinks;

#[async_trait::async_trait]
impl PeerLinks for NoLinks {
    async fn channel(&self, _: NodeId, _: Lane) -> Result<PeerChannel, LinkError> {
        Err(LinkError::NoCluster)
    }
}
