//! The log on disk. Synchronous; knows no actor, no socket, no runtime, no service.

pub mod entry;
mod error;
pub mod fs;
pub mod sequencer;
mod view;

pub use error::ReadError;
pub use view::{Chunk, LogView, SegmentDescription, StoredBatch};
