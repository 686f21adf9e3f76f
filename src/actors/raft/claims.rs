//! What gossip says of nodes and the membership does not have yet: the name and the address of one that joins, or has moved. None of it is written
//! down before the node has answered there, as who it is.
//!
//! Whoever has the key of gossip can say anything there. With a member's address changed on that word alone, the others looked for it where it
//! is not, and it was out until its own word was heard again (G7, SEC-1).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    board::ClusterState,
    candidates::{TOLD_AFTER, TOLD_EVERY, asks, member_of},
};
use crate::{
    actors::membership::{Peer, PeerTable},
    consensus::types::Member,
    types::{ClusterId, NodeId},
};

/// How long a node that did not answer where gossip has it is left alone: the one that moved answers as soon as its servers are bound, and somebody
/// who makes addresses up is worth no more than a connection a second.
const SOUGHT_EVERY: Duration = Duration::from_secs(1);

/// By node, what gossip says of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(BTreeMap<NodeId, Claim>);

#[derive(Clone, Debug)]
struct Claim {
    member: Member,
    since: Instant,
    proof: Proof,
    told: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    /// It is to be sought from then on; why it was not found, if it was sought before.
    Due(Instant, Option<String>),
    /// It is being sought; the same.
    Sought(Option<String>),
    /// The node has answered there.
    Given,
}

/// What gossip says of members, and of who asks to belong, that the membership does not have.
pub(super) fn claimed(
    cluster_id: ClusterId,
    state: &ClusterState,
    peers: &PeerTable,
) -> impl Iterator<Item = (NodeId, Member)> {
    let of_us = move |peer: &(NodeId, &Peer)| peer.1.tags.cluster_id == Some(cluster_id);
    let said = move |(node, peer): (NodeId, &Peer)| {
        let member = match state.members.get(&node) {
            Some(known) => member_of(peer).filter(|member| *member != known.member),
            None => asks(node, peer, cluster_id, state),
        };
        Some((node, member?))
    };
    peers.reachable().filter(of_us).filter_map(said)
}

impl Claims {
    /// Takes note of what is said now. At most as many as gossip knows.
    pub(super) fn note(&mut self, claimed: impl Iterator<Item = (NodeId, Member)>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        let claims = claimed.map(|(node, member)| {
            let known = before.remove(&node).filter(|known| known.member == member);
            let new = || Claim {
                member,
                since: now,
                proof: Proof::Due(now, None),
                told: None,
            };
            (node, known.unwrap_or_else(new))
        });
        self.0 = claims.collect();
    }

    /// What is to be proved now: whoever asks does it, and says by [`Claims::answered`] what came of it.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(NodeId, Member)> {
        let mut due = Vec::new();
        for (node, claim) in &mut self.0 {
            if let Proof::Due(from, why) = &mut claim.proof
                && *from <= now
            {
                claim.proof = Proof::Sought(why.take());
                due.push((*node, claim.member.clone()));
            }
        }
        due
    }

    /// The node answered there, or why it did not. Whether that is news about what is said of it now.
    pub(super) fn answered(
        &mut self,
        node: NodeId,
        member: &Member,
        answer: Result<(), String>,
        now: Instant,
    ) -> bool {
        let Some(claim) = self.0.get_mut(&node).filter(|claim| claim.member == *member) else {
            return false;
        };
        claim.proof = match answer {
            Ok(()) => Proof::Given,
            Err(why) => Proof::Due(now + SOUGHT_EVERY, Some(why)),
        };
        claim.proof == Proof::Given
    }

    /// Of whom something is said that is not proved.
    pub(super) fn unproven(&self) -> BTreeSet<NodeId> {
        let unproven = self.0.iter().filter(|(_, claim)| claim.proof != Proof::Given);
        unproven.map(|(node, _)| *node).collect()
    }

    /// Of which of them an operator is to be told, and why they were not found.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(NodeId, Member, String)> {
        let told_lately =
            |told: Option<Instant>| told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        let mut overdue = Vec::new();
        for (node, claim) in &mut self.0 {
            let is_late = now.saturating_duration_since(claim.since) >= TOLD_AFTER;
            if let Proof::Due(_, Some(why)) | Proof::Sought(Some(why)) = &claim.proof
                && is_late
                && !told_lately(claim.told)
            {
                claim.told = Some(now);
                overdue.push((*node, claim.member.clone(), why.clone()));
            }
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const NODE: NodeId = NodeId(2);

    fn at(address: &str) -> Member {
        Member {
            name: "node-2".to_owned(),
            address: address.to_owned(),
        }
    }

    fn noted(claims: &mut Claims, member: &Member, now: Instant) {
        claims.note([(NODE, member.clone())].into_iter(), now);
    }

    #[test]
    fn what_is_said_counts_once_the_node_has_answered_there_and_for_nothing_else() {
        let (now, mut claims) = (clock::now(), Claims::default());
        noted(&mut claims, &at("a:1"), now);
        assert_eq!(claims.take_due(now), [(NODE, at("a:1"))]);
        assert_eq!(claims.take_due(now), [], "it is being sought");
        assert_eq!(claims.unproven(), BTreeSet::from([NODE]));
        assert!(claims.answered(NODE, &at("a:1"), Ok(()), now));
        noted(&mut claims, &at("a:1"), now);
        assert_eq!(claims.unproven(), BTreeSet::new());
        // The next that is said is another claim, and an answer to the one before proves nothing.
        noted(&mut claims, &at("b:1"), now);
        assert!(!claims.answered(NODE, &at("a:1"), Ok(()), now));
        assert_eq!(claims.unproven(), BTreeSet::from([NODE]));
    }

    #[test]
    fn who_does_not_answer_is_sought_again_and_told_of_now_and_then() {
        let (began, mut claims) = (clock::now(), Claims::default());
        let mut told = Vec::new();
        for quarter in 0..4 * (TOLD_AFTER + TOLD_EVERY).as_secs() as u32 + 1 {
            let now = began + Duration::from_millis(250) * quarter;
            noted(&mut claims, &at("a:1"), now);
            for (node, member) in claims.take_due(now) {
                assert_eq!(quarter % 4, 0, "once a second");
                assert!(!claims.answered(node, &member, Err("no".to_owned()), now));
            }
            told.extend(
                claims
                    .overdue(now)
                    .into_iter()
                    .map(|(.., why)| (quarter / 4, why)),
            );
        }
        let after = TOLD_AFTER.as_secs() as u32;
        let again = after + TOLD_EVERY.as_secs() as u32;
        assert_eq!(told, [(after, "no".to_owned()), (again, "no".to_owned())]);
    }
}
