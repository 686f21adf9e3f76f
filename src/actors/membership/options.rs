//! What MembershipActor is made from.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use slog::Logger;
use tokio::runtime::Handle;

use crate::{storage::fs::FileSystem, types::NodeId};

use super::GossipRing;

/// Which node it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its id, for ever.
    pub node_id: NodeId,
    /// Its name, by configuration.
    pub name: String,
}

/// Which cluster it looks for, and where.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The cluster's name; nodes of other clusters are no peers.
    pub name: String,
    /// Gossip addresses, `host:port`, of nodes to join; names are looked up anew at each try.
    pub seeds: Vec<String>,
    /// Encrypts and authenticates gossip; nodes without a key in common, or without any, do not understand each other.
    pub gossip_keys: GossipRing,
    /// Where others reach this node's gossip; `None`: where it listens.
    pub advertise: Option<SocketAddr>,
}

/// All that MembershipActor needs.
#[derive(Clone, Debug)]
pub struct MembershipSetup {
    /// Which node it is.
    pub identity: NodeIdentity,
    /// Which cluster it looks for.
    pub cluster: ClusterOptions,
    /// Where it listens, TCP and UDP. Port 0 asks the system for a port, once: an actor that is built again has the same.
    pub listen: SocketAddr,
    /// The disk, for the file `peers`.
    pub file_system: Arc<dyn FileSystem>,
    /// Where that file is.
    pub data_dir: PathBuf,
    /// Where memberlist runs: a multi-thread one.
    pub runtime: Handle,
    /// Every time there is.
    pub timing: GossipTiming,
    /// Where it logs.
    pub logger: Logger,
}

/// Every number of gossip that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipTiming {
    /// Between two probes of a random peer.
    pub probe_interval: Duration,
    /// How long a probe is waited for before others are asked to probe.
    pub probe_timeout: Duration,
    /// Between two packets of news.
    pub gossip_interval: Duration,
    /// Between two exchanges of all that is known with a random peer, which heals what packets lost.
    pub exchange_interval: Duration,
    /// For one connection, there and back. A probe of a peer behind a cut network waits for it, so it bounds how soon such a
    /// peer is found out.
    pub connection_timeout: Duration,
    /// How long after a node failed its id may come back at another address. Not 0, which to memberlist means never, and a
    /// node that was moved would be refused for ever; short, since an id is random, so that nobody else has it. While the
    /// node counts as alive at the old address the new one is refused, which is what catches a copied data directory.
    pub reclaim_after: Duration,
    /// Wait before a second try to join; doubled for each further one.
    pub join_wait_min: Duration,
    /// The longest wait between two tries.
    pub join_wait_max: Duration,
}

impl Default for GossipTiming {
    /// Measured with three nodes on one machine: a peer that died is found out 3 to 3.5 s later, one that moved at once is
    /// found at its new port after 5 to 7 s, and a change of tags is everywhere after 0.1 s.
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(300),
            gossip_interval: Duration::from_millis(100),
            exchange_interval: Duration::from_secs(10),
            connection_timeout: Duration::from_secs(2),
            reclaim_after: Duration::from_secs(1),
            join_wait_min: Duration::from_millis(500),
            join_wait_max: Duration::from_secs(30),
        }
    }
}
