//! What the leader does about the membership: a decision from what gossip says and what the log says. Pure.
//!
//! Gossip suggests, Raft decides (G7): whoever joined, and answered where gossip says, becomes a learner, and a voter once it has caught
//! up and stayed for a while. Failed is only marked, and so is left: nobody is removed here, but by an operator's command, or by its own, which it
//! gives as who it is (ADR 0027).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    board::ClusterState,
    candidates::{asks, member_of},
};
use crate::{
    actors::membership::{Peer, PeerTable, Presence},
    consensus::types::Member,
    types::{ClusterId, LogIndex, NodeId},
};

/// A learner that misses no more entries than this has caught up: what is in flight on a busy log.
const CAUGHT_UP_ENTRIES: u64 = 4096;

/// What decides whether a learner becomes a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoterRules {
    /// No more voters than this.
    pub voters_max: usize,
    /// A learner must have been caught up and reachable for this long.
    pub stable_for: Duration,
}

/// The next change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A node that joined receives the log.
    AddLearner(NodeId, Member),
    /// A node has another name or address.
    SetMember(NodeId, Member),
    /// Learners become voters.
    Promote(BTreeSet<NodeId>),
    /// A change stands between its two sets of voters, and whoever began it is gone.
    Finish,
}

/// Whoever begins a change takes its second step as soon as the first is committed. After this much more nobody will.
const HALF_MADE_FOR: Duration = Duration::from_secs(2);

/// Since when things have stood as they do.
#[derive(Clone, Debug, Default)]
pub(super) struct Stability {
    /// That each learner is caught up and reachable.
    learners: BTreeMap<NodeId, Instant>,
    /// That the membership of this entry is between two sets of voters, committed.
    half_made: Option<(LogIndex, Instant)>,
}

impl Stability {
    /// Takes note of how things stand.
    pub(super) fn note(&mut self, state: &ClusterState, peers: &PeerTable, now: Instant) {
        let is_stable = |node: NodeId| {
            let member = state.members.get(&node);
            let caught_up = member
                .and_then(|member| member.matched)
                .is_some_and(|matched| state.last.distance_from(matched) <= CAUGHT_UP_ENTRIES);
            caught_up && peers.get(node).is_some_and(Peer::is_reachable)
        };
        let learners = state.members.iter().filter(|(_, member)| !member.voter);
        let stable: BTreeSet<_> = learners
            .map(|(node, _)| *node)
            .filter(|node| is_stable(*node))
            .collect();
        self.learners.retain(|node, _| stable.contains(node));
        for node in stable {
            self.learners.entry(node).or_insert(now);
        }
        let before = self.half_made.filter(|(at, _)| *at == state.membership_at);
        let half_made = state.joint && state.settled;
        self.half_made = half_made.then_some(before.unwrap_or((state.membership_at, now)));
    }

    fn is_left_half_made(&self, now: Instant) -> bool {
        self.half_made
            .is_some_and(|(_, since)| now.saturating_duration_since(since) >= HALF_MADE_FOR)
    }

    fn for_long(&self, node: NodeId, now: Instant, stable_for: Duration) -> bool {
        self.learners
            .get(&node)
            .is_some_and(|since| now.saturating_duration_since(*since) >= stable_for)
    }
}

/// The next change to make, as the leader `own` of `cluster_id`; none while one is under way. Who asks to belong and is among the `peers`
/// is believed to be who it says.
pub(super) fn next_step(
    own: NodeId,
    cluster_id: ClusterId,
    state: &ClusterState,
    peers: &PeerTable,
    stability: &Stability,
    rules: VoterRules,
    now: Instant,
) -> Option<Step> {
    if state.leader != Some(own) || !state.settled {
        return None;
    }
    if state.joint {
        return stability.is_left_half_made(now).then_some(Step::Finish);
    }
    let of_us = |peer: &&(NodeId, &Peer)| peer.1.tags.cluster_id == Some(cluster_id);
    for (node, peer) in peers.iter().filter(|peer| of_us(&peer)) {
        match (state.members.get(&node), peer.presence) {
            (None, Presence::Reachable) => {
                if let Some(member) = asks(node, peer, cluster_id, state) {
                    return Some(Step::AddLearner(node, member));
                }
            }
            (Some(known), Presence::Reachable) => {
                if let Some(member) = member_of(peer).filter(|member| *member != known.member) {
                    return Some(Step::SetMember(node, member));
                }
            }
            _ => {}
        }
    }
    let voters = state.members.values().filter(|member| member.voter).count();
    let room = rules.voters_max.saturating_sub(voters);
    let ready = state
        .members
        .iter()
        .filter(|(node, member)| !member.voter && stability.for_long(**node, now, rules.stable_for));
    let promoted: BTreeSet<_> = ready.map(|(node, _)| *node).take(room).collect();
    (!promoted.is_empty()).then_some(Step::Promote(promoted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actors::{
            membership::{Standing, Tags},
            raft::board::MemberState,
        },
        clock,
    };

    const OWN: NodeId = NodeId(1);
    const CLUSTER: ClusterId = ClusterId(7);
    const RULES: VoterRules = VoterRules {
        voters_max: 3,
        stable_for: Duration::from_secs(10),
    };

    fn peer(node: u64, presence: Presence) -> Peer {
        Peer {
            tags: Tags {
                node_id: NodeId(node),
                node_name: format!("node-{node}"),
                cluster_name: "annals".to_owned(),
                cluster_id: Some(CLUSTER),
                rpc_address: Some(format!("127.0.0.1:{node}")),
                standing: Standing::Member,
                has_data: true,
                program_version: String::new(),
            },
            gossip_address: ([127, 0, 0, 1], 1).into(),
            presence,
            since: clock::now(),
        }
    }

    fn member(node: u64, voter: bool, matched: u64) -> (NodeId, MemberState) {
        let member = Member {
            name: format!("node-{node}"),
            address: format!("127.0.0.1:{node}"),
        };
        let matched = Some(LogIndex(matched));
        (
            NodeId(node),
            MemberState {
                member,
                voter,
                matched,
            },
        )
    }

    fn state(members: impl IntoIterator<Item = (NodeId, MemberState)>) -> ClusterState {
        ClusterState {
            leader: Some(OWN),
            members: members.into_iter().collect(),
            settled: true,
            last: LogIndex(10_000),
            ..ClusterState::default()
        }
    }

    fn step(state: &ClusterState, peers: &PeerTable, stability: &Stability, now: Instant) -> Option<Step> {
        next_step(OWN, CLUSTER, state, peers, stability, RULES, now)
    }

    fn table(peers: impl IntoIterator<Item = Peer>) -> PeerTable {
        peers.into_iter().collect()
    }

    #[test]
    fn whoever_joined_becomes_a_learner_and_strangers_do_not() {
        let alone = state([member(1, true, 10_000)]);
        let now = clock::now();
        let mut joining = peer(2, Presence::Reachable);
        joining.tags.standing = Standing::Joining;
        let joined = step(&alone, &table([joining.clone()]), &Stability::default(), now);
        assert!(matches!(joined, Some(Step::AddLearner(NodeId(2), _))));
        let mut stranger = joining.clone();
        stranger.tags.cluster_id = None;
        let mut leaving = peer(3, Presence::Reachable);
        leaving.tags.standing = Standing::Leaving;
        let mut nowhere = joining;
        nowhere.tags.node_id = NodeId(4);
        nowhere.tags.rpc_address = None;
        let removed = peer(6, Presence::Reachable);
        let others = table([
            stranger,
            leaving,
            nowhere,
            removed,
            peer(5, Presence::Unreachable),
        ]);
        assert_eq!(step(&alone, &others, &Stability::default(), now), None);
    }

    #[test]
    fn nothing_is_done_by_a_follower_or_while_a_change_is_under_way() {
        let mut joining = peer(2, Presence::Reachable);
        joining.tags.standing = Standing::Joining;
        let peers = table([joining]);
        let now = clock::now();
        let alone = state([member(1, true, 10_000)]);
        for unfit in [
            ClusterState {
                leader: Some(NodeId(2)),
                ..alone.clone()
            },
            ClusterState {
                joint: true,
                ..alone.clone()
            },
            ClusterState {
                settled: false,
                ..alone.clone()
            },
        ] {
            assert_eq!(step(&unfit, &peers, &Stability::default(), now), None);
        }
    }

    /// The bug: a leader that failed between the two steps of a change left the cluster between its two sets of voters, for good:
    /// nobody was taken in or let vote any more.
    #[test]
    fn a_change_whose_leader_is_gone_is_finished_by_the_next_one() {
        let joint = |at| ClusterState {
            joint: true,
            membership_at: LogIndex(at),
            ..state([member(1, true, 10_000), member(2, true, 10_000)])
        };
        let (peers, began) = (table([]), clock::now());
        let mut stability = Stability::default();
        stability.note(&joint(7), &peers, began);
        assert_eq!(step(&joint(7), &peers, &stability, began), None);
        // Another change is another one, however soon it comes.
        let later = began + HALF_MADE_FOR;
        stability.note(&joint(9), &peers, later);
        assert_eq!(step(&joint(9), &peers, &stability, later), None);
        let at_last = later + HALF_MADE_FOR;
        stability.note(&joint(9), &peers, at_last);
        assert_eq!(step(&joint(9), &peers, &stability, at_last), Some(Step::Finish));
    }

    #[test]
    fn a_learner_votes_once_it_was_caught_up_and_reachable_for_long() {
        let peers = table([peer(2, Presence::Reachable)]);
        let began = clock::now();
        let mut stability = Stability::default();
        let behind = state([member(1, true, 10_000), member(2, false, 100)]);
        stability.note(&behind, &peers, began);
        let later = began + RULES.stable_for;
        assert_eq!(step(&behind, &peers, &stability, later), None, "it is behind");
        let caught_up = state([member(1, true, 10_000), member(2, false, 9_999)]);
        stability.note(&caught_up, &peers, later);
        assert_eq!(step(&caught_up, &peers, &stability, later), None, "only just");
        let promoted = Some(Step::Promote(BTreeSet::from([NodeId(2)])));
        assert_eq!(
            step(&caught_up, &peers, &stability, later + RULES.stable_for),
            promoted
        );
        let gone = table([peer(2, Presence::Unreachable)]);
        stability.note(&caught_up, &gone, later);
        stability.note(&caught_up, &peers, later + RULES.stable_for);
        let much_later = later + RULES.stable_for;
        assert_eq!(
            step(&caught_up, &peers, &stability, much_later),
            None,
            "its time begins anew"
        );
    }

    #[test]
    fn there_are_no_more_voters_than_allowed() {
        let members = (1..=3)
            .map(|node| member(node, true, 10_000))
            .chain([member(4, false, 10_000)]);
        let full = state(members);
        let peers = table((2..=4).map(|node| peer(node, Presence::Reachable)));
        let mut stability = Stability::default();
        let began = clock::now();
        stability.note(&full, &peers, began);
        assert_eq!(step(&full, &peers, &stability, began + RULES.stable_for), None);
    }

    /// The bug: who had the key of gossip, and no certificate, said of members that they had left, and they were removed.
    #[test]
    fn whatever_gossip_says_of_a_member_it_stays_one() {
        let three = state((1..=3).map(|node| member(node, true, 10_000)));
        let now = clock::now();
        for presence in [Presence::Unreachable, Presence::Left] {
            let gone = table([peer(2, presence), peer(3, Presence::Reachable)]);
            assert_eq!(step(&three, &gone, &Stability::default(), now), None);
        }
    }

    #[test]
    fn a_node_that_moved_is_known_by_its_new_address() {
        let two = state([member(1, true, 10_000), member(2, true, 10_000)]);
        let mut moved = peer(2, Presence::Reachable);
        moved.tags.rpc_address = Some("127.0.0.1:99".to_owned());
        let step = step(&two, &table([moved]), &Stability::default(), clock::now());
        let Some(Step::SetMember(NodeId(2), member)) = step else {
            panic!("{step:?}");
        };
        assert_eq!(member.address, "127.0.0.1:99");
    }
}
