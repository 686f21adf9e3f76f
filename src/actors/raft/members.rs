//! Changes of who belongs to the cluster: by gossip's suggestion, or by an operator's command.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use openraft::{
    ChangeMembers, RaftMetrics,
    async_runtime::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use slog::{info, warn};

use super::{
    ClusterState, LeaderRoute, RaftActor, RaftPort,
    candidates::Candidates,
    claims::{Claims, claimed},
    command::Command,
    not_made::{NotMade, not_made, unknown},
    port::not_leader,
    reconcile::{Stability, Step, next_step},
};
use crate::{
    actors::{
        committer::ProposeError,
        membership::PeerTable,
        peer::PeerCalls,
        replicator::Place,
        supervision::{Reply, Unanswered},
    },
    clock,
    consensus::{
        Consensus,
        types::{Member, TypeConfig},
    },
    types::NodeId,
};

/// How often the leader compares the membership with what gossip says.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A change waits this long for the one before it, which takes a round trip and a sync, or two; and who removes a node for its
/// confirmation, which takes the same.
pub(super) const CHANGE_WAITS_FOR: Duration = Duration::from_secs(5);
/// Entries that a learner may lack when it is made a voter: openraft's own bound for what catches up in no time.
const LACKS_AT_MOST: u64 = 5000;

/// Change who belongs to the cluster. Only the leader can.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ChangeMember {
    /// What to change.
    pub change: MemberChange,
    /// Answered when the change is committed.
    pub reply: Reply<(), ChangeFailed>,
}

/// A change by an operator's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The node receives the log, and votes when `voter` is set, as soon as it can.
    Add {
        /// The node.
        node: NodeId,
        /// Its name and address.
        member: Member,
        /// Whether it is to vote without waiting to be stable.
        voter: bool,
    },
    /// The node belongs to the cluster no more; its data counts for nothing from then on.
    Remove {
        /// The node.
        node: NodeId,
    },
}

/// A change was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFailed {
    /// This node cannot make it.
    #[error(transparent)]
    NotHere(#[from] ProposeError),
    /// It would be wrong.
    #[error("{why}")]
    Refused {
        /// Why, and what would be right.
        why: String,
    },
    /// A majority has not confirmed it in time. It may still be made.
    #[error("{}", unconfirmed_text(*.waited, .silent))]
    Unconfirmed {
        /// How long it was waited for.
        waited: Duration,
        /// Names of the voters that do not answer.
        silent: Vec<String>,
    },
}

fn unconfirmed_text(waited: Duration, silent: &[String]) -> String {
    let who = match silent {
        [] => "though all voters answer: a disk may hang".to_owned(),
        [one] => format!("and {one} does not answer"),
        several => format!("and {} do not answer", several.join(" and ")),
    };
    format!(
        "a majority has not confirmed the change within {waited:?}, {who}. It is made as soon as a majority confirms it, unless \
         another leader has it undone; `annals cluster status` shows what became of it"
    )
}

impl ChangeFailed {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> crate::error::Disposition {
        match self {
            Self::NotHere(error) => error.disposition(),
            Self::Refused { .. } => crate::error::Disposition::Reject,
            Self::Unconfirmed { .. } => crate::error::Disposition::Retry,
        }
    }
}

impl From<Unanswered> for ChangeFailed {
    fn from(_: Unanswered) -> Self {
        Self::NotHere(ProposeError::OutcomeUnknown)
    }
}

impl RaftActor {
    /// The leader brings the membership in line with who is there, one step at a time.
    pub(super) fn look_at_members(&mut self, context: &mut Context<Self>) {
        let Some(consensus) = self.consensus.clone() else {
            return;
        };
        let state = self.setup.cluster.state();
        self.belonged.extend(&state.committed.1);
        let own = self.setup.node_id;
        let cluster_id = *self.setup.cluster_id.borrow();
        let leads = self.setup.leadership.borrow().leader == Some(own);
        let Some(cluster_id) = cluster_id.filter(|_| leads) else {
            self.stability = Stability::default();
            self.candidates = Candidates::default();
            self.claims = Claims::default();
            self.keep_links(&state);
            return;
        };
        let (peers, now) = (self.setup.directory.table(), clock::now());
        self.stability.note(&state, &peers, now);
        let is_removed = |node: &NodeId| self.belonged.contains(node) && !state.members.contains_key(node);
        let peers = without(peers, is_removed);
        self.candidates.note(cluster_id, &state, &peers, now);
        self.keep_links(&state);
        let unconnected = self.unconnected(now);
        let claimed = claimed(cluster_id, &state, &peers).filter(|(node, _)| !unconnected.contains(node));
        self.claims.note(claimed, now);
        self.prove_claims(now, context);
        if self.changing {
            return;
        }
        let unproven = self.claims.unproven();
        let peers = without(peers, |node| {
            unconnected.contains(node) || unproven.contains(node)
        });
        let rules = self.setup.voters;
        let Some(step) = next_step(own, cluster_id, &state, &peers, &self.stability, rules, now) else {
            return;
        };
        info!(self.setup.logger, "membership changes"; "step" => ?step);
        self.changing = true;
        let done = self
            .setup
            .runtime
            .spawn(take_step(consensus, self.setup.port.clone(), step));
        context.spawn(done.into_actor(self).map(|done, actor, _| {
            actor.changing = false;
            if let Ok(Err(error)) = done {
                warn!(actor.setup.logger, "membership not changed; looked at again"; "cause" => %error);
            }
        }));
    }

    /// To the other members, and to those who ask to be.
    fn keep_links(&self, state: &ClusterState) {
        let members = state.members.keys().copied();
        let others = members.filter(|node| *node != self.setup.node_id);
        self.setup.links.keep(others.chain(self.candidates.nodes()));
    }

    /// Who asks to belong and is not connected; an operator is told when it stays so.
    fn unconnected(&mut self, now: Instant) -> BTreeSet<NodeId> {
        let links = &self.setup.links;
        let unconnected = self.candidates.unproven(|node| links.is_connected(node));
        for (node, member) in self.candidates.overdue(&unconnected, now) {
            let why = links
                .problem(node)
                .unwrap_or_else(|| "it is being connected to".to_owned());
            warn!(self.setup.logger, "a node that gossips is not taken in, since there is no connection to it";
                "peer" => node.get(), "name" => member.name, "address" => member.address, "why" => why);
        }
        unconnected
    }

    /// Looks for nodes where gossip says that they are; an operator is told when they are not there.
    fn prove_claims(&mut self, now: Instant, context: &mut Context<Self>) {
        for (node, member, why) in self.claims.overdue(now) {
            warn!(self.setup.logger, "a node is not where gossip says, and stays where it was known";
                "peer" => node.get(), "name" => member.name, "address" => member.address, "why" => why);
        }
        for (node, member) in self.claims.take_due(now) {
            let links = self.setup.links.clone();
            let proved = async move {
                let answer = links.prove(node, place_of(&member)).await;
                (member, answer.map_err(|error| error.to_string()))
            };
            let proved = proved.into_actor(self);
            context.spawn(proved.map(move |(member, answer), actor, context| {
                if actor.claims.answered(node, &member, answer, clock::now()) {
                    actor.look_at_members(context);
                }
            }));
        }
    }

    pub(super) fn change_member(&mut self, message: ChangeMember, context: &mut Context<Self>) {
        let ChangeMember { change, reply } = message;
        let consensus = match self.may_change(&change) {
            Ok(Some(consensus)) => consensus,
            Ok(None) => return,
            Err(error) => {
                reply.send(Err(error));
                return;
            }
        };
        let command = Command {
            own: self.setup.node_id,
            consensus,
            links: self.setup.links.clone(),
            calls: PeerCalls::new(Arc::new(self.setup.links.clone())),
            cluster: self.setup.cluster.clone(),
            port: self.setup.port.clone(),
            runtime: self.setup.runtime.clone(),
            logger: self.setup.logger.clone(),
        };
        let done = self.setup.runtime.spawn(command.carry_out(change));
        context.spawn(done.into_actor(self).map(|done, _, _| {
            // When it panicked the reply says by itself that nobody knows.
            if let Ok(done) = done {
                reply.send(done);
            }
        }));
    }

    /// Whether a change by command makes sense, and consensus to make it with.
    fn may_change(&self, change: &MemberChange) -> Result<Option<Consensus>, ChangeFailed> {
        let leader = self.setup.leadership.borrow().leader;
        if leader != Some(self.setup.node_id) {
            let leader = leader.map(NodeId::get);
            return Err(ChangeFailed::NotHere(not_leader(leader, self.setup.port.route())));
        }
        let state = self.setup.cluster.state();
        if let MemberChange::Add { voter: true, .. } = change {
            let voters = state.members.values().filter(|member| member.voter).count();
            let most = self.setup.voters.voters_max;
            if voters >= most {
                let why = format!(
                    "{voters} nodes vote already, and cluster.voters_max is {most}; remove one first, or add it as a learner"
                );
                return Err(ChangeFailed::Refused { why });
            }
        }
        Ok(self.consensus.clone())
    }

    /// Whether a node answered lately.
    pub(super) fn is_heard(&self, node: NodeId) -> bool {
        let patience = self.setup.timing.election_timeout * 2;
        let silent_for = self.setup.links.silent_for(node);
        silent_for.is_some_and(|silent_for| silent_for < patience) && self.setup.links.is_connected(node)
    }
}

/// The peers that are not `out`: those that were removed, since what gossip has of them may be an old word, by which they still wish to
/// join; and those that nothing but gossip vouches for.
fn without(peers: PeerTable, is_out: impl Fn(&NodeId) -> bool) -> PeerTable {
    if !peers.iter().any(|(node, _)| is_out(&node)) {
        return peers;
    }
    let others = peers.iter().filter(|(node, _)| !is_out(node));
    others.map(|(_, peer)| peer.clone()).collect()
}

/// Where a member answers, as whom.
pub(super) fn place_of(member: &Member) -> Place {
    Place {
        address: member.address.clone(),
        name: Some(member.name.clone()).filter(|name| !name.is_empty()),
    }
}

async fn take_step(consensus: Consensus, port: RaftPort, step: Step) -> Result<(), ChangeFailed> {
    let route = port.route();
    match step {
        Step::AddLearner(node, member) => add_learner(&consensus, node, member, route).await,
        Step::SetMember(node, member) => {
            let members = BTreeMap::from([(node.get(), member)]);
            change(&consensus, ChangeMembers::SetNodes(members), route).await
        }
        Step::Promote(nodes) => {
            let nodes = nodes.into_iter().map(NodeId::get).collect();
            change(&consensus, ChangeMembers::AddVoterIds(nodes), route).await
        }
        // From between two sets of voters every change leads to the second one; this adds nobody to it.
        Step::Finish => change(&consensus, ChangeMembers::AddVoterIds(BTreeSet::new()), route).await,
    }
}

pub(super) async fn make_change(
    consensus: Consensus,
    port: RaftPort,
    what: MemberChange,
) -> Result<(), ChangeFailed> {
    let route = port.route();
    match what {
        MemberChange::Add { node, member, voter } => {
            add_learner(&consensus, node, member, route).await?;
            if voter {
                until_answered(&consensus, node).await?;
                until_caught_up(&consensus, node).await?;
                let voters = BTreeSet::from([node.get()]);
                change(&consensus, ChangeMembers::AddVoterIds(voters), route).await?;
            }
            Ok(())
        }
        MemberChange::Remove { node } => remove(&consensus, node, route).await,
    }
}

/// A log of few entries counts as received before anything is; and one that never answers would be waited for without an end.
async fn until_answered(consensus: &Consensus, node: NodeId) -> Result<(), ChangeFailed> {
    let wait = consensus.raft.wait(Some(CHANGE_WAITS_FOR));
    let heard = wait.metrics(
        |metrics| metrics.replication.is_none() || matched(metrics, node).is_some(),
        "an answer of the learner",
    );
    heard.await.map(drop).map_err(|_| ChangeFailed::Refused {
        why: format!(
            "node {node} has not answered within {CHANGE_WAITS_FOR:?}; it stays a learner, and does not vote"
        ),
    })
}

/// Waits for as long as it takes, unless the node is removed or this one leads no more: what is asked for next then says so.
async fn until_caught_up(consensus: &Consensus, node: NodeId) -> Result<(), ChangeFailed> {
    let is_over = |metrics: &RaftMetrics<TypeConfig>| {
        let members = metrics.membership_config.membership();
        let lacks = |last: u64| last.saturating_sub(matched(metrics, node).unwrap_or(0));
        metrics.replication.is_none()
            || members.get_node(&node.get()).is_none()
            || metrics.last_log_index.map(lacks) <= Some(LACKS_AT_MOST)
    };
    let wait = consensus.raft.wait(None);
    let caught_up = wait.metrics(is_over, "the learner to catch up");
    // It waits without an end, unless consensus ends.
    caught_up.await.map(drop).map_err(|_| unknown())
}

/// How far a node has received the leader's log, which it has said itself.
fn matched(metrics: &RaftMetrics<TypeConfig>, node: NodeId) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&node.get())?.as_ref()?;
    Some(matched.index())
}

async fn add_learner(
    consensus: &Consensus,
    node: NodeId,
    member: Member,
    route: &dyn LeaderRoute,
) -> Result<(), ChangeFailed> {
    let members = BTreeMap::from([(node.get(), member)]);
    change(consensus, ChangeMembers::AddNodes(members), route).await
}

/// A voter stops voting and goes in one change.
async fn remove(consensus: &Consensus, node: NodeId, route: &dyn LeaderRoute) -> Result<(), ChangeFailed> {
    let only = BTreeSet::from([node.get()]);
    if consensus.voters().contains(&node) {
        change(consensus, ChangeMembers::RemoveVoters(only), route).await
    } else {
        change(consensus, ChangeMembers::RemoveNodes(only), route).await
    }
}

/// Waits while another change is under way, be it the leader's own. One that comes between the two steps of this one goes on to the voters that
/// the first step led to, so this one is made again, which says the same.
async fn change(
    consensus: &Consensus,
    members: ChangeMembers<u64, Member>,
    route: &dyn LeaderRoute,
) -> Result<(), ChangeFailed> {
    let mut progress = consensus.raft.server_metrics();
    let give_up = clock::now() + CHANGE_WAITS_FOR;
    loop {
        match consensus.raft.change_membership(members.clone(), false).await {
            Ok(_) => return Ok(()),
            Err(error) if passes(&error) && clock::now() < give_up => {
                // An error means that consensus has ended, which the next try says.
                drop(tokio::time::timeout(LOOK_EVERY, progress.changed()).await);
            }
            Err(error) => return Err(not_made(error, route)),
        }
    }
}

/// Whether a change is only too early: another one is not over yet, or this node has just come to lead; or another one came between its two
/// steps, which is all that fails a precondition, as the first has none.
fn passes(error: &NotMade) -> bool {
    use ChangeMembershipError::{InProgress, UncommittedLeaderLog};
    matches!(
        error,
        RaftError::APIError(
            ClientWriteError::ChangeMembershipError(InProgress(_) | UncommittedLeaderLog(_))
                | ClientWriteError::PreconditionFailed(_)
        )
    )
}
