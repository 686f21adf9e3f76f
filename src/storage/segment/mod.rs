//! One segment of the log: a store file and its index.

mod buffers;
mod frames;
mod headers;
mod open_files;
mod prepared;
mod reader;
mod recovery;
mod resident;
mod writer;

pub(super) use frames::{FrameError, Frames};
pub(super) use open_files::OpenFiles;
pub(super) use prepared::{PreparedFile, Preparer};
pub(super) use reader::SegmentReader;
pub use recovery::Damage;
pub(super) use recovery::{Recovered, recover, truncate_store};
pub(super) use writer::SegmentContext;
pub use writer::{Flushed, SegmentWriter};
