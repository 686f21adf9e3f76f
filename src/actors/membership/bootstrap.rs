//! Who founds a cluster, and who joins one: a decision from what a node knows of itself and of the others. Pure.
//!
//! The first of `cluster.initial_members` founds, once it sees all of them and none has data. Everybody else adopts the
//! cluster that a peer advertises. A node with data never founds, and a node that was wiped finds the cluster that the
//! others advertise; so no two clusters come of one list.

use crate::types::{ClusterId, NodeId};

use super::{Peer, PeerTable, Standing};

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The cluster that it is configured for.
    pub cluster_name: String,
    /// The names of those who found that cluster, the first of which does it. Empty: this node only joins. A node that is
    /// to be alone names itself.
    pub initial_members: Vec<String>,
    /// Its id.
    pub node_id: NodeId,
    /// Its name.
    pub node_name: String,
    /// Where clients and peers connect to; `None` before that is bound.
    pub rpc_address: Option<String>,
    /// The cluster that it belongs to.
    pub cluster_id: Option<ClusterId>,
    /// Whether anything of a log is on its disk.
    pub has_data: bool,
}

/// What a node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// Nothing yet; ask again when the table changes.
    Wait {
        /// For whom or what, for people.
        reason: String,
    },
    /// Nothing yet, and somebody has to look at it: it will not pass by itself.
    Refuse {
        /// What is wrong, for people.
        reason: String,
    },
    /// Make the cluster of exactly these members, this node among them, in the order of the list. When the node has a
    /// cluster id already, an earlier attempt did not come to its end: that id is the cluster's.
    Found {
        /// The first members.
        members: Vec<Founder>,
    },
    /// Take this id as its own, and wait to be made a learner.
    Adopt(ClusterId),
    /// It belongs to a cluster, and that stands.
    Nothing,
}

/// One of the first members of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its id.
    pub node_id: NodeId,
    /// Its name.
    pub name: String,
    /// Where clients and peers connect to.
    pub rpc_address: String,
}

/// What `applicant` does, given the others that it knows.
#[must_use]
pub fn decide(applicant: &Applicant, peers: &PeerTable) -> Bootstrap {
    match applicant.cluster_id {
        Some(_) if applicant.has_data => Bootstrap::Nothing,
        // It was about to found the cluster when it ended. Only the founder's own id shows that: a node that was wiped has
        // another one, and what it adopted must never be founded again.
        Some(own) if own.is_founded_by(applicant.node_id) => match found(applicant, peers, Some(own)) {
            // Others have data: the cluster is there, and what is missing here is that of this node.
            Bootstrap::Refuse { .. } => Bootstrap::Nothing,
            founds_or_waits => founds_or_waits,
        },
        Some(_) => Bootstrap::Nothing,
        None if applicant.has_data => Bootstrap::Refuse {
            reason: format!(
                "{} has data but belongs to no cluster; restore its identity from a backup, or start it anew with an \
                 empty data directory",
                applicant.node_name
            ),
        },
        None => adopt(applicant, peers).unwrap_or_else(|| found(applicant, peers, None)),
    }
}

/// The cluster that peers advertise, if any does.
fn adopt(applicant: &Applicant, peers: &PeerTable) -> Option<Bootstrap> {
    let advertised = |peer: &Peer| peer.tags.cluster_id.map(|id| (id, peer.tags.node_name.clone()));
    let mut offers = peers.reachable().filter_map(|(_, peer)| advertised(peer));
    if let Some((id, name)) = offers.next() {
        return Some(match offers.find(|(other, _)| *other != id) {
            None => Bootstrap::Adopt(id),
            Some((other, other_name)) => Bootstrap::Refuse {
                reason: format!(
                    "{name} belongs to cluster {id} and {other_name} to cluster {other}, both called {}; give one of the \
                     clusters another name, or wipe the nodes that are in the wrong one",
                    applicant.cluster_name
                ),
            },
        });
    }
    // A cluster that is only out of reach is there all the same.
    let (id, name) = peers.iter().find_map(|(_, peer)| advertised(peer))?;
    Some(Bootstrap::Wait {
        reason: format!("waiting for {name}, which is out of reach and belongs to cluster {id}"),
    })
}

/// Whether all is there to found the cluster. `own` is the id that an earlier attempt left behind: peers that heard of it
/// have it too.
fn found(applicant: &Applicant, peers: &PeerTable, own: Option<ClusterId>) -> Bootstrap {
    let list = &applicant.initial_members;
    if !list.contains(&applicant.node_name) {
        return Bootstrap::Wait {
            reason: format!(
                "waiting to hear of a member of cluster {}",
                applicant.cluster_name
            ),
        };
    }
    let mut members = Vec::with_capacity(list.len());
    let (mut missing, mut without_address) = (Vec::new(), Vec::new());
    for name in list {
        match candidate(applicant, peers, own, name) {
            Ok(Some((node_id, Some(rpc_address)))) => members.push(Founder {
                node_id,
                name: name.clone(),
                rpc_address,
            }),
            Ok(Some((_, None))) => without_address.push(name.as_str()),
            Ok(None) => missing.push(name.as_str()),
            Err(reason) => return Bootstrap::Refuse { reason },
        }
    }
    let reason = if !missing.is_empty() {
        format!("waiting for {}, not seen yet", missing.join(", "))
    } else if !without_address.is_empty() {
        format!("waiting for the rpc address of {}", without_address.join(", "))
    } else if list.first() != Some(&applicant.node_name) {
        format!("waiting for {} to found the cluster", list[0])
    } else {
        return Bootstrap::Found { members };
    };
    Bootstrap::Wait { reason }
}

/// The one node that has this name, with its address.
///
/// Errors: why the cluster cannot be founded with it.
fn candidate(
    applicant: &Applicant,
    peers: &PeerTable,
    own: Option<ClusterId>,
    name: &str,
) -> Result<Option<(NodeId, Option<String>)>, String> {
    let is_own = name == applicant.node_name;
    let mut found = is_own.then(|| (applicant.node_id, applicant.rpc_address.clone()));
    let called_so =
        |(_, peer): &(NodeId, &Peer)| peer.tags.node_name == name && peer.tags.standing != Standing::Leaving;
    for (node_id, peer) in peers.reachable().filter(called_so) {
        if let Some((other, _)) = found {
            return Err(format!(
                "nodes {other} and {node_id} are both called {name}; rename one of them"
            ));
        }
        if peer.tags.has_data {
            return Err(format!(
                "{name} has data, so it has been in a cluster; wipe it, or let it found or find that cluster"
            ));
        }
        if peer.tags.cluster_id.is_some_and(|id| Some(id) != own) {
            return Err(format!(
                "{name} belongs to another cluster; wipe it, or correct initial_members"
            ));
        }
        found = Some((node_id, peer.tags.rpc_address.clone()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{
        actors::membership::{Presence, Tags},
        clock,
    };

    const ONE: ClusterId = ClusterId(1);
    const TWO: ClusterId = ClusterId(2);

    /// node-0 is 10, node-1 is 11, and so on.
    fn id_of(number: u64) -> NodeId {
        NodeId(10 + number)
    }

    fn applicant(number: u64, list: &[&str]) -> Applicant {
        Applicant {
            cluster_name: "annals".to_owned(),
            initial_members: list.iter().map(|name| (*name).to_owned()).collect(),
            node_id: id_of(number),
            node_name: format!("node-{number}"),
            rpc_address: Some(format!("host-{number}:8400")),
            cluster_id: None,
            has_data: false,
        }
    }

    fn peer(number: u64) -> Peer {
        Peer {
            tags: Tags {
                node_id: id_of(number),
                node_name: format!("node-{number}"),
                cluster_name: "annals".to_owned(),
                cluster_id: None,
                rpc_address: Some(format!("host-{number}:8400")),
                standing: Standing::Joining,
                has_data: false,
                program_version: "0.1.0".to_owned(),
            },
            gossip_address: SocketAddr::from(([127, 0, 0, 1], 8401)),
            presence: Presence::Reachable,
            since: clock::now(),
        }
    }

    fn with(number: u64, change: impl FnOnce(&mut Peer)) -> Peer {
        let mut peer = peer(number);
        change(&mut peer);
        peer
    }

    fn decide_with(applicant: &Applicant, peers: &[Peer]) -> Bootstrap {
        decide(applicant, &peers.iter().cloned().collect())
    }

    fn founders(numbers: &[u64]) -> Bootstrap {
        let founder = |number: &u64| Founder {
            node_id: id_of(*number),
            name: format!("node-{number}"),
            rpc_address: format!("host-{number}:8400"),
        };
        Bootstrap::Found {
            members: numbers.iter().map(founder).collect(),
        }
    }

    fn waits(decision: &Bootstrap, expected: &str) {
        let Bootstrap::Wait { reason } = decision else {
            panic!("{decision:?}")
        };
        assert_eq!(reason, expected);
    }

    fn refuses(decision: &Bootstrap, expected: &[&str]) {
        let Bootstrap::Refuse { reason } = decision else {
            panic!("{decision:?}")
        };
        for part in expected {
            assert!(reason.contains(part), "{reason}");
        }
    }

    const THREE: [&str; 3] = ["node-0", "node-1", "node-2"];

    #[test]
    fn the_first_of_the_list_founds_when_it_sees_all_of_them() {
        let first = applicant(0, &THREE);
        assert_eq!(decide_with(&first, &[peer(2), peer(1)]), founders(&[0, 1, 2]));
        let order = applicant(2, &["node-2", "node-0", "node-1"]);
        assert_eq!(decide_with(&order, &[peer(0), peer(1)]), founders(&[2, 0, 1]));
    }

    #[test]
    fn nodes_that_are_not_in_the_list_are_no_founders() {
        let first = applicant(0, &THREE);
        assert_eq!(
            decide_with(&first, &[peer(1), peer(2), peer(3)]),
            founders(&[0, 1, 2])
        );
    }

    #[test]
    fn a_list_of_one_founds_at_once_and_without_gossip() {
        assert_eq!(decide_with(&applicant(0, &["node-0"]), &[]), founders(&[0]));
    }

    #[test]
    fn everybody_says_who_is_missing() {
        for number in [0, 1] {
            let others = [peer(1 - number)];
            waits(
                &decide_with(&applicant(number, &THREE), &others),
                "waiting for node-2, not seen yet",
            );
        }
        waits(
            &decide_with(&applicant(0, &THREE), &[]),
            "waiting for node-1, node-2, not seen yet",
        );
    }

    #[test]
    fn a_member_that_is_unreachable_left_or_leaving_is_missing() {
        let first = applicant(0, &THREE);
        for spoil in [
            (|peer: &mut Peer| peer.presence = Presence::Unreachable) as fn(&mut Peer),
            |peer| peer.presence = Presence::Left,
            |peer| peer.tags.standing = Standing::Leaving,
        ] {
            let peers = [peer(1), with(2, spoil)];
            waits(&decide_with(&first, &peers), "waiting for node-2, not seen yet");
        }
    }

    #[test]
    fn an_address_that_is_not_known_yet_is_waited_for() {
        let mut first = applicant(0, &THREE);
        let peers = [peer(1), with(2, |peer| peer.tags.rpc_address = None)];
        waits(
            &decide_with(&first, &peers),
            "waiting for the rpc address of node-2",
        );
        first.rpc_address = None;
        waits(
            &decide_with(&first, &[peer(1), peer(2)]),
            "waiting for the rpc address of node-0",
        );
    }

    #[test]
    fn those_behind_the_first_wait_for_it() {
        waits(
            &decide_with(&applicant(1, &THREE), &[peer(0), peer(2)]),
            "waiting for node-0 to found the cluster",
        );
    }

    #[test]
    fn a_node_outside_of_the_list_waits_to_adopt() {
        for list in [&THREE[..], &[]] {
            waits(
                &decide_with(&applicant(7, list), &[peer(0), peer(1), peer(2)]),
                "waiting to hear of a member of cluster annals",
            );
        }
    }

    #[test]
    fn a_cluster_that_a_peer_advertises_is_adopted_by_founders_and_others_alike() {
        let member = with(1, |peer| {
            peer.tags.cluster_id = Some(ONE);
            peer.tags.standing = Standing::Member;
            peer.tags.has_data = true;
        });
        // Of these node-0 was wiped: it would be the one to found.
        for number in [0, 2, 7] {
            let decision = decide_with(&applicant(number, &THREE), std::slice::from_ref(&member));
            assert_eq!(decision, Bootstrap::Adopt(ONE), "node-{number}");
        }
        let alone = decide_with(&applicant(0, &["node-0"]), &[member]);
        assert_eq!(alone, Bootstrap::Adopt(ONE));
    }

    #[test]
    fn two_clusters_of_one_name_are_refused_with_both_ids() {
        let peers = [
            with(1, |peer| peer.tags.cluster_id = Some(ONE)),
            with(2, |peer| peer.tags.cluster_id = Some(TWO)),
        ];
        let (one, two) = (ONE.to_string(), TWO.to_string());
        refuses(
            &decide_with(&applicant(0, &THREE), &peers),
            &["node-1", "node-2", &one, &two],
        );
    }

    #[test]
    fn a_cluster_that_is_out_of_reach_is_waited_for_and_not_founded_again() {
        let member = with(7, |peer| {
            peer.tags.cluster_id = Some(ONE);
            peer.presence = Presence::Unreachable;
        });
        let decision = decide_with(&applicant(0, &THREE), &[peer(1), peer(2), member]);
        waits(
            &decision,
            "waiting for node-7, which is out of reach and belongs to cluster 00000000000000000000000000000001",
        );
    }

    #[test]
    fn nobody_founds_with_a_node_that_has_data() {
        let peers = [peer(1), with(2, |peer| peer.tags.has_data = true)];
        refuses(&decide_with(&applicant(0, &THREE), &peers), &["node-2 has data"]);
    }

    #[test]
    fn a_node_with_data_never_founds() {
        let with_data = Applicant {
            has_data: true,
            ..applicant(0, &["node-0"])
        };
        refuses(
            &decide_with(&with_data, &[]),
            &["node-0 has data but belongs to no cluster"],
        );
        let member = Applicant {
            cluster_id: Some(ONE),
            ..with_data
        };
        assert_eq!(decide_with(&member, &[]), Bootstrap::Nothing);
    }

    #[test]
    fn two_nodes_of_one_name_are_refused_with_both_ids() {
        let twin = with(2, |peer| peer.tags.node_id = NodeId(99));
        let first = applicant(0, &THREE);
        refuses(
            &decide_with(&first, &[peer(1), peer(2), twin]),
            &["12", "99", "both called node-2"],
        );
        let own = with(0, |peer| peer.tags.node_id = NodeId(99));
        refuses(
            &decide_with(&first, &[peer(1), peer(2), own.clone()]),
            &["10", "99", "both called node-0"],
        );
        refuses(
            &decide_with(&applicant(0, &["node-0"]), &[own]),
            &["both called node-0"],
        );
    }

    #[test]
    fn the_namesake_that_is_gone_does_not_hinder() {
        let wiped = with(2, |peer| {
            peer.tags.node_id = NodeId(99);
            peer.presence = Presence::Unreachable;
        });
        let decision = decide_with(&applicant(0, &THREE), &[peer(1), peer(2), wiped]);
        assert_eq!(decision, founders(&[0, 1, 2]));
    }

    #[test]
    fn a_founding_that_was_cut_short_is_done_again_with_the_same_id() {
        // Its id is durable, the first entry of its log is not; node-1 has heard of the id already.
        let own = ClusterId::founded_by(id_of(0));
        let cut_short = Applicant {
            cluster_id: Some(own),
            ..applicant(0, &THREE)
        };
        let heard = with(1, |peer| peer.tags.cluster_id = Some(own));
        let all = [heard.clone(), peer(2)];
        assert_eq!(decide_with(&cut_short, &all), founders(&[0, 1, 2]));
        // As at the start, when nobody is seen yet.
        waits(
            &decide_with(&cut_short, &[heard]),
            "waiting for node-2, not seen yet",
        );
        let founded = with(1, |peer| {
            peer.tags.cluster_id = Some(own);
            peer.tags.has_data = true;
        });
        assert_eq!(decide_with(&cut_short, &[founded]), Bootstrap::Nothing);
        let alone = Applicant {
            cluster_id: Some(own),
            ..applicant(0, &["node-0"])
        };
        assert_eq!(decide_with(&alone, &[]), founders(&[0]));
    }

    #[test]
    fn a_node_that_adopted_a_cluster_does_not_found_it_again() {
        let adopted = |number| Applicant {
            cluster_id: Some(ONE),
            ..applicant(number, &THREE)
        };
        let member = |number| {
            with(number, |peer| {
                peer.tags.cluster_id = Some(ONE);
                peer.tags.has_data = true;
            })
        };
        // node-0 was wiped, adopted, and restarted before it received anything.
        assert_eq!(
            decide_with(&adopted(0), &[member(1), member(2)]),
            Bootstrap::Nothing
        );
        assert_eq!(decide_with(&adopted(0), &[member(1)]), Bootstrap::Nothing);
        assert_eq!(decide_with(&adopted(1), &[peer(0), peer(2)]), Bootstrap::Nothing);
        // The cluster was founded by a list of one, and the others are not heard yet.
        let alone = Applicant {
            initial_members: vec!["node-0".to_owned()],
            ..adopted(0)
        };
        assert_eq!(decide_with(&alone, &[]), Bootstrap::Nothing);
    }
}
