//! openraft's log store over the one log on disk: the Raft log is the commit log.
//!
//! Nothing is written here. Appends go to LogActor, which places, writes and syncs them once; until they are synced they
//! are read from the [window](super::window).

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use arc_swap::ArcSwap;
use futures::{Stream, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};

use super::{
    DamageBoard, codec,
    log_port::SharedLogPort,
    shared::{OnDamage, Recovered, Shared},
    types::{RaftEntry, RaftLogId, RaftVote, TypeConfig, entry_of, log_index},
};
use crate::{
    storage::{LogView, Placed, entry::Entry},
    types::LogIndex,
};

/// Bytes of entries in one append to a follower: enough that a sync carries much, little enough that what stands behind
/// it waits for milliseconds only. One entry goes whatever its size.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// Bytes of entries read at a time to be applied; applying keeps none of them.
const APPLY_BYTES_MAX: usize = 4 << 20;

/// See the module. Clones are readers of the same log.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
}

/// The entries of openraft's range.
fn bounds(range: &impl RangeBounds<u64>) -> (LogIndex, LogIndex) {
    let from = match range.start_bound() {
        Bound::Included(first) => log_index(*first),
        Bound::Excluded(before) => log_index(*before).plus(1),
        Bound::Unbounded => LogIndex(1),
    };
    let below = match range.end_bound() {
        Bound::Included(last) => log_index(*last).plus(1),
        Bound::Excluded(below) => log_index(*below),
        Bound::Unbounded => LogIndex(u64::MAX),
    };
    (from, below)
}

impl LogStore {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A store by itself, without consensus over it: for openraft's own suite of what a store has to do.
    #[must_use]
    pub fn over(port: SharedLogPort, view: Arc<ArcSwap<LogView>>, recovered: &Recovered) -> Self {
        let damage = DamageBoard::default();
        Self::new(Arc::new(Shared::new(port, view, damage, recovered)))
    }

    /// What openraft may see of the range: what it has purged is gone for it, also where the disk still has it.
    fn visible(&self, range: &impl RangeBounds<u64>) -> (LogIndex, LogIndex) {
        let (from, below) = bounds(range);
        let purged = self.shared.facts().purged;
        let first = purged.map_or(LogIndex(1), |purged| entry_of(&purged).0.plus(1));
        (from.max(first), below.min(self.shared.window.next()))
    }
}

/// openraft waits for an append until it is told; a log that dies with it says so by dropping this.
struct Pending {
    callback: Option<IOFlushed<TypeConfig>>,
    shared: Arc<Shared>,
}

impl Pending {
    fn complete(&mut self, result: io::Result<Vec<Placed>>) {
        let Some(callback) = self.callback.take() else {
            return;
        };
        match &result {
            Ok(placed) => self.shared.window.synced(placed),
            Err(_) => self.shared.window.fail(),
        }
        let landed = (callback, result.map(drop));
        self.shared.landing.land(&self.shared, landed);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.complete(Err(io::Error::other("the log ended before it answered")));
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let (mut from, below) = self.visible(&range);
        let mut entries = Vec::new();
        while from < below {
            let more = self
                .shared
                .read_raft(from, below, usize::MAX, OnDamage::Wait)
                .await?;
            let Some(last) = more.last() else { break };
            from = log_index(last.log_id.index()).plus(1);
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let (from, below) = self.visible(&(start..end));
        self.shared
            .read_raft(from, below, APPEND_BYTES_MAX, OnDamage::Wait)
            .await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, below) = self.visible(&range);
        let chunks = stream::try_unfold((self.shared.clone(), from), move |(shared, from)| async move {
            if from >= below {
                return Ok(None);
            }
            let entries = shared
                .read_raft(from, below, APPLY_BYTES_MAX, OnDamage::Wait)
                .await?;
            let next = entries
                .last()
                .map_or(below, |last| log_index(last.log_id.index()).plus(1));
            let entries = stream::iter(entries.into_iter().map(Ok));
            Ok::<_, io::Error>(Some((entries, (shared, next))))
        });
        futures::TryStreamExt::try_flatten(chunks)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.shared.facts().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let facts = self.shared.facts();
        Ok(LogState {
            last_purged_log_id: facts.purged,
            last_log_id: facts.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.shared.port.save_vote(*vote).await?;
        self.shared.facts().vote = Some(*vote);
        Ok(())
    }

    /// Kept in memory; RaftActor notes it on disk now and then, since it need not be exact.
    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.shared.facts().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.shared.facts().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter();
        let mut last = None;
        let entries: Vec<Entry> = entries
            .inspect(|entry| last = Some(entry.log_id))
            .map(codec::to_storage_entry)
            .collect();
        if last.is_none() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.shared.landing.open(&self.shared);
        self.shared.window.push(&entries);
        self.shared.facts().last = last;
        let mut pending = Pending {
            callback: Some(callback),
            shared: self.shared.clone(),
        };
        let then = move |result| pending.complete(result);
        self.shared.port.append(entries, Box::new(then));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let from = last.map_or(LogIndex(1), |last| entry_of(&last).0.plus(1));
        if from >= self.shared.window.next() {
            return Ok(());
        }
        let committed = self.shared.facts().committed;
        let committed = committed.map_or(LogIndex::ZERO, |committed| entry_of(&committed).0);
        crate::check!(
            RFT_3,
            from > committed,
            "entry {from} is to be truncated, and entries up to {committed} are committed"
        );
        self.shared.port.truncate(from).await?;
        self.shared.window.truncate(from);
        let mut facts = self.shared.facts();
        facts.last = last.or(facts.purged);
        Ok(())
    }

    /// openraft needs these entries no more. What goes from the disk is what a committed trim allows, and no more: a
    /// snapshot that was installed brings its entries with it.
    async fn purge(&mut self, log_id: RaftLogId) -> io::Result<()> {
        {
            let mut facts = self.shared.facts();
            facts.purged = facts.purged.max(Some(log_id));
            facts.last = facts.last.max(Some(log_id));
        }
        let (last, _) = entry_of(&log_id);
        self.shared.port.trim(self.shared.trim_point(), last).await
    }
}
