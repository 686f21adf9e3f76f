//! The key that gossip of a new cluster is encrypted with, and how a configuration is given it.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    config::{Key, keys},
    types::GossipKey,
};

/// Bytes of a key: the longest kind, AES-256.
const KEY_BYTES: usize = 32;

/// A new key, as text too. `Debug` does not show it.
pub(super) struct NewKey {
    key: GossipKey,
    text: String,
}

impl NewKey {
    /// One that nobody can guess.
    pub(super) fn random() -> Self {
        let bytes: [u8; KEY_BYTES] = rand::random();
        Self {
            key: GossipKey::from_bytes(&bytes).expect("a key may have 32 bytes"),
            text: BASE64_STANDARD.encode(bytes),
        }
    }

    /// The key.
    pub(super) fn key(&self) -> GossipKey {
        self.key
    }

    /// What that option is to be, if it is the one that has the key.
    pub(super) fn value_of(&self, option: Key) -> Option<toml::Value> {
        (option == keys::cluster::gossip_key).then(|| self.text.clone().into())
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey(hidden)")
    }
}
