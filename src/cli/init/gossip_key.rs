//! The file with the key that gossip of a new cluster is encrypted with.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Bytes of a key: the longest kind, AES-256.
const KEY_BYTES: usize = 32;

/// What a file says that holds one key, which nobody can guess.
pub(super) fn file_with_new_key() -> String {
    let bytes: [u8; KEY_BYTES] = rand::random();
    format!(
        "# Keys of the cluster's gossip, the same on all nodes: the first is in use, the others are understood. It may be changed while\n\
         # nodes run, in three steps (docs/operations.md, \"Replacing the keys of gossip\"). `openssl rand -base64 32` makes a new one.\n\
         {}\n",
        BASE64_STANDARD.encode(bytes)
    )
}
