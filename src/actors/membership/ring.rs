//! The keys of gossip, and their change while the node runs.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use memberlist::{keyring::Keyring, proto::SecretKey};
use tokio::sync::watch;

use crate::types::{GossipKey, GossipKeys};

/// The keys that this node's gossip is encrypted with; clones are the same ring.
#[derive(Clone, Debug)]
pub struct GossipRing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: watch::Sender<Option<GossipKeys>>,
    /// Counts keys that came into force.
    reloads: AtomicU64,
    /// Counts keys that were to come into force and were wrong.
    failures: AtomicU64,
    /// What is wrong, for as long as it is.
    problem: Mutex<Option<String>>,
}

/// How the keys of a node's gossip stand. Says nothing of what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipKeysStatus {
    /// Keys that are understood; none where gossip is not encrypted.
    pub keys: usize,
    /// How often others came into force.
    pub reloads: u64,
    /// How often others did not, since they were wrong.
    pub failures: u64,
    /// What is wrong with those that are to come into force; what was in force before is still.
    pub problem: Option<String>,
}

/// Gossip began without a key, and memberlist cannot begin to encrypt later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "gossip is not encrypted on this node, and begins to be only with a restart; restart the nodes one after the other"
)]
pub struct NotEncrypted;

impl GossipRing {
    /// A ring of these keys; `None`: gossip is not encrypted.
    #[must_use]
    pub fn new(keys: Option<GossipKeys>) -> Self {
        Self(Arc::new(Shared {
            keys: watch::Sender::new(keys),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            problem: Mutex::default(),
        }))
    }

    /// The keys at present.
    #[must_use]
    pub fn keys(&self) -> Option<GossipKeys> {
        self.0.keys.borrow().clone()
    }

    /// Replaces the keys: what is said from now on is encrypted with the first, and what is heard may be with any of them.
    /// Answers whether they are others.
    ///
    /// Errors: `NotEncrypted`.
    pub fn set(&self, keys: GossipKeys) -> Result<bool, NotEncrypted> {
        let mut result = Err(NotEncrypted);
        self.0.keys.send_if_modified(|current| {
            let Some(current) = current else { return false };
            let changes = *current != keys;
            result = Ok(changes);
            *current = keys;
            changes
        });
        if result == Ok(true) {
            self.0.reloads.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Notes what is wrong with the keys that were to come into force, or that nothing is any more. Answers what was before. Counted
    /// is what was not known already.
    pub fn note_problem(&self, problem: Option<String>) -> Option<String> {
        let mut noted = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if problem.is_some() && *noted != problem {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
        }
        mem::replace(&mut noted, problem)
    }

    /// How they stand.
    #[must_use]
    pub fn status(&self) -> GossipKeysStatus {
        GossipKeysStatus {
            keys: self
                .0
                .keys
                .borrow()
                .as_ref()
                .map_or(0, |keys| keys.iter().count()),
            reloads: self.0.reloads.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
            problem: self
                .0
                .problem
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<GossipKeys>> {
        self.0.keys.subscribe()
    }
}

/// As memberlist has it.
pub(super) fn secret(key: GossipKey) -> SecretKey {
    match key {
        GossipKey::Aes128(bytes) => SecretKey::Aes128(bytes),
        GossipKey::Aes192(bytes) => SecretKey::Aes192(bytes),
        GossipKey::Aes256(bytes) => SecretKey::Aes256(bytes),
    }
}

/// Makes memberlist's ring the same as `keys`. At no moment does it lack a key that was there before and is there behind.
pub(super) fn turn(ring: &Keyring, keys: &GossipKeys) {
    let wanted: Vec<SecretKey> = keys.iter().map(secret).collect();
    for key in &wanted {
        ring.insert(*key);
    }
    if let Some(first) = wanted.first() {
        // It was put there just now.
        let _in_use = ring.use_key(first.as_ref());
    }
    for key in ring.keys().filter(|key| !wanted.contains(key)) {
        // The first is wanted.
        let _removed = ring.remove(key.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> GossipKeys {
        let keys = bytes.iter().map(|byte| GossipKey::Aes128([*byte; 16]));
        GossipKeys::new(keys.collect()).unwrap()
    }

    #[test]
    fn a_ring_has_the_keys_that_are_wanted_and_the_first_is_in_use() {
        let ring = Keyring::new(secret(GossipKey::Aes128([1; 16])));
        for wanted in [&[1, 2][..], &[2, 1], &[2, 3], &[4], &[1, 2, 3]] {
            let wanted = keys(wanted);
            turn(&ring, &wanted);
            let mut there: Vec<SecretKey> = ring.keys().collect();
            let mut expected: Vec<SecretKey> = wanted.iter().map(secret).collect();
            assert_eq!(there.first(), expected.first());
            let order = |key: &SecretKey| key.as_ref().to_vec();
            there.sort_by_key(order);
            there.dedup();
            expected.sort_by_key(order);
            assert_eq!(there, expected);
        }
    }

    #[test]
    fn a_node_that_does_not_encrypt_cannot_begin_to() {
        assert_eq!(GossipRing::new(None).set(keys(&[1])), Err(NotEncrypted));
        let ring = GossipRing::new(Some(keys(&[1])));
        assert_eq!(ring.set(keys(&[1])), Ok(false));
        assert_eq!(ring.set(keys(&[2, 1])), Ok(true));
        assert_eq!(ring.keys(), Some(keys(&[2, 1])));
        assert_eq!(ring.status().reloads, 1);
    }

    #[test]
    fn what_is_wrong_is_counted_once_until_it_is_right_again() {
        let ring = GossipRing::new(Some(keys(&[1])));
        let wrong = |text: &str| Some(text.to_owned());
        assert_eq!(ring.note_problem(wrong("a")), None);
        assert_eq!(ring.note_problem(wrong("a")), wrong("a"));
        assert_eq!(ring.note_problem(wrong("b")), wrong("a"));
        let status = |problem, failures| GossipKeysStatus {
            keys: 1,
            reloads: 0,
            failures,
            problem,
        };
        assert_eq!(ring.status(), status(wrong("b"), 2));
        assert_eq!(ring.note_problem(None), wrong("b"));
        assert_eq!(ring.status(), status(None, 2));
        assert_eq!(ring.note_problem(wrong("b")), None);
        assert_eq!(ring.status(), status(wrong("b"), 3));
    }
}
