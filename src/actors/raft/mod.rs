//! Decides what is committed: openraft over this node's log, and what follows from who leads.
//!
//! Owns     the openraft handle, published in the [`RaftPort`]; who leads, published.
//! Accepts  ChangeMember, HandOver, TrimBelow, Trimmed, Damaged, Retire.
//! Emits    Append, SaveVote, Truncate, Trim, Install to LogActor (from openraft's tasks); the high watermark.
//! Limits   proposals in flight: `PROPOSALS_MAX`, and the bytes of the permits they carry; one membership change at a time.
//! Fails    consensus is shut down and built again from the log; proposals in flight are answered `OutcomeUnknown`.
//!
//! Proposals and peers' calls do not pass its mailbox: they go to openraft's own queue through the port.

mod answers;
mod board;
mod candidates;
mod child;
mod claims;
mod command;
mod fence;
mod fitness;
mod hand_over;
mod leadership;
mod log_link;
mod make_room;
mod members;
mod not_made;
mod observer;
mod opening;
mod port;
mod quorum;
mod reconcile;
mod repair;
mod room;
mod route;
mod transfer;
mod trim_below;
mod trims;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix::prelude::*;
use arc_swap::ArcSwap;
use slog::{Logger, error, info, o};
use tokio::{runtime::Handle, sync::watch};

pub use board::{ClusterBoard, ClusterState, MemberState};
pub use child::RaftChild;
pub use fence::Fence;
pub use hand_over::HandOver;
pub use log_link::LogLink;
pub use members::{ChangeFailed, ChangeMember, MemberChange};
pub use port::{PortParts, RaftPort};
pub use reconcile::VoterRules;
pub use repair::ScrubPace;
pub use route::{AddressOf, LeaderRoute, PeerRoute};
pub use trim_below::TrimBelow;

use self::{
    answers::Answers,
    candidates::Candidates,
    claims::Claims,
    fitness::Fitness,
    leadership::Announcer,
    observer::Observer,
    reconcile::Stability,
    repair::{Damaged, Ends},
    transfer::Transfer,
};
use super::{
    committer::Leadership,
    log::{ConditionBoard, Describe, LogActor},
    membership::PeerDirectory,
    peer::{HandlerSlot, PeerCalls},
    read_path::HighWatermark,
    replicator::Replicators,
    supervision::{ActorRef, Heartbeat, Lifeline, PostError, Reply, StartError, Unanswered},
};
use crate::{
    consensus::{Consensus, DamageBoard, PeerNetworks, Timing, links::Contact, types::Members},
    error::Disposition,
    storage::{LogView, Retention, fs::FileSystem},
    types::{ClusterId, NodeId, Offset},
};

/// How often retention is looked at, unless told otherwise: segments are minutes long at least.
pub const RETENTION_EVERY: Duration = Duration::from_secs(10);
/// How often what is committed is noted on disk: what a restart applies anew is at most this much.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// How long ending openraft may take: it waits for its tasks, which wait for nothing but the log.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What RaftActor is made of; the same for each of its lives.
#[derive(Clone, Debug)]
pub struct RaftSetup {
    /// This node.
    pub node_id: NodeId,
    /// The cluster's name.
    pub cluster_name: String,
    /// The cluster that this node belongs to, once it does.
    pub cluster_id: watch::Receiver<Option<ClusterId>>,
    /// The members of a cluster that is this node's to found.
    pub founding: watch::Receiver<Option<Members>>,
    /// The way to the other nodes.
    pub network: PeerNetworks,
    /// How patient consensus is.
    pub timing: Timing,
    /// The log.
    pub log: ActorRef<LogActor>,
    /// The log, for reading.
    pub view: Arc<ArcSwap<LogView>>,
    /// The disk, and the log's directory, for segments that come from peers.
    pub files: (Arc<dyn FileSystem>, PathBuf),
    /// Whether the log takes appends.
    pub board: ConditionBoard,
    /// Moved by commits.
    pub high_watermark: HighWatermark,
    /// Where it is published who leads.
    pub leadership: Arc<watch::Sender<Leadership>>,
    /// Where consensus is published.
    pub port: RaftPort,
    /// Set when the node is to stop.
    pub stopping: Arc<AtomicBool>,
    /// Where the state of the cluster is published.
    pub cluster: ClusterBoard,
    /// Who is there, by gossip.
    pub directory: PeerDirectory,
    /// When a learner becomes a voter.
    pub voters: VoterRules,
    /// How sealed segments are looked through for damage.
    pub scrub: ScrubPace,
    /// Room on the disk that is kept free.
    pub free_bytes_min: u64,
    /// What whoever reads the log finds damaged.
    pub damage: DamageBoard,
    /// The links to peers; kept to the members.
    pub links: Replicators,
    /// Where consensus is published to other nodes.
    pub peers: HandlerSlot,
    /// How much of the log is kept.
    pub retention: Retention,
    /// How often that is looked at.
    pub retention_every: Duration,
    /// What takes time is done here.
    pub runtime: Handle,
    /// Consensus runs here.
    pub consensus: Handle,
    /// Where to write what happens.
    pub logger: Logger,
}

/// Stop: no more entries are made, and what was handed to the log is answered by the log.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Retire {
    pub(super) reply: Reply<(), Unanswered>,
}

/// A trim was committed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Trimmed {
    pub(super) below: Offset,
}

/// The leader's log and this node's differ where both are committed (RFT-3).
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Contradicted {
    pub(super) what: String,
}

/// See the module.
pub struct RaftActor {
    setup: RaftSetup,
    address: ActorRef<Self>,
    consensus: Option<Consensus>,
    announcer: Announcer,
    opening: Option<Reply<(), StartError>>,
    stability: Stability,
    /// All who were members for certain while this node ran, those among them that were removed.
    belonged: BTreeSet<NodeId>,
    /// Of the leader: who asks to belong.
    candidates: Candidates,
    /// Of the leader: what gossip says of nodes, and whether it is proved.
    claims: Claims,
    /// A change of the membership by the leader's own decision is under way.
    changing: bool,
    fitness: Fitness,
    /// The search for damage, and the wait for it.
    vigil: Option<[Ends; 2]>,
    lifeline: Lifeline,
}

impl Actor for RaftActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.open(context);
        context.run_interval(NOTE_EVERY, |actor, _| actor.note_committed());
        context.run_interval(members::LOOK_EVERY, Self::look_at_members);
        let look_every = fitness::look_every(self.setup.timing.election_timeout);
        context.run_interval(look_every, Self::look_at_disk);
        context.run_interval(make_room::ASK_EVERY, Self::look_for_room);
        if self.setup.retention != Retention::default() {
            context.run_interval(self.setup.retention_every, Self::look_at_retention);
        }
    }
}

impl Drop for RaftActor {
    fn drop(&mut self) {
        self.announcer.close();
    }
}

impl Handler<Trimmed> for RaftActor {
    type Result = ();

    fn handle(&mut self, trimmed: Trimmed, context: &mut Self::Context) {
        self.purge(trimmed.below, context);
    }
}

impl Handler<Contradicted> for RaftActor {
    type Result = ();

    fn handle(&mut self, contradicted: Contradicted, context: &mut Self::Context) {
        // A restart would find the same; nothing here can tell who is right.
        self.fail(Disposition::Escalate, contradicted.what, context);
    }
}

impl Handler<ChangeMember> for RaftActor {
    type Result = ();

    fn handle(&mut self, change: ChangeMember, context: &mut Self::Context) {
        self.change_member(change, context);
    }
}

impl Handler<HandOver> for RaftActor {
    type Result = ();

    fn handle(&mut self, hand_over: HandOver, context: &mut Self::Context) {
        self.hand_over(hand_over, context);
    }
}

impl Handler<Damaged> for RaftActor {
    type Result = ();

    fn handle(&mut self, damaged: Damaged, context: &mut Self::Context) {
        self.damaged(damaged, context);
    }
}

impl Handler<Retire> for RaftActor {
    type Result = ();

    fn handle(&mut self, retire: Retire, context: &mut Self::Context) {
        self.retire(retire, context);
    }
}

impl Handler<Heartbeat> for RaftActor {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Self::Context) {
        self.lifeline.beat();
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<super::supervision::Sabotage> for RaftActor {
    type Result = ();

    fn handle(&mut self, sabotage: super::supervision::Sabotage, _: &mut Self::Context) {
        sabotage.strike();
    }
}

impl RaftActor {
    pub(super) fn new(
        setup: RaftSetup,
        address: ActorRef<Self>,
        opening: Reply<(), StartError>,
        lifeline: Lifeline,
    ) -> Self {
        let logger = setup.logger.new(o!("actor" => "raft"));
        Self {
            announcer: Announcer::new(setup.leadership.clone(), logger.clone()),
            setup: RaftSetup { logger, ..setup },
            address,
            consensus: None,
            opening: Some(opening),
            stability: Stability::default(),
            belonged: BTreeSet::new(),
            candidates: Candidates::default(),
            claims: Claims::default(),
            changing: false,
            fitness: Fitness::default(),
            vigil: None,
            lifeline,
        }
    }

    fn transfer(&self) -> Transfer {
        Transfer {
            file_system: self.setup.files.0.clone(),
            directory: self.setup.files.1.clone(),
            view: self.setup.view.clone(),
            free_bytes_min: self.setup.free_bytes_min,
            damage: self.setup.damage.clone(),
            calls: PeerCalls::new(Arc::new(self.setup.links.clone())),
            fetching: Arc::default(),
            logger: self.setup.logger.clone(),
        }
    }

    fn observer(&self) -> Observer {
        Observer {
            high_watermark: self.setup.high_watermark.clone(),
            raft: self.address.clone(),
        }
    }

    fn fail(&mut self, disposition: Disposition, text: String, context: &mut Context<Self>) {
        error!(self.setup.logger, "consensus cannot go on"; "cause" => &text);
        if let Some(opening) = self.opening.take() {
            opening.send(Err(StartError::new(disposition, text.clone())));
        }
        self.lifeline.fail(disposition, text);
        context.stop();
    }

    /// Consensus runs: publishes it, and follows what becomes of it.
    fn opened(&mut self, consensus: Consensus, context: &mut Context<Self>) {
        self.consensus = Some(consensus.clone());
        self.setup.port.set(Some(consensus.clone()));
        let heard = Arc::new(Contact::new());
        self.setup.peers.set(Arc::new(Answers {
            port: self.setup.port.clone(),
            transfer: self.transfer(),
            heard: heard.clone(),
            raft: self.address.clone(),
            logger: self.setup.logger.clone(),
        }));
        self.setup
            .runtime
            .spawn(board::follow(consensus.clone(), self.setup.cluster.clone()));
        self.watch_for_damage();
        let followed = leadership::follow(
            consensus,
            self.setup.node_id,
            self.setup.timing.election_timeout,
            heard,
            self.announcer.clone(),
        );
        let ended = self.setup.runtime.spawn(followed);
        context.spawn(ended.into_actor(self).map(|ended, actor, context| {
            let text = ended.unwrap_or_else(|error| error.to_string());
            actor.ended(text, context);
        }));
        if let Some(opening) = self.opening.take() {
            opening.send(Ok(()));
        }
    }

    /// Consensus has ended by itself. Mostly because the log did, which tells the Agent, and goes down and comes up with
    /// this part: that is one failure, and not another one here. With a log that is well it is.
    fn ended(&mut self, text: String, context: &mut Context<Self>) {
        let Some(consensus) = self.consensus.take() else {
            // It was asked to.
            return;
        };
        consensus.close();
        let (reply, standing) = Reply::channel();
        if matches!(self.setup.log.post(Describe { reply }), Err(PostError::Gone(_))) {
            return;
        }
        context.spawn(standing.into_actor(self).map(|standing, actor, context| {
            if standing.is_ok() {
                actor.fail(Disposition::Restart, text, context);
            }
        }));
    }

    fn note_committed(&self) {
        if let Some(consensus) = &self.consensus {
            consensus.note();
        }
    }

    fn retire(&mut self, retire: Retire, context: &mut Context<Self>) {
        self.lifeline.retire();
        let setup = self.setup.clone();
        self.note_committed();
        // From here on its end is no failure.
        self.consensus = None;
        let end = async move { setup.end().await };
        context.spawn(end.into_actor(self).map(|(), _, context| {
            retire.reply.send(Ok(()));
            context.stop();
        }));
    }
}

impl RaftSetup {
    /// Ends consensus, whoever started it.
    pub(super) async fn end(&self) {
        let Some(consensus) = self.port.running() else {
            return;
        };
        self.peers.clear();
        self.port.set(None);
        consensus.close();
        let ended = self.runtime.spawn(async move {
            consensus.note();
            tokio::time::timeout(END_WITHIN, consensus.raft.shutdown()).await
        });
        match ended.await {
            Ok(Ok(_)) => info!(self.logger, "consensus has ended"),
            Ok(Err(_)) => error!(self.logger, "consensus did not end in time"; "within" => ?END_WITHIN),
            Err(error) => error!(self.logger, "consensus could not be ended"; "cause" => %error),
        }
    }
}
