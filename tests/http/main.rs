//! JSON over HTTP, by clients that look at each byte: what is answered, what is refused and how, and what hostile ones achieve.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be prepared has failed"
)]

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod book;
mod cluster;
mod early;
mod hosts;
mod records;
mod reflection;
mod refusals;
mod rights;
mod tail;
mod tls;
