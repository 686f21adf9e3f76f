//! Whole segments from one node to another, for a node that is too far behind to be brought up by entries.
//!
//! A snapshot is no copy of anything: it is the sealed segments below some segment's start, as they lie there, and that
//! segment's checkpoint. A [`Manifest`] lists them; [`LogView::read_segment`](super::LogView::read_segment) gives their
//! bytes to the sender; [`Incoming`] gathers them beside the log of the receiver, across cuts and restarts, and lets
//! nothing pass that is not whole, sound and in its place; [`LogState::install`](super::LogState::install) exchanges the
//! log's segments for them.

mod error;
mod incoming;
mod manifest;
mod source;
mod staging;

pub use error::{ManifestError, TransferError};
pub(super) use incoming::is_held;
pub use incoming::{Incoming, Staged};
pub use manifest::{Manifest, ManifestSegment};
pub(super) use staging::read_whole;
