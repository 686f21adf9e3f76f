//! An authority, and what it signs.

use std::time::Duration;

use annals::{
    certs::{Authority, Holder, Hosts, Key, Name, Terms},
    clock,
    types::TimestampMs,
};

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate and its key, both as PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The authority of a cluster, and when it was made.
pub struct Cluster {
    pub authority: Authority,
    pub certificate: String,
    pub now: TimestampMs,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn node(text: &str) -> Holder {
    Holder::Node(name(text))
}

pub fn client(text: &str) -> Holder {
    Holder::Client(name(text))
}

/// The wall clock, so long ago.
pub fn ago(by: Duration) -> TimestampMs {
    TimestampMs(clock::wall().0 - u64::try_from(by.as_millis()).unwrap())
}

impl Cluster {
    /// Made now, valid for ten years.
    pub fn new(cluster: &str) -> Self {
        Self::made_at(cluster, clock::wall(), DAY * 3650)
    }

    pub fn made_at(cluster: &str, now: TimestampMs, valid_for: Duration) -> Self {
        let key = Key::generate().unwrap();
        let certificate = Authority::make(&name(cluster), &key, Terms { now, valid_for }).unwrap();
        let authority = Authority::read(certificate.as_bytes(), key).unwrap();
        Self {
            authority,
            certificate,
            now,
        }
    }

    /// Signs when the authority was made, for this long.
    pub fn sign(&self, holder: &Holder, valid_for: Duration) -> Pair {
        let hosts = match holder {
            Holder::Node(_) => Hosts::new(
                ["node-0.example.com".parse().unwrap()],
                ["10.0.0.1".parse().unwrap()],
            )
            .with_loopback(),
            _ => Hosts::default(),
        };
        let key = Key::generate().unwrap();
        let terms = Terms {
            now: self.now,
            valid_for,
        };
        Pair {
            certificate: self.authority.sign(holder, &hosts, &key, terms).unwrap(),
            key: key.to_pem(),
        }
    }
}
