//! Clusters of several nodes, whatever becomes of their nodes and of the links between them: clients are at work, and a
//! judge looks at what they saw.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../process/support/mod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "tests of single processes use the rest of it"
)]
mod one_process;
#[path = "../support/mod.rs"]
mod support;

mod copies;
mod cursors;
mod disks;
mod drains;
mod founding;
mod leaders;
mod links;
mod lost_beginnings;
mod lost_ends;
mod members;
mod outsiders;
mod panics;
mod power;
mod processes;
mod replication;
mod restarts;
mod retries;
mod segments;
