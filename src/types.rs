//! The numbers that everything else is about, each with a type of its own.

use std::fmt;

/// Stored log indexes and offsets are at most this; larger ones are not what any writer wrote. Far enough from the end of
/// 64 bits that nothing a store can hold counts past it.
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

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GossipKey(hidden)")
    }
}
