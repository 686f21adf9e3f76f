//! When a load ends.

use std::time::{Duration, Instant};

use crate::clock;

/// Records sent when neither a count nor a time is given: a few seconds on most machines.
const RECORDS_DEFAULT: u64 = 1_000_000;

/// How much load.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct LimitArgs {
    /// Stop after so many records; produce rounds up to whole batches [default: 1000000]
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
}

impl LimitArgs {
    /// The limit of a load that starts now.
    pub(super) fn start(self) -> Limit {
        match self.seconds {
            Some(seconds) => Limit {
                records: u64::MAX,
                until: Some(clock::now() + Duration::from_secs(seconds)),
            },
            None => Limit {
                records: self.records.unwrap_or(RECORDS_DEFAULT),
                until: None,
            },
        }
    }
}

/// The end of one load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// So many records.
    pub(super) records: u64,
    /// Nothing is begun after this.
    pub(super) until: Option<Instant>,
}

impl Limit {
    /// Whether the time is up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// How many requests of `batch` records one of `producers` has to send.
    pub(super) fn requests(&self, batch: u64, producers: u64, producer: u64) -> u64 {
        let requests = self.records.div_ceil(batch);
        requests / producers + u64::from(producer < requests % producers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_together_send_what_was_asked_for() {
        let limit = Limit {
            records: 1001,
            until: None,
        };
        let shares: Vec<_> = (0..3).map(|producer| limit.requests(10, 3, producer)).collect();
        assert_eq!(shares, [34, 34, 33]);
    }
}
