//! What memberlist tells from under its lock: flags and verdicts, never a queue.
//!
//! Its delegates are called in the middle of its work, so they do no more than to note something here and to wake the
//! actor, which then reads the whole state. However much happens meanwhile, there is one thing to look at.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{Tags, TagsError};

/// Strangers remembered at a time; ids can be made up. One that does not fit is refused all the same.
const STRANGERS_MAX: usize = 256;

/// A node that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    /// Where it gossips.
    pub(super) address: SocketAddr,
    /// Why it is not let in.
    pub(super) why: Strangeness,
}

/// Why a node is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Strangeness {
    /// It belongs to another cluster.
    Foreign(Box<Tags>),
    /// It is no node of ours, or of a program that is too new.
    Unreadable(TagsError),
}

#[derive(Debug, Default)]
struct Notes {
    strangers: BTreeMap<String, Stranger>,
    /// Where this node can be reached, once it knows.
    own_address: Option<SocketAddr>,
    /// The wrong address that others hold for this node.
    mistaken_for: Option<SocketAddr>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    notes: Mutex<Notes>,
    wake: Notify,
}

impl Inbox {
    /// Something changed.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until something changed since the last time. Cancel: safe.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// The node of that memberlist id was let in.
    pub(super) fn let_in(&self, id: &str) {
        self.notes().strangers.remove(id);
    }

    /// The node of that memberlist id was not let in.
    pub(super) fn refuse(&self, id: &str, stranger: Stranger) {
        let mut notes = self.notes();
        if notes.strangers.len() < STRANGERS_MAX || notes.strangers.contains_key(id) {
            notes.strangers.insert(id.to_owned(), stranger);
        }
        drop(notes);
        self.wake();
    }

    /// This node can be reached there.
    pub(super) fn is_at(&self, address: SocketAddr) {
        self.notes().own_address = Some(address);
    }

    /// Others hold this address for this node; maybe it is the right one.
    pub(super) fn held_at(&self, address: SocketAddr) {
        if self.notes().own_address.is_some_and(|own| own != address) {
            self.mistake(address);
        }
    }

    /// Others hold this wrong address for this node.
    pub(super) fn mistake(&self, address: SocketAddr) {
        self.notes().mistaken_for = Some(address);
        self.wake();
    }

    /// All nodes that are not let in, by their memberlist id.
    pub(super) fn strangers(&self) -> BTreeMap<String, Stranger> {
        self.notes().strangers.clone()
    }

    /// The address that others held for this node since this was last asked.
    pub(super) fn take_mistake(&self) -> Option<SocketAddr> {
        self.notes().mistaken_for.take()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // No note is left half made by a panic.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn stranger(port: u16) -> Stranger {
        Stranger {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            why: Strangeness::Unreadable(TagsError::Version { found: 9 }),
        }
    }

    #[test]
    fn many_changes_are_one_to_whoever_looks() {
        let inbox = Inbox::default();
        assert_eq!(inbox.changed().now_or_never(), None);
        inbox.wake();
        inbox.refuse("1", stranger(1));
        assert_eq!(inbox.changed().now_or_never(), Some(()));
        assert_eq!(inbox.changed().now_or_never(), None);
    }

    #[test]
    fn a_stranger_is_one_until_it_is_let_in() {
        let inbox = Inbox::default();
        inbox.refuse("1", stranger(1));
        inbox.refuse("1", stranger(2));
        assert_eq!(inbox.strangers(), BTreeMap::from([("1".to_owned(), stranger(2))]));
        inbox.let_in("1");
        assert_eq!(inbox.strangers(), BTreeMap::new());
    }

    #[test]
    fn strangers_are_bounded() {
        let inbox = Inbox::default();
        for id in 0..2 * STRANGERS_MAX {
            inbox.refuse(&id.to_string(), stranger(1));
        }
        inbox.refuse("0", stranger(2));
        let strangers = inbox.strangers();
        assert_eq!((strangers.len(), &strangers["0"]), (STRANGERS_MAX, &stranger(2)));
    }

    #[test]
    fn a_mistake_is_told_once() {
        let inbox = Inbox::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        inbox.mistake(address);
        assert_eq!(inbox.take_mistake(), Some(address));
        assert_eq!(inbox.take_mistake(), None);
    }

    #[test]
    fn an_address_that_others_hold_is_a_mistake_when_it_is_not_the_own_one() {
        let inbox = Inbox::default();
        let [own, other] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        inbox.held_at(other);
        assert_eq!(inbox.take_mistake(), None, "its own is not known yet");
        inbox.is_at(own);
        inbox.held_at(own);
        assert_eq!(inbox.take_mistake(), None);
        inbox.held_at(other);
        assert_eq!(inbox.take_mistake(), Some(other));
    }
}
