//! Takes parts of the log away: the oldest segments by a trim, the newest entries by a truncation.
//!
//! Trims go oldest first and truncations newest first, each step durable before the next, so that whatever a crash leaves
//! is one stretch of the log without a hole.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::LogState;
use crate::{
    storage::{
        CutError, OpenError, ReadEntriesError, SegmentWriter, names,
        segment::{SegmentContext, recover, truncate_store},
    },
    types::{LogIndex, Offset},
};

/// What a trim did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// The oldest readable offset now.
    pub earliest: Offset,
    /// Segments dropped.
    pub segments: usize,
    /// Bytes given back.
    pub bytes: u64,
    /// Nothing below the offset is left to drop.
    pub complete: bool,
}

impl Trimmed {
    /// What this trim did together with the `earlier` ones that it goes on from.
    #[must_use]
    pub fn after(self, earlier: Option<Self>) -> Self {
        let (segments, bytes) = earlier.map_or((0, 0), |earlier| (earlier.segments, earlier.bytes));
        Self {
            segments: self.segments + segments,
            bytes: self.bytes + bytes,
            ..self
        }
    }
}

impl LogState {
    /// From now on nothing below `below` is read, though segments that hold some of it stay until a [`LogState::trim`]
    /// finds all of them below. Never goes back. `below` is what committed entries say: others may be truncated yet.
    ///
    /// Says whether segments that were missing are taken for trimmed from now on.
    pub fn set_trim_point(&mut self, below: Offset) -> bool {
        if below <= self.trim_point {
            return false;
        }
        self.trim_point = below;
        let forgotten = self.forget_missing();
        self.publish();
        forgotten
    }

    /// The same for a log that was just opened, from its entries up to `committed`. Until then it begins with the first
    /// record there is.
    ///
    /// Blocking: reads a segment's header, and the headers of its frames up to that entry.
    pub fn trim_to_committed(&mut self, committed: LogIndex) -> Result<Offset, ReadEntriesError> {
        let below = self.view.load().trim_point_at(committed)?;
        self.set_trim_point(below);
        self.adopt_beginning();
        Ok(self.earliest())
    }

    /// Drops the whole sealed segments that end at or below `below`, and not behind the entry `last`, oldest first, but no more
    /// than `segments_max` of them: each takes a sync of the directory, and whoever calls has other things to do. Called
    /// again, it goes on.
    ///
    /// Blocking. Errors: when a file cannot be removed, or the new beginning not be written down, the segment is no longer
    /// read all the same, and the next trim tries again; until then it comes back when the log is opened.
    pub fn trim(&mut self, below: Offset, last: LogIndex, segments_max: usize) -> Result<Trimmed, CutError> {
        let mut bytes = 0;
        let mut keep_from = 0;
        let mut complete = true;
        while let Some(next) = self.segments.get(keep_from + 1) {
            if next.first_log_index() > last.plus(1)
                || next.face().map_err(CutError::Read)?.first_offset > below
            {
                break;
            }
            if keep_from == segments_max {
                complete = false;
                break;
            }
            // A segment whose length cannot be read is dropped all the same; its bytes are not counted.
            bytes += self.segments[keep_from].end().unwrap_or(0);
            keep_from += 1;
        }
        if keep_from > 0 {
            self.first_offset = self.segments[keep_from]
                .face()
                .map_err(CutError::Read)?
                .first_offset;
            let dropped = self.segments.drain(..keep_from);
            self.trimmed
                .extend(dropped.map(|segment| segment.first_log_index()));
            // Readers first: none begins to look for a file that is going away.
            self.publish();
        }
        self.remove_trimmed()?;
        Ok(Trimmed {
            earliest: self.earliest(),
            segments: keep_from,
            bytes,
            complete,
        })
    }

    /// Removes the files of trimmed segments, oldest first and each durably before the next, so that no crash leaves a
    /// hole between segments that are still there. That the log begins behind them is written down first, so that no crash
    /// lets them look lost.
    fn remove_trimmed(&mut self) -> Result<(), CutError> {
        if !self.trimmed.is_empty() {
            self.begin_with_first()?;
        }
        while let Some(oldest) = self.trimmed.front() {
            let oldest = *oldest;
            crate::check!(
                STO_5,
                self.beginning.first() > Some(oldest),
                "entry {oldest} would be removed from a log that begins with it or before"
            );
            remove_segment(&self.context, oldest)?;
            self.close_hole(oldest)?;
            sync_directory(&self.context)?;
            self.trimmed.pop_front();
        }
        Ok(())
    }

    /// Whether the log can be truncated from the entry `from` on: it is there, or would be the next.
    ///
    /// Errors: `NotInLog` says what is there.
    pub fn check_in_log(&self, from: LogIndex) -> Result<(), CutError> {
        let first = self.segments.iter().find(|segment| !segment.is_missing());
        let first = first.map_or(LogIndex(1), |segment| segment.first_log_index());
        let next = self.checkpoint.last_log_index().plus(1);
        if from < first || from > next {
            return Err(CutError::NotInLog {
                log_index: from,
                first,
                next,
            });
        }
        Ok(())
    }

    /// Drops the entry `from` and all behind it, and opens the segment that is the last one then. The writer of the
    /// active segment must have flushed, and is not to be used any more.
    ///
    /// Blocking. Errors: `NotInLog` changes nothing; after others the log must be opened again.
    pub fn truncate(&mut self, from: LogIndex) -> Result<SegmentWriter, CutError> {
        self.check_in_log(from)?;
        // The segment with the entry before `from` stays, so that the log never is without a segment.
        let keep = self
            .segments
            .partition_point(|segment| segment.first_log_index() < from)
            .max(1 + usize::from(self.missing().is_some()));
        self.active = None;
        self.context.cache.clear();
        // Newest first: whatever a crash leaves is a prefix of the log.
        for segment in self.segments.split_off(keep).into_iter().rev() {
            remove_segment(&self.context, segment.first_log_index())?;
            self.close_hole(segment.first_log_index())?;
            sync_directory(&self.context)?;
        }
        let last = self.segments.pop().expect("at least one is kept");
        // By salt and length alone it could fit again when the segment is sealed with other entries.
        remove_file(
            &self.context,
            names::index(&self.options.directory, last.first_log_index()),
        )?;
        sync_directory(&self.context)?;
        truncate_store(&self.context, &last, from)?;
        let recovered =
            recover(&self.context, last.first_log_index(), LogIndex::ZERO).map_err(CutError::Open)?;
        let Some(writer) = recovered.writer else {
            let damage = recovered.damage.expect("without a writer there is damage");
            return Err(CutError::Open(OpenError::Damaged(damage)));
        };
        self.checkpoint = recovered.checkpoint;
        self.activate(&writer)
            .map_err(failed("read the size of", &writer.path()))?;
        self.publish();
        Ok(writer)
    }
}

/// Removes a segment's files; that they are not there is fine.
pub(super) fn remove_segment(context: &SegmentContext, first: LogIndex) -> Result<(), CutError> {
    // The index first: without a store it would mean nothing, and nobody would remove it.
    remove_file(context, names::index(&context.directory, first))?;
    remove_file(context, names::store(&context.directory, first))
}

/// Removes a file; that it is not there is fine.
pub(super) fn remove_file(context: &SegmentContext, path: PathBuf) -> Result<(), CutError> {
    match context.file_system.remove(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes all changes of names durable.
pub(super) fn sync_directory(context: &SegmentContext) -> Result<(), CutError> {
    let synced = context.file_system.sync_dir(&context.directory);
    synced.map_err(failed("sync", &context.directory))
}

/// An error of the disk, with what was tried.
pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CutError {
    let path = path.to_owned();
    move |source| CutError::Io {
        path,
        operation,
        source,
    }
}
