//! Where a node is.

use std::{fmt, str::FromStr};

use http::uri::Authority;

use super::error::{Error, ErrorKind};

/// Where a node takes clients when nobody says otherwise: the default of its `rpc.port`.
pub const PORT: u16 = 8400;

/// A host and a port, checked. An address without a port has [`PORT`].
///
/// ```
/// use annals::client::Address;
///
/// let address: Address = "node-0.example".parse()?;
/// assert_eq!(address.to_string(), "node-0.example:8400");
/// assert!("node-0.example:port".parse::<Address>().is_err());
/// # Ok::<(), annals::client::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    authority: Authority,
    port: u16,
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is no host, or its port is none.
    #[error("write host:port, as in 127.0.0.1:8400 or [::1]:8400")]
    NotHostAndPort,
    /// It is a URL.
    #[error("leave out what is before the host: write host:port, as in 127.0.0.1:8400 or [::1]:8400")]
    Url,
    /// Nobody listens at port 0, which is a node's word for any that is free.
    #[error("nobody is at port 0: write the port that the node has, as in 127.0.0.1:8400 or [::1]:8400")]
    PortZero,
}

impl Address {
    /// A DNS name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.authority.host(), self.port)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            return Err(AddressError::Url);
        }
        let authority: Authority = text.parse().map_err(|_| AddressError::NotHostAndPort)?;
        let has_port = authority.as_str().len() > authority.host().len();
        let port = if has_port {
            authority.port_u16().ok_or(AddressError::NotHostAndPort)?
        } else {
            PORT
        };
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(AddressError::NotHostAndPort);
        }
        if port == 0 {
            return Err(AddressError::PortZero);
        }
        Ok(Self { authority, port })
    }
}

/// What can be an address: a text, or one that was checked.
pub trait IntoAddress {
    /// Checked.
    ///
    /// Errors: `NoAddress`.
    fn into_address(self) -> Result<Address, Error>;
}

impl IntoAddress for Address {
    fn into_address(self) -> Result<Address, Error> {
        Ok(self)
    }
}

impl IntoAddress for &str {
    fn into_address(self) -> Result<Address, Error> {
        self.parse().map_err(|error| {
            Error::new(ErrorKind::NoAddress {
                text: self.to_owned(),
                error,
            })
        })
    }
}

impl IntoAddress for String {
    fn into_address(self) -> Result<Address, Error> {
        self.as_str().into_address()
    }
}

impl IntoAddress for &String {
    fn into_address(self) -> Result<Address, Error> {
        self.as_str().into_address()
    }
}

impl IntoAddress for std::net::SocketAddr {
    fn into_address(self) -> Result<Address, Error> {
        self.to_string().into_address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_maybe_a_port() {
        let table = [
            ("127.0.0.1:8400", Some("127.0.0.1:8400")),
            ("127.0.0.1", Some("127.0.0.1:8400")),
            ("localhost:1", Some("localhost:1")),
            ("[::1]:8400", Some("[::1]:8400")),
            ("[::1]", Some("[::1]:8400")),
            ("", None),
            (":8400", None),
            ("host:", None),
            ("host:port", None),
            ("host:70000", None),
            ("me@host:8400", None),
            ("host:8400/path", None),
            ("http://host:8400", None),
            ("https://host:8400", None),
            ("host:0", None),
            ("[::1]:0", None),
        ];
        for (text, wanted) in table {
            let got = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        let table = [
            ("host:port", AddressError::NotHostAndPort),
            ("http://host:8400", AddressError::Url),
            ("https://host:8400", AddressError::Url),
            ("host:0", AddressError::PortZero),
        ];
        for (text, wanted) in table {
            assert_eq!(text.parse::<Address>(), Err(wanted), "{text}");
        }
    }
}
