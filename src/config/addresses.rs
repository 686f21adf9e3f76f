//! Options that say where something is.

use std::{fmt, net::SocketAddr};

use crate::types::is_host_and_port;

use super::value::{Refusal, Value, unreadable};

/// How "what the node finds out by itself" is written.
const AUTO: &str = "auto";

/// A host, by DNS name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort(String);

impl HostPort {
    /// As text: `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for HostPort {
    const EXPECTED: &'static str = "a host and a port such as \"node-0.example.com:8401\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if is_host_and_port(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(unreadable::<Self>(text))
        }
    }

    fn to_toml(&self) -> toml::Value {
        self.0.clone().into()
    }
}

/// An address, or what the node finds out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auto<T> {
    /// What the node finds out by itself; the option says what.
    Auto,
    /// This.
    Set(T),
}

impl<T: Clone> Auto<T> {
    /// What was set, if anything was.
    #[must_use]
    pub fn set(&self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

macro_rules! auto {
    ($type:ty, $expected:literal) => {
        impl Value for Auto<$type> {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, Refusal> {
                if text == AUTO {
                    return Ok(Self::Auto);
                }
                <$type>::from_text(text)
                    .map(Self::Set)
                    .map_err(|_| unreadable::<Self>(text))
            }

            fn to_toml(&self) -> toml::Value {
                match self {
                    Self::Auto => AUTO.into(),
                    Self::Set(value) => value.to_toml(),
                }
            }
        }
    };
}

auto!(
    SocketAddr,
    "an IP address and a port such as \"127.0.0.1:8401\", or \"auto\""
);
auto!(
    HostPort,
    "a host and a port such as \"node-0.example.com:8400\", or \"auto\""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_read_and_nothing_else_is() {
        for right in ["127.0.0.1:8401", "[::1]:8401", "node-0.annals.svc:1"] {
            assert_eq!(HostPort::from_text(right).unwrap().as_str(), right);
        }
        for wrong in [
            "",
            "host",
            "host:",
            ":1",
            "host:0",
            "host:99999",
            "::1:1",
            "http://host:1",
            "a b:1",
        ] {
            assert!(HostPort::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn auto_is_a_word_and_everything_else_an_address() {
        assert_eq!(Auto::<SocketAddr>::from_text("auto").unwrap(), Auto::Auto);
        assert!(matches!(
            Auto::<SocketAddr>::from_text("[::1]:1"),
            Ok(Auto::Set(_))
        ));
        assert!(Auto::<SocketAddr>::from_text("host:1").is_err());
        assert!(Auto::<HostPort>::from_text("Auto").is_err());
    }
}
