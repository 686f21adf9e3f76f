//! What LogActor says about the log's health; read by the committer before it takes a batch, and by probes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use crate::types::Offset;

/// Whether the log takes appends, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// The log is being opened.
    #[default]
    Opening,
    /// It takes appends.
    Writable,
    /// The disk is nearly full. Passes by itself when there is room again.
    StorageFull {
        /// Bytes free when it was last looked at.
        free_bytes: u64,
        /// Bytes that are kept free.
        floor_bytes: u64,
    },
    /// What was synced cannot be read any more: it takes no appends until that is repaired. What is left is read.
    Damaged {
        /// What is damaged.
        cause: String,
    },
    /// It takes no appends until the process restarts (STO-3).
    Failsafe {
        /// Why.
        cause: String,
    },
}

/// Where the condition is published. Cheap to clone; outlives restarts of LogActor.
#[derive(Clone, Debug)]
pub struct ConditionBoard {
    condition: Arc<watch::Sender<Condition>>,
    tail: Arc<AtomicU64>,
}

impl ConditionBoard {
    /// That of a log that is not open yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            condition: Arc::new(watch::Sender::new(Condition::Opening)),
            tail: Arc::default(),
        }
    }

    /// The condition now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Why an append cannot be taken now. Costs no more than a look when it can.
    #[must_use]
    pub fn refusal(&self) -> Option<Condition> {
        let condition = self.condition.borrow();
        (*condition != Condition::Writable).then(|| condition.clone())
    }

    /// First offset that is not written on this node.
    #[must_use]
    pub fn tail(&self) -> Offset {
        Offset(self.tail.load(Ordering::Relaxed))
    }

    /// The condition and its changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Publishes another condition; failsafe stays for as long as the process runs. Whether anything changed.
    pub(super) fn set(&self, next: Condition) -> bool {
        self.condition.send_if_modified(|current| {
            let changes = !matches!(current, Condition::Failsafe { .. }) && *current != next;
            if changes {
                *current = next;
            }
            changes
        })
    }

    /// The disk has failed: no appends until the process restarts.
    pub(in crate::actors) fn fail(&self, cause: &str) {
        self.set(Condition::Failsafe {
            cause: cause.to_owned(),
        });
    }

    pub(super) fn set_tail(&self, tail: Offset) {
        self.tail.store(tail.get(), Ordering::Relaxed);
    }
}

impl Default for ConditionBoard {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failsafe_stays_and_everything_else_passes() {
        let board = ConditionBoard::new();
        assert_eq!(board.refusal(), Some(Condition::Opening));
        assert!(board.set(Condition::Writable));
        assert_eq!(board.refusal(), None);
        assert!(!board.set(Condition::Writable));
        let failsafe = Condition::Failsafe {
            cause: "disk on fire".to_owned(),
        };
        assert!(board.set(failsafe.clone()));
        assert!(!board.set(Condition::Writable));
        assert_eq!(board.refusal(), Some(failsafe));
    }
}
