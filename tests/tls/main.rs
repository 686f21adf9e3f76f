//! Nodes with TLS: who is let in, who is not, and what becomes of those whose certificates are replaced.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod appending;
mod cluster;
mod impostors;
mod joining;
mod metrics;
mod moving;
mod program;
mod refusals;
mod reload;
mod revoked;
mod rotation;
mod speaking;
mod strangers;
