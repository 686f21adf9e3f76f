//! The actors: each owns one concern, and the Agent restarts the ones that fail.

pub mod supervision;

pub mod agent;

pub mod read_path;

mod segment;

pub mod log;

pub mod committer;

pub mod membership;

pub mod gateway;
