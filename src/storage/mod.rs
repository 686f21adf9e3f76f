//! The log on disk. Synchronous; knows no actor, no socket, no runtime, no service.
//!
//! From the inside out: an [`entry::Entry`] is placed by the [`Sequencer`] (inside a [`Checkpoint`]), becomes a
//! [`frame`], lies in a segment (a store and its index), and all segments in order are the [`Log`]. Readers see a
//! [`LogView`]. `docs/format.md` has the bytes and the recovery steps.

pub mod data_dir;
pub mod entry;
pub mod fs;

pub mod frame;
mod sequencer;

pub mod cursors;

pub mod control;

mod checkpoint;
mod segment_header;

mod index;
mod names;
mod segment;
mod tail_cache;

mod log;
mod view;

mod transfer;

mod beginning;
mod commit_note;
mod vote;

pub mod offline;

mod error;

#[cfg(test)]
mod golden_test;

pub use checkpoint::{Checkpoint, CheckpointError, PlaceError, StoredMembership};
pub use commit_note::{CommitNoteFile, Committed};
pub use error::{CutError, OpenError, ReadEntriesError, ReadError, RepairError, WriteError};
pub use log::{
    AppendError, Due, Gap, Last, Log, LogOptions, LogState, MissingSegments, OpenReport, Opened, Placed,
    Rebuild, Rebuilt, Repaired, Retention, Trimmed, has_been_used,
};
pub use segment::{Damage, Flushed, SegmentWriter};
pub use segment_header::FORMAT_VERSION;
#[cfg(feature = "fuzzing")]
pub use segment_header::{SegmentHeader, SegmentHeaderError};
pub use sequencer::{RANGES_MAX, Sequencer};
pub use transfer::{Incoming, Manifest, ManifestError, ManifestSegment, Staged, TransferError};
pub use view::{Chunk, LogView, SegmentDescription, StoredBatch};
pub use vote::{Vote, VoteFile};
