//! One segment of the log: a store file and its index.

mod absent;
mod buffers;
mod frames;
mod headers;
mod open_files;
mod prepared;
mod raw;
mod reader;
mod recovery;
mod resident;
mod sealed_index;
mod verify;
mod writer;

pub(super) use absent::Absent;
pub(super) use frames::{FrameError, Frames};
pub(super) use open_files::OpenFiles;
pub(super) use prepared::{PreparedFile, Preparer};
pub(super) use reader::{SegmentReader, WALK_WINDOW};
pub use recovery::Damage;
pub(super) use recovery::{Recovered, Scan, for_each_piece, recover, truncate_store, written_behind};
pub(super) use verify::{Expected, Unfit, intact_prefix, read_header, verify};
pub(super) use writer::SegmentContext;
pub use writer::{Flushed, SegmentWriter};
