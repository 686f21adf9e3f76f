//! What memberlist (0.8.5) asks of this node and tells it, from under its lock: nothing here waits.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use memberlist::{
    delegate::{
        AliveDelegate, CompositeDelegate, ConflictDelegate, EventDelegate, MergeDelegate, NodeDelegate,
        VoidDelegate,
    },
    proto::{Meta, NodeState},
};
use smol_str::SmolStr;

use super::{
    OwnTags, Tags,
    inbox::{Inbox, Strangeness, Stranger},
};

/// A node's id in memberlist: its node id as text.
pub(super) type Id = SmolStr;
type Node = Arc<NodeState<Id, SocketAddr>>;
type Nothing = VoidDelegate<Id, SocketAddr>;
/// All of this node's delegates.
pub(super) type Ears = CompositeDelegate<Id, SocketAddr, Door, Claims, Changes, Exchanges, OwnMeta, Nothing>;

/// The delegates of a node that says `own` about itself and hears into `inbox`.
pub(super) fn ears(own: &OwnTags, inbox: &Arc<Inbox>) -> Ears {
    CompositeDelegate::new()
        .with_alive_delegate(Door {
            own: own.clone(),
            inbox: Arc::clone(inbox),
        })
        .with_conflict_delegate(Claims {
            own: own.clone(),
            inbox: Arc::clone(inbox),
        })
        .with_event_delegate(Changes(Arc::clone(inbox)))
        .with_merge_delegate(Exchanges {
            own: own.clone(),
            inbox: Arc::clone(inbox),
        })
        .with_node_delegate(OwnMeta(own.clone()))
}

/// Lets in the nodes of this cluster alone. memberlist asks before it takes in anything about a node, so that nothing mixes,
/// whoever joined whom.
pub(super) struct Door {
    own: OwnTags,
    inbox: Arc<Inbox>,
}

/// A node is not let in; told to memberlist, which logs it.
#[derive(Debug, thiserror::Error)]
#[error("it is not of this cluster")]
pub(super) struct NotOfThisCluster;

impl Door {
    fn judge(&self, node: &NodeState<Id, SocketAddr>) -> Result<(), Strangeness> {
        let tags = Tags::decode(node.id(), node.meta().as_bytes()).map_err(Strangeness::Unreadable)?;
        let own = self.own.get();
        let is_foreign = tags.cluster_name != own.cluster_name
            || matches!((tags.cluster_id, own.cluster_id), (Some(other), Some(own)) if other != own);
        // What others hold for this node itself may be of an earlier run, and must come through to be corrected.
        if is_foreign && tags.node_id != own.node_id {
            return Err(Strangeness::Foreign(Box::new(tags)));
        }
        Ok(())
    }
}

impl AliveDelegate for Door {
    type Error = NotOfThisCluster;
    type Id = Id;
    type Address = SocketAddr;

    async fn notify_alive(&self, peer: Node) -> Result<(), NotOfThisCluster> {
        match self.judge(&peer) {
            Ok(()) => {
                self.inbox.let_in(peer.id());
                Ok(())
            }
            Err(why) => {
                let address = *peer.address();
                self.inbox.refuse(peer.id(), Stranger { address, why });
                Err(NotOfThisCluster)
            }
        }
    }
}

/// Hears when two addresses claim one node id. memberlist keeps the first for as long as it is alive.
pub(super) struct Claims {
    own: OwnTags,
    inbox: Arc<Inbox>,
}

impl ConflictDelegate for Claims {
    type Id = Id;
    type Address = SocketAddr;

    async fn notify_conflict(&self, existing: Node, other: Node) {
        // Of others nothing needs to be done: either the old one is found dead, or it lives and is in the right.
        if *existing.id() == self.own.id() {
            self.inbox.mistake(*other.address());
        }
    }
}

/// Sees what others hold at each joining. That this node was at another address is told by nothing else while they suspect
/// that address: they refuse the new one then, and answer no word of it.
pub(super) struct Exchanges {
    own: OwnTags,
    inbox: Arc<Inbox>,
}

impl MergeDelegate for Exchanges {
    type Error = Infallible;
    type Id = Id;
    type Address = SocketAddr;

    async fn notify_merge(&self, peers: Arc<[NodeState<Id, SocketAddr>]>) -> Result<(), Infallible> {
        let own_id = self.own.id();
        if let Some(held) = peers.iter().find(|node| *node.id() == own_id) {
            self.inbox.held_at(*held.address());
        }
        Ok(())
    }
}

/// Hears that something changed.
pub(super) struct Changes(Arc<Inbox>);

impl EventDelegate for Changes {
    type Id = Id;
    type Address = SocketAddr;

    async fn notify_join(&self, _: Node) {
        self.0.wake();
    }

    async fn notify_leave(&self, _: Node) {
        self.0.wake();
    }

    async fn notify_update(&self, _: Node) {
        self.0.wake();
    }
}

/// Tells what this node says about itself.
pub(super) struct OwnMeta(OwnTags);

impl NodeDelegate for OwnMeta {
    async fn node_meta(&self, _: usize) -> Meta {
        let bytes = self
            .0
            .get()
            .encode()
            .expect("own tags are checked when they change");
        Meta::try_from(bytes).expect("tags are shorter than what memberlist carries")
    }
}
