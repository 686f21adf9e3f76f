//! Which node a request means: by its id, or by its name where that is clear.

use crate::{
    actors::{
        membership::{Peer, PeerTable, Standing},
        raft::{ChangeFailed, ClusterState},
    },
    consensus::types::Member,
    net::{cluster::ClusterPort, status::Refusal},
    proto::raw::annals::v1,
    types::{ClusterId, NodeId},
};

/// The one node that a request names, among these; `else_known` is said where it is none of them.
///
/// Errors: none is, or several are.
fn resolve<'a>(
    named: Option<&v1::NodeRef>,
    nodes: impl Iterator<Item = (NodeId, &'a str)>,
    else_known: &str,
) -> Result<NodeId, Refusal> {
    let nodes: Vec<_> = nodes.collect();
    let Some(named) = named.filter(|named| named.node_id != 0 || !named.name.is_empty()) else {
        return Err(Refusal::invalid("the request names no node"));
    };
    let is_meant = |(node, name): &(NodeId, &str)| match named.node_id {
        0 => *name == named.name,
        node_id => node.get() == node_id,
    };
    let mut found = nodes.iter().filter(|node| is_meant(node)).map(|(node, _)| *node);
    let asked = match named.node_id {
        0 => format!("{:?}", named.name),
        node_id => node_id.to_string(),
    };
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node),
        (Some(one), Some(other)) => {
            let others = found.map(|node| format!(", {node}")).collect::<String>();
            Err(Refusal::invalid(format!(
                "several nodes are called {asked}: {one}, {other}{others}; say the id of the one that is meant in the place of the name"
            )))
        }
        (None, _) => {
            let mut known: Vec<_> = nodes.iter().map(|(_, name)| *name).collect();
            known.sort_unstable();
            let known = format!("there is {}{else_known}", known.join(", "));
            Err(Refusal::UnknownNode { asked, known })
        }
    }
}

/// The member that a request names.
pub(super) fn member(port: &ClusterPort, named: Option<&v1::NodeRef>) -> Result<NodeId, Refusal> {
    let state = port.board.state();
    resolve(
        named,
        state
            .members
            .iter()
            .map(|(node, member)| (*node, member.member.name.as_str())),
        "",
    )
}

/// The node that a request wants to add, with its name and address: one that gossip reaches. `own`: this node, and the cluster.
pub(super) fn candidate(
    port: &ClusterPort,
    named: Option<&v1::NodeRef>,
    (own, cluster_id): (NodeId, Option<ClusterId>),
) -> Result<(NodeId, Member), Refusal> {
    let state = port.board.state();
    let table = port.directory.table();
    let of_members = state
        .members
        .iter()
        .map(|(node, member)| (*node, member.member.name.as_str()));
    let by_gossip = table
        .reachable()
        .filter(|(node, _)| !state.members.contains_key(node))
        .map(|(node, peer)| (node, peer.tags.node_name.as_str()));
    let live = |node: NodeId| node == own || is_live(node, &state, &table);
    let nodes = alive_before_gone(named, of_members.chain(by_gossip).collect(), live);
    let not_let_in =
        "; one that gossips and belongs to another cluster is not let in, and is named in this node's log";
    let node = resolve(named, nodes.into_iter(), not_let_in)?;
    if let Some(known) = state.members.get(&node) {
        return Ok((node, known.member.clone()));
    }
    let tags = table.get(node).map(|peer| &peer.tags);
    let refused = |why: String| Refusal::Change(ChangeFailed::Refused { why });
    match tags {
        Some(tags) if tags.standing != Standing::Joining => Err(refused(format!(
            "{} was removed, so its data counts for nothing: stop it, wipe its data directory, and start it anew",
            tags.node_name
        ))),
        // Also one that has none yet: it may be about to come to another cluster of the same name.
        Some(tags) if tags.cluster_id.is_none() || tags.cluster_id != cluster_id => Err(refused(format!(
            "{} does not belong to this cluster, or not yet; see what its own log says it waits for",
            tags.node_name
        ))),
        Some(tags) => {
            let not_said = || refused(format!("{} has not said yet where it is reached", tags.node_name));
            let address = tags.rpc_address.clone().ok_or_else(not_said)?;
            let name = tags.node_name.clone();
            Ok((node, Member { name, address }))
        }
        None => Err(Refusal::UnknownNode {
            asked: node.to_string(),
            known: "it has just gone".to_owned(),
        }),
    }
}

/// Of several nodes with the name that a request says, those that are there, if any are: who was wiped has a new id and its old
/// name, and the old id is known for a while longer. All of them where the request says an id.
fn alive_before_gone<'a>(
    named: Option<&v1::NodeRef>,
    mut nodes: Vec<(NodeId, &'a str)>,

    is_live: impl Fn(NodeId) -> bool,
) -> Vec<(NodeId, &'a str)> {
    let name = named
        .filter(|named| named.node_id == 0)
        .map(|named| named.name.as_str());
    let of_that_name = |(_, other): &(NodeId, &str)| name == Some(*other);
    if nodes.iter().any(|node| of_that_name(node) && is_live(node.0)) {
        nodes.retain(|node| !of_that_name(node) || is_live(node.0));
    }
    nodes
}

/// Whether another node than this one is there and may belong: gossip reaches it, nobody came to its place, and it was not
/// removed.
fn is_live(node: NodeId, state: &ClusterState, table: &PeerTable) -> bool {
    let Some(peer) = table.get(node).filter(|peer| peer.is_reachable()) else {
        return false;
    };
    let was_removed = !state.members.contains_key(&node) && peer.tags.standing != Standing::Joining;
    let is_at_its_place = |other: &Peer| {
        let rpc_address = other.tags.rpc_address.as_ref();
        let same_rpc = rpc_address.is_some() && rpc_address == peer.tags.rpc_address.as_ref();
        same_rpc || other.gossip_address == peer.gossip_address
    };
    let is_later = |other: &Peer| other.since > peer.since;
    let mut others = table.reachable().filter(|(other, _)| *other != node);
    !was_removed && !others.any(|(_, other)| is_at_its_place(other) && is_later(other))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{
        actors::{
            membership::{Presence, Tags},
            raft::MemberState,
        },
        clock,
    };

    /// Where a node was that was wiped, and where the new one is.
    const PLACE: u16 = 8401;
    const OLD: NodeId = NodeId(7);
    const NEW: NodeId = NodeId(3);

    fn peer(node_id: NodeId, standing: Standing, port: u16, since: Instant) -> Peer {
        Peer {
            tags: Tags {
                node_id,
                node_name: "node-2".to_owned(),
                cluster_name: "annals".to_owned(),
                cluster_id: Some(ClusterId(1)),
                rpc_address: Some(format!("127.0.0.1:{port}")),
                standing,
                has_data: false,
                program_version: "0.1.0".to_owned(),
            },
            gossip_address: ([127, 0, 0, 1], port).into(),
            presence: Presence::Reachable,
            since,
        }
    }

    fn members(nodes: &[NodeId]) -> ClusterState {
        let member = |node: &NodeId| {
            let member = Member {
                name: "node-2".to_owned(),
                address: String::new(),
            };
            let state = MemberState {
                member,
                voter: true,
                matched: None,
            };
            (*node, state)
        };
        ClusterState {
            members: nodes.iter().map(member).collect(),
            ..ClusterState::default()
        }
    }

    /// Whom `add node-2` means.
    fn meant(state: &ClusterState, table: &PeerTable) -> Result<NodeId, Refusal> {
        let named = v1::NodeRef {
            node_id: 0,
            name: "node-2".to_owned(),
        };
        let known = table.iter().map(|(node, _)| node);
        let gone = state
            .members
            .keys()
            .copied()
            .filter(|node| table.get(*node).is_none());
        let nodes = known.chain(gone).map(|node| (node, "node-2")).collect();
        let nodes = alive_before_gone(Some(&named), nodes, |node| is_live(node, state, table));
        resolve(Some(&named), nodes.into_iter(), "")
    }

    fn earlier() -> Instant {
        clock::now()
    }

    fn later(than: Instant) -> Instant {
        than + Duration::from_secs(1)
    }

    /// It was "several nodes are called node-2", for as long as gossip had not found out that the old one is gone.
    #[test]
    fn an_id_that_was_removed_is_not_meant_by_its_name() {
        let at = earlier();
        let old = peer(OLD, Standing::Member, PLACE, later(at));
        let new = peer(NEW, Standing::Joining, 9000, at);
        let table = [old, new].into_iter().collect();
        assert_eq!(meant(&members(&[]), &table).unwrap(), NEW);
    }

    #[test]
    fn a_member_that_gossip_does_not_reach_is_not_meant_where_another_has_its_name() {
        let new = peer(NEW, Standing::Joining, PLACE, earlier());
        let table = PeerTable::from_iter([new]);
        assert_eq!(meant(&members(&[OLD]), &table).unwrap(), NEW);
        let nobody = PeerTable::default();
        assert_eq!(
            meant(&members(&[OLD]), &nobody).unwrap(),
            OLD,
            "there is no other"
        );
    }

    #[test]
    fn who_came_to_the_place_of_another_is_meant() {
        let at = earlier();
        let old = peer(OLD, Standing::Member, PLACE, at);
        let new = peer(NEW, Standing::Joining, PLACE, later(at));
        let table = [old, new].into_iter().collect();
        assert_eq!(meant(&members(&[OLD]), &table).unwrap(), NEW);
    }

    #[test]
    fn who_is_nobody_is_not_found_and_who_there_is_is_told() {
        let refused = meant(&members(&[]), &PeerTable::default()).unwrap_err();
        assert!(matches!(refused, Refusal::UnknownNode { .. }), "{refused:?}");
        assert!(
            refused
                .to_string()
                .starts_with("there is no node \"node-2\"; there is "),
            "{refused}"
        );
    }

    #[test]
    fn where_two_are_there_both_are_named_and_the_id_is_asked_for() {
        let old = peer(OLD, Standing::Member, PLACE, earlier());
        let new = peer(NEW, Standing::Joining, 9000, earlier());
        let table = [old, new].into_iter().collect();
        let refused = meant(&members(&[OLD]), &table).unwrap_err().to_string();
        assert!(
            refused.contains("node-2") && refused.contains("3, 7;"),
            "{refused}"
        );
        assert!(refused.contains("say the id"), "{refused}");
    }
}
