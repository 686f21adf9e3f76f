//! Whether a cluster can do without a node. Pure.

use super::board::ClusterState;
use crate::types::NodeId;

/// Voters, and who of them is down.
struct Voters<'a> {
    count: usize,
    /// By name.
    down: Vec<&'a str>,
}

impl<'a> Voters<'a> {
    /// All but `without`.
    fn new(state: &'a ClusterState, without: Option<NodeId>, is_up: &impl Fn(NodeId) -> bool) -> Self {
        let voters = || {
            let all = state.members.iter();
            all.filter(|(id, of)| of.voter && Some(**id) != without)
        };
        let down = voters().filter(|(id, _)| !is_up(**id));
        Self {
            count: voters().count(),
            down: down.map(|(_, of)| of.member.name.as_str()).collect(),
        }
    }

    fn up(&self) -> usize {
        self.count - self.down.len()
    }

    fn majority(&self) -> usize {
        self.count / 2 + 1
    }
}

/// Whether `node` can be removed: a majority of those who vote now must be `up` to decide it, and of those who are left, to go on.
///
/// Errors: why not, and what to do.
pub(super) fn can_do_without(
    node: NodeId,
    state: &ClusterState,
    is_up: impl Fn(NodeId) -> bool,
) -> Result<(), String> {
    let Some(member) = state.members.get(&node) else {
        return Err(format!(
            "node {node} does not belong to the cluster; `annals cluster servers` lists who does"
        ));
    };
    let name = &member.member.name;
    let now = Voters::new(state, None, &is_up);
    if now.up() < now.majority() {
        return Err(format!(
            "only {} of {} voters answer, and a majority of them, {}, has to decide who belongs. Bring {} back first",
            now.up(),
            now.count,
            now.majority(),
            now.down.join(" and ")
        ));
    }
    if !member.voter {
        return Ok(());
    }
    let left = Voters::new(state, Some(node), &is_up);
    if left.count == 0 {
        return Err(format!(
            "{name} is the only voter; without it there is no cluster"
        ));
    }
    if left.up() >= left.majority() {
        return Ok(());
    }
    Err(format!(
        "without {name} only {} of {} voters would be up, and a majority is {}: nothing could be written. \
         Bring {down} back first, or remove {down} first",
        left.up(),
        left.count,
        left.majority(),
        down = left.down.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{actors::raft::MemberState, consensus::types::Member};

    fn state(voters: u64, learners: u64) -> ClusterState {
        let member = |node: u64| {
            let member = Member {
                name: format!("node-{node}"),
                address: String::new(),
            };
            let state = MemberState {
                member,
                voter: node <= voters,
                matched: None,
            };
            (NodeId(node), state)
        };
        ClusterState {
            members: (1..=voters + learners).map(member).collect(),
            ..ClusterState::default()
        }
    }

    #[test]
    fn what_is_left_must_have_a_majority() {
        let three = state(3, 1);
        let all = |_| true;
        assert_eq!(can_do_without(NodeId(2), &three, all), Ok(()));
        let only_two_and_three = |node: NodeId| node != NodeId(1);
        assert_eq!(can_do_without(NodeId(1), &three, only_two_and_three), Ok(()));
        let why = can_do_without(NodeId(2), &three, only_two_and_three).unwrap_err();
        assert!(
            why.starts_with("without node-2 only 1 of 2 voters would be up, and a majority is 2"),
            "{why}"
        );
        assert!(why.ends_with("remove node-1 first"), "{why}");
        assert_eq!(can_do_without(NodeId(4), &three, only_two_and_three), Ok(()));
    }

    #[test]
    fn who_votes_now_has_to_decide_it() {
        let two = state(2, 1);
        let only_one = |node: NodeId| node == NodeId(1);
        for removed in [2, 3] {
            let why = can_do_without(NodeId(removed), &two, only_one).unwrap_err();
            assert!(
                why.starts_with("only 1 of 2 voters answer, and a majority of them, 2, has to decide"),
                "{why}"
            );
            assert!(why.ends_with("Bring node-2 back first"), "{why}");
        }
    }

    #[test]
    fn the_last_voter_stays_and_a_stranger_cannot_be_removed() {
        let alone = state(1, 1);
        assert!(can_do_without(NodeId(1), &alone, |_| true).is_err());
        assert!(can_do_without(NodeId(9), &alone, |_| true).is_err());
    }
}
