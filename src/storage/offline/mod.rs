//! A log that no node has open, looked at without changing it: what is wrong with it, what is there, and its frames.
//!
//! Nothing here writes, makes or removes anything: all goes through [`ReadOnly`], which refuses whatever would.
//! What opening a log does about each finding is said with it; `docs/format.md` has the steps of a recovery.

mod finding;
mod read_only;

mod ends;
mod files;
mod promises;
mod received;
mod segment;

mod frames;
mod node;
mod summary;
mod verify;

pub use files::LogFiles;
pub use finding::{Finding, Findings, Weight};
pub use frames::{FramesError, Start, StoredFrame, trimmed_below, walk};
pub use node::{refuse_gone, verify_node};
pub use promises::VoteCopies;
pub use read_only::ReadOnly;
pub use summary::{LogSummary, SegmentState, SegmentSummary, summarize};
pub use verify::{Verified, verify};
