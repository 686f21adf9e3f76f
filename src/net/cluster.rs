//! The cluster as a node shows it: what it knows by itself, and what it hears from the others when it is asked.
//!
//! How far each member is only the leader knows, and what each has applied only itself. So whoever is asked asks them all, at
//! once and not for long, and puts their answers together: any node shows the whole.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::context::{Context, DEFAULT_LOG};
use crate::{
    actors::{
        membership::{Peer, PeerDirectory, Presence},
        peer::{PeerCalls, PeerDescription, Progress},
        raft::{ClusterBoard, ClusterState, Fence, MemberState, RaftActor},
        replicator::Replicators,
        supervision::ActorRef,
    },
    proto::raw::annals::v1::{self, Role},
    types::{LogIndex, NodeId},
};

/// How long a member may take for its answer: who does not answer within this is shown as not reached.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(1);

/// What the gateway is given of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterPort {
    /// The cluster's name.
    pub name: String,
    /// Who belongs, as consensus knows it.
    pub board: ClusterBoard,
    /// Who is there, by gossip.
    pub directory: PeerDirectory,
    /// The links to the members.
    pub links: Replicators,
    /// Asks members.
    pub calls: PeerCalls,
    /// Changes who belongs, and who leads.
    pub raft: ActorRef<RaftActor>,
    /// For what the node waits while it belongs to no cluster.
    pub waiting: watch::Receiver<Option<String>>,
    /// Up once the node was removed.
    pub fence: Fence,
}

impl ClusterPort {
    /// What `node` is, in a word, where `leader` leads.
    pub(super) fn role_of(&self, node: NodeId, leader: Option<NodeId>) -> &'static str {
        match (leader == Some(node), self.board.state().members.get(&node)) {
            (true, _) => "leader",
            (false, Some(member)) if member.voter => "follower",
            (false, Some(_)) => "learner",
            (false, None) => "none",
        }
    }

    /// What another node is called, as far as that is known, and its id.
    pub(super) fn labels_of(&self, node: NodeId) -> [String; 2] {
        let name = self.directory.name_of(node).or_else(|| self.board.name_of(node));
        [name.unwrap_or_default(), node.to_string()]
    }

    /// What is wrong with the links to nodes that do not belong: those that the leader has to who asks to.
    pub(super) fn problems_of_others(&self, state: &ClusterState) -> BTreeMap<NodeId, String> {
        let links = self.links.status().into_iter();
        let others = links.filter(|(node, ..)| !state.members.contains_key(node));
        others
            .filter_map(|(node, status, _)| Some((node, status.problem?)))
            .collect()
    }
}

/// What is known of the members when everybody was asked who answers in time.
struct Gathered {
    state: ClusterState,
    own: NodeId,
    /// What they say, this node among them.
    said: BTreeMap<NodeId, PeerDescription>,
}

impl Gathered {
    async fn new(context: &Context, port: &ClusterPort, local: bool) -> Self {
        let own = context.parts.identity.node_id;
        let state = port.board.state();
        let mut said = BTreeMap::from([(own, describe(context, port))]);
        if !local {
            let others = state.members.keys().copied().filter(|node| *node != own);
            let asked =
                others.map(|node| async move { (node, port.calls.describe(node, DESCRIBED_WITHIN).await) });
            let mut answers: FuturesUnordered<_> = asked.collect();
            while let Some((node, answer)) = answers.next().await {
                said.extend(answer.ok().map(|answer| (node, answer)));
            }
        }
        Self { state, own, said }
    }

    /// Who leads: whoever says so of itself in the newest term, or else whom this node takes for the leader.
    fn leader(&self) -> Option<NodeId> {
        let claims = self
            .said
            .iter()
            .filter(|(node, said)| said.leader == Some(**node));
        let newest = claims.max_by_key(|(_, said)| said.term).map(|(node, _)| *node);
        newest.or_else(|| self.said.get(&self.own)?.leader)
    }
}

/// This node, by its own account.
pub(super) fn describe(context: &Context, port: &ClusterPort) -> PeerDescription {
    let parts = &context.parts;
    let state = port.board.state();
    let (own, leader) = (parts.identity.node_id, parts.leadership.borrow().leader);
    let others = state.members.iter().filter(|(node, _)| **node != own);
    let progress = |(node, member): (&NodeId, &MemberState)| Progress {
        node: *node,
        matched: member.matched,
        silent_for: port.links.silent_for(*node),
    };
    PeerDescription {
        term: state.term,
        leader,
        last: state.last,
        applied: state.applied,
        address: context.rpc_address.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        problem: parts.readiness.borrow().problem().unwrap_or_default(),
        unfit: unfit(context),
        trimmed_below: parts.read_path.view().trim_point(),
        membership_at: state.committed.0,
        progress: match leader == Some(own) {
            true => others.map(progress).collect(),
            false => Vec::new(),
        },
        candidates: match leader == Some(own) {
            true => port.problems_of_others(&state),
            false => BTreeMap::new(),
        },
        members: state.committed.1,
    }
}

/// Why this node should not lead: it is on its way out, or would refuse what the others could take.
fn unfit(context: &Context) -> String {
    if context.draining.is_cancelled() {
        return "it is being stopped".to_owned();
    }
    let checks = context.parts.vitals.checks();
    checks
        .into_iter()
        .find_map(|check| check.problem)
        .unwrap_or_default()
}

/// The whole cluster. `local`: only what this node knows by itself.
///
/// Cancel: safe.
pub(super) async fn view(context: &Context, port: &ClusterPort, local: bool) -> v1::GetClusterResponse {
    let gathered = Gathered::new(context, port, local).await;
    let leader = gathered.leader();
    let of_leader = leader.and_then(|leader| gathered.said.get(&leader));
    let mut servers: Vec<_> = gathered
        .state
        .members
        .iter()
        .map(|(node, member)| server(context, port, &gathered, leader, *node, member))
        .collect();
    servers.sort_by(|one, other| (&one.name, one.node_id).cmp(&(&other.name, other.node_id)));
    servers.extend(outsiders(port, &gathered, of_leader));
    let leader_address = leader.and_then(|leader| {
        let server = servers.iter().find(|server| server.node_id == leader.get())?;
        Some(server.address.clone())
    });
    let header = v1::ResponseHeader {
        leader_id: leader.map_or(0, NodeId::get),
        term: of_leader.map_or(gathered.state.term, |said| said.term).get(),
        ..context.header()
    };
    v1::GetClusterResponse {
        header: Some(header),
        log: DEFAULT_LOG.to_owned(),
        cluster_name: port.name.clone(),
        leader_address: leader_address.unwrap_or_default(),
        servers,
        changing: is_changing(&gathered.state, port.fence.removed_at()),
        membership_log_index: gathered.state.membership_at.get(),
        last_log_index: of_leader.map_or(0, |said| said.last.get()),
        waiting: port.waiting.borrow().clone().unwrap_or_default(),
        removed_at: port.fence.removed_at().map(LogIndex::get),
    }
}

fn server(
    context: &Context,
    port: &ClusterPort,
    gathered: &Gathered,
    leader: Option<NodeId>,
    node: NodeId,
    member: &MemberState,
) -> v1::Server {
    let is_own = node == gathered.own;
    let said = gathered.said.get(&node);
    let table = port.directory.table();
    let peer = table.get(node);
    let role = match (leader == Some(node), member.voter) {
        (true, _) => Role::Leader,
        (false, true) => Role::Follower,
        (false, false) => Role::Learner,
    };
    let of_leader = leader.and_then(|leader| gathered.said.get(&leader));
    let progress = of_leader.and_then(|said| said.progress_of(node));
    let matched = match leader == Some(node) {
        true => of_leader.map(|said| said.last),
        false => progress.and_then(|progress| progress.matched),
    };
    let lag = of_leader
        .zip(matched)
        .map(|(leader, matched)| leader.last.distance_from(matched.min(leader.last)));
    let silent_for = match (of_leader, leader == Some(node)) {
        (_, true) => None,
        (Some(_), false) => progress.and_then(|progress| progress.silent_for),
        (None, false) => port.links.silent_for(node),
    };
    v1::Server {
        node_id: node.get(),
        name: member.member.name.clone(),
        address: address(context, port, node, member),
        role: role.into(),
        voter: member.voter,
        presence: match is_own {
            true => v1::Presence::Reachable.into(),
            false => presence(peer).into(),
        },
        answered: said.is_some(),
        term: said.map(|said| said.term.get()),
        applied: said.map(|said| said.applied.get()),
        matched: matched.map(LogIndex::get),
        lag,
        last_contact_ms: silent_for
            .map(|silent_for| u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX)),
        version: said.map_or_else(
            || {
                peer.map(|peer| peer.tags.program_version.clone())
                    .unwrap_or_default()
            },
            |said| said.version.clone(),
        ),
        problem: match said {
            Some(said) => said.problem.clone(),
            None => port.links.refusal(node).unwrap_or_default(),
        },
    }
}

/// Whether a change of who belongs is under way, as far as this node knows. One that was removed is told nothing more: what it saw
/// begin has ended, or will, without it.
fn is_changing(state: &ClusterState, removed_at: Option<LogIndex>) -> bool {
    removed_at.is_none() && (state.joint || !state.settled)
}

/// Where clients reach a member: where this node has found it, or else gossip knows best.
fn address(context: &Context, port: &ClusterPort, node: NodeId, member: &MemberState) -> String {
    if node == context.parts.identity.node_id {
        return context.rpc_address.clone();
    }
    let found = port.links.found_at(node);
    let found = found.or_else(|| port.directory.rpc_address_of(node));
    found.unwrap_or_else(|| member.member.address.clone())
}

fn presence(peer: Option<&Peer>) -> v1::Presence {
    match peer.map(|peer| peer.presence) {
        None => v1::Presence::Unspecified,
        Some(Presence::Reachable) => v1::Presence::Reachable,
        Some(Presence::Unreachable) => v1::Presence::Unreachable,
        Some(Presence::Left) => v1::Presence::Left,
    }
}

/// Those that gossip reaches and who do not belong; why not, where the leader knows.
fn outsiders(
    port: &ClusterPort,
    gathered: &Gathered,
    of_leader: Option<&PeerDescription>,
) -> Vec<v1::Server> {
    let table = port.directory.table();
    let (own, members) = (gathered.own, &gathered.state.members);
    let is_outside = |node: &NodeId| *node != own && !members.contains_key(node);
    let problem = |node: NodeId| of_leader.and_then(|said| said.candidates.get(&node).cloned());
    table
        .reachable()
        .filter(|(node, _)| is_outside(node))
        .map(|(node, peer)| v1::Server {
            node_id: node.get(),
            name: peer.tags.node_name.clone(),
            address: peer.tags.rpc_address.clone().unwrap_or_default(),
            role: Role::Outsider.into(),
            presence: v1::Presence::Reachable.into(),
            version: peer.tags.program_version.clone(),
            problem: problem(node).unwrap_or_default(),
            ..v1::Server::default()
        })
        .collect()
}

/// Every member with its address, and whether it leads: what `log.v1` shows. This node alone, before it belongs to a
/// cluster. `reached_at`: where the client reached this node.
pub(super) fn members(context: &Context, reached_at: Option<SocketAddr>) -> Vec<(String, String, bool)> {
    let own = context.parts.identity.node_id;
    let leader = context.parts.leadership.borrow().leader;
    let this_node = (
        context.parts.identity.node_name.clone(),
        own_address(context, reached_at),
        leader == Some(own),
    );
    let Some(port) = &context.parts.cluster else {
        return vec![this_node];
    };
    let state = port.board.state();
    let mut members: Vec<_> = state
        .members
        .iter()
        .map(|(node, member)| match *node == own {
            true => this_node.clone(),
            false => (
                member.member.name.clone(),
                address(context, port, *node, member),
                leader == Some(*node),
            ),
        })
        .collect();
    if members.is_empty() {
        members.push(this_node);
    }
    members.sort();
    members
}

/// Where clients reach this node. One that listens everywhere is where it was reached.
fn own_address(context: &Context, reached_at: Option<SocketAddr>) -> String {
    let listens_everywhere = |text: &str| {
        let address = text.parse::<SocketAddr>();
        address.is_ok_and(|address| address.ip().is_unspecified())
    };
    match reached_at {
        Some(reached_at) if listens_everywhere(&context.rpc_address) => reached_at.to_string(),
        _ => context.rpc_address.clone(),
    }
}

/// What `/status` shows of the cluster: this node's own view, without asking anybody.
pub(super) fn status(context: &Context) -> Value {
    let Some(port) = &context.parts.cluster else {
        return Value::Null;
    };
    let own = context.parts.identity.node_id;
    let leader = context.parts.leadership.borrow().leader;
    let (state, table) = (port.board.state(), port.directory.table());
    let role = port.role_of(own, leader);
    let member = |(node, member): (&NodeId, &MemberState)| {
        let presence = table.get(*node).map(|peer| peer.presence);
        json!({
            "id": node.to_string(),
            "name": member.member.name,
            "address": address(context, port, *node, member),
            "voter": member.voter,
            "matched": member.matched.map(LogIndex::get),
            "reachable": *node == own || presence == Some(Presence::Reachable),
            "refusal": port.links.refusal(*node),
        })
    };
    let leader_address = leader.and_then(|leader| {
        let member = state.members.get(&leader)?;
        Some(address(context, port, leader, member))
    });
    json!({
        "name": port.name,
        "id": context.cluster_id_text(),
        "waiting": *port.waiting.borrow(),
        "removed_at": port.fence.removed_at().map(LogIndex::get),
        "role": role,
        "leader_address": leader_address,
        "last_log_index": state.last.get(),
        "applied": state.applied.get(),
        "members": state.members.iter().map(member).collect::<Vec<_>>(),
        "candidates": port.problems_of_others(&state).iter().map(|(node, problem)| json!({
            "id": node.to_string(),
            "name": table.get(*node).map(|peer| &peer.tags.node_name),
            "problem": problem,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its own removal was the last change that it saw begin: its status said "it is being changed" for ever.
    #[test]
    fn a_node_that_was_removed_shows_no_change_under_way() {
        let begun = ClusterState {
            joint: true,
            settled: false,
            ..ClusterState::default()
        };
        assert!(is_changing(&begun, None));
        assert!(!is_changing(&begun, Some(LogIndex(7))));
        let over = ClusterState {
            settled: true,
            ..ClusterState::default()
        };
        assert!(!is_changing(&over, None));
    }
}
