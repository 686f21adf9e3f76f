//! Snapshots: what the log before a segment amounts to. No record is copied, and no file is looked into.
//!
//! A snapshot is everything before the start of a segment, and its state stands in that segment's header. Which files
//! that is, whoever needs them asks for; by then there may be more of them, and all the better.

use std::{io, sync::Arc};

use openraft::RaftSnapshotBuilder;

use super::{
    codec,
    shared::Shared,
    types::{
        RaftLogId, RaftSnapshot, RaftSnapshotMeta, RaftStoredMembership, SnapshotManifest, TypeConfig,
        entry_of, raft_log_id,
    },
};
use crate::{
    storage::{Checkpoint, LogView, ReadEntriesError},
    types::LogIndex,
};

/// Finds the last segment before which all entries have been applied.
#[derive(Debug)]
pub struct SnapshotBuilder {
    shared: Arc<Shared>,
    applied: Option<RaftLogId>,
}

impl SnapshotBuilder {
    pub(super) fn new(shared: Arc<Shared>, applied: Option<RaftLogId>) -> Self {
        Self { shared, applied }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotManifest;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        let applied = self
            .applied
            .as_ref()
            .map_or(LogIndex::ZERO, |applied| entry_of(applied).0);
        let found = self.shared.look(move |view| last_checkpoint(view, applied));
        let checkpoint = found.await?;
        let meta =
            checkpoint.map_or_else(|| Ok(RaftSnapshotMeta::default()), |checkpoint| meta(&checkpoint))?;
        Ok(RaftSnapshot {
            meta,
            snapshot: SnapshotManifest(bytes::Bytes::new()),
        })
    }
}

/// What the log before the last segment amounts to before which all entries have been applied; `None` when that is the
/// first one of all.
///
/// Blocking: reads a segment's header.
fn last_checkpoint(view: &LogView, applied: LogIndex) -> Result<Option<Checkpoint>, ReadEntriesError> {
    let firsts = view.segment_firsts();
    let behind = firsts.partition_point(|first| first.get() <= applied.get().saturating_add(1));
    let first = behind.checked_sub(1).map(|number| firsts[number]);
    match first.filter(|first| *first > LogIndex(1)) {
        Some(first) => view.checkpoint_before(first),
        None => Ok(None),
    }
}

/// What a prefix of the log amounts to, as openraft has it.
///
/// Errors: the membership in it is not one.
pub fn meta(checkpoint: &Checkpoint) -> io::Result<RaftSnapshotMeta> {
    let membership = match checkpoint.membership() {
        Some(stored) => {
            let membership = codec::decode_membership(&stored.bytes).map_err(io::Error::other)?;
            RaftStoredMembership::new(raft_log_id(stored.log_index, stored.term), membership)
        }
        None => RaftStoredMembership::default(),
    };
    Ok(RaftSnapshotMeta {
        last_log_id: raft_log_id(checkpoint.last_log_index(), checkpoint.last_term()),
        last_membership: membership,
    })
}
