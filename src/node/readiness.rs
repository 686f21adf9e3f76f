//! Whether the node serves: what its log and its consensus make of it.

use tokio::{runtime::Handle, sync::watch};

use crate::{
    actors::{committer::Leadership, log::Condition},
    net::vitals::Readiness,
    types::LogIndex,
};

/// What readiness is made of.
pub(super) struct Signs {
    pub(super) condition: watch::Receiver<Condition>,
    pub(super) leadership: watch::Receiver<Leadership>,
    /// For what the node waits while it belongs to no cluster.
    pub(super) waiting: watch::Receiver<Option<String>>,
    /// Where the node was removed from its cluster.
    pub(super) removed: watch::Receiver<Option<LogIndex>>,
}

/// Readiness, and its changes, for as long as anybody listens.
pub(super) fn follow(mut signs: Signs, runtime: &Handle) -> watch::Receiver<Readiness> {
    let (sender, receiver) = watch::channel(Readiness::Starting);
    runtime.spawn(async move {
        loop {
            let now = signs.readiness();
            sender.send_if_modified(|current| {
                let changes = *current != now;
                *current = now;
                changes
            });
            let changed = tokio::select! {
                changed = signs.condition.changed() => changed,
                changed = signs.leadership.changed() => changed,
                // Closed as soon as the node belongs to a cluster, which is no end of anything.
                Ok(()) = signs.waiting.changed() => Ok(()),
                changed = signs.removed.changed() => changed,
            };
            if changed.is_err() || sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

impl Signs {
    fn readiness(&mut self) -> Readiness {
        let has_leader = self.leadership.borrow_and_update().leader.is_some();
        let removed = *self.removed.borrow_and_update();
        let waiting = self.waiting.borrow_and_update().clone();
        let condition = self.condition.borrow_and_update().clone();
        match (removed, waiting) {
            _ if matches!(condition, Condition::Failsafe { .. }) => readiness(&condition, has_leader),
            (Some(log_index), _) => Readiness::Removed { log_index },
            (None, Some(reason)) => Readiness::NoCluster { reason },
            (None, None) => readiness(&condition, has_leader),
        }
    }
}

fn readiness(condition: &Condition, has_leader: bool) -> Readiness {
    match condition {
        Condition::Opening => Readiness::Starting,
        Condition::Damaged { cause } | Condition::Failsafe { cause } => {
            Readiness::Failsafe { cause: cause.clone() }
        }
        // With a full disk reads are served and leaders hand over; `checks` tells the operator.
        Condition::Writable | Condition::StorageFull { .. } if has_leader => Readiness::Ready,
        Condition::Writable | Condition::StorageFull { .. } => Readiness::NoLeader,
    }
}
