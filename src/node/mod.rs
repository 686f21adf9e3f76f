//! A node: the actors put together, from an opened data directory to the end of the process.
//!
//! The parts in start order, each with the thread it runs on:
//!
//! ```text
//! main thread        Agent, GrpcGatewayActor
//! thread "log"       LogActor, SegmentActor, LocalCommitterActor; the only actors that may block on the disk
//! thread "prepare"   no actor: writes zeros ahead of the log
//! pool               the servers of tonic and axum; reads that must wait for the disk, on its blocking threads
//! ```

mod announce;
mod descriptors;
mod options;
mod process;
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
        committer::{CommitterChild, CommitterSetup, Leadership, LocalCommitterActor},
        gateway::{GatewayChild, GrpcGatewayActor},
        log::{Condition, ConditionBoard, LogActor, LogChild, LogSetup, LogShared},
        read_path::{HighWatermark, ReadPath},
        supervision::{ActorRef, Child, EndOfProcess, Ending, Part, PartStatus, Timing},
    },
    net::{
        context::{Identity, Parts},
        port::CommitterPort,
        server::Launcher,
        vitals::Readiness,
    },
    storage::{LogView, data_dir::DataDir},
};

use self::{announce::AnnouncedGateway, vitals::NodeVitals};

/// A running node. Dropping it does not stop it; [`NodeControl::shutdown`] does.
#[derive(Debug)]
pub struct Node {
    agent: Addr<AgentActor>,
    ending: watch::Receiver<Option<Ending>>,
    addresses: watch::Receiver<Option<Addresses>>,
    refs: NodeRefs,
    /// This process's alone for as long as the node runs.
    data_dir: DataDir,
}

/// Where the node's actors are at present; for tests and tools.
#[derive(Clone, Debug)]
pub struct NodeRefs {
    /// LogActor.
    pub log: ActorRef<LogActor>,
    /// The committer.
    pub committer: ActorRef<LocalCommitterActor>,
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
        let committer = ActorRef::new();
        let (addresses_sender, addresses) = watch::channel(None);
        let readiness = follow_condition(&board, runtime);
        let vitals = Arc::new(NodeVitals::new(board.clone()));
        let launcher = Launcher::new(
            runtime.clone(),
            Parts {
                options: options.net,
                identity: identity.clone(),
                committer: CommitterPort {
                    proposals: committer.recipient(),
                    read_indexes: committer.recipient(),
                },
                read_path: read_path.clone(),
                leadership,
                readiness,
                vitals: vitals.clone(),
                peers: None,
                log: logger.clone(),
            },
        );
        let log_setup = LogSetup {
            file_system: options.file_system,
            options: options.log,
            free_bytes_min: options.free_bytes_min,
            view,
            board: board.clone(),
            logger: logger.clone(),
        };
        let committer_setup = CommitterSetup {
            node_id: identity.node_id,
            log: shared.log.clone(),
            board,
            high_watermark,
            leadership: Arc::new(leadership_sender),
            retention: options.retention,
            retention_every: options.retention_every,
            logger: logger.clone(),
        };
        let gateway = GatewayChild::new(Box::new(launcher.clone()));
        let refs = NodeRefs {
            log: shared.log.clone(),
            committer: committer.clone(),
            gateway: gateway.actor(),
            read_path,
        };
        let children: Vec<Box<dyn Child>> = vec![
            Box::new(LogChild::new(log_setup, shared.clone())),
            Box::new(CommitterChild::new(committer_setup, shared.thread, committer)),
            Box::new(AnnouncedGateway {
                gateway,
                launcher,
                addresses: addresses_sender,
            }),
        ];
        let (agent, end) = AgentActor::new(children, options.timing, &logger);
        let agent = agent.start();
        vitals.set_agent(agent.clone());
        Self {
            agent,
            ending: publish(end, thread),
            addresses,
            refs,
            data_dir,
        }
    }

    /// Waits until the node serves: its log is open and its addresses are bound. `None` when it has ended instead; then
    /// [`Node::wait`] says why.
    ///
    /// Cancel: safe.
    pub async fn ready(&self) -> Option<Addresses> {
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

/// Readiness, as the log's condition makes it.
fn follow_condition(board: &ConditionBoard, runtime: &Handle) -> watch::Receiver<Readiness> {
    let (sender, receiver) = watch::channel(Readiness::Starting);
    let mut condition = board.subscribe();
    runtime.spawn(async move {
        loop {
            let readiness = match &*condition.borrow_and_update() {
                Condition::Opening => Readiness::Starting,
                // With a full disk reads are served and leaders hand over; `checks` tells the operator.
                Condition::Writable | Condition::StorageFull { .. } => Readiness::Ready,
                Condition::Failsafe { cause } => Readiness::Failsafe { cause: cause.clone() },
            };
            sender.send_replace(readiness);
            if condition.changed().await.is_err() || sender.is_closed() {
                return;
            }
        }
    });
    receiver
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
