//! How a node serves: once for clients, once for peers.

use std::sync::Arc;

use rustls::{
    Error, ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    Material, provider,
    verifiers::{Callers, Welcome},
};

/// The protocols of clients, the better one first.
const CLIENTS_PROTOCOLS: [&[u8]; 2] = [HTTP2_PROTOCOL, HTTP1_PROTOCOL];
/// HTTP/2, as TLS names it.
pub const HTTP2_PROTOCOL: &[u8] = b"h2";
/// HTTP/1.1, as TLS names it.
pub const HTTP1_PROTOCOL: &[u8] = b"http/1.1";
/// The protocol of peers: HTTP/2, between nodes.
pub(super) const PEERS_PROTOCOL: &[u8] = b"annals-peer";

/// The one certificate there is, whatever name the caller asks for.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Serves those who are welcome.
///
/// Errors: the ciphers know none of the versions, which cannot be.
pub(super) fn serving(material: &Material, welcome: Welcome) -> Result<Arc<ServerConfig>, Error> {
    let protocols: &[&[u8]] = match welcome {
        Welcome::Anybody { .. } => &CLIENTS_PROTOCOLS,
        Welcome::Nodes { .. } => &[PEERS_PROTOCOL],
    };
    let callers = Arc::new(Callers::new(material.authorities(), welcome));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(callers)
        .with_cert_resolver(Arc::new(Only(material.own())));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // See the module of TLS: no session is resumed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
