//! What the node says about itself: its log, whatever libraries and panics add to it, and its metrics.
//!
//! All lines end in one slog logger, made once by `main` and handed down; nothing is logged per record.

pub mod logging;
pub mod metrics;

mod bridge;
mod panics;
pub(crate) mod patience;
mod sink;
