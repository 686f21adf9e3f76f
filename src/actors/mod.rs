//! The actors: each owns one concern, and the Agent restarts the ones that fail.

pub mod supervision;

pub mod agent;
pub mod committer;
pub mod read_path;
