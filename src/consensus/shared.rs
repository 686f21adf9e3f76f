//! What the parts of one log's consensus share: the log on disk, the newest entries, the vote.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    DamageBoard, codec,
    landing::Landing,
    log_port::SharedLogPort,
    types::{RaftEntry, RaftLogId, RaftStoredMembership, RaftVote, entry_of},
    window::Window,
};
use crate::{
    error::causes,
    storage::{LogView, ReadEntriesError, ReadError, entry::Entry},
    types::{LogIndex, Offset},
};

/// What recovery of the log found, for consensus to go on from.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The last entry of the log; `None` when it has none.
    pub last: Option<RaftLogId>,
    /// The entry before the first one that is there.
    pub purged: Option<RaftLogId>,
    /// Up to here entries are known to be committed.
    pub committed: Option<RaftLogId>,
    /// The membership that the entries up to there amount to.
    pub membership: RaftStoredMembership,
    /// Whom this node has promised to follow.
    pub vote: Option<RaftVote>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) port: SharedLogPort,
    pub(super) view: Arc<ArcSwap<LogView>>,
    pub(super) window: Window,
    pub(super) landing: Landing,
    facts: Mutex<Facts>,
    /// Records below were dropped by a committed trim.
    trim_point: AtomicU64,
    /// How far the state machine is.
    applied: Mutex<Option<(RaftLogId, RaftStoredMembership)>>,
    applied_to: watch::Sender<LogIndex>,
    damage: DamageBoard,
    /// Reads wait for repairs. Only while consensus runs: a repair needs it, to know what is committed.
    patient: watch::Sender<bool>,
}

/// What a read does that meets damage. It has that repaired in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDamage {
    /// Waits for the repair, where there is one: openraft ends with the first read that fails.
    Wait,
    /// Fails at once: another node that asks may find elsewhere what this one lacks.
    Fail,
}

/// What openraft is told about the log.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) vote: Option<RaftVote>,
    pub(super) last: Option<RaftLogId>,
    pub(super) purged: Option<RaftLogId>,
    pub(super) committed: Option<RaftLogId>,
}

impl Shared {
    pub(super) fn new(
        port: SharedLogPort,
        view: Arc<ArcSwap<LogView>>,
        damage: DamageBoard,
        recovered: &Recovered,
    ) -> Self {
        let last = recovered.last.map_or(LogIndex::ZERO, |last| entry_of(&last).0);
        Self {
            port,
            view,
            window: Window::new(last.plus(1)),
            landing: Landing::default(),
            facts: Mutex::new(Facts {
                vote: recovered.vote,
                last: recovered.last,
                purged: recovered.purged,
                committed: recovered.committed,
            }),
            trim_point: AtomicU64::new(0),
            applied: Mutex::new(
                recovered
                    .committed
                    .map(|log_id| (log_id, recovered.membership.clone())),
            ),
            applied_to: watch::Sender::new(
                recovered
                    .committed
                    .map_or(LogIndex::ZERO, |log_id| entry_of(&log_id).0),
            ),
            damage,
            patient: watch::Sender::new(false),
        }
    }

    /// Consensus runs, or ends: from then on reads that meet damage wait for its repair, or no longer do.
    pub(super) fn set_patient(&self, patient: bool) {
        self.patient.send_replace(patient);
    }

    pub(super) fn watch_applied(&self) -> watch::Receiver<LogIndex> {
        self.applied_to.subscribe()
    }

    /// How far the state machine is, and the membership there.
    pub(super) fn applied(&self) -> Option<(RaftLogId, RaftStoredMembership)> {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.clone()
    }

    /// The state machine is at `applied`; `membership` where it changed.
    pub(super) fn set_applied(&self, applied: RaftLogId, membership: &RaftStoredMembership) {
        let mut current = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *current {
            Some((log_id, known)) if known.log_id() == membership.log_id() => *log_id = applied,
            other => *other = Some((applied, membership.clone())),
        }
    }

    /// Wakes whoever waits for entries up to `log_index`: they can be read here.
    pub(super) fn publish_applied(&self, log_index: LogIndex) {
        self.applied_to.send_replace(log_index);
    }

    /// Records below may be dropped, as far as openraft does not need their entries.
    pub(super) fn trim_point(&self) -> Offset {
        Offset(self.trim_point.load(Ordering::Acquire))
    }

    /// A trim was committed.
    pub(super) fn raise_trim_point(&self, below: Offset) {
        self.trim_point.fetch_max(below.get(), Ordering::AcqRel);
    }

    /// A panic cannot leave them half changed, so poison says nothing.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset behind an entry that is synced.
    pub(super) async fn offset_behind(&self, log_index: LogIndex) -> io::Result<Offset> {
        self.look(move |view| view.next_offset_after(log_index)).await
    }

    /// What `look` finds in the log on disk.
    ///
    /// Cancel: safe. Errors: what `look` says, but for damage that was repaired meanwhile.
    pub(super) async fn look<T, F>(&self, look: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Fn(&LogView) -> Result<T, ReadEntriesError> + Clone + Send + 'static,
    {
        let found = self.try_look(look, OnDamage::Wait).await?;
        found.map_err(|error| io::Error::other(causes(&error)))
    }

    async fn try_look<T, F>(&self, look: F, on_damage: OnDamage) -> io::Result<Result<T, ReadEntriesError>>
    where
        T: Send + 'static,
        F: Fn(&LogView) -> Result<T, ReadEntriesError> + Clone + Send + 'static,
    {
        loop {
            let (view, look) = (self.view.load_full(), look.clone());
            let looked = tokio::task::spawn_blocking(move || look(&view)).await;
            match looked.map_err(io::Error::other)? {
                Err(ReadEntriesError::Read(error)) if self.is_mended(&error, on_damage).await => {}
                found => return Ok(found),
            }
        }
    }

    /// Entries of `[from, below)`, up to about `bytes_max` but at least one; empty when `from` is not appended yet. Where
    /// the log begins behind `from`, from its beginning on.
    ///
    /// Cancel: safe.
    pub(super) async fn read(
        self: &Arc<Self>,
        from: LogIndex,
        below: LogIndex,
        bytes_max: usize,
        on_damage: OnDamage,
    ) -> io::Result<Vec<Entry>> {
        let mut from = from;
        while from < below {
            let first = match self.window.read(from, below, bytes_max) {
                Ok(entries) => return Ok(entries),
                Err(first) => first,
            };
            let below = below.min(first);
            let read = self.try_look(move |view| view.read_entries(from, below, bytes_max), on_damage);
            match read.await? {
                Ok(entries) if entries.is_empty() => {
                    let what = format!("entry {from} is in neither the log nor what waits to be written");
                    return Err(io::Error::other(what));
                }
                Ok(entries) => return Ok(entries),
                Err(ReadEntriesError::Trimmed { first, .. }) => from = first.max(from.plus(1)),
                Err(error) => return Err(io::Error::other(causes(&error))),
            }
        }
        Ok(Vec::new())
    }

    /// Whether a read that failed so is worth another try, once this returns. Has damage repaired.
    ///
    /// Cancel: safe.
    async fn is_mended(&self, error: &ReadError, on_damage: OnDamage) -> bool {
        let mut patient = self.patient.subscribe();
        let waits = on_damage == OnDamage::Wait && *patient.borrow();
        match error {
            ReadError::Corrupt { .. } => {
                let Some(first) = self.damage.report(error).filter(|_| waits) else {
                    return false;
                };
                tokio::select! {
                    settled = self.damage.settled(first) => settled,
                    _ = patient.wait_for(|patient| !patient) => false,
                }
            }
            // A repaired segment was put in its place, and the next picture of the log shows it.
            ReadError::Replaced { .. } => {
                tokio::task::yield_now().await;
                waits
            }
            ReadError::Trimmed { .. } | ReadError::Io { .. } => false,
        }
    }

    /// Entries as [`Shared::read`] gives them, as openraft has them.
    pub(super) async fn read_raft(
        self: &Arc<Self>,
        from: LogIndex,
        below: LogIndex,
        bytes_max: usize,
        on_damage: OnDamage,
    ) -> io::Result<Vec<RaftEntry>> {
        let entries = self.read(from, below, bytes_max, on_damage).await?;
        let entries = entries.into_iter().map(codec::from_storage_entry);
        entries.collect::<Result<_, _>>().map_err(io::Error::other)
    }
}
