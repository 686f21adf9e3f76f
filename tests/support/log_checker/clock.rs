//! The one clock of a history.

use std::{
    fmt,
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A moment in real time, in nanoseconds since the clock was made. No two are the same: of two, the smaller was first,
/// whichever threads they were taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// Gives moments.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    latest: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            began: annals::clock::now(),
            latest: AtomicU64::new(0),
        }
    }

    /// When that was, which is not told apart from what was at the same time.
    pub(super) fn at(&self, instant: Instant) -> Moment {
        let elapsed = instant.saturating_duration_since(self.began).as_nanos();
        Moment(u64::try_from(elapsed).expect("no test runs for centuries"))
    }

    /// Later than every moment before.
    pub(crate) fn now(&self) -> Moment {
        let Moment(elapsed) = self.at(annals::clock::now());
        // The machine's clock alone may stand still for two calls, and then nothing would say which was first.
        let after = |latest: u64| elapsed.max(latest + 1);
        let latest = self
            .latest
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |latest| Some(after(latest)));
        Moment(after(latest.expect("it is never refused")))
    }
}

impl Moment {
    /// How long after `earlier` it was.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1000 % 1_000_000)
    }
}
