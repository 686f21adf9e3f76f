//! Whether the node serves: what its log and its consensus make of it.

use tokio::{runtime::Handle, sync::watch};

use super::reach::Reach;
use crate::{actors::log::Condition, net::vitals::Readiness, types::LogIndex};

/// What readiness is made of.
pub(super) struct Signs {
    pub(super) condition: watch::Receiver<Condition>,
    /// How far it is from its leader.
    pub(super) reach: watch::Receiver<Reach>,
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
            // Who founds goes once the node has its cluster.
            let ended = tokio::select! {
                changed = signs.condition.changed() => changed.is_err(),
                changed = signs.reach.changed() => changed.is_err(),
                Ok(()) = signs.waiting.changed() => false,
                Ok(()) = signs.removed.changed() => false,
            };
            if ended || sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

impl Signs {
    fn readiness(&mut self) -> Readiness {
        let reach = *self.reach.borrow_and_update();
        let removed = *self.removed.borrow_and_update();
        let waiting = self.waiting.borrow_and_update().clone();
        let condition = self.condition.borrow_and_update().clone();
        match (removed, waiting) {
            _ if matches!(condition, Condition::Failsafe { .. }) => readiness(&condition, reach),
            (Some(log_index), _) => Readiness::Removed { log_index },
            (None, Some(reason)) => Readiness::NoCluster { reason },
            (None, None) => readiness(&condition, reach),
        }
    }
}

fn readiness(condition: &Condition, reach: Reach) -> Readiness {
    match condition {
        Condition::Opening => Readiness::Starting,
        Condition::Damaged { cause } | Condition::Failsafe { cause } => {
            Readiness::Failsafe { cause: cause.clone() }
        }
        // With a full disk reads are served and leaders hand over; `checks` tells the operator.
        Condition::Writable | Condition::StorageFull { .. } => match reach {
            Reach::NoLeader => Readiness::NoLeader,
            Reach::Behind => Readiness::CatchingUp,
            Reach::Level => Readiness::Ready,
        },
    }
}
