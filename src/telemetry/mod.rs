//! What the node says about itself: its log, and whatever libraries and panics add to it.
//!
//! Everything ends in one slog logger, made once by `main` and handed down; nothing is logged per record.

pub mod logging;

mod bridge;
mod panics;
pub(crate) mod patience;
mod sink;
