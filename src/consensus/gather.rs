//! Gathers proposals while the leader's disk is busy, so that one round of consensus carries many.
//!
//! Each round costs every node the same, whatever it carries: a message to the log, a sync, an append to each follower, and
//! their answers. A proposal that comes while this node syncs could not be synced before that sync is over; so it waits
//! for it here, together with all others that come meanwhile. The busier, the larger the rounds; a proposal that finds
//! the disk idle goes on at once, and so does what is large enough for a round of its own.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures::FutureExt;
use tokio::runtime::Handle;

use super::{
    Raft,
    shared::Shared,
    types::{OnComplete, Proposal, WriteResult},
};

/// From so many bytes on what waits is sent, whatever the disk does: what a round costs by itself is little beside writing them.
const ROUND_BYTES: usize = 16 << 10;

/// See the module. Whoever waits here is bounded by whoever proposes.
pub(super) struct Gather {
    raft: Raft,
    shared: Arc<Shared>,
    waiting: Mutex<Queue>,
    /// Where consensus runs.
    runtime: Handle,
}

type Waiting = (Proposal, OnComplete<WriteResult>);

#[derive(Default)]
struct Queue {
    proposals: VecDeque<Waiting>,
    bytes: usize,
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").finish_non_exhaustive()
    }
}

impl Gather {
    /// Before openraft's queue. The task that empties it runs on the runtime that this is called on, for as long as there are
    /// handles.
    pub(super) fn start(raft: Raft, shared: Arc<Shared>) -> Arc<Self> {
        let gather = Arc::new(Self {
            raft,
            shared,
            waiting: Mutex::default(),
            runtime: Handle::current(),
        });
        tokio::spawn(empty_at_each_sync(Arc::downgrade(&gather)));
        gather
    }

    /// Proposals are numbered in the order of these calls. When consensus has ended `then` is dropped.
    pub(super) fn propose(&self, proposal: Proposal, then: OnComplete<WriteResult>) {
        // Held while it is sent, so that nobody overtakes. What was synced before this is known in here; of a later sync
        // the task is told.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += proposal.content.bytes();
        waiting.proposals.push_back((proposal, then));
        if waiting.bytes >= ROUND_BYTES || !self.shared.window.is_syncing() {
            self.send_all(&mut waiting);
        }
    }

    fn synced(&self) {
        self.send_all(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn send_all(&self, waiting: &mut Queue) {
        waiting.bytes = 0;
        for proposal in waiting.proposals.drain(..) {
            self.send(proposal);
        }
    }

    /// openraft's queue has room for more than ever wait, so this is done at once, but for the runtime's own budget of a task,
    /// which must not count here. When consensus has ended the proposal is dropped.
    fn send(&self, (proposal, then): Waiting) {
        let raft = self.raft.clone();
        let write =
            async move { tokio::task::unconstrained(raft.client_write_ff(proposal, Some(then))).await };
        let mut write = Box::pin(write);
        if (&mut write).now_or_never().is_none() {
            // Consensus is ending, and this waits for that. Dropped half-way, it would leave openraft waiting for nobody: the next who
            // asks why consensus has ended would panic.
            self.runtime.spawn(async move { drop(write.await) });
        }
    }
}

async fn empty_at_each_sync(gather: Weak<Gather>) {
    let Some(mut syncs) = gather.upgrade().map(|gather| gather.shared.window.watch_syncs()) else {
        return;
    };
    while syncs.changed().await.is_ok() {
        match gather.upgrade() {
            Some(gather) => gather.synced(),
            None => return,
        }
    }
}
