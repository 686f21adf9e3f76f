//! The node as clients see it: real gRPC and HTTP against a node in this process.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

mod annals_v1;
mod annals_v1_streams;
mod cluster;
mod cursors;
mod failures;
mod lifecycle;
mod limits;
mod log_v1;
mod reads;
mod receive;
mod undecodable;
