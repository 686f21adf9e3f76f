//! Links that tests cut and heal: built only with the feature `testing`.
//!
//! A link is a direction of asking: the connections that node `from` keeps to node `to`, with the answers on them. Cutting
//! both directions parts two nodes.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::StreamExt;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::types::NodeId;

/// How a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As when the other machine refuses: what is open breaks, what is tried fails at once.
    Fail,
    /// As when packets are lost: nothing moves, and nobody is told.
    Hang,
}

/// The cuts of a whole cluster in one process; given to the replicators of each of its nodes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LinkFaults(Arc<Mutex<Links>>);

/// By who asks, and whom.
type Links = HashMap<(NodeId, NodeId), watch::Sender<Option<Cut>>>;

impl LinkFaults {
    /// Nothing is cut.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts what `from` asks of `to`.
    pub fn cut(&self, from: NodeId, to: NodeId, how: Cut) {
        self.set(from, to, Some(how));
    }

    /// Heals what `from` asks of `to`.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.set(from, to, None);
    }

    /// Cuts both directions.
    pub fn part(&self, one: NodeId, other: NodeId, how: Cut) {
        self.cut(one, other, how);
        self.cut(other, one, how);
    }

    /// Heals everything.
    pub fn heal_all(&self) {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for cut in links.values() {
            cut.send_replace(None);
        }
    }

    /// How what `from` asks of `to` is cut; `None`: it is not.
    #[must_use]
    pub fn cut_of(&self, from: NodeId, to: NodeId) -> Option<Cut> {
        self.with(from, to, |link| *link.borrow())
    }

    /// What is done to the link, now and later.
    pub(super) fn of(&self, from: NodeId, to: NodeId) -> watch::Receiver<Option<Cut>> {
        self.with(from, to, watch::Sender::subscribe)
    }

    fn set(&self, from: NodeId, to: NodeId, cut: Option<Cut>) {
        self.with(from, to, |link| link.send_replace(cut));
    }

    fn with<T>(&self, from: NodeId, to: NodeId, then: impl FnOnce(&watch::Sender<Option<Cut>>) -> T) -> T {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        then(links.entry((from, to)).or_insert_with(|| watch::channel(None).0))
    }
}

/// A connection's part in the cuts of its link.
#[derive(Debug)]
pub(super) struct Cuts {
    changes: WatchStream<Option<Cut>>,
    now: Option<Cut>,
}

impl Cuts {
    pub(super) fn new(link: watch::Receiver<Option<Cut>>) -> Self {
        Self {
            changes: WatchStream::new(link),
            now: None,
        }
    }

    /// Ready when bytes may move. While they may not, the task is woken by the next change.
    ///
    /// Errors: the link fails.
    pub(super) fn poll_pass(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Poll::Ready(Some(cut)) = Pin::new(&mut self.changes).poll_next_unpin(cx) {
            self.now = cut;
        }
        match self.now {
            None => Poll::Ready(Ok(())),
            Some(Cut::Hang) => Poll::Pending,
            Some(Cut::Fail) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}
