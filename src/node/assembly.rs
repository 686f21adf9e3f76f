//! The actors of a node put together: who is given what, in start order.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use actix::prelude::*;
use arc_swap::ArcSwap;
use slog::Logger;
use tokio::{runtime::Handle, sync::watch};

use super::{
    Addresses, NodeOptions, NodeRefs,
    announce::{AnnouncedGateway, RaftAmongPeers},
    cluster::ClusterParts,
    reach, readiness,
    vitals::NodeVitals,
};
use crate::{
    actors::{
        committer::Leadership,
        gateway::GatewayChild,
        log::{ConditionBoard, LogChild, LogSetup, LogShared},
        raft::{PortParts, RaftActor, RaftChild, RaftPort, RaftSetup},
        read_path::{HighWatermark, ReadPath},
        supervision::{ActorRef, Child},
    },
    consensus::DamageBoard,
    net::{
        context::{Identity, Parts},
        port::CommitterPort,
        server::Launcher,
        vitals::Readiness,
    },
    storage::LogView,
};

/// A node that is not started yet.
pub(super) struct Assembled {
    /// In start order.
    pub(super) children: Vec<Box<dyn Child>>,
    pub(super) refs: NodeRefs,
    pub(super) port: RaftPort,
    pub(super) readiness: watch::Receiver<Readiness>,
    pub(super) vitals: Arc<NodeVitals>,
    /// The log's.
    pub(super) thread: Arbiter,
    /// To be set when the process ends.
    pub(super) stopping: Arc<AtomicBool>,
}

/// What the log and consensus publish, and where readers find it.
struct Published {
    view: Arc<ArcSwap<LogView>>,
    board: ConditionBoard,
    high_watermark: HighWatermark,
    read_path: ReadPath,
    leadership: (Arc<watch::Sender<Leadership>>, watch::Receiver<Leadership>),
    damage: DamageBoard,
}

impl Published {
    fn new() -> Self {
        let (sender, receiver) = watch::channel(Leadership::default());
        let view = Arc::new(ArcSwap::from_pointee(LogView::unopened()));
        let (high_watermark, damage) = (HighWatermark::new(), DamageBoard::default());
        Self {
            read_path: ReadPath::new(view.clone(), high_watermark.subscribe(), damage.clone()),
            view,
            board: ConditionBoard::new(),
            high_watermark,
            leadership: (Arc::new(sender), receiver),
            damage,
        }
    }
}

/// Puts the parts together, of a node with that data directory. `addresses` is told where the node listens, each time the gateway has
/// started.
pub(super) fn assemble(
    options: NodeOptions,
    data_dir: PathBuf,
    cluster: ClusterParts,
    addresses: watch::Sender<Option<Addresses>>,
    runtime: &Handle,
    logger: &Logger,
) -> Assembled {
    let published = Published::new();
    let stopping = Arc::new(AtomicBool::new(false));
    let thread = Arbiter::new();
    let shared = LogShared {
        thread: thread.handle(),
        log: ActorRef::new(),
    };
    let raft: ActorRef<RaftActor> = ActorRef::new();
    let port = RaftPort::new(PortParts {
        node_id: cluster.identity.node_id(),
        fence: cluster.fence.clone(),
        waiting: cluster.waiting.1.clone(),
        leadership: published.leadership.1.clone(),
        board: published.board.clone(),
        read_path: published.read_path.clone(),
        route: Arc::new(cluster.route(published.leadership.1.clone())),
        runtime: runtime.clone(),
    });
    let signs = readiness::Signs {
        condition: published.board.subscribe(),
        reach: reach::follow(cluster.identity.node_id(), port.clone(), runtime),
        waiting: cluster.waiting.1.clone(),
        removed: cluster.fence.subscribe(),
    };
    let readiness = readiness::follow(signs, runtime);
    let vitals = Arc::new(NodeVitals::new(published.board.clone(), &options));
    let parts = gateway_parts(
        &options,
        &cluster,
        &published,
        (&port, &raft),
        readiness.clone(),
        vitals.clone(),
        logger,
    );
    let launcher = Launcher::new(runtime.clone(), parts);
    let gateway = GatewayChild::new(Box::new(launcher.clone()));
    let refs = NodeRefs {
        log: shared.log.clone(),
        raft: raft.clone(),
        gateway: gateway.actor(),
        membership: cluster
            .membership
            .as_ref()
            .map(|child| child.actor())
            .unwrap_or_default(),
        links: cluster.links.clone(),
        directory: cluster.directory.clone(),
        gossip: cluster.membership.as_ref().map(|child| child.address()),
        cluster: cluster.board.clone(),
        read_path: published.read_path.clone(),
        consensus: port.clone(),
    };
    let raft_setup = raft_setup(
        &options,
        &cluster,
        &published,
        &shared,
        (&port, &stopping),
        runtime,
        logger,
    );
    let log_setup = LogSetup {
        file_system: options.file_system,
        options: options.log,
        cluster_id: cluster.cluster_id.1.clone(),
        data_dir: Some(data_dir),
        free_bytes_min: options.free_bytes_min,
        view: published.view.clone(),
        board: published.board.clone(),
        logger: logger.clone(),
    };
    let membership = cluster.membership.map(|child| Box::new(child) as Box<dyn Child>);
    let mut children: Vec<Box<dyn Child>> = membership.into_iter().collect();
    children.push(Box::new(cluster.replicators));
    children.push(Box::new(LogChild::new(log_setup, shared)));
    children.push(Box::new(RaftAmongPeers {
        raft: RaftChild::new(raft_setup, raft.clone()),
        peers_door: gateway.peers_door(),
    }));
    children.push(Box::new(AnnouncedGateway {
        gateway,
        launcher,
        addresses,
        raft,
        stopping: stopping.clone(),
    }));
    Assembled {
        stopping,
        port,
        children,
        refs,
        readiness,
        vitals,
        thread,
    }
}

fn gateway_parts(
    options: &NodeOptions,
    cluster: &ClusterParts,
    published: &Published,
    (port, raft): (&RaftPort, &ActorRef<RaftActor>),
    readiness: watch::Receiver<Readiness>,
    vitals: Arc<NodeVitals>,
    logger: &Logger,
) -> Parts {
    Parts {
        options: options.net.clone(),
        identity: Identity {
            peer: cluster.identity.clone(),
            node_id: cluster.identity.node_id(),
            node_name: options.node_name.clone(),
        },
        committer: CommitterPort(Arc::new(port.clone())),
        read_path: published.read_path.clone(),
        leadership: published.leadership.1.clone(),
        readiness,
        vitals,
        cluster: Some(cluster.port(raft.clone())),
        authorization: options.policy.as_ref().map(|policy| policy.authorization.clone()),
        peers: Some(cluster.serving()),
        tls: options.tls.clone(),
        log: logger.clone(),
    }
}

fn raft_setup(
    options: &NodeOptions,
    cluster: &ClusterParts,
    published: &Published,
    shared: &LogShared,
    (port, stopping): (&RaftPort, &Arc<AtomicBool>),
    runtime: &Handle,
    logger: &Logger,
) -> RaftSetup {
    RaftSetup {
        node_id: cluster.identity.node_id(),
        cluster_name: options.cluster.gossip.name.clone(),
        cluster_id: cluster.cluster_id.1.clone(),
        founding: cluster.founding.1.clone(),
        network: cluster.network(),
        timing: options.consensus,
        log: shared.log.clone(),
        view: published.view.clone(),
        files: (options.file_system.clone(), options.log.directory.clone()),
        board: published.board.clone(),
        high_watermark: published.high_watermark.clone(),
        leadership: published.leadership.0.clone(),
        port: port.clone(),
        stopping: stopping.clone(),
        cluster: cluster.board.clone(),
        directory: cluster.directory.clone(),
        voters: options.cluster.voters,
        scrub: options.scrub,
        free_bytes_min: options.free_bytes_min,
        damage: published.damage.clone(),
        links: cluster.links.clone(),
        peers: cluster.handlers.clone(),
        retention: options.retention,
        retention_every: options.retention_every,
        runtime: runtime.clone(),
        consensus: cluster.consensus.clone(),
        logger: logger.clone(),
    }
}
