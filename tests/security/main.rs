//! Nobody does what they may not: every method, every role, streams that go on, and what is written down about it.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be prepared has failed"
)]

#[path = "../tls/appending.rs"]
mod appending;
#[path = "../tls/speaking.rs"]
mod speaking;
#[path = "../support/mod.rs"]
mod support;

mod audit;
mod files;
mod gate;
mod matrix;
mod raw;
mod reloads;
mod roles;
mod routes;
