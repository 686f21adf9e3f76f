//! What tests of several binaries share.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses its own part of it"
)]

pub(crate) mod sim_fs;
