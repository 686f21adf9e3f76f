//! Which process is a node. A copy of a data directory makes two processes of one node id, and on disk nothing tells them apart; each has
//! promised what the other does not know of, so only one of them may vote.
//!
//! Every process draws a number at its start, and says it to peers. A peer lets one process at a time be the node: the one that has a
//! connection with it. Another one is refused until the last such connection is closed, which a process that ends does at once, and
//! one whose machine is gone within `KEEPALIVE_EVERY + KEEPALIVE_WITHIN`. Who is refused so takes no part: it answers no
//! peer and asks none but those that refuse it, until they do not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{clock, types::NodeId};

/// For how long a refusal stands that is not said again: longer than a link rests between two tries, its try included. Afterwards the peer
/// that said it is gone, or has no say any more.
const STANDS_FOR: Duration = Duration::from_secs(10);

/// One life of a node's process: a number drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Another process has the node's id, and is connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another process is node {node} at present, connected at {connected}; the one at {refused} has the same id: was its data directory \
     copied?"
)]
pub struct Rival {
    /// The node.
    pub node: NodeId,
    /// Where the process is that is connected.
    pub connected: String,
    /// Where the other one is.
    pub refused: String,
}

/// Which process each peer is, as long as it has a connection with this node, whichever side opened it. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Incarnations {
    holders: Arc<Mutex<BTreeMap<NodeId, Holder>>>,
}

#[derive(Debug)]
struct Holder {
    incarnation: Incarnation,
    /// Where its first connection came from; once this node has opened one, where that leads.
    address: String,
    connections: usize,
}

/// A connection with the process that is the node. Dropped with the connection.
#[derive(Debug)]
pub struct Hold {
    incarnations: Incarnations,
    node: NodeId,
    incarnation: Incarnation,
}

impl Incarnations {
    /// A connection with that process of the node, at `address`, is open.
    ///
    /// Errors: another process is the node.
    pub fn hold(&self, node: NodeId, incarnation: Incarnation, address: &str) -> Result<Hold, Rival> {
        let mut holders = self.holders();
        let holder = holders.entry(node).or_insert_with(|| Holder {
            incarnation,
            address: address.to_owned(),
            connections: 0,
        });
        if holder.incarnation != incarnation {
            return Err(Rival {
                node,
                connected: holder.address.clone(),
                refused: address.to_owned(),
            });
        }
        holder.connections += 1;
        Ok(Hold {
            incarnations: self.clone(),
            node,
            incarnation,
        })
    }

    /// No panic leaves them half changed.
    fn holders(&self) -> MutexGuard<'_, BTreeMap<NodeId, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The process can be reached at `address`: better to know than where a connection of it comes from.
    pub fn reached_at(&self, address: &str) {
        if let Some(holder) = self.incarnations.holders().get_mut(&self.node) {
            address.clone_into(&mut holder.address);
        }
    }

    /// Whether it is of that process of that node.
    #[must_use]
    pub fn is_of(&self, node: NodeId, incarnation: Incarnation) -> bool {
        (self.node, self.incarnation) == (node, incarnation)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holders = self.incarnations.holders();
        if let Some(holder) = holders.get_mut(&self.node) {
            holder.connections -= 1;
            if holder.connections == 0 {
                holders.remove(&self.node);
            }
        }
    }
}

/// Which peers take another process for this node. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Contest {
    refusals: Arc<watch::Sender<BTreeMap<NodeId, Refusal>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    first: Instant,
    last: Instant,
}

impl Refusal {
    fn stands(&self) -> bool {
        self.last.elapsed() < STANDS_FOR
    }
}

impl Contest {
    /// `peer` says that another process is this node.
    pub fn refused_by(&self, peer: NodeId) {
        let now = clock::now();
        self.refusals.send_modify(|refusals| {
            refusals.retain(|_, refusal| refusal.stands());
            let refusal = refusals.entry(peer).or_insert(Refusal {
                first: now,
                last: now,
            });
            refusal.last = now;
        });
    }

    /// For how long `peer` has said so; `None` when it does not.
    #[must_use]
    pub fn lasts_with(&self, peer: NodeId) -> Option<Duration> {
        let refusals = self.refusals.borrow();
        let refusal = refusals.get(&peer).filter(|refusal| refusal.stands())?;
        Some(refusal.last.saturating_duration_since(refusal.first))
    }

    /// `peer` takes this process for the node.
    pub fn accepted_by(&self, peer: NodeId) {
        self.refusals
            .send_if_modified(|refusals| refusals.remove(&peer).is_some());
    }

    /// Whether some peer takes another process for this node: then this one takes no part.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.refusals.borrow().values().any(Refusal::stands)
    }

    /// Whether `peer` may be asked: anybody, but during a contest only those that have refused this process.
    #[must_use]
    pub fn may_ask(&self, peer: NodeId) -> bool {
        !self.is_on() || self.refusals.borrow().contains_key(&peer)
    }

    /// Waits for a contest.
    ///
    /// Cancel: safe.
    pub async fn begins(&self) {
        let mut refusals = self.refusals.subscribe();
        // An error would mean that the sender is gone, which is here.
        drop(
            refusals
                .wait_for(|refusals| refusals.values().any(Refusal::stands))
                .await,
        );
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const NODE: NodeId = NodeId(7);
    const OLD: Incarnation = Incarnation(1);
    const NEW: Incarnation = Incarnation(2);

    #[test]
    fn one_process_at_a_time_is_a_node_and_the_next_one_when_it_has_no_connection() {
        let incarnations = Incarnations::default();
        let bulk = incarnations.hold(NODE, OLD, "a:1").unwrap();
        let control = incarnations.hold(NODE, OLD, "a:2").unwrap();
        assert!(bulk.is_of(NODE, OLD) && !bulk.is_of(NODE, NEW));
        let rival = incarnations.hold(NODE, NEW, "b:1").unwrap_err();
        assert_eq!((rival.connected.as_str(), rival.refused.as_str()), ("a:1", "b:1"));
        let _other = incarnations.hold(NodeId(8), NEW, "c:1").unwrap();
        drop(bulk);
        incarnations.hold(NODE, NEW, "b:1").unwrap_err();
        drop(control);
        let _new = incarnations.hold(NODE, NEW, "b:1").unwrap();
        incarnations.hold(NODE, OLD, "a:1").unwrap_err();
    }

    #[test]
    fn who_is_refused_asks_nobody_but_those_who_refuse_it_until_they_do_not() {
        let contest = Contest::default();
        assert!(!contest.is_on() && contest.may_ask(NODE));
        assert_eq!(contest.begins().now_or_never(), None);
        contest.refused_by(NODE);
        assert!(contest.is_on() && contest.may_ask(NODE) && !contest.may_ask(NodeId(8)));
        assert_eq!(contest.begins().now_or_never(), Some(()));
        contest.accepted_by(NodeId(8));
        assert!(contest.is_on());
        contest.accepted_by(NODE);
        assert!(!contest.is_on() && contest.may_ask(NodeId(8)));
    }
}
