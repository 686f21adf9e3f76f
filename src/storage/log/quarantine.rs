//! Takes a damaged segment out of the log and puts a sound one in its place, while the others are read.
//!
//! The damaged store is renamed and never removed. As long as its place is empty it is a hole, which every start finds by
//! that name: the log is read around it, and one without its end takes no writes, since what is missing was acknowledged.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    LogState, Rebuilt,
    cut::{failed, remove_file, sync_directory},
    rebuild::RebuiltSegment,
};
use crate::{
    storage::{
        CutError, Damage,
        fs::OpenMode,
        names,
        segment::{SegmentContext, SegmentReader},
    },
    types::{LogIndex, Position},
};

/// Segments whose place is empty, each with the number of its quarantined store.
pub(super) type Holes = BTreeMap<LogIndex, u32>;

/// What a repaired segment needs to be of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing: it is read from now on.
    Readable,
    /// The log is to be opened again: without this segment it took no writes.
    Reopen,
}

impl LogState {
    /// Takes the store of a sealed segment out of the log, to be repaired; durable when it returns. Reads of that segment
    /// answer `ReadError::Corrupt` from then on. Done already, it does nothing.
    ///
    /// Blocking. Errors: `NoSegment` changes nothing (the active segment is none that can be taken out); after `Io` the
    /// log must be opened again.
    pub fn quarantine(&mut self, first: LogIndex) -> Result<(), CutError> {
        let number = self.sealed_number(first)?;
        if self.segments[number].is_absent() {
            return Ok(());
        }
        let directory = self.options.directory.clone();
        let files = self.context.file_system.list(&directory);
        let files = files.map_err(failed("list", &directory))?;
        let taken = files
            .iter()
            .filter_map(|name| names::of_quarantined(name).or(names::of_closed(name)))
            .filter_map(|(of, taken)| (of == first).then_some(taken))
            .max();
        let kept_as = taken.unwrap_or(0).saturating_add(1);
        self.segments[number].set_replaced();
        remove_file(&self.context, names::index(&directory, first))?;
        let store = names::store(&directory, first);
        self.context
            .file_system
            .rename(&store, &names::quarantined(&directory, first, kept_as))
            .map_err(failed("rename", &store))?;
        sync_directory(&self.context)?;
        self.holes.insert(first, kept_as);
        self.segments[number] = Arc::new(self.hole(first, kept_as));
        self.publish();
        Ok(())
    }

    /// Puts a segment that was written anew in the place of the damaged one, which is kept beside the log. Durable when it
    /// returns.
    ///
    /// Blocking. Errors: as [`LogState::quarantine`]; `NoSegment` also when the log was opened anew, or has changed so that
    /// it no longer fits.
    pub fn replace(&mut self, rebuilt: Rebuilt) -> Result<Repaired, CutError> {
        let first = rebuilt.first_log_index();
        let number = self.sealed_number(first)?;
        let next = self.segments.get(number + 1);
        let fits = match next {
            Some(next) => rebuilt.last_log_index.plus(1) == next.first_log_index(),
            None => rebuilt.last_log_index >= self.checkpoint.last_log_index(),
        };
        // A start of the log removes what was written beside it.
        let is_written = |segment: &RebuiltSegment| {
            let written = self.context.file_system.open(&segment.path, OpenMode::Read);
            written.is_ok()
        };
        if !fits || !rebuilt.segments.iter().all(is_written) {
            return Err(CutError::NoSegment { first });
        }
        let was_last = next.is_none();
        self.quarantine(first)?;
        // Newest first: what a crash leaves of the gap is one stretch, before what was put in its place.
        for RebuiltSegment {
            first_log_index,
            path,
        } in rebuilt.segments.iter().rev()
        {
            let store = names::store(&self.options.directory, *first_log_index);
            self.context
                .file_system
                .rename(path, &store)
                .map_err(failed("rename", path))?;
            sync_directory(&self.context)?;
        }
        self.close_hole(first)?;
        sync_directory(&self.context)?;
        if was_last || self.active.is_none() {
            return Ok(Repaired::Reopen);
        }
        let readers = rebuilt.segments.iter().map(|segment| {
            let reader = self.sealed_reader(segment.first_log_index, None);
            Arc::new(reader)
        });
        let readers: Vec<_> = readers.collect();
        self.segments.splice(number..=number, readers);
        self.publish();
        Ok(Repaired::Readable)
    }

    /// Where the damaged bytes of a segment are: in the log, or taken out of it.
    pub(super) fn damaged_store(&self, first: LogIndex) -> std::path::PathBuf {
        let directory = &self.options.directory;
        match self.holes.get(&first) {
            Some(kept_as) => names::quarantined(directory, first, *kept_as),
            None => names::store(directory, first),
        }
    }

    /// Nothing is to be repaired there any more: a start finds no hole.
    pub(super) fn close_hole(&mut self, first: LogIndex) -> Result<(), CutError> {
        if let Some(kept_as) = self.holes.get(&first) {
            close_quarantined(&self.context, first, *kept_as)?;
            self.holes.remove(&first);
        }
        Ok(())
    }

    pub(super) fn hole(&self, first: LogIndex, kept_as: u32) -> SegmentReader {
        let kept = names::quarantined(&self.options.directory, first, kept_as);
        self.sealed_reader(first, None).quarantined(&kept)
    }

    /// Why a log whose end was taken out takes no writes; `None` when it was not.
    pub(super) fn missing_end(&self, last_store: Option<LogIndex>) -> Option<Damage> {
        let (first, kept_as) = self.holes.last_key_value()?;
        (Some(*first) > last_store).then(|| Damage {
            path: names::quarantined(&self.options.directory, *first, *kept_as),
            position: Position::ZERO,
            what: format!("entries from {first} on are quarantined until they are repaired"),
        })
    }

    pub(super) fn sealed_number(&self, first: LogIndex) -> Result<usize, CutError> {
        self.segments
            .binary_search_by_key(&first, |segment| segment.first_log_index())
            .ok()
            .filter(|number| !self.segments[*number].is_active())
            .ok_or(CutError::NoSegment { first })
    }
}

/// Gives a quarantined store the name that says that its place is not empty.
pub(super) fn close_quarantined(
    context: &SegmentContext,
    first: LogIndex,
    kept_as: u32,
) -> Result<(), CutError> {
    let directory = &context.directory;
    let quarantined = names::quarantined(directory, first, kept_as);
    context
        .file_system
        .rename(&quarantined, &names::closed(directory, first, kept_as))
        .map_err(failed("rename", &quarantined))
}
