//! How a client is to be.

use std::{path::PathBuf, time::Duration};

use crate::tls::ClientFiles;

use super::{
    Client,
    address::{Address, IntoAddress},
    credentials::Credentials,
    error::{Error, ErrorKind},
    router::Router,
    settings::{CONNECT_WITHIN, LOOK_EVERY, Settings, WITHIN, some_time},
};

/// How a client is to be. Made by [`Client::builder`].
///
/// ```no_run
/// # async fn example() -> Result<(), annals::client::Error> {
/// use std::time::Duration;
/// use annals::client::Client;
///
/// let client = Client::builder()
///     .address("node-0.example:8400")
///     .address("node-1.example:8400")
///     .tls("certs/ca.pem")
///     .identity("certs/app.pem", "certs/app.key")
///     .within(Duration::from_secs(10))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "`connect` or `build` makes the client"]
pub struct ClientBuilder {
    addresses: Result<Vec<Address>, Error>,
    authorities: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
    within: Duration,
    connect_within: Duration,
    look_every: Duration,
    discovers: bool,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self {
            addresses: Ok(Vec::new()),
            authorities: None,
            own: None,
            within: WITHIN,
            connect_within: CONNECT_WITHIN,
            look_every: LOOK_EVERY,
            discovers: true,
        }
    }

    /// Where a node of the cluster is, as `host:port`. One is enough, since nodes tell of each other; several help when that one is
    /// down at the start.
    pub fn address(mut self, address: impl IntoAddress) -> Self {
        if let Ok(addresses) = &mut self.addresses {
            match address.into_address() {
                Ok(address) if addresses.contains(&address) => {}
                Ok(address) => addresses.push(address),
                Err(error) => self.addresses = Err(error),
            }
        }
        self
    }

    /// Several of them.
    pub fn addresses<A: IntoAddress>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        addresses.into_iter().fold(self, Self::address)
    }

    /// Speaks TLS, and believes nodes that the authorities in this file vouch for: `ca.pem` of `annals certs`. The file is read
    /// anew for each connection, so that it can be replaced while the client runs.
    pub fn tls(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.authorities = Some(authorities.into());
        self
    }

    /// Who the client is to the nodes: a certificate, and its private key, in PEM. With [`ClientBuilder::tls`].
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.own = Some((certificate.into(), key.into()));
        self
    }

    /// A call that is not answered within this is given up; what has limits of its own has them from here. [default: 30 s]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// One try to connect is given up after this. [default: 5 s]
    pub fn connect_within(mut self, within: Duration) -> Self {
        self.connect_within = within;
        self
    }

    /// How often each node is asked how it is and whom it knows, while calls are made. [default: 2 s] Who leads is in every answer,
    /// and nodes that are not reached, or are behind while they are used, are looked after more often.
    pub fn look_every(mut self, interval: Duration) -> Self {
        self.look_every = interval;
        self
    }

    /// Goes to the given addresses only, in their order, and asks no node about others: for nodes that are reached through
    /// something which they do not know of, such as a forwarded port, or to look at one node. Writes are handed on to the leader by the node
    /// that takes them; reads are not spread.
    pub fn only_these_addresses(mut self) -> Self {
        self.discovers = false;
        self
    }

    /// The client. Nothing is connected before the first call.
    ///
    /// Blocking: reads the files of TLS. Errors: `NoAddress`, `NoAddresses`, `NoTime`, `TlsFiles`.
    pub fn build(self) -> Result<Client, Error> {
        some_time("within", self.within)?;
        some_time("connect_within", self.connect_within)?;
        let addresses = self.addresses?;
        if addresses.is_empty() {
            return Err(Error::new(ErrorKind::NoAddresses));
        }
        let opened = self.authorities.map(|authorities| {
            Credentials::open(ClientFiles {
                authorities,
                own: self.own,
            })
        });
        let settings = Settings {
            tls: opened.transpose()?,
            within: self.within,
            connect_within: self.connect_within,
            look_every: self.look_every,
            discovers: self.discovers,
        };
        Ok(Router::new(addresses, settings).into())
    }

    /// The client, with a connection to one of the nodes: each address is tried once.
    ///
    /// Blocking: reads the files of TLS. Errors: as `build`; as [`Client::connect`]. Cancel: safe.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.build()?;
        client.connect().await?;
        Ok(client)
    }
}
