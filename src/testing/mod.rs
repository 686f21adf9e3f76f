//! A cluster in a test: real nodes on real disks in the process of the test, whose links can be cut.
//!
//! For the tests of whoever builds on Annals. Built with the feature `testing` only, which releases do not have:
//!
//! ```toml
//! [dev-dependencies]
//! annals = { path = "../annals", features = ["testing"] }    # wherever your copy of Annals is
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! A test asks for a cluster, and has one some hundredths of a second later:
//!
//! ```no_run
//! use annals::testing::TestCluster;
//!
//! # #[allow(clippy::test_attr_in_doctest, reason = "it shows a whole test")]
//! #[tokio::test(flavor = "multi_thread")]
//! async fn nothing_is_lost_when_the_leader_is_cut_off() {
//!     let cluster = TestCluster::start(3).await;
//!     cluster.produce(["before"]).await;
//!
//!     let leader = cluster.leader().await;
//!     cluster.cut(leader);
//!     let next = cluster.leader().await;
//!     assert_ne!(next, leader);
//!     cluster.produce(["meanwhile"]).await;
//!
//!     cluster.heal(leader);
//!     cluster.caught_up(leader).await;
//!     let values: Vec<_> = cluster.records(leader).await.into_iter().map(|record| record.value).collect();
//!     assert_eq!(values, ["before", "meanwhile"]);
//! }
//! ```
//!
//! Everything is as in production: gRPC, elections, `fdatasync`. Only the times are shorter, and the segments smaller; see [`TIMING`] and
//! [`TestCluster::start_with`]. Nothing is shared: each node has a thread, a temporary directory and ports that the system chose,
//! all on the loopback interface, so that tests with clusters run beside each other. When a cluster is dropped, be it by a test that fails, its
//! nodes end, and their directories go. A test that fails prints what the nodes logged.
//!
//! What cannot be had panics, as an assertion does: a test has no use for the error. Waiting has an end, [`DEADLINE`].

mod cluster;
mod endpoint;
mod held_port;
mod log_lines;
mod node;
mod pace;
mod place;
mod thread;
mod waiting;

pub use cluster::{Port, StoredRecord, TestCluster};
pub use endpoint::endpoint;
pub use log_lines::LogLines;
pub use node::TestNode;
pub use pace::TIMING;
pub use place::{Certificates, Place};
pub use waiting::{DEADLINE, in_time, until};

pub use crate::actors::replicator::faults::{Cut, LinkFaults};

/// The page for users, whose examples are compiled as those here are.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
struct Page;
