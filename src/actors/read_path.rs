//! What LogActor and the committer publish for readers; a read takes no message and no lock.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    consensus::{CursorBoard, DamageBoard},
    storage::{LogView, ReadError},
    types::Offset,
};

/// A reader's handle on the log. Cheap to clone; outlives restarts of LogActor.
#[derive(Clone, Debug)]
pub struct ReadPath {
    view: Arc<ArcSwap<LogView>>,
    high_watermark: watch::Receiver<Offset>,
    /// Readers, of all clones, that wait for the next commit.
    waiting: Arc<AtomicUsize>,
    damage: DamageBoard,
    cursors: CursorBoard,
}

/// A reader waits for the next commit for as long as this is held.
#[derive(Debug)]
pub struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The committer's end: moves the high watermark. Outlives restarts of the committer, so that the watermark never
/// falls on this node (LOG-3).
#[derive(Clone, Debug)]
pub struct HighWatermark {
    sender: Arc<watch::Sender<Offset>>,
}

impl HighWatermark {
    /// At 0, with nobody reading yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(Offset::ZERO)),
        }
    }

    /// Everything below `to` is committed. Wakes whoever waits for that.
    ///
    /// Panics: when the watermark would fall (LOG-3).
    pub fn advance(&self, to: Offset) {
        self.sender.send_if_modified(|current| {
            check!(
                LOG_3,
                to >= *current,
                "high watermark would fall from {current} to {to}"
            );
            let moves = to > *current;
            *current = to;
            moves
        });
    }

    /// The same where what is told may be older than what is known.
    pub fn raise(&self, to: Offset) {
        self.sender.send_if_modified(|current| {
            let moves = to > *current;
            *current = to.max(*current);
            moves
        });
    }

    /// The watermark for readers.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Offset> {
        self.sender.subscribe()
    }
}

impl Default for HighWatermark {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadPath {
    /// A handle on what LogActor (the view) and the committer (the high watermark) publish; damage that a reader meets is told to
    /// `damage`.
    #[must_use]
    pub fn new(
        view: Arc<ArcSwap<LogView>>,
        high_watermark: watch::Receiver<Offset>,
        damage: DamageBoard,
    ) -> Self {
        Self {
            view,
            high_watermark,
            waiting: Arc::default(),
            damage,
            cursors: CursorBoard::default(),
        }
    }

    /// How far each consumer has come, as far as it is committed and applied here.
    #[must_use]
    pub fn cursors(&self) -> &CursorBoard {
        &self.cursors
    }

    /// A read has failed: damage is repaired, where another node has what is damaged.
    pub fn report(&self, error: &ReadError) {
        self.damage.report(error);
    }

    /// The log as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<LogView> {
        self.view.load_full()
    }

    /// First offset that is not committed; readers see what is below.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        *self.high_watermark.borrow()
    }

    /// Waits until the high watermark is above `offset`, and answers it. `None` when the node is stopping.
    ///
    /// Cancel: safe, nothing is consumed.
    pub async fn wait_above(&self, offset: Offset) -> Option<Offset> {
        let _waiting = self.begin_to_wait();
        let mut high_watermark = self.high_watermark.clone();
        let reached = high_watermark.wait_for(|watermark| *watermark > offset).await;
        reached.ok().map(|watermark| *watermark)
    }

    /// Somebody waits for the next commit from now on: it should be heard of as soon as it is known.
    #[must_use]
    pub fn begin_to_wait(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.waiting.clone())
    }

    /// Whether somebody does.
    #[must_use]
    pub fn is_waited_on(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}
