//! What this node says about itself, for whoever learns more about it.

use std::sync::Arc;

use smol_str::SmolStr;
use tokio::sync::watch;

use crate::types::ClusterId;

use super::{NodeIdentity, Standing, Tags, TagsError};

/// This node's tags. Cheap to clone, changed from any thread; MembershipActor spreads every change.
///
/// They live outside of the actor, so that a change is not lost that comes while it is built again.
#[derive(Clone, Debug)]
pub struct OwnTags {
    tags: Arc<watch::Sender<Tags>>,
}

impl OwnTags {
    /// The tags of a node that has just started.
    ///
    /// Errors: a name that no tags can hold.
    pub fn new(identity: &NodeIdentity, cluster_name: &str) -> Result<Self, TagsError> {
        let tags = Tags {
            node_id: identity.node_id,
            node_name: identity.name.clone(),
            cluster_name: cluster_name.to_owned(),
            cluster_id: None,
            rpc_address: None,
            standing: Standing::Joining,
            has_data: false,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        tags.encode()?;
        Ok(Self {
            tags: Arc::new(watch::Sender::new(tags)),
        })
    }

    /// The tags as they are now.
    #[must_use]
    pub fn get(&self) -> Tags {
        self.tags.borrow().clone()
    }

    /// Where clients and peers connect to, `host:port`, once that is bound.
    ///
    /// Errors: not such an address.
    pub fn set_rpc_address(&self, address: &str) -> Result<(), TagsError> {
        self.change(|tags| tags.rpc_address = Some(address.to_owned()))
    }

    /// The cluster that the node founded or adopted.
    ///
    /// Errors: the id is 0.
    pub fn set_cluster_id(&self, cluster_id: ClusterId) -> Result<(), TagsError> {
        self.change(|tags| tags.cluster_id = Some(cluster_id))
    }

    /// Whether anything of a log is on its disk.
    pub fn set_has_data(&self, has_data: bool) {
        self.change_surely(|tags| tags.has_data = has_data);
    }

    /// How it stands to its cluster. A node that is leaving stays so.
    pub fn set_standing(&self, standing: Standing) {
        self.change_surely(|tags| {
            if tags.standing != Standing::Leaving {
                tags.standing = standing;
            }
        });
    }

    /// The node's id in memberlist.
    pub(super) fn id(&self) -> SmolStr {
        SmolStr::from(self.tags.borrow().node_id.to_string())
    }

    /// The tags and every later change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Tags> {
        self.tags.subscribe()
    }

    /// Wakes MembershipActor only when it makes a difference.
    fn change(&self, change: impl FnOnce(&mut Tags)) -> Result<(), TagsError> {
        let mut result = Ok(());
        self.tags.send_if_modified(|tags| {
            let mut changed = tags.clone();
            change(&mut changed);
            result = changed.encode().map(drop);
            let differs = result.is_ok() && changed != *tags;
            if differs {
                *tags = changed;
            }
            differs
        });
        result
    }

    fn change_surely(&self, change: impl FnOnce(&mut Tags)) {
        self.change(change)
            .expect("it changes no value that could be wrong");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    fn own() -> OwnTags {
        let identity = NodeIdentity {
            node_id: NodeId(7),
            name: "node-0".to_owned(),
        };
        OwnTags::new(&identity, "annals").unwrap()
    }

    #[test]
    fn a_change_is_seen_by_all_and_wakes_once() {
        let own = own();
        let mut changes = own.clone().subscribe();
        own.set_rpc_address("127.0.0.1:8400").unwrap();
        own.set_has_data(true);
        assert!(changes.has_changed().unwrap());
        let tags = changes.borrow_and_update().clone();
        assert_eq!(tags, own.get());
        assert_eq!(
            (tags.rpc_address.as_deref(), tags.has_data),
            (Some("127.0.0.1:8400"), true)
        );
        own.set_has_data(true);
        assert!(!changes.has_changed().unwrap());
    }

    #[test]
    fn what_cannot_be_said_is_refused_and_changes_nothing() {
        let own = own();
        let before = own.get();
        assert!(own.set_rpc_address("nowhere").is_err());
        assert!(own.set_cluster_id(ClusterId(0)).is_err());
        assert_eq!(own.get(), before);
        let nameless = NodeIdentity {
            node_id: NodeId(7),
            name: String::new(),
        };
        assert!(OwnTags::new(&nameless, "annals").is_err());
    }

    #[test]
    fn a_node_that_is_leaving_stays_so() {
        let own = own();
        own.set_standing(Standing::Leaving);
        own.set_standing(Standing::Member);
        assert_eq!(own.get().standing, Standing::Leaving);
    }
}
