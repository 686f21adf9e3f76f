//! The way to a node.

use tonic::transport::{ClientTlsConfig, Endpoint};

/// The way to an address, `HOST:PORT`; with TLS where that is given.
///
/// Panics: it is no address, or the PEM of `tls` is none.
#[must_use]
pub fn endpoint(address: &str, tls: Option<&ClientTlsConfig>) -> Endpoint {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).expect("an address makes an URL");
    match tls {
        Some(tls) => endpoint.tls_config(tls.clone()).expect("its PEM is good"),
        None => endpoint,
    }
}
