//! TLS: from files to connections whose other end is known.
//!
//! A node has one certificate, under which it serves clients and peers and calls peers; everybody must show one, and who they are
//! stands in it (`certs`). Clients of a node have another kind of material: whom they believe, and perhaps who they are.
//!
//! TLS 1.3, and 1.2 for those who have nothing newer. Sessions are never resumed: a resumed one would be believed without being
//! looked at, whatever has become of its certificate or its authority since.

mod authorities;
mod client;
mod error;
mod failure;
mod files;
mod handshake;
mod identity;
mod material;
mod node;
mod open;
mod server;
mod stream;
mod verifiers;

pub use authorities::{Authorities, Usage};
pub use client::{ClientFiles, ClientTls};
pub use error::{MaterialError, MaterialFile, MaterialProblem};
pub use failure::{Refusal, TlsFailure};
pub use files::{Contents, Files, open_to_others};
pub use handshake::Proven;
pub use identity::{NodeNames, Unwelcome};
pub use material::Material;
pub use node::{NodeTls, Reloaded, Status};
pub use open::{Guest, Outcast};
pub use server::{HTTP1_PROTOCOL, HTTP2_PROTOCOL};
pub use stream::{Fate, Stream};

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The one library of ciphers that is used, handed over explicitly: nothing here depends on what another library has made the
/// process's default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
