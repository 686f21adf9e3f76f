//! The actors, with simulated failures.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![expect(unreachable_pub, reason = "a test binary has no public interface")]

#[path = "../support/mod.rs"]
mod support;

mod cluster_load_test;
mod disk_failure;
mod dummy;
mod gather;
mod log_checker_test;
mod log_messages;
mod log_store;
mod one_voter;
mod sabotage;
mod supervision;
mod under_load;
