//! What every service stands on: one immutable value, shared by all calls of a generation of the gateway.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use slog::Logger;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{committer::Leadership, peer::PeerIdentity, read_path::ReadPath},
    net::{
        Options,
        admission::Admission,
        authorization::{AuditCounts, Authorization},
        cluster::ClusterPort,
        consume::pace::{CHUNK_BYTES_MIN, Shelf},
        echo::beginning,
        peers::PeerServing,
        port::CommitterPort,
        refusals::RefusalCounts,
        status::Refusal,
        vitals::{Readiness, Vitals},
    },
    proto::raw::annals::v1::ResponseHeader,
    tls::NodeTls,
    types::NodeId,
};

/// The name of the one log there is.
pub const DEFAULT_LOG: &str = "default";

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// It and its cluster, as peers know it.
    pub peer: PeerIdentity,
    /// Its number, for ever.
    pub node_id: NodeId,
    /// Its name, by configuration.
    pub node_name: String,
}

/// What the gateway is given by the rest of the node; outlives its restarts.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Addresses, limits and times.
    pub options: Options,
    /// Who this node is.
    pub identity: Identity,
    /// Whoever commits.
    pub committer: CommitterPort,
    /// The log, for reading.
    pub read_path: ReadPath,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// How far the node is.
    pub readiness: watch::Receiver<Readiness>,
    /// What the node says about itself.
    pub vitals: Arc<dyn Vitals>,
    /// The cluster; `None` where only the gateway is there, as in tests.
    pub cluster: Option<ClusterPort>,
    /// Who may do what; `None` where nobody is asked.
    pub authorization: Option<Authorization>,
    /// What answering peers takes; `None` for a node that stands alone.
    pub peers: Option<PeerServing>,
    /// Who is let in, and who this node is to them; `None` where nothing is encrypted and nobody is asked.
    pub tls: Option<NodeTls>,
    /// Where events are logged.
    pub log: Logger,
}

/// What is read at a time for all consuming streams together: enough for as many that a disk and a network are busy.
const CHUNKS_BYTES: usize = 8 << 20;

/// Shared by all services.
#[derive(Debug)]
pub struct Context {
    /// What the rest of the node gave.
    pub parts: Parts,
    /// `parts.options`, nearer.
    pub options: Options,
    cluster_id_text: OnceLock<String>,
    /// What clients are told to connect to.
    pub rpc_address: String,
    /// Room for batches that wait for their commit.
    pub admission: Admission,
    /// Places for consuming streams.
    pub consumers: Arc<Semaphore>,
    /// Room for what was read for them and waits.
    pub shelf: Shelf,
    /// Room for reads of files.
    pub reads: Arc<Semaphore>,
    /// How much is in the audit trail.
    pub audit: Arc<AuditCounts>,
    /// Who was refused at the entrance.
    pub refusals: Arc<RefusalCounts>,
    /// Cancelled when the gateway drains or is dropped.
    pub draining: CancellationToken,
}

impl Context {
    /// For a gateway that listens on `rpc_address`.
    #[must_use]
    pub fn new(parts: Parts, rpc_address: SocketAddr, draining: CancellationToken) -> Self {
        let options = parts.options.clone();
        Self {
            cluster_id_text: OnceLock::new(),
            rpc_address: options
                .rpc_address_advertised
                .clone()
                .unwrap_or_else(|| rpc_address.to_string()),
            admission: Admission::new(options.admission_bytes, options.batch_bytes_max),
            consumers: Arc::new(Semaphore::new(
                options.consumers_max.clamp(1, Semaphore::MAX_PERMITS),
            )),
            shelf: Shelf::default(),
            reads: Arc::new(Semaphore::new(options.reads_max.max(1))),
            audit: Arc::default(),
            refusals: Arc::default(),
            draining,
            options,
            parts,
        }
    }

    /// The cluster's id as clients see it; empty before the node belongs to one.
    #[must_use]
    pub fn cluster_id_text(&self) -> &str {
        if let Some(text) = self.cluster_id_text.get() {
            return text;
        }
        match self.parts.identity.peer.cluster_id() {
            Some(cluster_id) => self.cluster_id_text.get_or_init(|| cluster_id.to_string()),
            None => "",
        }
    }

    /// The header of a response that is sent now.
    #[must_use]
    pub fn header(&self) -> ResponseHeader {
        let leadership = self.parts.leadership.borrow();
        ResponseHeader {
            cluster_id: self.cluster_id_text().to_owned(),
            node_id: self.parts.identity.node_id.get(),
            leader_id: leadership.leader.map_or(0, NodeId::get),
            term: leadership.term.get(),
            high_watermark: self.parts.read_path.high_watermark().get(),
        }
    }

    /// A place for a consuming stream, for as long as it is open.
    ///
    /// Errors: `TooManyConsumers`.
    pub fn admit_consumer(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let refused = |_| Refusal::TooManyConsumers {
            consumers_max: self.options.consumers_max,
        };
        Arc::clone(&self.consumers).try_acquire_owned().map_err(refused)
    }

    /// How much is read for a consumer at a time: all that is read for streams which are not being read from stays in memory, so
    /// each has less of it when there are many.
    #[must_use]
    pub fn consume_chunk_bytes(&self) -> usize {
        let most = self.options.consume_chunk_bytes;
        let free = self.consumers.available_permits();
        let open = self.options.consumers_max.saturating_sub(free).max(1);
        (CHUNKS_BYTES / open).max(CHUNK_BYTES_MIN).min(most)
    }

    /// Checks the name of a log in a request.
    ///
    /// Errors: `UnknownLog`.
    pub fn check_log(&self, name: &str) -> Result<(), Refusal> {
        if name.is_empty() || name == DEFAULT_LOG {
            Ok(())
        } else {
            Err(Refusal::UnknownLog {
                name: beginning(name).to_owned(),
            })
        }
    }
}
