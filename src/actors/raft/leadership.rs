//! Who leads, as it is published to the gateway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::{Instant as _, RaftMetrics, async_runtime::WatchReceiver};
use tokio::sync::watch;

use crate::{
    actors::committer::Leadership,
    consensus::{Consensus, types::TypeConfig},
    types::{NodeId, Term},
};

/// One life of RaftActor publishes here. What still runs of it when it is over says nothing any more: consensus that is
/// being ended goes on for a moment, and its last word may come after the first one of the next.
#[derive(Clone, Debug)]
pub(super) struct Announcer {
    over: Arc<AtomicBool>,
    published: Arc<watch::Sender<Leadership>>,
}

impl Announcer {
    pub(super) fn new(published: Arc<watch::Sender<Leadership>>) -> Self {
        Self {
            over: Arc::default(),
            published,
        }
    }

    /// Publishes, unless it says nothing new. The term never falls on this node.
    fn publish(&self, leadership: &Leadership) {
        self.published.send_if_modified(|current| {
            let next = Leadership {
                term: leadership.term.max(current.term),
                leader: leadership.leader,
            };
            let changes = !self.over.load(Ordering::Acquire) && *current != next;
            if changes {
                *current = next;
            }
            changes
        });
    }

    /// This life is over: nobody is known to lead.
    pub(super) fn close(&self) {
        self.published.send_modify(|leadership| {
            // Inside, so that whoever publishes has done so before or sees it.
            self.over.store(true, Ordering::Release);
            leadership.leader = None;
        });
    }
}

/// Follows openraft's metrics until consensus ends; answers why it did.
pub(super) async fn follow(
    consensus: Consensus,
    node_id: NodeId,
    lease: Duration,
    announcer: Announcer,
) -> String {
    let mut metrics = consensus.raft.metrics();
    loop {
        let (leadership, ended) = {
            let metrics = metrics.borrow_watched();
            let ended = metrics.running_state.as_ref().err().map(ToString::to_string);
            (leadership(&metrics, node_id, lease), ended)
        };
        if let Some(ended) = ended {
            announcer.publish(&Leadership {
                leader: None,
                ..leadership
            });
            return ended;
        }
        announcer.publish(&leadership);
        // The lease runs out without any event.
        let changed = tokio::time::timeout(lease / 4, metrics.changed()).await;
        if let Ok(Err(_)) = changed {
            return "openraft's core is gone".to_owned();
        }
    }
}

/// What is published. A leader calls itself one when it has applied an entry of its own term (until then it does not know
/// what is committed), and for as long as a majority answers it.
fn leadership(metrics: &RaftMetrics<TypeConfig>, node_id: NodeId, lease: Duration) -> Leadership {
    let term = Term(metrics.current_term);
    let leader = metrics.current_leader.map(NodeId);
    let leader = match leader {
        Some(leader) if leader == node_id => {
            let applied_own = metrics
                .last_applied
                .is_some_and(|applied| applied.committed_leader_id().term == metrics.current_term);
            // A lone voter is its own majority, and nobody answers it.
            let alone = metrics.membership_config.voter_ids().count() <= 1;
            let followed = alone
                || metrics
                    .last_quorum_acked
                    .is_none_or(|acked| acked.elapsed() < lease);
            (applied_own && followed).then_some(leader)
        }
        other => other,
    };
    Leadership { term, leader }
}
