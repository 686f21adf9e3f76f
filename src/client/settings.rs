//! What a client was told when it was built.

use std::time::Duration;

use super::{
    credentials::Credentials,
    error::{Error, ErrorKind},
};

/// Of a call, from its beginning to its answer, tries of several nodes among them.
pub(super) const WITHIN: Duration = Duration::from_secs(30);

/// A node on this network answers a connect within milliseconds; five seconds outlast a lost SYN and its repeats.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How often the nodes are asked how they are, while calls are made.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whether that is any time at all.
///
/// Errors: `NoTime`, with the name of its setter.
pub(super) fn some_time(what: &'static str, time: Duration) -> Result<(), Error> {
    if time.is_zero() {
        return Err(Error::new(ErrorKind::NoTime { what }));
    }
    Ok(())
}

/// See the builder.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How nodes are spoken to; `None`: without TLS.
    pub(crate) tls: Option<Credentials>,
    /// A call is given up after this.
    pub(crate) within: Duration,
    /// One try to connect is given up after this.
    pub(crate) connect_within: Duration,
    /// The nodes are asked about each other so often.
    pub(crate) look_every: Duration,
    /// Whether nodes are asked about each other, and used when they were not given.
    pub(crate) discovers: bool,
}

#[cfg(test)]
impl Settings {
    /// Of a client that asks no node about others.
    pub(super) fn alone() -> Self {
        Self {
            tls: None,
            within: WITHIN,
            connect_within: CONNECT_WITHIN,
            look_every: LOOK_EVERY,
            discovers: false,
        }
    }
}
