//! Which peers have said, when they answered a heartbeat, that their disks are nearly full.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::types::NodeId;

/// What each peer said last. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct FullPeers(Arc<Mutex<BTreeSet<NodeId>>>);

impl FullPeers {
    /// What `node` says now.
    pub(super) fn note(&self, node: NodeId, is_full: bool) {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full {
            full.insert(node);
        } else {
            full.remove(&node);
        }
    }

    /// Those of whom it is known. One that is away counts as it was heard last.
    #[must_use]
    pub fn get(&self) -> BTreeSet<NodeId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
