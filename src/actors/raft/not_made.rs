//! Why consensus has not made a change, in words of our own: what openraft says is about its inside, and no client's business.

use openraft::errors::{ChangeMembershipError, ClientWriteError, Fatal, ForwardToLeader, RaftError};

use super::{ChangeFailed, LeaderRoute, members::CHANGE_WAITS_FOR, port::not_leader};
use crate::{
    actors::committer::ProposeError,
    consensus::types::{CommittedLeaderId, TypeConfig},
};

/// What openraft answers where it has not made a change.
pub(super) type NotMade = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// What whoever asked for the change is told; `route` knows where the leader is reached.
pub(super) fn not_made(error: NotMade, route: &dyn LeaderRoute) -> ChangeFailed {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, .. })) => {
            not_leader(leader_id, route).into()
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => ChangeFailed::Refused {
            why: membership_text(&error),
        },
        // It was in this node's log, and the next leader, or consensus that is built again, may commit it.
        RaftError::APIError(
            ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_),
        )
        | RaftError::Fatal(_) => unknown(),
    }
}

/// Consensus has ended while a change was under way.
pub(super) fn unknown() -> ChangeFailed {
    ChangeFailed::NotHere(ProposeError::OutcomeUnknown)
}

fn membership_text(error: &ChangeMembershipError<CommittedLeaderId, u64>) -> String {
    match error {
        ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => format!(
            "another change of the membership was not done within {CHANGE_WAITS_FOR:?}, and this one was not begun; \
             `annals cluster status` shows whether the voters are up. Try again"
        ),
        ChangeMembershipError::EmptyMembership(_) => {
            "it would leave no voter, and so no cluster".to_owned()
        }
        ChangeMembershipError::LearnerNotFound(gone) => format!(
            "node {} was removed meanwhile, so it cannot vote; add it again, if it is to belong",
            gone.node_id
        ),
        ChangeMembershipError::UnsupportedMembershipTransition(_)
        | ChangeMembershipError::NodeMetadataChanged(_) => {
            "who belongs to the cluster was changed by somebody else meanwhile; look at `annals cluster status`, and try again"
                .to_owned()
        }
    }
}

/// Why consensus has ended, for the log and for operators.
pub(super) fn ended_text(fatal: &Fatal<TypeConfig>) -> String {
    match fatal {
        Fatal::StorageError(error) => format!("consensus cannot use the log: {error}"),
        Fatal::Panicked => "consensus panicked".to_owned(),
        Fatal::Stopped => "consensus has stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::future::BoxFuture;
    use openraft::errors::{
        EmptyMembership, ForwardReason, InProgress, LearnerNotFound, NodeMetadataChanged,
        UncommittedLeaderLog, UnsupportedMembershipTransition,
    };

    use super::*;
    use crate::{
        actors::{committer::Propose, supervision::PostError},
        consensus::types::raft_log_id,
        storage::cursors::{CursorCommand, CursorVerdict},
        types::{LogIndex, NodeId, Term},
    };

    #[derive(Debug)]
    struct Nowhere;

    impl LeaderRoute for Nowhere {
        fn propose(&self, _: NodeId, propose: Propose) -> Result<(), PostError<Propose>> {
            Err(PostError::Gone(propose))
        }

        fn read_index(&self, _: NodeId) -> BoxFuture<'static, Result<LogIndex, ProposeError>> {
            Box::pin(async { Err(ProposeError::NoLeader) })
        }

        fn change_cursor(
            &self,
            _: NodeId,
            _: CursorCommand,
        ) -> BoxFuture<'static, Result<CursorVerdict, ProposeError>> {
            Box::pin(async { Err(ProposeError::NoLeader) })
        }

        fn address_of(&self, node: NodeId) -> Option<String> {
            Some(format!("node-{node}:8400"))
        }
    }

    fn forward(leader_id: Option<u64>) -> ForwardToLeader<TypeConfig> {
        ForwardToLeader {
            leader_id,
            leader_node: None,
            reason: ForwardReason::NotLeader,
        }
    }

    fn told(error: ClientWriteError<TypeConfig>) -> ChangeFailed {
        not_made(RaftError::APIError(error), &Nowhere)
    }

    /// It was `has to forward request to: Some(2), None`, and the command did not go on to the leader.
    #[test]
    fn who_leads_no_more_says_who_does_and_where() {
        let leader = NodeId(2);
        let address = "node-2:8400".to_owned();
        assert_eq!(
            told(forward(Some(2)).into()),
            ProposeError::NotLeader { leader, address }.into()
        );
        assert_eq!(told(forward(None).into()), ProposeError::NoLeader.into());
    }

    #[test]
    fn of_what_was_begun_nobody_knows() {
        let discarded = ClientWriteError::LogEntryDiscarded(forward(Some(2)));
        assert_eq!(told(discarded), unknown());
        for fatal in [Fatal::Panicked, Fatal::Stopped] {
            assert_eq!(not_made(RaftError::Fatal(fatal), &Nowhere), unknown());
        }
    }

    #[test]
    fn what_is_refused_is_refused_in_our_own_words() {
        let entry = raft_log_id(LogIndex(7), Term(3)).unwrap();
        let voters = vec![BTreeSet::from([1, 2, 3])];
        let refused = [
            ChangeMembershipError::InProgress(InProgress {
                committed: None,
                membership_log_id: Some(entry),
            }),
            ChangeMembershipError::EmptyMembership(EmptyMembership {}),
            ChangeMembershipError::LearnerNotFound(LearnerNotFound { node_id: 4 }),
            ChangeMembershipError::UnsupportedMembershipTransition(UnsupportedMembershipTransition {
                previous: voters.clone(),
                proposed: voters,
            }),
            ChangeMembershipError::UncommittedLeaderLog(UncommittedLeaderLog {
                committed: None,
                leader_log_id: entry,
            }),
            ChangeMembershipError::NodeMetadataChanged(NodeMetadataChanged { node_id: 4 }),
        ];
        for error in refused {
            let theirs = error.to_string();
            let ChangeFailed::Refused { why } = told(error.into()) else {
                panic!("{theirs}")
            };
            assert!(!why.contains(&theirs), "{why}");
        }
    }
}
