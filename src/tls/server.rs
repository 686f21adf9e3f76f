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

/// The protocol of clients. HTTP/1.1 belongs here too once it is served.
const CLIENTS_PROTOCOL: &[u8] = b"h2";
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
    let protocol = match welcome {
        Welcome::Anybody { .. } => CLIENTS_PROTOCOL,
        Welcome::Nodes { .. } => PEERS_PROTOCOL,
    };
    let callers = Arc::new(Callers::new(material.authorities(), welcome));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(callers)
        .with_cert_resolver(Arc::new(Only(material.own())));
    config.alpn_protocols = vec![protocol.to_vec()];
    // See the module of TLS: no session is resumed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
