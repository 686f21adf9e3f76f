//! The calls of each proto service: what is asked, done by `produce` and `consume`, and answered in its words. `peer` has
//! what nodes ask each other.

pub mod acks;
pub mod annals_v1;
pub mod cluster_v1;
mod cluster_watch;
pub mod cursors_v1;
mod leave;
pub mod log_v1;
mod named;

pub mod peer;
mod proposals;
