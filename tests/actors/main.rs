//! The actors, with simulated failures.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![expect(unreachable_pub, reason = "a test binary has no public interface")]

mod dummy;
mod supervision;
