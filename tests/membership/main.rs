//! Nodes that gossip: real MembershipActors under real Agents, at ports of the system's choice.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/log_lines.rs"]
mod log_lines;
mod node;

mod abuse;
mod coming_and_going;
mod file;
mod restarts;
mod rotation;
mod strangers;
