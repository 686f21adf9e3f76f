//! The actors, with simulated failures.

#![expect(unreachable_pub, reason = "a test binary has no public interface")]

mod dummy;
mod supervision;
