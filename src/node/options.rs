//! What a node is made from.

use std::{io, path::Path, sync::Arc, time::Duration};

use crate::{
    actors::{
        membership::{ClusterOptions, GossipRing, GossipTiming},
        raft::{RETENTION_EVERY, ScrubPace, VoterRules},
        supervision,
    },
    config::{Config, Founding, GossipKeyError, GossipKeyFile, PolicyFileError},
    consensus::Timing,
    error::Disposition,
    net,
    storage::{
        LogOptions, Retention,
        data_dir::{DataDir, DataDirError},
        fs::FileSystem,
        has_been_used,
    },
    tls::{MaterialError, NodeTls},
    types::{ClusterId, GossipKeys},
};

use super::{ClusterSetup, NodePolicy, timing_for};

/// How long a learner must have been caught up and reachable before it votes: long enough that a node which flaps does not.
const STABLE_FOR: Duration = Duration::from_secs(10);

/// All that a node is told, beside its data directory.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The node's name.
    pub node_name: String,
    /// The disk.
    pub file_system: Arc<dyn FileSystem>,
    /// How the log is kept.
    pub log: LogOptions,
    /// Appends are refused while fewer bytes are free.
    pub free_bytes_min: u64,
    /// How much of the log is kept.
    pub retention: Retention,
    /// How often retention is looked at.
    pub retention_every: Duration,
    /// How patient consensus is.
    pub consensus: Timing,
    /// How sealed segments are looked through for damage.
    pub scrub: ScrubPace,
    /// Which cluster, and how it is found.
    pub cluster: ClusterSetup,
    /// Something was written to the log before.
    pub has_data: bool,
    /// Who may do what; `None` where nobody is asked.
    pub policy: Option<NodePolicy>,
    /// Where the keys of gossip come from, which may change; `None` where they are in the configuration, or there is none.
    pub gossip_key_file: Option<GossipKeyFile>,
    /// Addresses and limits.
    pub net: net::Options,
    /// Who this node is by its certificate, and whom it believes; `None`: nothing is encrypted and nobody is asked.
    pub tls: Option<NodeTls>,
    /// How patient supervision is.
    pub timing: supervision::Timing,
}

/// A node cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The policy cannot be used.
    #[error("acl: {0}")]
    Policy(#[from] PolicyFileError),
    /// The keys of gossip cannot be used.
    #[error("cluster.gossip_key_file: {0}")]
    GossipKeys(#[from] GossipKeyError),
    /// The files of TLS cannot be used.
    #[error("TLS cannot be used")]
    Tls(#[from] MaterialError),
    /// The log's directory cannot be looked at.
    #[error("cannot list {path}")]
    LogDirectory {
        /// The directory.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OptionsError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::DataDir(error) => error.disposition(),
            Self::GossipKeys(error) => error.disposition(),
            Self::Policy(error) => error.disposition(),
            Self::Tls(error) => error.disposition(),
            Self::LogDirectory { .. } => Disposition::Escalate,
        }
    }
}

impl NodeOptions {
    /// What `config` says, for the data directory it names, which is taken for this process.
    ///
    /// Blocking. Errors: the data directory, a file of TLS, or the policy cannot be used.
    pub fn open(
        config: &Config,
        data_dir: &Path,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<(Self, DataDir), OptionsError> {
        let name = config.node.name.as_str();
        let policy = NodePolicy::open(config)?;
        let tls = config
            .tls
            .files()
            .map(|files| NodeTls::open(files, config.node_names(), config.tls.allow_common_name));
        let tls = tls.transpose()?;
        let gossip_keys = config.gossip_keys()?;
        let gossip_key_file = config.gossip_key_file();
        let cluster = cluster_setup(config, gossip_keys);
        let data_dir = if cluster.alone {
            DataDir::open(file_system.clone(), data_dir, name)?
        } else {
            DataDir::open_without_cluster(file_system.clone(), data_dir, name)?
        };
        let directory = data_dir.log_dir(net::context::DEFAULT_LOG)?;
        let has_data =
            has_been_used(&*file_system, &directory).map_err(|source| OptionsError::LogDirectory {
                path: directory.display().to_string(),
                source,
            })?;
        let (log, limits) = (&config.log, &config.limits);
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let options = Self {
            node_name: config.node.name.as_str().to_owned(),
            log: LogOptions {
                directory,
                // Where there is none yet the log waits for it.
                cluster_id: data_dir.identity().cluster_id.unwrap_or(ClusterId(0)),
                segment_bytes: log.segment_bytes.bytes(),
                segment_age_ms: milliseconds(log.segment_age),
                tail_cache_bytes: log.tail_cache_bytes.as_usize(),
                open_files_max: log.open_files_max as usize,
                prezero_bytes_per_second: log.prezero_rate.bytes(),
            },
            free_bytes_min: log.free_bytes_min.bytes(),
            retention: Retention {
                bytes_max: log.retention_bytes.map(|bytes| bytes.bytes()),
                age_max_ms: log.retention_age.map(milliseconds),
            },
            retention_every: RETENTION_EVERY,
            consensus: Timing::default(),
            scrub: ScrubPace::default(),
            cluster,
            has_data,
            policy,
            gossip_key_file,
            net: net::Options {
                rpc_address: config.listen.rpc,
                rpc_address_advertised: config
                    .cluster
                    .advertise_rpc
                    .set()
                    .map(|address| address.as_str().to_owned()),
                admin_address: config.listen.admin,
                connections_max: limits.connections_max as usize,
                connections_per_address_max: limits.connections_per_address_max as usize,
                consumers_max: limits.consumers_max as usize,
                batch_bytes_max: log.batch_bytes_max.as_usize(),
                message_bytes_max: message_bytes_max(log.batch_bytes_max.as_usize()),
                admission_bytes: limits.admission_bytes.as_usize(),
                stream_inflight_bytes: limits.stream_inflight_bytes.as_usize(),
                consume_chunk_bytes: limits.consume_chunk_bytes.as_usize(),
                request_timeout: limits.request_timeout,
                drain_timeout: limits.drain_timeout,
                keepalive_interval: limits.keepalive_interval,
                keepalive_timeout: limits.keepalive_timeout,
                ..net::Options::default()
            },
            tls,
            timing: timing_for(limits.drain_timeout),
            file_system,
        };
        Ok((options, data_dir))
    }
}

/// What `config` says of the cluster.
fn cluster_setup(config: &Config, gossip_keys: Option<GossipKeys>) -> ClusterSetup {
    let cluster = &config.cluster;
    let (initial_members, alone) = match config.founding() {
        Founding::Alone => (vec![config.node.name.as_str().to_owned()], true),
        Founding::Together(members) => (
            members.iter().map(|name| name.as_str().to_owned()).collect(),
            false,
        ),
        Founding::JoinOnly => (Vec::new(), false),
    };
    ClusterSetup {
        gossip: ClusterOptions {
            name: cluster.name.as_str().to_owned(),
            seeds: cluster
                .seeds
                .iter()
                .map(|seed| seed.as_str().to_owned())
                .collect(),
            gossip_keys: GossipRing::new(gossip_keys),
            advertise: cluster.advertise_gossip.set(),
        },
        listen: config.gossip_listen(),
        gossip_timing: GossipTiming::default(),
        initial_members,
        alone,
        voters: VoterRules {
            voters_max: cluster.voters_max as usize,
            stable_for: STABLE_FOR,
        },
        #[cfg(feature = "testing")]
        faults: crate::actors::replicator::faults::LinkFaults::new(),
    }
}

/// Well above a batch, so that one which is too large is refused by us, with a reason, and not by the transport.
fn message_bytes_max(batch_bytes_max: usize) -> usize {
    (batch_bytes_max * 2).max(4 << 20)
}
