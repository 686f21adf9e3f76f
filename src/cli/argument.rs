//! Values of arguments: what they may be, and a text that says so.

use std::{num::NonZeroU64, time::Duration};

use crate::config::{UnitError, parse_duration};

/// A text that is not the value its argument takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentError {
    #[error("{error}{}", .error.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default())]
    Unit { error: UnitError },
    #[error("nothing can be answered in no time; write one such as 30s")]
    NoTime,
    #[error("write a whole number, at least 1")]
    NotCounting,
}

/// How long to wait: longer than nothing.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, ArgumentError> {
    let timeout = parse_duration(text).map_err(|error| ArgumentError::Unit { error })?;
    if timeout.is_zero() {
        return Err(ArgumentError::NoTime);
    }
    Ok(timeout)
}

/// How many: at least one.
pub(super) fn parse_count(text: &str) -> Result<u64, ArgumentError> {
    text.parse()
        .map(NonZeroU64::get)
        .map_err(|_| ArgumentError::NotCounting)
}
