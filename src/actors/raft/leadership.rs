//! Who leads, as it is published to the gateway.

use std::{sync::Arc, time::Duration};

use openraft::{Instant as _, RaftMetrics, async_runtime::WatchReceiver};
use tokio::sync::watch;

use crate::{
    actors::{committer::Leadership, replicator::Replicators},
    consensus::{Consensus, types::TypeConfig},
    types::{NodeId, Term},
};

/// Follows openraft until it ends; answers why it did.
///
/// It wakes when who leads may have changed, and not at each entry; and now and then, since a lease runs out, and a leader
/// falls silent, without any event.
pub(super) async fn follow(
    consensus: Consensus,
    node_id: NodeId,
    links: Replicators,
    lease: Duration,
    publish: Arc<watch::Sender<Leadership>>,
) -> String {
    let metrics = consensus.raft.metrics();
    let mut server = consensus.raft.server_metrics();
    let mut applied = consensus.watch_applied();
    loop {
        applied.mark_unchanged();
        let (now, in_doubt) = {
            let metrics = metrics.borrow_watched();
            if let Err(fatal) = &metrics.running_state {
                return fatal.to_string();
            }
            let is_heard = |leader| {
                links
                    .silent_for(leader)
                    .is_some_and(|silent_for| silent_for < lease)
            };
            let now = leadership(&metrics, consensus.applied_term(), node_id, lease, is_heard);
            (
                now.clone(),
                metrics.current_leader.is_some() && now.leader.is_none(),
            )
        };
        publish.send_if_modified(|current| {
            let changes = *current != now;
            *current = now;
            changes
        });
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                let ended = metrics.borrow_watched().running_state.clone();
                return ended.err().map_or_else(|| "openraft is gone".to_owned(), |fatal| fatal.to_string());
            },
            _ = applied.changed(), if in_doubt => {}
            () = tokio::time::sleep(if in_doubt { lease / 20 } else { lease / 4 }) => {}
        }
    }
}

/// What is published. A leader calls itself one when it has applied an entry of its own term (until then it does not know
/// what is committed), and for as long as a majority answers it. Another node is called one for as long as it is heard of:
/// consensus itself remembers whom it follows until it hears of somebody else, also where nobody can reach it.
fn leadership(
    metrics: &RaftMetrics<TypeConfig>,
    applied: Term,
    node_id: NodeId,
    lease: Duration,
    is_heard: impl Fn(NodeId) -> bool,
) -> Leadership {
    let term = Term(metrics.current_term);
    let leader = metrics.current_leader.map(NodeId);
    let leader = match leader {
        Some(leader) if leader == node_id => {
            let applied_own = applied == term;
            // A lone voter is its own majority, and nobody answers it.
            let alone = metrics.membership_config.voter_ids().count() <= 1;
            let followed = alone
                || metrics
                    .last_quorum_acked
                    .is_none_or(|acked| acked.elapsed() < lease);
            (applied_own && followed).then_some(leader)
        }
        other => other.filter(|leader| is_heard(*leader)),
    };
    Leadership { term, leader }
}
