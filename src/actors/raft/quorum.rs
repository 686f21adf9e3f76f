//! Whether a cluster can do without a node. Pure.

use super::board::ClusterState;
use crate::types::NodeId;

/// Whether the voters that are left when `node` is removed could go on: a majority of them must be `up`.
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
    if !member.voter {
        return Ok(());
    }
    let name = &member.member.name;
    let left = || state.members.iter().filter(|(id, of)| of.voter && **id != node);
    let voters = left().count();
    if voters == 0 {
        return Err(format!(
            "{name} is the only voter; without it there is no cluster"
        ));
    }
    let down: Vec<&str> = left()
        .filter(|(id, _)| !is_up(**id))
        .map(|(_, of)| of.member.name.as_str())
        .collect();
    let (up, majority) = (voters - down.len(), voters / 2 + 1);
    if up >= majority {
        return Ok(());
    }
    Err(format!(
        "without {name} only {up} of {voters} voters would be up, and a majority is {majority}: nothing could be written. \
         Bring {down} back first, or remove {down} first",
        down = down.join(" and ")
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
    fn the_last_voter_stays_and_a_stranger_cannot_be_removed() {
        let alone = state(1, 1);
        assert!(can_do_without(NodeId(1), &alone, |_| true).is_err());
        assert!(can_do_without(NodeId(9), &alone, |_| true).is_err());
    }
}
