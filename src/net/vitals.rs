//! What the node says about itself to those who watch it. `node` implements and publishes it.

use std::fmt;

use futures::future::BoxFuture;

use crate::types::Offset;

/// How far the node is. Published on a watch channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// The log is being opened.
    #[default]
    Starting,
    /// The log is open, and no leader is known: committed records can be read with the level LOCAL.
    NoLeader,
    /// Reads and writes are served.
    Ready,
    /// Reads are served; writes are refused until the process restarts (STO-3).
    Failsafe {
        /// Why.
        cause: String,
    },
}

/// One thing that must hold for the node to be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, as `/readyz?verbose` shows it.
    pub name: &'static str,
    /// Why it does not hold, when it does not.
    pub problem: Option<String>,
}

/// Facts that neither the log's view nor the committer's channels tell.
pub trait Vitals: Send + Sync + fmt::Debug + 'static {
    /// First offset that is not yet written on this node.
    fn tail(&self) -> Offset;

    /// Checks beyond readiness itself, such as room on the disk.
    fn checks(&self) -> Vec<Check>;

    /// The tree of actors, with generations and restarts, as `/status` shows it.
    fn supervision(&self) -> BoxFuture<'_, serde_json::Value>;
}
