//! How fresh what is read must be, as a person chooses it.

use crate::client::ReadLevel;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Level {
    /// All that was acknowledged before the read began; a majority must be up
    Linearizable,
    /// The same, as long as clocks run at about the same speed; cheaper
    Lease,
    /// What the node itself has for certain, which may be old; nobody else has to be up
    Local,
}

impl From<Level> for ReadLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Linearizable => Self::Linearizable,
            Level::Lease => Self::Lease,
            Level::Local => Self::Local,
        }
    }
}
