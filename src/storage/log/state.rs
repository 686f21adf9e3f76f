//! Which segments there are, and where the next entry goes. Writes no frames: that is the segment writer's.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rand::Rng;

use super::{LogOptions, quarantine::Holes};
use crate::{
    clock,
    storage::{
        Damage, PlaceError, SegmentWriter, WriteError,
        beginning::Beginning,
        checkpoint::Checkpoint,
        entry::{Entry, Outcome},
        frame::{self, PlacedEntry},
        names,
        segment::{OpenFiles, PreparedFile, Preparer, SegmentContext, SegmentReader},
        segment_header::SegmentHeader,
        view::{Begins, Kept, LogView},
    },
    types::{LogIndex, Offset, TimestampMs},
};

/// A new log's first segment gets so many zeros before it takes its first append: enough for some seconds of a lone
/// writer, while the next segment's file is prepared, and written within a few milliseconds.
const FIRST_ZEROS_BYTES: u64 = 8 << 20;
/// A segment is not left for a prepared one before it is worth a file.
const EARLY_ROLL_BYTES: u64 = 4 << 20;

/// All segments, and what their entries amount to.
#[derive(Debug)]
pub struct LogState {
    pub(super) checkpoint: Checkpoint,
    /// Oldest first; the last is the active one unless the log is damaged.
    pub(super) segments: Vec<Arc<SegmentReader>>,
    /// Offset of the first record that is on the disk.
    pub(super) first_offset: Offset,
    /// Records below it are no longer given, though some may be on the disk still.
    pub(super) trim_point: Offset,
    /// Where the log rightfully begins.
    pub(super) beginning: Beginning,
    /// Segments that are no part of the log any more while their files are still there, oldest first.
    pub(super) trimmed: VecDeque<LogIndex>,
    /// Segments that were taken out, to be repaired.
    pub(super) holes: Holes,
    pub(super) active: Option<Active>,
    /// What was written behind the last entry and cannot be read any more.
    pub(super) damage: Option<Damage>,
    pub(super) view: Arc<ArcSwap<LogView>>,
    pub(super) kept: Kept,
    pub(super) context: SegmentContext,
    pub(super) options: LogOptions,
    pub(super) open_files: Arc<OpenFiles>,
    pub(super) preparer: Option<Preparer>,
    /// Zeros ahead leave so many bytes of the disk free.
    pub(super) free_bytes_min: u64,
}

/// What is known of the active segment without asking its writer.
#[derive(Clone, Debug)]
pub(super) struct Active {
    /// Where the first frame begins.
    start: u64,
    /// Where the frames placed so far would end if the writer had put no marks between them.
    placed_end: u64,
    /// Bytes of marks, which the writer counts.
    mark_bytes: Arc<AtomicU64>,
    /// It holds zeros up to here.
    zeroed_to: u64,
    created: TimestampMs,
    is_empty: bool,
}

/// Where an entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The entry.
    pub log_index: LogIndex,
    /// Stored, or void and why.
    pub outcome: Outcome,
}

impl LogState {
    /// The state that the log amounts to.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What is published to readers; replaced whenever the list of segments changes.
    #[must_use]
    pub fn view(&self) -> &Arc<ArcSwap<LogView>> {
        &self.view
    }

    /// The oldest readable offset.
    #[must_use]
    pub fn earliest(&self) -> Offset {
        self.first_offset.max(self.trim_point)
    }

    /// The last segment's store; the log's directory where there is no segment.
    pub(super) fn last_store(&self) -> PathBuf {
        let last = self.segments.last().map(|segment| segment.path());
        last.unwrap_or(&self.options.directory).to_owned()
    }

    /// Bytes that may still be written on the log's disk.
    ///
    /// Blocking.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.context.file_system.free_bytes(&self.options.directory)
    }

    /// Whether the active segment must be sealed before a frame with `payload_len` bytes is placed.
    ///
    /// It is full by size or age, or its zeros are used up and the next file is ready with zeros.
    #[must_use]
    pub fn roll_is_due(&self, payload_len: usize) -> bool {
        let Some(active) = self.active.as_ref().filter(|active| !active.is_empty) else {
            return false;
        };
        let active_end = active.placed_end + active.mark_bytes.load(Ordering::Relaxed);
        let end = active_end + frame::frame_len(payload_len);
        let ready = || self.preparer.as_ref().is_some_and(Preparer::is_ready);
        // The checkpoint in the header does not count: with small segments and many producers it alone may be larger.
        end - active.start > self.options.segment_bytes
            || self.roll_by_age_is_due()
            || (end > active.zeroed_to && active_end >= EARLY_ROLL_BYTES && ready())
    }

    /// Whether the active segment holds something and has reached the age at which it is sealed.
    #[must_use]
    pub fn roll_by_age_is_due(&self) -> bool {
        let age_ms = |active: &Active| clock::wall().0.saturating_sub(active.created.0);
        self.active
            .as_ref()
            .is_some_and(|active| !active.is_empty && age_ms(active) >= self.options.segment_age_ms)
    }

    /// Gives an entry its place behind all others. It is to be given to the writer of the active segment next.
    ///
    /// Errors: nothing has changed.
    pub fn place(&mut self, entry: Entry) -> Result<(PlacedEntry, Placed), PlaceError> {
        let payload_len = frame::payload_len(&entry.payload);
        if payload_len > frame::PAYLOAD_BYTES_MAX {
            return Err(PlaceError::TooLarge {
                log_index: entry.log_index,
                bytes: payload_len,
            });
        }
        let (placed, outcome) = self.checkpoint.place(entry)?;
        if let Some(active) = &mut self.active {
            active.placed_end += frame::frame_len(payload_len);
            active.is_empty = false;
        }
        let log_index = placed.entry.log_index;
        Ok((placed, Placed { log_index, outcome }))
    }

    /// Whether the active segment holds no entry yet.
    pub(super) fn active_is_empty(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_empty)
    }

    /// Starts the segment behind the last one, which must be sealed and hold an entry (STO-1).
    ///
    /// Blocking.
    pub fn start_segment(&mut self) -> Result<SegmentWriter, WriteError> {
        let header = SegmentHeader {
            salt: rand::rng().random(),
            cluster_id: self.options.cluster_id,
            created: clock::wall(),
            checkpoint: self.checkpoint.clone(),
        };
        let last = self.segments.last().map(|last| last.first_log_index());
        crate::check!(
            STO_1,
            last < Some(header.first_log_index()),
            "a second segment would begin with entry {}",
            header.first_log_index()
        );
        if self.active.take().is_some() {
            let sealed = self.segments.pop().expect("the active segment is the last");
            self.segments
                .push(Arc::new(self.sealed_reader(sealed.first_log_index(), None)));
        }
        let path = names::store(&self.options.directory, header.first_log_index());
        let failed = |source| WriteError::Io {
            path: path.clone(),
            operation: "create",
            source,
        };
        let prepared = self.next_file().map_err(failed)?;
        let writer = SegmentWriter::create(self.context.clone(), &header, prepared)?;
        self.activate(&writer).map_err(failed)?;
        self.publish();
        Ok(writer)
    }

    fn next_file(&self) -> io::Result<PreparedFile> {
        let prepared = self
            .preparer
            .as_ref()
            .filter(|_| !self.segments.is_empty())
            .and_then(Preparer::take);
        if let Some(prepared) = prepared {
            return Ok(prepared);
        }
        let zeros = FIRST_ZEROS_BYTES.min(self.options.segment_bytes);
        let has_room = || {
            let free_bytes = self.free_bytes();
            free_bytes.is_ok_and(|free_bytes| free_bytes.saturating_sub(zeros) >= self.free_bytes_min)
        };
        let wanted = self.options.prezero_bytes_per_second > 0 && has_room();
        let zeros = if wanted { zeros } else { 0 };
        PreparedFile::create(&*self.context.file_system, &self.options.directory, "next", zeros)
    }

    /// Makes the writer's segment the active one.
    pub(super) fn activate(&mut self, writer: &SegmentWriter) -> io::Result<()> {
        let reader = writer.reader();
        let (created, start) = reader
            .known_face()
            .map_or((TimestampMs(0), 0), |face| (face.created, face.header_len()));
        self.active = Some(Active {
            start,
            placed_end: writer.end().get(),
            mark_bytes: writer.mark_bytes(),
            zeroed_to: writer.file_size()?,
            created,
            is_empty: self.checkpoint.last_log_index() < writer.first_log_index(),
        });
        self.segments.push(Arc::new(reader));
        Ok(())
    }

    pub(super) fn sealed_reader(&self, first: LogIndex, readable_end: Option<u64>) -> SegmentReader {
        SegmentReader::sealed(
            self.context.file_system.clone(),
            &self.options.directory,
            first,
            self.open_files.clone(),
            readable_end,
        )
    }

    /// Shows readers the segments as they are now.
    pub(super) fn publish(&self) {
        let view = LogView::new(
            self.segments.clone(),
            Begins {
                earliest: self.earliest(),
                rightly: self.begins_rightly(),
            },
            self.context.cache.clone(),
            self.damage.clone(),
            self.kept.clone(),
        )
        .trimmed_below(self.trim_point);
        if let Some(first) = self.segments.first() {
            self.kept.set_from(first.first_log_index());
        }
        self.view.store(Arc::new(view));
    }
}
