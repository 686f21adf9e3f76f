//! Who leads, as it is published to the gateway.

use openraft::{Instant as _, RaftMetrics, async_runtime::WatchReceiver};
use tokio::sync::watch;

use crate::{
    actors::committer::Leadership,
    consensus::{Consensus, types::TypeConfig},
    types::{NodeId, Term},
};

/// Follows openraft's metrics until consensus ends; answers why it did.
pub(super) async fn follow(
    consensus: Consensus,
    node_id: NodeId,
    lease: std::time::Duration,
    publish: std::sync::Arc<watch::Sender<Leadership>>,
) -> String {
    let mut metrics = consensus.raft.metrics();
    loop {
        let (leadership, ended) = {
            let metrics = metrics.borrow_watched();
            let ended = metrics.running_state.as_ref().err().map(ToString::to_string);
            (leadership(&metrics, node_id, lease), ended)
        };
        publish.send_if_modified(|current| {
            let changes = *current != leadership;
            *current = leadership;
            changes
        });
        if let Some(ended) = ended {
            return ended;
        }
        // The lease runs out without any event.
        let changed = tokio::time::timeout(lease / 4, metrics.changed()).await;
        if let Ok(Err(_)) = changed {
            return "openraft's core is gone".to_owned();
        }
    }
}

/// What is published. A leader calls itself one when it has applied an entry of its own term (until then it does not know
/// what is committed), and for as long as a majority answers it.
fn leadership(metrics: &RaftMetrics<TypeConfig>, node_id: NodeId, lease: std::time::Duration) -> Leadership {
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
