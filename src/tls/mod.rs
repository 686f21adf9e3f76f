//! TLS: from files to connections whose other end is known.
//!
//! A node has one certificate, under which it serves clients and peers and calls peers; everybody must show one, and who they are
//! stands in it (`certs`). Clients of a node have another kind of material: whom they believe, and perhaps who they are.
//!
//! TLS 1.3, and 1.2 for those who have nothing newer. Sessions are never resumed: a resumed one would be believed without being
//! looked at, whatever has become of its certificate or its authority since.
//!
//! Without the feature `server` there is the half of clients.

mod certificate;
mod client;
mod error;
mod failure;
mod files;
mod handshake;
mod identity;
mod read_ahead;
mod stream;

#[cfg(feature = "server")]
mod accept;
#[cfg(feature = "server")]
mod authorities;
#[cfg(feature = "server")]
mod material;
#[cfg(feature = "server")]
mod node;
#[cfg(feature = "server")]
mod open;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod verifiers;

pub use client::{ClientFiles, ClientTls};
pub use error::{MaterialError, MaterialFile, MaterialProblem};
pub use failure::{Refusal, TlsFailure};
pub use identity::{NodeNames, Unwelcome};
pub use stream::{Fate, Stream};

#[cfg(feature = "server")]
pub use accept::Proven;
#[cfg(feature = "server")]
pub use authorities::{Authorities, Usage};
#[cfg(feature = "server")]
pub use files::{Contents, Files, open_to_others};
#[cfg(feature = "server")]
pub use material::Material;
#[cfg(feature = "server")]
pub use node::{NodeTls, Reloaded, Status};
#[cfg(feature = "server")]
pub use open::{Guest, Outcast};
#[cfg(feature = "server")]
pub use server::{HTTP1_PROTOCOL, HTTP2_PROTOCOL};

use std::sync::Arc;

use rustls::{
    CipherSuite,
    crypto::{CryptoProvider, ring},
};

/// The one library of ciphers that is used, handed over explicitly: nothing here depends on what another library has made the
/// process's default.
///
/// AES of 128 bits comes first: ten rounds where the longer key takes fourteen, and no less than TLS 1.3 demands of everybody
/// (RFC 8446, section 9.1). A payload is encrypted once on its way in and once for each follower.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| rank(suite.suite()));
    Arc::new(provider)
}

/// Lower is asked for first; among equals the library's order stays, in which TLS 1.3 is before 1.2.
fn rank(suite: CipherSuite) -> u8 {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_key_is_asked_for_first_and_no_cipher_is_gone() {
        let suites: Vec<_> = provider()
            .cipher_suites
            .iter()
            .map(|suite| suite.suite())
            .collect();
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(suites[1], CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(suites.len(), ring::default_provider().cipher_suites.len());
    }
}
