//! Whether this node was removed from its cluster. Who was serves nothing but old records, and never joins again with its
//! data: what it promised counts for nothing, and what it holds may differ from what was committed without it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::types::LogIndex;

/// Up once this node is known to be removed, and for ever. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<watch::Sender<Option<LogIndex>>>);

impl Fence {
    /// Of a node that belongs to its cluster, as far as it knows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry that carries the membership without this node; `None` while it belongs.
    #[must_use]
    pub fn removed_at(&self) -> Option<LogIndex> {
        *self.0.borrow()
    }

    /// This node was removed by that entry, or an earlier one.
    pub fn raise(&self, removed_at: LogIndex) {
        self.0.send_if_modified(|current| {
            let is_news = current.is_none();
            current.get_or_insert(removed_at);
            is_news
        });
    }

    /// Whether it was removed, now and later.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<LogIndex>> {
        self.0.subscribe()
    }
}
