//! What consensus asks of the log. LogActor answers: it is above this module, so it is reached through a trait.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::types::{RaftLogId, RaftStoredMembership, RaftVote};
use crate::{
    storage::{Placed, entry::Entry},
    types::{LogIndex, Offset},
};

/// Called once when entries are durable, or when it is known that they will not be; dropped uncalled when nobody knows.
pub type OnAppended = Box<dyn FnOnce(io::Result<Vec<Placed>>) + Send>;

/// The log, as consensus writes it. Calls take effect in the order they are made, whatever they are: order between votes
/// and appends is part of Raft's safety.
pub trait LogPort: Send + Sync + fmt::Debug + 'static {
    /// Appends entries that follow on the last one.
    fn append(&self, entries: Vec<Entry>, then: OnAppended);

    /// Makes a vote durable.
    ///
    /// Errors: the disk failed, or the log is gone; then nobody knows whether it is durable.
    fn save_vote(&self, vote: RaftVote) -> BoxFuture<'static, io::Result<()>>;

    /// Drops the entry `from` and all behind it, durably.
    fn truncate(&self, from: LogIndex) -> BoxFuture<'static, io::Result<()>>;

    /// Drops whole segments whose records all lie below `below`, and whose entries all come before `last` or are it. What cannot
    /// be dropped now is with the next call.
    fn trim(&self, below: Offset, last: LogIndex) -> BoxFuture<'static, io::Result<()>>;

    /// Remembers, without waiting for the disk, that the entries up to `applied` are committed.
    fn note_committed(&self, applied: RaftLogId, membership: RaftStoredMembership);

    /// Records below `below` are not read any more. Committed entries say so.
    fn set_trim_point(&self, below: Offset);

    /// Replaces all segments by those of a manifest whose files have been fetched, atomically. `false`: the log has all of
    /// it already, and stays as it is.
    fn install(&self, manifest: Bytes) -> BoxFuture<'static, io::Result<bool>>;
}

/// Hears what committing an entry does to this node.
pub trait ApplyObserver: Send + Sync + fmt::Debug + 'static {
    /// All records below `high_watermark` are committed and can be read here.
    fn committed(&self, high_watermark: Offset);

    /// A trim was committed: records below may be dropped.
    fn trimmed(&self, below: Offset);
}

/// A log port that is shared.
pub type SharedLogPort = Arc<dyn LogPort>;
