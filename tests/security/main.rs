//! Nobody does what they may not: every method, every role, streams that go on, and what is written down about it.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be prepared has failed"
)]

#[path = "../certs/support.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod certs;
#[path = "../support/log_lines.rs"]
mod log_lines;

mod audit;
mod files;
mod gate;
mod node;
mod reloads;
mod roles;
