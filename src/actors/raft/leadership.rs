//! Who leads, as it is published to the gateway.

use std::{sync::Arc, time::Duration};

use openraft::{Instant as _, RaftMetrics, ServerState, async_runtime::WatchReceiver};
use tokio::sync::watch;

use crate::{
    actors::committer::Leadership,
    consensus::{Consensus, links::Contact, types::TypeConfig},
    types::{NodeId, Term},
};

/// Follows openraft until it ends; answers why it did. `heard`: of a leader, by its appends.
///
/// It wakes when who leads may have changed, and not at each entry; and now and then, since a lease runs out without any
/// event.
pub(super) async fn follow(
    consensus: Consensus,
    node_id: NodeId,
    lease: Duration,
    heard: Arc<Contact>,
    publish: Arc<watch::Sender<Leadership>>,
) -> String {
    let metrics = consensus.raft.metrics();
    let mut server = consensus.raft.server_metrics();
    let mut applied = consensus.watch_applied();
    loop {
        applied.mark_unchanged();
        let (now, doubtful) = {
            let metrics = metrics.borrow_watched();
            if let Err(fatal) = &metrics.running_state {
                return fatal.to_string();
            }
            let now = leadership(&metrics, consensus.applied_term(), node_id, &heard, lease);
            (
                now.clone(),
                metrics.current_leader.is_some() && now.leader.is_none(),
            )
        };
        publish.send_if_modified(|current| {
            let changes = *current != now;
            let other = current.leader.filter(|_| current.term == now.term);
            crate::check!(
                RFT_2,
                other.is_none() || now.leader.is_none() || other == now.leader,
                "term {} has two leaders, {other:?} and {:?}",
                now.term,
                now.leader
            );
            *current = now;
            changes
        });
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                let ended = metrics.borrow_watched().running_state.clone();
                return ended.err().map_or_else(|| "openraft is gone".to_owned(), |fatal| fatal.to_string());
            },
            _ = applied.changed(), if doubtful => {}
            () = tokio::time::sleep(if doubtful { lease / 20 } else { lease / 4 }) => {}
        }
    }
}

/// What is published. A leader calls itself one when it has applied an entry of its own term (until then it does not know
/// what is committed), and for as long as a majority answers it; others call a node that for as long as they hear of it. What
/// openraft has is whom this node follows: also one that is long gone, or itself as it was before a restart.
fn leadership(
    metrics: &RaftMetrics<TypeConfig>,
    applied: Term,
    node_id: NodeId,
    heard: &Contact,
    lease: Duration,
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
            let leads = metrics.state == ServerState::Leader;
            (leads && applied_own && followed).then_some(leader)
        }
        other => other.filter(|_| heard.silent_for().is_some_and(|silent| silent < lease)),
    };
    Leadership { term, leader }
}
