//! How a node is, by its own account: what any node tells its peers, with consensus running or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    proto::peer,
    types::{LogIndex, NodeId, Offset, Term},
};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerDescription {
    /// The current term, as it knows it.
    pub term: Term,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The last entry of its log.
    pub last: LogIndex,
    /// The last entry that it has applied.
    pub applied: LogIndex,
    /// Where clients reach it.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// Why it does not serve reads and writes; empty when it does.
    pub problem: String,
    /// Why it should not lead now; empty when it may.
    pub unfit: String,
    /// Records below this offset are trimmed, by what is committed.
    pub trimmed_below: Offset,
    /// The newest membership that it knows to be committed: its entry.
    pub membership_at: LogIndex,
    /// Who belongs by that.
    pub members: BTreeSet<NodeId>,
    /// Of a leader: the other members.
    pub progress: Vec<Progress>,
    /// Of a leader: why nodes that ask to belong are not taken in.
    pub candidates: BTreeMap<NodeId, String>,
}

/// How far a member is, as the leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub node: NodeId,
    /// The last entry on its disk for certain.
    pub matched: Option<LogIndex>,
    /// How long ago it was heard of.
    pub silent_for: Option<Duration>,
}

impl PeerDescription {
    /// What the leader knows of a member.
    #[must_use]
    pub fn progress_of(&self, node: NodeId) -> Option<&Progress> {
        self.progress.iter().find(|progress| progress.node == node)
    }
}

impl From<PeerDescription> for peer::DescribeResponse {
    fn from(of: PeerDescription) -> Self {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let progress = of.progress.into_iter().map(|progress| peer::Progress {
            node_id: progress.node.get(),
            matched: progress.matched.map(LogIndex::get),
            last_contact_ms: progress.silent_for.map(milliseconds),
        });
        let candidates = of.candidates.into_iter().map(|(node, problem)| peer::Candidate {
            node_id: node.get(),
            problem,
        });
        Self {
            candidates: candidates.collect(),
            term: of.term.get(),
            leader_id: of.leader.map_or(0, NodeId::get),
            last_log_index: of.last.get(),
            applied: of.applied.get(),
            address: of.address,
            version: of.version,
            problem: of.problem,
            membership_log_index: of.membership_at.get(),
            member_ids: of.members.into_iter().map(NodeId::get).collect(),
            progress: progress.collect(),
            unfit: of.unfit,
            trimmed_below: of.trimmed_below.get(),
        }
    }
}

impl From<peer::DescribeResponse> for PeerDescription {
    fn from(of: peer::DescribeResponse) -> Self {
        let progress = of.progress.into_iter().map(|progress| Progress {
            node: NodeId(progress.node_id),
            matched: progress.matched.map(LogIndex),
            silent_for: progress.last_contact_ms.map(Duration::from_millis),
        });
        let candidates = of.candidates.into_iter();
        Self {
            candidates: candidates
                .map(|candidate| (NodeId(candidate.node_id), candidate.problem))
                .collect(),
            term: Term(of.term),
            leader: (of.leader_id != 0).then_some(NodeId(of.leader_id)),
            last: LogIndex(of.last_log_index),
            applied: LogIndex(of.applied),
            address: of.address,
            version: of.version,
            problem: of.problem,
            membership_at: LogIndex(of.membership_log_index),
            members: of.member_ids.into_iter().map(NodeId).collect(),
            unfit: of.unfit,
            trimmed_below: Offset(of.trimmed_below),
            progress: progress.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_comes_back_as_it_was() {
        let progress = |node, matched, silent_for| Progress {
            node: NodeId(node),
            matched,
            silent_for,
        };
        let full = PeerDescription {
            term: Term(3),
            leader: Some(NodeId(1)),
            last: LogIndex(9),
            applied: LogIndex(8),
            address: "127.0.0.1:8400".to_owned(),
            version: "0.1.0".to_owned(),
            problem: "none".to_owned(),
            unfit: "its disk".to_owned(),
            trimmed_below: Offset(4),
            membership_at: LogIndex(1),
            members: BTreeSet::from([NodeId(1), NodeId(2)]),
            progress: vec![
                progress(1, None, None),
                progress(2, Some(LogIndex(7)), Some(Duration::from_millis(5))),
            ],
            candidates: BTreeMap::from([(NodeId(3), "it speaks no TLS".to_owned())]),
        };
        for description in [PeerDescription::default(), full] {
            let sent = peer::DescribeResponse::from(description.clone());
            assert_eq!(PeerDescription::from(sent), description);
        }
    }
}
