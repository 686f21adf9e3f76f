//! Whether the node serves: what its log and its consensus make of it.

use tokio::{runtime::Handle, sync::watch};

use crate::{
    actors::{
        committer::Leadership,
        log::{Condition, ConditionBoard},
    },
    net::vitals::Readiness,
};

/// Readiness, and its changes, for as long as anybody listens.
pub(super) fn follow(
    board: &ConditionBoard,
    mut leadership: watch::Receiver<Leadership>,
    runtime: &Handle,
) -> watch::Receiver<Readiness> {
    let (sender, receiver) = watch::channel(Readiness::Starting);
    let mut condition = board.subscribe();
    runtime.spawn(async move {
        loop {
            let has_leader = leadership.borrow_and_update().leader.is_some();
            let now = readiness(&condition.borrow_and_update(), has_leader);
            sender.send_if_modified(|current| {
                let changes = *current != now;
                *current = now;
                changes
            });
            let changed = tokio::select! {
                changed = condition.changed() => changed,
                changed = leadership.changed() => changed,
            };
            if changed.is_err() || sender.is_closed() {
                return;
            }
        }
    });
    receiver
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
