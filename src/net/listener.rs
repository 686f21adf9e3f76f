//! Listening and accepting.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use slog::{Logger, warn};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Greeting},
    entrance::Entrance,
};
use crate::{error::Disposition, tls::Stream};

/// How long accepting rests after an error: it is nearly always a lack of file descriptors, which lasts.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address} for {purpose}: the address is in use; stop what uses it (`ss -ltnp` shows it), \
         or choose another port"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
    },
    /// The system does not allow it.
    #[error("cannot listen on {address} for {purpose}: not permitted; ports below 1024 need privileges")]
    NotPermitted {
        /// The address.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
    },
    /// The machine has no such address.
    #[error("cannot listen on {address} for {purpose}: this machine does not have that address")]
    NoSuchAddress {
        /// The address.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
    },
    /// Anything else that the system says.
    #[error("cannot listen on {address} for {purpose}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, purpose: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, purpose },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address, purpose },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { address, purpose },
            _ => Self::Io {
                address,
                purpose,
                source,
            },
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            // An address may be free, or up, a moment later.
            Self::InUse { .. } | Self::NoSuchAddress { .. } | Self::Io { .. } => Disposition::Retry,
            Self::NotPermitted { .. } => Disposition::Reject,
        }
    }
}

/// Listens on `address`. Must be called inside a tokio runtime, which then drives the listener.
///
/// Errors: see [`BindError`].
pub fn bind(address: SocketAddr, purpose: &'static str) -> Result<Arc<TcpListener>, BindError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    bound
        .map(Arc::new)
        .map_err(|source| BindError::new(address, purpose, source))
}

/// A listener as its accept loop sees it. The loop does not own it, so that who does can close it at once, and listen on
/// the same address again, without waiting for a task on another thread.
#[derive(Clone, Debug)]
pub struct Door {
    listener: Weak<TcpListener>,
    address: SocketAddr,
}

impl Door {
    /// The door of `listener`, which is bound to `address`.
    #[must_use]
    pub fn new(listener: &Arc<TcpListener>, address: SocketAddr) -> Self {
        Self {
            listener: Arc::downgrade(listener),
            address,
        }
    }

    /// The next connection; never again one when the listener is closed.
    ///
    /// Errors: what the system says, nearly always that file descriptors are short. Cancel: safe.
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| match self.listener.upgrade() {
            Some(listener) => listener.poll_accept(cx),
            // Whoever closed the listener also ends this loop.
            None => Poll::Pending,
        })
        .await
    }
}

/// The door for operators: few come, and none may take what clients need.
#[derive(Debug)]
pub struct AdminDoor {
    door: Door,
    slots: Arc<Semaphore>,
    /// Never cancelled: the admin server ends its connections itself.
    kill: CancellationToken,
}

/// Open connections for administration; one more is closed at once. Probes and people need a handful.
const ADMIN_CONNECTIONS_MAX: usize = 64;

impl AdminDoor {
    /// Lets in through `door` what is not too many.
    #[must_use]
    pub fn new(door: Door) -> Self {
        Self {
            door,
            slots: Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX)),
            kill: CancellationToken::new(),
        }
    }
}

impl axum::serve::Listener for AdminDoor {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.door.next().await {
                Ok((stream, peer)) => {
                    if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                        let stream = Stream::Plain(stream);
                        let connection = Connection::new(stream, None, slot, &self.kill, Greeting::HTTP);
                        return (connection, peer);
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_REST).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.door.address)
    }
}

/// Accepts connections until `stop`, and leaves them at `entrance`.
pub async fn accept_loop(door: Door, entrance: Entrance, stop: CancellationToken, log: Logger) {
    loop {
        let connection = tokio::select! {
            connection = door.next() => connection,
            () = stop.cancelled() => return,
        };
        match connection {
            Ok((stream, peer)) => {
                if entrance.enter(stream, peer, &stop).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(log, "cannot accept a connection"; "error" => %error);
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}
