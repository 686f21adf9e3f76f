//! Listening and accepting.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use rustix::io::Errno;
use slog::{Logger, info, warn};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Greeting},
    entrance::Entrance,
};
use crate::{error::Disposition, tls::Stream};

/// How long accepting rests after an error: it is nearly always a lack of file descriptors, which lasts.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Trouble with accepting is over when it has not shown for so long: while it lasts, connections that end give way to one or
/// the other new one.
const OVER_AFTER: Duration = Duration::from_secs(5);

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

    /// The next connection, however long the system refuses to give one.
    ///
    /// Cancel: safe.
    async fn accept(&self, trouble: &mut Trouble) -> (TcpStream, SocketAddr) {
        loop {
            tokio::select! {
                connection = self.next() => match connection {
                    Ok(accepted) => return accepted,
                    Err(error) => {
                        trouble.note(&error);
                        tokio::time::sleep(ACCEPT_REST).await;
                    }
                },
                () = trouble.passed() => trouble.end(),
            }
        }
    }
}

/// Connections that could not be accepted. While file descriptors are short there are many, each of which would be a line.
#[derive(Debug)]
struct Trouble {
    address: SocketAddr,
    failures: u64,
    last: Option<Instant>,
    log: Logger,
}

impl Trouble {
    /// None yet, with accepting at that address.
    fn new(address: SocketAddr, log: Logger) -> Self {
        Self {
            address,
            failures: 0,
            last: None,
            log,
        }
    }

    /// Tells the 1st, 2nd, 4th, 8th failure ... since all was well, with the remedy.
    fn note(&mut self, error: &io::Error) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Instant::now());
        if self.failures.is_power_of_two() {
            warn!(self.log, "cannot accept a connection"; "address" => %self.address, "error" => %error,
                "failures" => self.failures, "remedy" => remedy(error));
        }
    }

    /// Waits until it has not shown for a while; for ever where there is none. Cancel: safe.
    async fn passed(&self) {
        match self.last {
            Some(last) => tokio::time::sleep_until(last + OVER_AFTER).await,
            None => std::future::pending().await,
        }
    }

    fn end(&mut self) {
        info!(self.log, "connections are accepted again"; "address" => %self.address, "failures" => self.failures);
        (self.failures, self.last) = (0, None);
    }
}

/// What an operator does about connections that cannot be accepted.
fn remedy(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some(
            "raise the limit of open files (LimitNOFILE= of systemd, `ulimit -n`), or lower limits.connections_max or \
             log.open_files_max",
        ),
        Errno::NFILE => Some("the whole system is out of files: raise fs.file-max, or see who holds so many"),
        _ => None,
    }
}

/// The door for operators: few come, and none may take what clients need.
#[derive(Debug)]
pub struct AdminDoor {
    door: Door,
    trouble: Trouble,
    slots: Arc<Semaphore>,
    /// Never cancelled: connections end by what they were made for.
    kill: CancellationToken,
}

/// Open connections for administration; one more is closed at once. Probes and people need a handful.
const ADMIN_CONNECTIONS_MAX: usize = 64;

impl AdminDoor {
    /// Lets in through `door` what is not too many; tells `log` when it cannot.
    #[must_use]
    pub fn new(door: Door, log: Logger) -> Self {
        Self {
            trouble: Trouble::new(door.address, log),
            door,
            slots: Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX)),
            kill: CancellationToken::new(),
        }
    }
}

impl AdminDoor {
    /// The next connection, with its place.
    ///
    /// Cancel: safe.
    pub async fn accept(&mut self) -> Connection {
        loop {
            let (stream, _) = self.door.accept(&mut self.trouble).await;
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                let stream = Stream::Plain(stream);
                return Connection::new(stream, None, slot.into(), &self.kill, Greeting::HTTP);
            }
        }
    }
}

/// Accepts connections until `stop`, and leaves them at `entrance`.
pub async fn accept_loop(door: Door, entrance: Entrance, stop: CancellationToken, log: Logger) {
    let mut trouble = Trouble::new(door.address, log);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = door.accept(&mut trouble) => accepted,
            () = stop.cancelled() => return,
        };
        if entrance.enter(stream, peer, &stop).await.is_err() {
            return;
        }
    }
}
