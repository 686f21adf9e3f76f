//! Annals: a replicated commit log in one binary, built as a system of actors.
//!
//! Dependencies point one way: `storage` <- `actors` <- `net` <- `node` <- `cli`. `types`, `error`, `invariant`, `clock` and
//! `record_set` are below all, `certs` and `acl` stand on them alone and `tls` on `certs`. `tests/architecture.rs` holds it.

pub mod types;

pub mod error;
#[macro_use]
pub mod invariant;
pub mod clock;
pub mod proto;
pub mod record_set;

pub mod acl;
pub mod certs;
pub mod tls;

pub mod config;
pub mod telemetry;

pub mod storage;

pub mod consensus;

pub mod actors;

pub mod net;

pub mod node;

pub mod cli;
