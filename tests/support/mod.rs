//! What tests of several binaries share.

#![allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "each test binary uses its own part of it"
)]

#[path = "../certs/support.rs"]
pub(crate) mod certs;
pub(crate) mod cluster;
pub(crate) mod exposition;
pub(crate) mod hooked_fs;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod log_checker;
pub(crate) mod log_lines;
pub(crate) mod lone_log;
pub(crate) mod node;
pub(crate) mod sim_fs;
pub(crate) mod standstills;
pub(crate) mod tls;
