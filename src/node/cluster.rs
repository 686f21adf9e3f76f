//! The parts of a node that make it one of a cluster: gossip, the links to peers, and what is published of both.

use std::{net::SocketAddr, sync::Arc};

use slog::{Logger, error};
use tokio::{runtime::Handle, sync::watch};

use super::NodeOptions;
use crate::{
    actors::{
        committer::Leadership,
        membership::{
            ClusterOptions, GossipTiming, MembershipChild, MembershipSetup, NodeIdentity, OwnTags, PeerBoard,
            PeerDirectory,
        },
        peer::{HandlerSlot, PeerCalls, PeerIdentity},
        raft::{AddressOf, ClusterBoard, Fence, PeerRoute, RaftActor, VoterRules},
        replicator::{Directory, Place, ReplicatorSetup, Replicators, ReplicatorsChild, follow_moves},
        supervision::ActorRef,
    },
    consensus::{PeerNetworks, types::Members},
    net::{cluster::ClusterPort, peers::PeerServing, refusals::PeerRefusal},
    storage::data_dir::DataDir,
    types::{ClusterId, NodeId},
};

/// Which cluster a node is of, and how it finds it.
#[derive(Clone, Debug)]
pub struct ClusterSetup {
    /// The cluster's name and seeds, the key of its gossip.
    pub gossip: ClusterOptions,
    /// Where gossip listens; `None`: the node does not gossip, and is alone.
    pub listen: Option<SocketAddr>,
    /// The times of gossip.
    pub gossip_timing: GossipTiming,
    /// The names of those who found the cluster, the first of which does it; none: the node only joins.
    pub initial_members: Vec<String>,
    /// The node founds a cluster by itself, whoever else is there.
    pub alone: bool,
    /// When a learner becomes a voter.
    pub voters: VoterRules,
    /// Links that tests cut.
    #[cfg(feature = "testing")]
    pub faults: crate::actors::replicator::faults::LinkFaults,
}

/// The parts, and the ends of what they publish.
pub(super) struct ClusterParts {
    pub(super) identity: PeerIdentity,
    pub(super) membership: Option<MembershipChild>,
    pub(super) replicators: ReplicatorsChild,
    pub(super) links: Replicators,
    pub(super) directory: PeerDirectory,
    pub(super) own_tags: Option<OwnTags>,
    pub(super) board: ClusterBoard,
    pub(super) handlers: HandlerSlot,
    pub(super) cluster_id: (
        watch::Sender<Option<ClusterId>>,
        watch::Receiver<Option<ClusterId>>,
    ),
    pub(super) founding: (watch::Sender<Option<Members>>, watch::Receiver<Option<Members>>),
    /// For what the node waits while it belongs to no cluster.
    pub(super) waiting: (watch::Sender<Option<String>>, watch::Receiver<Option<String>>),
    pub(super) fence: Fence,
    /// Why the last one who called as a peer was not let in.
    pub(super) refusal: PeerRefusal,
    name: String,
    addresses: AddressOf,
    runtime: Handle,
    pub(super) consensus: Handle,
}

impl ClusterParts {
    /// Starts nothing yet. Of the runtimes the first is the pool's, the second that of consensus.
    pub(super) fn new(
        options: &NodeOptions,
        data_dir: &DataDir,
        (runtime, consensus): (&Handle, &Handle),
        logger: &Logger,
    ) -> Self {
        let (node_id, cluster_id) = (data_dir.identity().node_id, data_dir.identity().cluster_id);
        let identity = PeerIdentity::new(node_id, cluster_id);
        let membership = options.cluster.listen.map(|listen| {
            MembershipChild::new(MembershipSetup {
                identity: NodeIdentity {
                    node_id,
                    name: options.node_name.clone(),
                },
                cluster: options.cluster.gossip.clone(),
                listen,
                file_system: options.file_system.clone(),
                data_dir: data_dir.path().to_owned(),
                runtime: runtime.clone(),
                timing: options.cluster.gossip_timing,
                logger: logger.clone(),
            })
            .expect("the configuration lets only names in that tags can hold")
        });
        let own_tags = membership.as_ref().map(MembershipChild::own_tags);
        if let Some(tags) = &own_tags {
            // Before the first word with anybody: who is a stranger depends on it.
            tags.set_has_data(options.has_data);
            if let Some(Err(error)) = cluster_id.map(|id| tags.set_cluster_id(id)) {
                error!(logger, "the cluster's id cannot be told to others"; "cause" => %error);
            }
        }
        let directory = membership
            .as_ref()
            .map_or_else(|| PeerBoard::new().directory(), MembershipChild::directory);
        let board = ClusterBoard::new();
        let setup = ReplicatorSetup::new(
            identity.clone(),
            places(directory.clone(), board.clone()),
            consensus.clone(),
            logger.clone(),
        );
        let setup = ReplicatorSetup {
            tls: options.tls.clone(),
            ..setup
        };
        #[cfg(feature = "testing")]
        let setup = ReplicatorSetup {
            faults: options.cluster.faults.clone(),
            ..setup
        };
        let replicators = ReplicatorsChild::new(setup);
        let addresses = addresses(replicators.replicators(), directory.clone(), board.clone());
        runtime.spawn(follow_moves(directory.clone(), replicators.replicators()));
        Self {
            identity,
            own_tags,
            membership,
            links: replicators.replicators(),
            replicators,
            directory,
            board,
            handlers: HandlerSlot::new(),
            cluster_id: watch::channel(cluster_id),
            founding: watch::channel(None),
            waiting: watch::channel(
                cluster_id
                    .is_none()
                    .then(|| "its peers are being looked for".to_owned()),
            ),
            fence: Fence::new(),
            refusal: PeerRefusal::new(),
            name: options.cluster.gossip.name.clone(),
            addresses,
            runtime: runtime.clone(),
            consensus: consensus.clone(),
        }
    }

    /// The way of openraft to the other nodes.
    pub(super) fn network(&self) -> PeerNetworks {
        PeerNetworks::new(self.identity.node_id(), Arc::new(self.links.clone()))
    }

    /// The way of clients' batches to a leader that is another node.
    pub(super) fn route(&self, leadership: watch::Receiver<Leadership>) -> PeerRoute {
        PeerRoute::new(
            Arc::new(self.links.clone()),
            self.addresses.clone(),
            leadership,
            self.runtime.clone(),
        )
    }

    /// Questions to other nodes.
    pub(super) fn calls(&self) -> PeerCalls {
        PeerCalls::new(Arc::new(self.links.clone()))
    }

    /// What the gateway shows of the cluster, and changes there.
    pub(super) fn port(&self, raft: ActorRef<RaftActor>) -> ClusterPort {
        ClusterPort {
            name: self.name.clone(),
            board: self.board.clone(),
            directory: self.directory.clone(),
            links: self.links.clone(),
            calls: self.calls(),
            raft,
            waiting: self.waiting.1.clone(),
            fence: self.fence.clone(),
        }
    }

    /// What answering peers takes.
    pub(super) fn serving(&self) -> PeerServing {
        PeerServing {
            identity: self.identity.clone(),
            handlers: self.handlers.clone(),
            replicators: self.links.clone(),
            refusal: self.refusal.clone(),
            runtime: self.consensus.clone(),
        }
    }
}

/// Where clients reach a node: where a connection of this node found it; else gossip knows best, and the membership in the log knows also of
/// those that gossip has not met.
fn addresses(links: Replicators, directory: PeerDirectory, board: ClusterBoard) -> AddressOf {
    Arc::new(move |node: NodeId| {
        let found = links.found_at(node);
        found
            .or_else(|| directory.rpc_address_of(node))
            .or_else(|| board.address_of(node))
    })
}

/// Where a node is looked for: gossip hears first of one that moved or was given another name. But whoever has the key of gossip can say anything
/// there, and then it is where the membership in the log has it.
fn places(directory: PeerDirectory, board: ClusterBoard) -> Directory {
    Directory::of_places(move |node: NodeId| {
        let place = |address: Option<String>, name| address.map(|address| Place { address, name });
        let by_gossip = place(directory.rpc_address_of(node), directory.name_of(node));
        let by_log = place(board.address_of(node), board.name_of(node))
            .filter(|place| by_gossip.as_ref() != Some(place));
        by_gossip.into_iter().chain(by_log).collect()
    })
}
