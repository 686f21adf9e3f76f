//! Who a node is to its peers.

use std::sync::{Arc, OnceLock};

use super::{Contest, Incarnation, Incarnations};
use crate::types::{ClusterId, NodeId};

/// Who this node is. The cluster comes later when the node is new: it says nothing to peers, and answers nothing, before it
/// is told which. Cheap to clone; clones share what they learn.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    node_id: NodeId,
    cluster_id: Arc<OnceLock<ClusterId>>,
    incarnation: Incarnation,
    peers: Incarnations,
    contest: Contest,
}

impl PeerIdentity {
    /// A new process of the node `node_id`, of `cluster_id` when that is known.
    #[must_use]
    pub fn new(node_id: NodeId, cluster_id: Option<ClusterId>) -> Self {
        Self {
            node_id,
            cluster_id: Arc::new(cluster_id.map_or_else(OnceLock::new, OnceLock::from)),
            incarnation: Incarnation::draw(),
            peers: Incarnations::default(),
            contest: Contest::default(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// This process of it.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Which processes its peers are.
    #[must_use]
    pub fn peers(&self) -> &Incarnations {
        &self.peers
    }

    /// Whether peers take another process for this node.
    #[must_use]
    pub fn contest(&self) -> &Contest {
        &self.contest
    }

    /// Its cluster, when it has one.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id.get().copied()
    }

    /// It belongs to `cluster_id` from now on, for ever.
    ///
    /// Errors: it belongs to another one, which is returned.
    pub fn join(&self, cluster_id: ClusterId) -> Result<(), ClusterId> {
        let joined = *self.cluster_id.get_or_init(|| cluster_id);
        if joined == cluster_id { Ok(()) } else { Err(joined) }
    }
}
