//! openraft's state machine: how far the log is committed. It keeps no copy of any payload.
//!
//! To apply an entry is to move the high watermark over it. That waits until the entry is synced on this node too: what
//! is readable is read from this node's log. Cursors are the one thing beside it that committed entries change.

use std::{io, sync::Arc};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};

use super::{
    CursorBoard,
    log_port::ApplyObserver,
    shared::Shared,
    snapshot::SnapshotBuilder,
    types::{
        Applied, ProposalContent, RaftLogId, RaftSnapshot, RaftSnapshotMeta, RaftStoredMembership,
        SnapshotManifest, TypeConfig, entry_of,
    },
};
use crate::{
    storage::{
        control::{Control, UnknownControl},
        cursors::{CommandPlace, Cursors},
        entry::Outcome,
    },
    types::{LogIndex, Offset, TimestampMs},
};

/// Entries applied at a time: the watermark moves, and readers wake, once for all of them.
const ENTRIES_AT_A_TIME: usize = 512;

/// See the module.
#[derive(Debug)]
pub struct StateMachine {
    shared: Arc<Shared>,
    observer: Arc<dyn ApplyObserver>,
    applied: Option<RaftLogId>,
    membership: RaftStoredMembership,
    /// The offset behind the last record applied.
    next_offset: Offset,
    /// The time of the last entry applied, as the log has it.
    last_timestamp: TimestampMs,
    cursors: CursorBoard,
}

/// What the log before the first entry to apply amounts to.
#[derive(Debug)]
pub(super) struct Applying {
    pub(super) applied: Option<RaftLogId>,
    pub(super) membership: RaftStoredMembership,
    pub(super) next_offset: Offset,
    /// And when the last of its entries was made.
    pub(super) cursors: (Cursors, TimestampMs),
}

impl StateMachine {
    pub(super) fn new(
        shared: Arc<Shared>,
        observer: Arc<dyn ApplyObserver>,
        board: CursorBoard,
        from: Applying,
    ) -> Self {
        observer.committed(from.next_offset);
        let (cursors, last_timestamp) = from.cursors;
        board.begin(index_of(from.applied.as_ref()), cursors);
        Self {
            shared,
            observer,
            applied: from.applied,
            membership: from.membership,
            next_offset: from.next_offset,
            last_timestamp,
            cursors: board,
        }
    }

    /// Applies entries that follow on one another.
    async fn apply_some(&mut self, entries: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let Some((last, _)) = entries.last() else {
            return Ok(());
        };
        let last = last.log_id;
        let last_index = entry_of(&last).0;
        let gone = || io::Error::other("the log is gone");
        self.shared
            .window
            .wait_synced(last_index)
            .await
            .ok_or_else(gone)?;
        let mut answers = Vec::with_capacity(entries.len());
        let mut next_offset = self.next_offset;
        for (entry, responder) in entries {
            let log_id = entry.log_id;
            let log_index = entry_of(&log_id).0;
            let fate = self.shared.window.fate(log_index);
            match &fate {
                Some(fate) => next_offset = next_offset.max(fate.next_offset.unwrap_or(next_offset)),
                None => next_offset = next_offset.max(self.shared.offset_behind(log_index).await?),
            }
            let applied = match entry.payload {
                EntryPayload::Blank => Applied::NoRecords,
                EntryPayload::Membership(membership) => {
                    self.membership = RaftStoredMembership::new(Some(log_id), membership);
                    Applied::NoRecords
                }
                EntryPayload::Normal(proposal) => {
                    // As storage raises it: the same on every node, whether it comes from the leader or from the disk.
                    self.last_timestamp = self.last_timestamp.max(proposal.timestamp);
                    let outcome = fate.map(|fate| fate.outcome);
                    self.apply_proposal(&proposal.content, outcome, (log_index, next_offset))
                }
            };
            if let Some(responder) = responder {
                answers.push((responder, applied));
            }
        }
        self.applied = Some(last);
        self.next_offset = next_offset;
        // Before anybody is answered: who was told of a record finds it.
        self.shared.set_applied(last, &self.membership);
        self.observer.committed(next_offset);
        self.shared.publish_applied(last_index);
        for (responder, applied) in answers {
            responder.send(applied);
        }
        self.shared.window.applied(last_index);
        Ok(())
    }

    fn apply_proposal(
        &self,
        content: &ProposalContent,
        outcome: Option<Outcome>,
        (log_index, next_offset): (LogIndex, Offset),
    ) -> Applied {
        let control = match content {
            // Entries found at the start of the process have no outcome here, and nobody waits for them.
            ProposalContent::Records(_) => return outcome.map_or(Applied::NoRecords, Applied::Records),
            ProposalContent::Control(bytes) => Control::decode(bytes),
        };
        match control {
            Ok(Control::Trim { below }) => {
                self.shared.raise_trim_point(below);
                self.shared.port.set_trim_point(below);
                self.observer.trimmed(below);
                Applied::NoRecords
            }
            Ok(Control::Cursor(command)) => {
                let at = CommandPlace {
                    log_index,
                    timestamp: self.last_timestamp,
                    next_offset,
                };
                let verdict = self.cursors.apply(at, &command);
                verdict.map_or(Applied::NoRecords, Applied::Cursor)
            }
            // What a newer version says is for newer versions; it changes no record.
            Err(UnknownControl) => Applied::NoRecords,
        }
    }

    /// The log up to `last` was installed, all of it committed.
    async fn look_again(&mut self, last: LogIndex) -> io::Result<()> {
        self.next_offset = self.shared.offset_behind(last).await?;
        let found = self.shared.look(move |view| view.cursors_at(last)).await?;
        let (cursors, last_timestamp) = found;
        self.last_timestamp = last_timestamp;
        self.cursors.begin(last, cursors);
        Ok(())
    }
}

/// The number of an entry; 0 where there is none.
fn index_of(log_id: Option<&RaftLogId>) -> LogIndex {
    log_id.map_or(LogIndex::ZERO, |log_id| entry_of(log_id).0)
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotManifest;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(ENTRIES_AT_A_TIME);
        while let Some(chunk) = chunks.next().await {
            let entries = chunk.into_iter().collect::<io::Result<_>>()?;
            self.apply_some(entries).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(self.shared.clone(), self.applied)
    }

    async fn install_snapshot(
        &mut self,
        meta: &RaftSnapshotMeta,
        snapshot: SnapshotManifest,
    ) -> io::Result<()> {
        let replaced = self.shared.port.install(snapshot.0.clone()).await?;
        let last = index_of(meta.last_log_id.as_ref());
        if replaced {
            self.shared.window.reset(last.plus(1));
        }
        {
            let mut facts = self.shared.facts();
            facts.last = if replaced {
                meta.last_log_id
            } else {
                facts.last.max(meta.last_log_id)
            };
            facts.purged = meta.last_log_id;
            facts.committed = meta.last_log_id;
        }
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        if let Some(applied) = self.applied {
            self.shared.set_applied(applied, &self.membership);
        }
        self.look_again(last).await?;
        self.observer.committed(self.next_offset);
        self.shared.publish_applied(last);
        Ok(())
    }

    /// Made when it is asked for: it is a list of files, and costs no more than the look at it.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        let snapshot = self.get_snapshot_builder().await.build_snapshot().await?;
        let has_entries = snapshot.meta.last_log_id.is_some();
        Ok(has_entries.then_some(snapshot))
    }
}
