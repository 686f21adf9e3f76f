//! The calls of each proto service: what is asked, done by `produce` and `consume`, and answered in its words.

pub mod acks;
pub mod annals_v1;
pub mod log_v1;
