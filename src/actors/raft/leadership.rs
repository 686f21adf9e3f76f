//! Who leads, as it is published to the gateway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::{Instant as _, RaftMetrics, ServerState, async_runtime::WatchReceiver};
use slog::{Logger, info};
use tokio::sync::watch;

use super::not_made::ended_text;
use crate::{
    actors::committer::Leadership,
    consensus::{Consensus, links::Contact, types::TypeConfig},
    types::{NodeId, Term},
};

/// One life of RaftActor publishes here. What still runs of it when it is over says nothing any more: consensus that is
/// being ended goes on for a moment, and its last word may come after the first one of the next.
#[derive(Clone, Debug)]
pub(super) struct Announcer {
    over: Arc<AtomicBool>,
    published: Arc<watch::Sender<Leadership>>,
    logger: Logger,
}

impl Announcer {
    pub(super) fn new(published: Arc<watch::Sender<Leadership>>, logger: Logger) -> Self {
        Self {
            over: Arc::default(),
            published,
            logger,
        }
    }

    /// Publishes, unless it says nothing new. The term never falls on this node, and has one leader (RFT-2).
    fn publish(&self, leadership: &Leadership) {
        self.published.send_if_modified(|current| {
            let next = Leadership {
                term: leadership.term.max(current.term),
                leader: leadership.leader,
            };
            let other = current.leader.filter(|_| current.term == next.term);
            crate::check!(
                RFT_2,
                other.is_none() || next.leader.is_none() || other == next.leader,
                "term {} has two leaders, {other:?} and {:?}",
                next.term,
                next.leader
            );
            let changes = !self.over.load(Ordering::Acquire) && *current != next;
            if changes {
                match next.leader {
                    Some(leader) => info!(self.logger, "a node leads"; "leader" => leader.get(), "term" => next.term.get()),
                    None => info!(self.logger, "nobody is known to lead"; "term" => next.term.get()),
                }
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

/// Follows openraft until it ends; answers why it did. `heard`: of a leader, by its appends.
///
/// It wakes when who leads may have changed, and not at each entry; and now and then, since a lease runs out without any
/// event.
pub(super) async fn follow(
    consensus: Consensus,
    node_id: NodeId,
    lease: Duration,
    heard: Arc<Contact>,
    announcer: Announcer,
) -> String {
    let metrics = consensus.raft.metrics();
    let mut server = consensus.raft.server_metrics();
    let mut applied = consensus.watch_applied();
    loop {
        applied.mark_unchanged();
        let (now, doubtful, ended) = {
            let metrics = metrics.borrow_watched();
            let ended = metrics.running_state.as_ref().err().map(ended_text);
            let now = leadership(&metrics, consensus.applied_term(), node_id, &heard, lease);
            let doubtful = metrics.current_leader.is_some() && now.leader.is_none();
            (now, doubtful, ended)
        };
        if let Some(ended) = ended {
            announcer.publish(&Leadership { leader: None, ..now });
            return ended;
        }
        announcer.publish(&now);
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                let ended = metrics.borrow_watched().running_state.clone();
                return ended.err().map_or_else(|| "consensus is gone".to_owned(), |fatal| ended_text(&fatal));
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
