//! Segments that are missing at the beginning of a log: it begins behind the entry with which it should.
//!
//! Their place is kept by one reader without a store, so that who reads there is told of damage and not of a trim, nothing
//! of it is passed on to other nodes, and it is repaired as any damaged segment is. What a committed trim lets go is not
//! missing, whoever removed it.

use std::{path::PathBuf, sync::Arc};

use super::LogState;
use crate::{
    storage::{CutError, WriteError, checkpoint::Checkpoint, segment::SegmentReader},
    types::{LogIndex, Offset},
};

/// The first segments of a log are gone, and were not trimmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log in {} begins with entry {first} and offset {offset}, and its first segments, with the entries up to {last}, are \
    missing; restore their files from a backup, or, to give up what they held, remove {}",
    directory.display(), noted_in.display()
)]
pub struct MissingSegments {
    /// Where the log is.
    pub directory: PathBuf,
    /// The file that says where it begins.
    pub noted_in: PathBuf,
    /// The first entry that is missing.
    pub first: LogIndex,
    /// The last one.
    pub last: LogIndex,
    /// The offset of the first record that is missing.
    pub offset: Offset,
}

impl LogState {
    /// What is missing at the beginning of the log; `None` when nothing is.
    #[must_use]
    pub fn missing_segments(&self) -> Option<MissingSegments> {
        let missing = self.missing()?;
        let next = self.segments.get(1)?.first_log_index();
        Some(MissingSegments {
            directory: self.options.directory.clone(),
            noted_in: self.beginning.path(),
            first: missing.first_log_index(),
            last: LogIndex(next.get() - 1),
            offset: missing
                .known_face()
                .map_or(Offset::ZERO, |face| face.first_offset),
        })
    }

    /// What the log before its first entry amounts to, whether that entry is there or missing; `None` when a header cannot be
    /// read.
    ///
    /// Blocking: reads a header.
    #[must_use]
    pub fn before_first(&self) -> Option<Checkpoint> {
        if self.missing().is_some() {
            return self.beginning.before().cloned();
        }
        Some(self.segments.first()?.header().ok()?.checkpoint)
    }

    /// What the log before the first segment that is there amounts to, where others are missing before that; `None` where
    /// none is, and when its header cannot be read.
    ///
    /// Blocking: reads a header.
    #[must_use]
    pub fn behind_missing(&self) -> Option<Checkpoint> {
        self.missing()?;
        Some(self.segments.get(1)?.header().ok()?.checkpoint)
    }

    /// Keeps the place of the missing segments.
    pub(super) fn missing(&self) -> Option<&Arc<SegmentReader>> {
        self.segments.first().filter(|first| first.is_missing())
    }

    /// Keeps the place of segments that are missing before the one that begins with `there`; `None` when none is.
    pub(super) fn missing_before(&self, there: LogIndex) -> Option<SegmentReader> {
        let before = self.beginning.before()?;
        let (_, face) = self.header_behind(before);
        let first = face.first_log_index;
        (first < there).then(|| self.sealed_reader(first, None).missing(face))
    }

    /// Takes missing segments for trimmed where a committed trim lets all of them go; says whether it does.
    pub(super) fn forget_missing(&mut self) -> bool {
        let next = self.missing().and_then(|_| self.segments.get(1));
        let Some(Ok(face)) = next.map(|next| next.face()) else {
            return false;
        };
        if face.first_offset > self.trim_point {
            return false;
        }
        self.first_offset = face.first_offset;
        self.segments.remove(0);
        true
    }

    /// Writes down that the log begins with its first segment, before anything in front of that is removed.
    ///
    /// Blocking: reads a header; two syncs, where that is not written down yet.
    pub(super) fn begin_with_first(&mut self) -> Result<(), CutError> {
        let Some(first) = self.segments.first() else {
            return Ok(());
        };
        if self.beginning.first() >= Some(first.first_log_index()) {
            return Ok(());
        }
        let before = first.header().map_err(CutError::Read)?.checkpoint;
        self.beginning.set(before).map_err(cut_failed)
    }

    /// Of a log of a version that did not write down where it begins: does so, as far as that can be told. It may begin with
    /// the first entry of all, and with what a committed trim has left.
    ///
    /// Blocking: as [`LogState::begin_with_first`]. What cannot be written is so at the next start.
    pub(super) fn adopt_beginning(&mut self) {
        let is_open = self.beginning.first().is_none() && self.active.is_some();
        if is_open && self.begins_rightly() {
            drop(self.begin_with_first());
        }
    }

    /// Whether nothing can be missing before the first segment, but for what is known to be.
    pub(super) fn begins_rightly(&self) -> bool {
        let is_very_first = self.segments.first().map(|first| first.first_log_index()) == Some(LogIndex(1));
        self.beginning.first().is_some() || is_very_first || self.first_offset <= self.trim_point
    }
}

/// What stood in the way of a trim or an install.
pub(super) fn cut_failed(error: WriteError) -> CutError {
    match error {
        WriteError::Io {
            path,
            operation,
            source,
        } => CutError::Io {
            path,
            operation,
            source,
        },
        error @ WriteError::Poisoned { .. } => CutError::Open(crate::storage::OpenError::Write(error)),
    }
}
