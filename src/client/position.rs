//! Where a reader starts, and how fresh what it reads must be.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    proto::annals::v1::{self as proto, start},
    types::Offset,
};

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// The oldest readable record.
    #[default]
    Earliest,
    /// Only what comes.
    Latest,
    /// This record.
    Offset(u64),
    /// The first record appended at or after this time, in milliseconds since 1970.
    Time(u64),
    /// So many records before the high watermark.
    FromEnd(u64),
}

impl From<Offset> for Position {
    fn from(offset: Offset) -> Self {
        Self::Offset(offset.get())
    }
}

impl From<u64> for Position {
    fn from(offset: u64) -> Self {
        Self::Offset(offset)
    }
}

impl From<SystemTime> for Position {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Position> for proto::Start {
    fn from(position: Position) -> Self {
        Self {
            position: Some(match position {
                Position::Earliest => start::Position::Earliest(true),
                Position::Latest => start::Position::Latest(true),
                Position::Offset(offset) => start::Position::Offset(offset),
                Position::Time(ms) => start::Position::TimestampMs(ms),
                Position::FromEnd(count) => start::Position::FromEnd(count),
            }),
        }
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLevel {
    /// It sees every record that was acknowledged before the read began. A majority must be up.
    Linearizable,
    /// The same, as long as clocks run at about the same speed; cheaper.
    Lease,
    /// It sees committed records that the node has, which may be old; nobody else has to be up.
    Local,
}

impl From<ReadLevel> for proto::ReadLevel {
    fn from(level: ReadLevel) -> Self {
        match level {
            ReadLevel::Linearizable => Self::Linearizable,
            ReadLevel::Lease => Self::Lease,
            ReadLevel::Local => Self::Local,
        }
    }
}
