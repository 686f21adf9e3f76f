//! What the node says about itself to those who watch it. `node` implements and publishes it.

use std::fmt;

use futures::future::BoxFuture;

use crate::{
    actors::{membership::GossipKeysStatus, supervision::PartStatus},
    types::{LogIndex, Offset},
};

/// How far the node is. Published on a watch channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// The log is being opened.
    #[default]
    Starting,
    /// The node is new, and belongs to no cluster yet.
    NoCluster {
        /// For whom or what it waits.
        reason: String,
    },
    /// The node was removed from its cluster: committed records can be read with the level LOCAL, and nothing else is served.
    Removed {
        /// The entry that carries the membership without it.
        log_index: LogIndex,
    },
    /// The log is open, and no leader is known: committed records can be read with the level LOCAL.
    NoLeader,
    /// A leader is known, and what it had committed by then is not all here yet: committed records can be read with the level LOCAL,
    /// and linearizable reads wait.
    CatchingUp,
    /// Reads and writes are served.
    Ready,
    /// Reads are served; writes are refused until the process restarts (STO-3).
    Failsafe {
        /// Why.
        cause: String,
    },
}

impl Readiness {
    /// Why reads and writes are not served; `None` when they are.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Ready => None,
            Self::NoLeader => Some("no leader is known".to_owned()),
            Self::CatchingUp => Some(
                "it is catching up: it has not applied yet what was committed when it came to know its leader; LAG in `annals cluster \
                 status` shows how much it lacks"
                    .to_owned(),
            ),
            Self::Starting => Some("the log is being opened".to_owned()),
            Self::NoCluster { reason } => Some(format!("it belongs to no cluster yet: {reason}")),
            Self::Removed { log_index } => Some(format!(
                "it was removed from its cluster, at entry {log_index}; stop it and wipe its data directory to join anew"
            )),
            Self::Failsafe { cause } => Some(format!("no writes: {cause}")),
        }
    }
}

/// One thing that must hold for the node to be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, as `/readyz?verbose` shows it.
    pub name: &'static str,
    /// Why it does not hold, when it does not.
    pub problem: Option<String>,
    /// What whoever runs the node should know though it holds.
    pub remark: Option<String>,
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that are kept free.
    pub floor_bytes: u64,
}

/// Facts that neither the log's view nor the committer's channels tell.
pub trait Vitals: Send + Sync + fmt::Debug + 'static {
    /// First offset that is not yet written on this node.
    fn tail(&self) -> Offset;

    /// Checks beyond readiness itself, such as room on the disk.
    fn checks(&self) -> Vec<Check>;

    /// How full the disk is, and what to do, while it has too little room for appends.
    fn storage_full(&self) -> Option<String>;

    /// Bytes that may still be written on the log's disk, and below which floor none are taken; `None` where that cannot be found out.
    ///
    /// Blocking: for as long as the disk hangs.
    fn disk_room(&self) -> Option<DiskRoom>;

    /// How the keys of gossip stand; `None` of a node that does not gossip.
    fn gossip_keys(&self) -> Option<GossipKeysStatus>;

    /// The tree of actors, with generations and restarts; empty when the node is ending.
    fn supervision(&self) -> BoxFuture<'_, Vec<PartStatus>>;
}
