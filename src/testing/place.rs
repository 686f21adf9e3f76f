//! Where a node keeps its data, over several of its lives, and what it is made from.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tonic::transport::ClientTlsConfig;

use super::{LinkFaults, pace, waiting::DEADLINE};
use crate::{
    actors::{
        membership::{ClusterOptions, GossipRing, GossipTiming},
        raft::{ScrubPace, VoterRules},
    },
    consensus, net,
    node::{ClusterSetup, NodeOptions},
    storage::{
        LogOptions, Retention,
        data_dir::{DataDir, Identity},
        fs::{FileSystem, RealFileSystem},
        has_been_used,
    },
    tls::NodeTls,
    types::ClusterId,
};

/// The name of a node that is alone.
const NODE_NAME: &str = "node-0";

/// What the names of temporary directories begin with, so that one that was left behind by a kill is known for what it is.
const DIRECTORY_PREFIX: &str = "annals-test-";

/// What nodes and those who call them show to each other, where everything is encrypted.
pub trait Certificates: fmt::Debug + Send + Sync {
    /// The TLS of the node of that name.
    fn of_node(&self, name: &str) -> NodeTls;

    /// The TLS of a client of that name.
    fn of_client(&self, name: &str) -> ClientTlsConfig;
}

/// Where a node keeps its data, over several of its lives: a temporary directory, which goes with this.
#[derive(Debug)]
pub struct Place {
    name: String,
    /// The node is a cluster by itself.
    alone: bool,
    directory: TempDir,
    file_system: Arc<dyn FileSystem>,
    certificates: Option<Arc<dyn Certificates>>,
    /// Whose certificate the node has; `None`: its own.
    certified_as: Option<String>,
}

impl Place {
    /// On the machine's disk.
    ///
    /// Panics: the machine has no room for a temporary directory.
    #[must_use]
    pub fn real() -> Self {
        Self::on(Arc::new(RealFileSystem))
    }

    /// On another disk. The lock is on the machine's all the same.
    ///
    /// Panics: as [`Place::real`].
    #[must_use]
    pub fn on(file_system: Arc<dyn FileSystem>) -> Self {
        Self {
            name: NODE_NAME.to_owned(),
            alone: true,
            directory: temporary_directory(),
            file_system,
            certificates: None,
            certified_as: None,
        }
    }

    /// That of a node of this name, which comes to a cluster of several.
    #[must_use]
    pub fn among_others(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            alone: false,
            ..self
        }
    }

    /// That of a node that has TLS.
    #[must_use]
    pub fn secured<C: Certificates + 'static>(mut self, certificates: &Arc<C>) -> Self {
        self.secure(certificates);
        self
    }

    /// Gives a node that does not run TLS.
    pub(super) fn secure<C: Certificates + 'static>(&mut self, certificates: &Arc<C>) {
        self.certificates = Some(certificates.clone());
    }

    /// That of a node that has no TLS, whatever it had before.
    #[must_use]
    pub fn unsecured(self) -> Self {
        Self {
            certificates: None,
            certified_as: None,
            ..self
        }
    }

    /// That of a node that has the certificate of another one.
    #[must_use]
    pub fn certified_as(self, name: &str) -> Self {
        Self {
            certified_as: Some(name.to_owned()),
            ..self
        }
    }

    /// Where its certificate comes from.
    #[must_use]
    pub fn certificates(&self) -> Option<&Arc<dyn Certificates>> {
        self.certificates.as_ref()
    }

    /// The node that has lived here, or the one that will.
    ///
    /// Panics: a node lives here now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let data_dir = DataDir::open(self.file_system.clone(), self.directory.path(), NODE_NAME);
        data_dir
            .expect("the node before has let go of the directory")
            .identity()
            .clone()
    }

    /// A copy of the data of a node that does not run.
    ///
    /// Panics: the machine has no room for it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let directory = temporary_directory();
        copy_files(self.directory.path(), directory.path()).expect("it can be copied");
        Self {
            name: self.name.clone(),
            alone: self.alone,
            directory,
            file_system: self.file_system.clone(),
            certificates: self.certificates.clone(),
            certified_as: self.certified_as.clone(),
        }
    }

    /// The same with nothing in it: an empty disk in the place of the old one, on the machine.
    ///
    /// Panics: as [`Place::real`].
    pub(super) fn emptied(&self) -> Self {
        Self {
            certificates: self.certificates.clone(),
            ..Self::real().among_others(&self.name)
        }
    }

    /// The same data as another disk shows it.
    #[must_use]
    pub fn seen_through(self, file_system: Arc<dyn FileSystem>) -> Self {
        Self { file_system, ..self }
    }

    /// The node's data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the log is.
    #[must_use]
    pub fn log_directory(&self) -> PathBuf {
        self.directory.path().join("logs").join("default")
    }

    /// What a node here is made from: small segments, quick restarts, no patience lost.
    pub(super) fn options(&self) -> (NodeOptions, DataDir) {
        let open = if self.alone {
            DataDir::open
        } else {
            DataDir::open_without_cluster
        };
        let data_dir = open(self.file_system.clone(), self.directory.path(), &self.name)
            .expect("the node before has let go of the directory");
        let directory = data_dir.log_dir("default").expect("the disk is well so far");
        let has_data = has_been_used(&*self.file_system, &directory).expect("it can be listed");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = NodeOptions {
            node_name: self.name.clone(),
            file_system: self.file_system.clone(),
            log: LogOptions {
                directory,
                cluster_id: data_dir.identity().cluster_id.unwrap_or(ClusterId(0)),
                segment_bytes: 1 << 20,
                segment_age_ms: u64::MAX,
                tail_cache_bytes: 64 << 10,
                open_files_max: 4,
                prezero_bytes_per_second: 0,
            },
            free_bytes_min: 0,
            retention: Retention::default(),
            retention_every: Duration::from_millis(20),
            consensus: consensus::Timing::default(),
            scrub: ScrubPace::default(),
            cluster: alone(),
            has_data,
            policy: None,
            gossip_key_file: None,
            net: net::Options {
                rpc_address: any_port,
                admin_address: any_port,
                batch_bytes_max: 64 << 10,
                admission_bytes: 4 << 20,
                request_timeout: DEADLINE,
                drain_timeout: Duration::from_secs(2),
                ..net::Options::default()
            },
            tls: self
                .certificates
                .as_ref()
                .map(|certificates| certificates.of_node(self.certified_as.as_ref().unwrap_or(&self.name))),
            timing: pace::supervision(),
        };
        (options, data_dir)
    }
}

fn temporary_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix(DIRECTORY_PREFIX).tempdir();
    directory.expect("the machine has a disk")
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let copy = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy_files(&file.path(), &copy)?;
        } else {
            fs::copy(file.path(), copy)?;
        }
    }
    Ok(())
}

/// A node that is a cluster by itself and does not gossip.
fn alone() -> ClusterSetup {
    ClusterSetup {
        gossip: ClusterOptions {
            name: "annals".to_owned(),
            seeds: Vec::new(),
            gossip_keys: GossipRing::new(None),
            advertise: None,
        },
        listen: None,
        gossip_timing: GossipTiming::default(),
        initial_members: vec![NODE_NAME.to_owned()],
        alone: true,
        voters: VoterRules {
            voters_max: 5,
            stable_for: Duration::from_secs(10),
        },
        faults: LinkFaults::new(),
    }
}
