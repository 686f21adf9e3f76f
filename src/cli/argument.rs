//! Values of arguments: what they may be, a text that says so, and how a shell is given them.

use std::{borrow::Cow, num::NonZeroU64, time::Duration};

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
    #[error("write the number that the failed produce named; it is at least 1")]
    NoProducer,
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

/// The id of a producer: 0 is nobody's.
pub(super) fn parse_producer_id(text: &str) -> Result<NonZeroU64, ArgumentError> {
    text.parse().map_err(|_| ArgumentError::NoProducer)
}

/// As a POSIX shell must be given it.
pub(super) fn shell_quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}
