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
mod assembly;
mod certificates;
mod cluster;
mod consensus_thread;
mod descriptors;
mod founding;
mod gossip_keys;
mod options;
mod policy;
mod process;
mod reach;
mod readiness;
mod reload;
mod removal;
mod several;
mod taken_in;
mod vitals;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use actix::prelude::*;
use slog::{Logger, error, info, o};
use tokio::{runtime::Handle, sync::watch};

pub use cluster::ClusterSetup;
pub use options::{NodeOptions, OptionsError};
pub use policy::NodePolicy;
pub use process::{Hangup, ProcessError, run};
pub use several::{EndingOf, run_several};

use crate::{
    actors::{
        agent::{AgentActor, Restart, Shutdown, Status},
        gateway::GrpcGatewayActor,
        log::LogActor,
        membership::{GossipAddress, MembershipActor, PeerDirectory, Standing},
        raft::{ClusterBoard, RaftActor, RaftPort},
        read_path::ReadPath,
        replicator::Replicators,
        supervision::{ActorRef, EndOfProcess, Ending, Part, PartStatus, Timing},
    },
    net::vitals::Readiness,
    storage::data_dir::{DataDir, Identity},
};

use self::{
    certificates::Certificates,
    cluster::ClusterParts,
    consensus_thread::ConsensusThread,
    founding::Founding,
    gossip_keys::GossipKeysReload,
    policy::PolicyReload,
    reload::{ReloadBell, Reloadable, Reloads},
    removal::Removal,
};

/// A running node. Dropping it does not stop it; [`NodeControl::shutdown`] does.
#[derive(Debug)]
pub struct Node {
    agent: Addr<AgentActor>,
    ending: watch::Receiver<Option<Ending>>,
    addresses: watch::Receiver<Option<Addresses>>,
    readiness: watch::Receiver<Readiness>,
    refs: NodeRefs,
    stopping: Arc<AtomicBool>,
    reload: ReloadBell,
    /// This process's alone for as long as the node runs.
    data_dir: Arc<Mutex<DataDir>>,
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
    /// MembershipActor; of a node that does not gossip, nobody.
    pub membership: ActorRef<MembershipActor>,
    /// The links to peers.
    pub links: Replicators,
    /// Who is there, by gossip.
    pub directory: PeerDirectory,
    /// Where gossip listens, once it does.
    pub gossip: Option<GossipAddress>,
    /// The cluster, as consensus knows it.
    pub cluster: ClusterBoard,
    /// The log, for reading.
    pub read_path: ReadPath,
    /// Consensus, while it runs.
    pub consensus: RaftPort,
}

impl Node {
    /// Starts the node's actors in the current System, its servers on `runtime`, a multi-thread one, and consensus on a thread of its
    /// own. It is ready some milliseconds later: see [`Node::ready`].
    ///
    /// Errors: the system gives no more threads or descriptors.
    pub fn start(
        options: NodeOptions,
        data_dir: DataDir,
        runtime: &Handle,
        logger: &Logger,
    ) -> io::Result<Self> {
        let logger = logger.new(o!("node" => options.node_name.clone()));
        let consensus = ConsensusThread::start()?;
        let cluster = ClusterParts::new(&options, &data_dir, (runtime, consensus.handle()), &logger);
        let cluster_id = data_dir.identity().cluster_id.map(|id| id.to_string());
        info!(logger, "node starts"; "node_id" => data_dir.identity().node_id.get(), "cluster_id" => cluster_id,
            "data_dir" => %data_dir.path().display(), "new" => data_dir.is_new());
        let timing = options.timing;
        let path = data_dir.path().to_owned();
        let data_dir = Arc::new(Mutex::new(data_dir));
        let (addresses_sender, addresses) = watch::channel(None);
        let founding = founding(&options, &cluster, &data_dir, addresses.clone(), &logger);
        let removal = removal(&options, &cluster, &data_dir, runtime, &logger);
        let reload = ReloadBell::default();
        let reloads = reloads(&options, &reload, &logger);
        let assembled = assembly::assemble(options, path, cluster, addresses_sender, runtime, &logger);
        let (agent, end) = AgentActor::new(assembled.children, timing, &logger);
        let agent = agent.start();
        assembled.vitals.set_agent(agent.clone());
        actix::spawn(founding.run());
        let removal = removal(assembled.port, assembled.refs.membership.clone());
        runtime.spawn(removal.run());
        let (ending, reloading) = (
            publish(end, assembled.thread, consensus),
            runtime.spawn(reloads.run()),
        );
        let mut ended = ending.clone();
        actix::spawn(async move {
            // Without a publisher the node has ended too.
            drop(ended.wait_for(Option::is_some).await);
            reloading.abort();
        });
        Ok(Self {
            agent,
            ending,
            addresses,
            readiness: assembled.readiness,
            refs: assembled.refs,
            stopping: assembled.stopping,
            reload,
            data_dir,
        })
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

    /// Which node it is, and of which cluster, as far as that is known.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let data_dir = self.data_dir.lock().unwrap_or_else(PoisonError::into_inner);
        data_dir.identity().clone()
    }

    /// A handle to steer the node with, from any thread.
    #[must_use]
    pub fn control(&self) -> NodeControl {
        NodeControl {
            agent: self.agent.clone(),
            stopping: self.stopping.clone(),
            reload: self.reload.clone(),
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
    stopping: Arc<AtomicBool>,
    reload: ReloadBell,
}

impl NodeControl {
    /// Reads again, soon, what can be replaced while the node runs. The log says what came of it.
    pub fn reload(&self) {
        self.reload.ring();
    }

    /// Hands leadership over, drains, syncs and ends the node. Asking again changes nothing.
    pub async fn shutdown(&self) {
        self.stopping.store(true, Ordering::Release);
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

/// Publishes how the node ends, and lets go of its threads then. The log's may be stuck in the disk, which is why
/// the node ended: it is not waited for.
fn publish(end: EndOfProcess, log: Arbiter, consensus: ConsensusThread) -> watch::Receiver<Option<Ending>> {
    let (sender, receiver) = watch::channel(None);
    actix::spawn(async move {
        sender.send_replace(Some(end.wait().await));
        log.stop();
        drop(consensus);
    });
    receiver
}

/// How the node is to come to its cluster.
fn founding(
    options: &NodeOptions,
    cluster: &ClusterParts,
    data_dir: &Arc<Mutex<DataDir>>,
    addresses: watch::Receiver<Option<Addresses>>,
    logger: &Logger,
) -> Founding {
    Founding {
        data_dir: data_dir.clone(),
        identity: cluster.identity.clone(),
        node_name: options.node_name.clone(),
        cluster_name: options.cluster.gossip.name.clone(),
        initial_members: options.cluster.initial_members.clone(),
        alone: options.cluster.alone,
        own_tags: cluster.own_tags.clone(),
        directory: cluster.directory.clone(),
        addresses,
        advertised: options.net.rpc_address_advertised.clone(),
        has_data: options.has_data,
        board: cluster.board.clone(),
        refusal: cluster.refusal.subscribe(),
        cluster_id: cluster.cluster_id.0.clone(),
        founding: cluster.founding.0.clone(),
        waiting: cluster.waiting.0.clone(),
        logger: logger.clone(),
    }
}

/// What can be replaced while the node runs.
fn reloads(options: &NodeOptions, bell: &ReloadBell, logger: &Logger) -> Reloads {
    let certificates = options.tls.clone().map(|tls| {
        let certificates = Certificates::new(tls, logger.clone());
        Arc::new(certificates) as Arc<dyn Reloadable>
    });
    let policy = options.policy.as_ref().map(|policy| {
        let policy = PolicyReload::new(policy, logger);
        Arc::new(policy) as Arc<dyn Reloadable>
    });
    let gossip_keys = options.gossip_key_file.clone().map(|file| {
        let keys = GossipKeysReload::new(options.cluster.gossip.gossip_keys.clone(), file);
        Arc::new(keys) as Arc<dyn Reloadable>
    });
    Reloads {
        sources: certificates
            .into_iter()
            .chain(policy)
            .chain(gossip_keys)
            .collect(),
        bell: bell.clone(),
        logger: logger.clone(),
    }
}

/// How it is noticed that the node was removed; all of it but who is reached only once the parts are put together. A node that
/// was removed before does not gossip at all.
fn removal(
    options: &NodeOptions,
    cluster: &ClusterParts,
    data_dir: &Arc<Mutex<DataDir>>,
    runtime: &Handle,
    logger: &Logger,
) -> impl FnOnce(RaftPort, ActorRef<MembershipActor>) -> Removal + use<> {
    let path = {
        let data_dir = data_dir.lock().unwrap_or_else(PoisonError::into_inner);
        data_dir.path().to_owned()
    };
    let own_tags = cluster.own_tags.clone();
    match removal::remembered(&*options.file_system, &path) {
        Ok(Some(removed_at)) => {
            cluster.fence.raise(removed_at);
            if let Some(tags) = &own_tags {
                tags.set_standing(Standing::Leaving);
            }
        }
        Ok(None) => {}
        Err(error) => error!(logger, "cannot tell whether this node was removed before; its peers will";
            "cause" => %error),
    }
    let (own, has_data) = (cluster.identity.node_id(), options.has_data);
    let (board, directory) = (cluster.board.clone(), cluster.directory.clone());
    let (calls, fence) = (cluster.calls(), cluster.fence.clone());
    let (file_system, runtime) = (options.file_system.clone(), runtime.clone());
    let logger = logger.clone();
    move |port, membership| Removal {
        own,
        board,
        directory,
        calls,
        port,
        fence,
        own_tags,
        has_data,
        membership,
        file_system,
        data_dir: path,
        runtime,
        logger,
    }
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
