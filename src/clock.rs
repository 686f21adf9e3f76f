//! The only place that asks what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::TimestampMs;

/// Now, for measuring how long something takes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one source of time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, as people count it. A clock set before 1970 counts as 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one source of time")]
pub fn wall() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
