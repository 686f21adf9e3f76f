//! The numbers that everything else is about, each with a type of its own, and what may be a name or an address.

mod cursor_name;

pub use cursor_name::{CURSOR_NAME_BYTES_MAX, CursorName, NoCursorName};

use std::{fmt, net::Ipv6Addr};

/// Stored log indexes and offsets are at most this; larger ones are not what any writer wrote. Far enough from the end of
/// 64 bits that nothing a store can hold counts past it.
#[cfg(feature = "server")]
pub(crate) const STORED_NUMBER_MAX: u64 = u64::MAX / 2;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// The number as such.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one `count` further.
            ///
            /// Panics: on overflow of 64 bits, which no log reaches (at 10^9 a second it takes 584 years).
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.checked_add(count).expect("64-bit numbers of a log do not run out"))
            }

            /// How far `self` is past `other`; 0 when it is not.
            #[must_use]
            pub const fn distance_from(self, other: Self) -> u64 {
                self.0.saturating_sub(other.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    };
}

number! {
    /// Number of a record, from 0, gapless, the same on every node.
    Offset
}
number! {
    /// Number of an entry; also counts entries that hold no record. The first entry has 1; 0 means "before the first".
    LogIndex
}
number! {
    /// Byte in a store file.
    Position
}
number! {
    /// Number of a leader's reign.
    Term
}
number! {
    /// A node's identity: chosen at random at its first start, never 0, kept in the data directory.
    NodeId
}

/// A cluster's identity, never 0: made when the cluster is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u128);

impl ClusterId {
    /// An id for the cluster that this node founds: 64 random bits, and below them the node's own id, which is as random.
    /// So a node knows for ever which cluster it founded itself.
    #[must_use]
    pub fn founded_by(founder: NodeId) -> Self {
        Self((u128::from(rand::random::<u64>()) << 64) | u128::from(founder.get()))
    }

    /// Whether that node made this id.
    #[must_use]
    pub fn is_founded_by(self, node_id: NodeId) -> bool {
        self.0 & u128::from(u64::MAX) == u128::from(node_id.get())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, by the clock of whoever made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMs(pub u64);

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key that gossip is encrypted with; its length chooses between the kinds of AES. Never shown, not by `Debug` either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum GossipKey {
    /// 16 bytes.
    Aes128([u8; 16]),
    /// 24 bytes.
    Aes192([u8; 24]),
    /// 32 bytes.
    Aes256([u8; 32]),
}

impl GossipKey {
    /// The key of these bytes; `None` unless they are 16, 24 or 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            16 => bytes.try_into().ok().map(Self::Aes128),
            24 => bytes.try_into().ok().map(Self::Aes192),
            32 => bytes.try_into().ok().map(Self::Aes256),
            _ => None,
        }
    }
}

/// The keys of a cluster's gossip: what is said is encrypted with the first, and what is heard may be with any. There is more than
/// one while keys are being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipKeys(Vec<GossipKey>);

impl GossipKeys {
    /// Keys that may be in use at a time: each is tried on what is heard.
    pub const MAX: usize = 8;

    /// These keys; `None` unless there is one at least, and at most [`GossipKeys::MAX`].
    #[must_use]
    pub fn new(keys: Vec<GossipKey>) -> Option<Self> {
        (1..=Self::MAX).contains(&keys.len()).then_some(Self(keys))
    }

    /// The keys, in their order.
    pub fn iter(&self) -> impl Iterator<Item = GossipKey> + '_ {
        self.0.iter().copied()
    }

    /// The one that is used for what is said.
    #[must_use]
    pub fn first(&self) -> GossipKey {
        self.0[0]
    }
}

impl From<GossipKey> for GossipKeys {
    fn from(key: GossipKey) -> Self {
        Self(vec![key])
    }
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GossipKey(hidden)")
    }
}

/// A name must fit a DNS label, because certificates and Kubernetes name nodes that way.
pub const NAME_BYTES_MAX: usize = 63;
/// The longest address: a DNS name has at most 253 characters, and few come near.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// Whether this can name a node or a cluster: 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit, so that
/// it can stand in a file name, a metric and a certificate.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && is_plain(text)
}

/// Whether this is an address to connect to: a DNS name, an IPv4 address or a bracketed IPv6 address, and a port.
#[must_use]
pub fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => is_plain(host),
    };
    text.len() <= ADDRESS_BYTES_MAX && is_host && is_port
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_knows_its_founder_and_nobody_else() {
        let (founder, other) = (NodeId(u64::MAX), NodeId(1));
        let cluster = ClusterId::founded_by(founder);
        assert!(cluster.is_founded_by(founder) && !cluster.is_founded_by(other));
        assert_ne!(cluster, ClusterId::founded_by(founder));
    }

    #[test]
    fn a_key_has_one_of_three_lengths_and_is_not_shown() {
        for length in 0..64 {
            let key = GossipKey::from_bytes(&vec![7; length]);
            assert_eq!(key.is_some(), [16, 24, 32].contains(&length), "{length}");
            assert!(!format!("{key:?}").contains('7'));
        }
    }

    #[test]
    fn addresses_are_a_host_and_a_port_and_nothing_else() {
        for right in ["127.0.0.1:8400", "[::1]:8400", "node-0.annals.svc:1", "a_b:65535"] {
            assert!(is_host_and_port(right), "{right}");
        }
        for wrong in [
            "",
            ":8400",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "::1:8400",
            "[host]:1",
            "ho st:1",
            "http://host:1",
            "host:1/x",
            "-host:1",
            "größe:1",
        ] {
            assert!(!is_host_and_port(wrong), "{wrong}");
        }
    }
}
