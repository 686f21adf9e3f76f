//! The keys of gossip, and their change while the node runs.

use std::sync::Arc;

use memberlist::{keyring::Keyring, proto::SecretKey};
use tokio::sync::watch;

use crate::types::{GossipKey, GossipKeys};

/// The keys that this node's gossip is encrypted with; clones are the same ring.
#[derive(Clone, Debug)]
pub struct GossipRing(Arc<watch::Sender<Option<GossipKeys>>>);

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
        Self(Arc::new(watch::Sender::new(keys)))
    }

    /// The keys at present.
    #[must_use]
    pub fn keys(&self) -> Option<GossipKeys> {
        self.0.borrow().clone()
    }

    /// Replaces the keys: what is said from now on is encrypted with the first, and what is heard may be with any of them.
    /// Answers whether they are others.
    ///
    /// Errors: `NotEncrypted`.
    pub fn set(&self, keys: GossipKeys) -> Result<bool, NotEncrypted> {
        let mut result = Err(NotEncrypted);
        self.0.send_if_modified(|current| {
            let Some(current) = current else { return false };
            let changes = *current != keys;
            result = Ok(changes);
            *current = keys;
            changes
        });
        result
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<GossipKeys>> {
        self.0.subscribe()
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
    }
}
