//! The newest entries in memory: what was appended and may not be on the disk yet, and some of what is.
//!
//! openraft wants entries readable as soon as they are appended; the log shows them once they are synced. Between the two
//! they are here. Replication to followers that keep up is served from here too, so that it touches no file.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::pieces::Pieces;
use crate::{
    clock,
    storage::{
        Placed,
        entry::{Entry, Outcome, Payload},
    },
    types::{LogIndex, Offset},
};

/// Bytes of payload that stay here once they are synced: what a follower that keeps up may be behind, and no more than
/// that, since the log's own tail cache shares the same bytes.
const SYNCED_BYTES_MAX: usize = 32 << 20;
/// What an entry takes beside its payload, about.
const ENTRY_COST: usize = 192;

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    inner: Mutex<Inner>,
    progress: watch::Sender<Progress>,
}

/// How far syncs have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The entry behind the last one that is synced here.
    to: LogIndex,
    /// An append has failed: it will come no further.
    failed: bool,
}

#[derive(Debug)]
struct Inner {
    /// Number of the first slot's entry; where there is no slot, of the next entry that will be appended.
    first: LogIndex,
    slots: Pieces<Slot>,
    bytes: usize,
    synced_to: LogIndex,
    /// Since when the next sync is due: the last one, or when there was something to sync again. `None` while nothing waits.
    sync_due_since: Option<Instant>,
    applied_to: LogIndex,
}

#[derive(Clone, Debug)]
struct Slot {
    entry: Entry,
    outcome: Option<Outcome>,
}

/// What is known of a synced entry that was appended since the log was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// Stored, or void and why.
    pub(super) outcome: Outcome,
    /// The offset behind it; `None` when it is void.
    pub(super) next_offset: Option<Offset>,
}

impl Window {
    /// That of a log whose next entry is `next`.
    pub(super) fn new(next: LogIndex) -> Self {
        Self {
            inner: Mutex::new(Inner {
                first: next,
                slots: Pieces::new(),
                bytes: 0,
                synced_to: next,
                sync_due_since: None,
                applied_to: next,
            }),
            progress: watch::Sender::new(Progress {
                to: next,
                failed: false,
            }),
        }
    }

    /// A panic cannot leave it half changed, so poison says nothing.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry that is appended next.
    pub(super) fn next(&self) -> LogIndex {
        self.lock().next()
    }

    /// Takes entries that follow on the last one; they are readable when it returns.
    ///
    /// Panics: when they do not follow.
    pub(super) fn push(&self, entries: &[Entry]) {
        let mut inner = self.lock();
        for entry in entries {
            assert_eq!(entry.log_index, inner.next(), "entries are appended in order");
            inner.bytes += cost(entry);
            inner.slots.push_back(Slot {
                entry: entry.clone(),
                outcome: None,
            });
        }
        if inner.is_syncing() {
            inner.sync_due_since.get_or_insert_with(clock::now);
        }
    }

    /// The entries up to the last of `placed` are synced. Nobody is woken by that.
    pub(super) fn synced(&self, placed: &[Placed]) {
        let Some(last) = placed.last() else { return };
        let mut inner = self.lock();
        for placed in placed {
            if let Some(slot) = inner.slot(placed.log_index) {
                slot.outcome = Some(placed.outcome);
            }
        }
        // A log that was replaced meanwhile by an installed one is further already.
        inner.synced_to = inner.synced_to.max(last.log_index.plus(1));
        inner.sync_due_since = inner.is_syncing().then(clock::now);
        inner.evict();
    }

    /// Wakes whoever waits for what is synced by now.
    pub(super) fn publish_synced(&self) {
        // Held meanwhile, so that what a truncation says later is not overwritten.
        let inner = self.lock();
        self.progress.send_if_modified(|progress| {
            let moves = inner.synced_to > progress.to;
            progress.to = inner.synced_to;
            moves
        });
    }

    /// An append has failed: the log ends here, and whoever waits for a sync waits for nothing.
    pub(super) fn fail(&self) {
        // What was synced before is synced, though nobody may have been told yet.
        self.publish_synced();
        self.progress.send_modify(|progress| progress.failed = true);
    }

    /// Waits until the entry is synced on this node.
    ///
    /// Cancel: safe. `None`: the log has failed before.
    pub(super) async fn wait_synced(&self, log_index: LogIndex) -> Option<()> {
        let mut progress = self.progress.subscribe();
        let is_decided = |progress: &Progress| progress.failed || progress.to > log_index;
        let decided = progress.wait_for(is_decided).await.ok()?;
        (decided.to > log_index).then_some(())
    }

    /// Whether something was appended that is not synced yet, and may still be.
    pub(super) fn is_syncing(&self) -> bool {
        let busy = self.lock().is_syncing();
        busy && !self.progress.borrow().failed
    }

    /// For how long, at `now`, no sync has come back while something waited for one.
    pub(super) fn sync_due_for(&self, now: Instant) -> Duration {
        let since = self.lock().sync_due_since;
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// What all entries here take, about.
    pub(super) fn held_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Changes with each sync, and when there will be no more.
    pub(super) fn watch_syncs(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What became of an entry; `None` when it is not here any more.
    pub(super) fn fate(&self, log_index: LogIndex) -> Option<Fate> {
        let mut inner = self.lock();
        let slot = inner.slot(log_index)?;
        let outcome = slot.outcome?;
        let count = match &slot.entry.payload {
            Payload::Records(batch) => u64::from(batch.record_count),
            Payload::Membership(_) | Payload::Control(_) | Payload::Blank => 0,
        };
        let next_offset = match outcome {
            Outcome::Stored { base_offset } => Some(base_offset.plus(count)),
            Outcome::Void(_) => None,
        };
        Some(Fate { outcome, next_offset })
    }

    /// The entries up to `log_index` are applied: nobody asks for their fate any more.
    pub(super) fn applied(&self, log_index: LogIndex) {
        let mut inner = self.lock();
        inner.applied_to = inner.applied_to.max(log_index.plus(1));
        inner.evict();
    }

    /// Entries of `[from, below)` up to about `bytes_max`, at least one; `Err` with the first one here when `from` lies
    /// before it. Empty when `from` is not appended yet.
    pub(super) fn read(
        &self,
        from: LogIndex,
        below: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LogIndex> {
        let inner = self.lock();
        if from < inner.first {
            return Err(inner.first);
        }
        let skip = usize::try_from(from.distance_from(inner.first)).unwrap_or(usize::MAX);
        let want = usize::try_from(below.distance_from(from)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let entries = inner.slots.starting_at(skip).take(want);
        let fits = |slot: &&Slot| {
            let more = bytes < bytes_max;
            bytes += cost(&slot.entry);
            more
        };
        Ok(entries.take_while(fits).map(|slot| slot.entry.clone()).collect())
    }

    /// The entry `from` and all behind it are gone from the log.
    pub(super) fn truncate(&self, from: LogIndex) {
        let mut inner = self.lock();
        while inner.next() > from {
            match inner.slots.pop_back() {
                Some(slot) => inner.bytes -= cost(&slot.entry),
                None => inner.first = from,
            }
        }
        inner.synced_to = inner.synced_to.min(from);
        if !inner.is_syncing() {
            inner.sync_due_since = None;
        }
        let to = inner.synced_to;
        drop(inner);
        self.progress.send_modify(|progress| progress.to = to);
    }

    /// The log was replaced by one whose next entry is `next`, all before it synced and applied.
    pub(super) fn reset(&self, next: LogIndex) {
        *self.lock() = Inner {
            first: next,
            slots: Pieces::new(),
            bytes: 0,
            synced_to: next,
            sync_due_since: None,
            applied_to: next,
        };
        self.progress.send_modify(|progress| progress.to = next);
    }
}

impl Inner {
    fn next(&self) -> LogIndex {
        self.first.plus(self.slots.len() as u64)
    }

    /// Whether something waits for a sync.
    fn is_syncing(&self) -> bool {
        self.synced_to < self.next()
    }

    fn slot(&mut self, log_index: LogIndex) -> Option<&mut Slot> {
        let at = log_index.get().checked_sub(self.first.get())?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    /// Lets go of the oldest that are synced and applied while there are too many of them.
    fn evict(&mut self) {
        let keep_from = self.synced_to.min(self.applied_to);
        while self.bytes > SYNCED_BYTES_MAX && self.first < keep_from {
            let Some(slot) = self.slots.pop_front() else {
                return;
            };
            self.bytes -= cost(&slot.entry);
            self.first = self.first.plus(1);
        }
    }
}

fn cost(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        Payload::Records(batch) => batch.records.len(),
        Payload::Membership(bytes) | Payload::Control(bytes) => bytes.len(),
        Payload::Blank => 0,
    };
    payload + ENTRY_COST
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        storage::entry::Batch,
        types::{Term, TimestampMs},
    };

    fn entry(log_index: u64, bytes: usize) -> Entry {
        Entry {
            log_index: LogIndex(log_index),
            term: Term(1),
            timestamp: TimestampMs(1),
            payload: Payload::Records(Batch {
                producer: None,
                expected_offset: None,
                record_count: 2,
                records: Bytes::from(vec![0; bytes]),
            }),
        }
    }

    fn stored(log_index: u64, base: u64) -> Placed {
        Placed {
            log_index: LogIndex(log_index),
            outcome: Outcome::Stored {
                base_offset: Offset(base),
            },
        }
    }

    #[test]
    fn entries_are_readable_at_once_and_their_fate_once_they_are_synced() {
        let window = Window::new(LogIndex(5));
        window.push(&[entry(5, 10), entry(6, 10)]);
        let indexes = |read: Result<Vec<Entry>, _>| -> Vec<_> {
            read.unwrap().iter().map(|entry| entry.log_index.get()).collect()
        };
        assert_eq!(indexes(window.read(LogIndex(5), LogIndex(9), 1 << 20)), [5, 6]);
        assert_eq!(indexes(window.read(LogIndex(6), LogIndex(9), 1 << 20)), [6]);
        assert_eq!(
            indexes(window.read(LogIndex(5), LogIndex(9), 1)),
            [5],
            "at least one"
        );
        assert_eq!(window.read(LogIndex(4), LogIndex(9), 1), Err(LogIndex(5)));
        assert_eq!(window.fate(LogIndex(5)), None);
        window.synced(&[stored(5, 100), stored(6, 102)]);
        let fate = window.fate(LogIndex(6)).unwrap();
        assert_eq!(fate.next_offset, Some(Offset(104)));
    }

    #[test]
    fn only_what_is_synced_and_applied_is_let_go() {
        let window = Window::new(LogIndex(1));
        let large = SYNCED_BYTES_MAX / 2;
        for log_index in 1..=4 {
            window.push(&[entry(log_index, large)]);
        }
        assert!(window.read(LogIndex(1), LogIndex(9), 1).is_ok());
        window.synced(&[stored(1, 0), stored(2, 2), stored(3, 4)]);
        assert!(window.read(LogIndex(1), LogIndex(9), 1).is_ok(), "not applied");
        window.applied(LogIndex(2));
        assert_eq!(window.read(LogIndex(2), LogIndex(9), 1), Err(LogIndex(3)));
        window.applied(LogIndex(4));
        assert_eq!(
            window.read(LogIndex(3), LogIndex(9), 1),
            Err(LogIndex(4)),
            "4 is not synced"
        );
    }

    #[test]
    fn a_truncated_end_is_gone_and_appended_anew() {
        let window = Window::new(LogIndex(1));
        window.push(&[entry(1, 1), entry(2, 1), entry(3, 1)]);
        window.synced(&[stored(1, 0), stored(2, 2), stored(3, 4)]);
        window.truncate(LogIndex(2));
        assert_eq!(window.next(), LogIndex(2));
        assert_eq!(window.fate(LogIndex(2)), None);
        window.push(&[entry(2, 1)]);
        window.synced(&[stored(2, 2)]);
        assert!(window.fate(LogIndex(2)).is_some());
        let before_the_window = Window::new(LogIndex(9));
        before_the_window.truncate(LogIndex(4));
        assert_eq!(before_the_window.next(), LogIndex(4));
    }

    #[test]
    fn a_sync_is_due_since_the_last_one_or_since_there_was_something_to_sync() {
        let window = Window::new(LogIndex(1));
        let much_later = || clock::now() + Duration::from_secs(3600);
        let is_due = |window: &Window| window.sync_due_for(much_later()) > Duration::ZERO;
        assert!(!is_due(&window), "nothing waits");
        let before = clock::now();
        window.push(&[entry(1, 1)]);
        window.push(&[entry(2, 1)]);
        let since_the_first = window.sync_due_for(before + Duration::from_secs(3600));
        window.synced(&[stored(1, 0)]);
        assert!(window.sync_due_for(before + Duration::from_secs(3600)) < since_the_first);
        assert!(is_due(&window), "the second waits for another sync");
        window.synced(&[stored(2, 2)]);
        assert!(!is_due(&window));
        window.push(&[entry(3, 1)]);
        window.truncate(LogIndex(3));
        assert!(!is_due(&window), "what is gone waits for nothing");
        window.push(&[entry(3, 1)]);
        window.reset(LogIndex(9));
        assert!(!is_due(&window));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_sync_is_woken_by_it() {
        let window = Window::new(LogIndex(1));
        window.push(&[entry(1, 1)]);
        let wait = window.wait_synced(LogIndex(1));
        let sync = async {
            window.synced(&[stored(1, 0)]);
            window.publish_synced();
        };
        assert_eq!(futures::join!(wait, sync).0, Some(()));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_sync_that_never_comes_is_told() {
        let window = Window::new(LogIndex(1));
        window.push(&[entry(1, 1), entry(2, 1)]);
        window.synced(&[stored(1, 0)]);
        let wait = window.wait_synced(LogIndex(2));
        assert!(window.is_syncing());
        let failure = async { window.fail() };
        assert_eq!(futures::join!(wait, failure).0, None);
        assert_eq!(
            window.wait_synced(LogIndex(1)).await,
            Some(()),
            "that one is synced"
        );
    }
}
