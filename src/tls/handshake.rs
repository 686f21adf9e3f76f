//! From a connection to one whose other end is known, by whoever has called.

use std::{io, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{Stream, TlsFailure, stream::Socket};

/// Shakes hands with whom one has connected to. When it is over the other side may not have looked at one's own certificate yet.
///
/// Errors: why not. Cancel: the connection is lost.
pub(super) async fn connect(
    stream: TcpStream,
    host: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<Stream, TlsFailure> {
    let shakes = TlsConnector::from(config).connect(host, Socket::new(stream));
    let shaken: io::Result<_> = shakes.await;
    match shaken {
        Ok(stream) => Ok(Stream::encrypted(TlsStream::Client(stream))),
        Err(error) => Err(TlsFailure::of_handshake(&error)),
    }
}
