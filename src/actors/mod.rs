//! The actors: each owns one concern, and the Agent restarts the ones that fail.

pub mod supervision;

pub mod agent;

pub mod read_path;

mod segment;

pub mod log;

pub mod committer;

pub mod peer;
pub mod raft;

pub mod replicator;

pub mod membership;

pub mod gateway;
