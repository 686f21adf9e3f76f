//! Annals: a replicated commit log in one binary, built as a system of actors.
//!
//! The client is [`client`], which the feature `client` brings without any of the server.
//!
//! Dependencies point one way: `storage` <- `actors` <- `net` <- `node` <- `cli`, and `testing` stands on `node`. `types`, `error`, `invariant`, `clock` and
//! `record_set` are below all, `certs` and `acl` stand on them alone, `tls` on `certs`, and `client` on `tls`. `tests/architecture.rs` holds it.

pub mod types;

pub mod error;
#[macro_use]
pub mod invariant;
pub mod clock;
pub mod proto;
pub mod record_set;

#[cfg(feature = "server")]
pub mod acl;
pub mod certs;
pub mod tls;

#[cfg(feature = "client")]
pub mod client;

#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod telemetry;

#[cfg(feature = "server")]
pub mod storage;

#[cfg(feature = "server")]
pub mod consensus;

#[cfg(feature = "server")]
pub mod actors;

#[cfg(feature = "server")]
pub mod net;

#[cfg(feature = "server")]
pub mod node;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(feature = "testing")]
pub mod testing;
