//! The client of `annals::client`, on real clusters whose nodes come, go, lag and change their leader.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod passage;

mod appends;
mod cursors;
mod cut_off;
mod dead;
mod features;
mod leaders;
mod limits;
mod reads;
mod security;
mod streams;
