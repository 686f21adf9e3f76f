//! From a connection to one whose other end is known, by whoever is called.

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{Stream, TlsFailure, stream::Socket};
use crate::certs::Caller;

/// For how long a connection that was refused is listened to still, so that the refusal is not lost on its way: what arrives at
/// a closed connection takes back what was sent on it.
const FAREWELL: Duration = Duration::from_secs(1);
/// The most that is listened to.
const FAREWELL_BYTES: u64 = 64 << 10;

/// A connection whose handshake is over, and who has proved to be at its other end.
#[derive(Debug)]
pub struct Proven {
    /// The connection.
    pub stream: Stream,
    /// Who.
    pub caller: Caller,
    /// By which authorities.
    pub(super) generation: u64,
}

/// Shakes hands with whoever has connected, within that time.
///
/// Errors: why not; the other side has been told. Cancel: the connection is lost.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    within: Duration,
) -> Result<Stream, TlsFailure> {
    let shakes = TlsAcceptor::from(config)
        .accept(Socket::new(stream))
        .into_fallible();
    match timeout(within, shakes).await {
        Ok(Ok(stream)) => Ok(Stream::encrypted(TlsStream::Server(stream))),
        Ok(Err((error, socket))) => {
            let failure = TlsFailure::of_handshake(&error);
            // It goes on beside whoever is told of the failure, and for a moment only.
            tokio::spawn(say_farewell(socket));
            Err(failure)
        }
        Err(_) => Err(TlsFailure::Deadline),
    }
}

async fn say_farewell(mut socket: Socket) {
    let farewell = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is over.
    drop(timeout(FAREWELL, farewell).await);
}
