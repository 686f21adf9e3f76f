//! The way between nodes: real servers and replicators over TCP, with consensus played by the test.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![expect(unreachable_pub, reason = "a test binary has no public interface")]

mod support;

mod append;
mod calls;
mod forward;
mod incarnations;
mod links;
mod port;
mod refusals;
