//! Every number of supervision that is a time.

use std::time::Duration;

/// A restart may take so many times `stuck_after`.
const STARTING_FACTOR: u32 = 6;

/// How patient the Agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Wait before the first restart; doubled for each further one.
    pub back_off_min: Duration,
    /// The longest wait before a restart.
    pub back_off_max: Duration,
    /// A part that has not failed for this long starts again at `back_off_min`. Longer than `back_off_max`, or a part
    /// that always fails would be forgiven while it waits.
    pub quiet_after: Duration,
    /// Restarts allowed within `budget_window`.
    pub budget_restarts: usize,
    /// The time over which restarts are counted.
    pub budget_window: Duration,
    /// How often the Agent asks for a sign of life.
    pub heartbeat_every: Duration,
    /// Without a sign of life for this long, a part is stuck. As long as a request is waited for by default: disks behind a
    /// network do stall for ten seconds and more, and come back.
    pub stuck_after: Duration,
    /// How long a part may take to stop; then it is passed over.
    pub stop_within: Duration,
    /// The same when a failure ends the process: little can be saved then, and the sooner it starts again the better.
    pub stop_within_when_failed: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            back_off_min: Duration::from_millis(100),
            back_off_max: Duration::from_secs(30),
            quiet_after: Duration::from_secs(60),
            budget_restarts: 5,
            budget_window: Duration::from_secs(60),
            heartbeat_every: Duration::from_secs(1),
            stuck_after: Duration::from_secs(30),
            // Three parts of 9 s fit into the 30 s that Kubernetes leaves between SIGTERM and SIGKILL.
            stop_within: Duration::from_secs(9),
            stop_within_when_failed: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// The wait before restart number `attempt` (from 0) of a series, spread over its upper half by `jitter` in
    /// `[0, 1)` so that what failed together does not come back in step.
    #[must_use]
    pub fn back_off(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = self
            .back_off_min
            .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        doubled.min(self.back_off_max).mul_f64(0.5 + jitter / 2.0)
    }

    /// How many looks a restart may take. Recovery reads a segment, and shows no sign of life meanwhile.
    #[must_use]
    pub fn starting_looks_max(&self) -> u32 {
        self.silent_looks_max().saturating_mul(STARTING_FACTOR)
    }

    /// How many looks without a sign of life mean stuck; at least one.
    #[must_use]
    pub fn silent_looks_max(&self) -> u32 {
        let looks = self
            .stuck_after
            .as_nanos()
            .div_ceil(self.heartbeat_every.as_nanos().max(1));
        u32::try_from(looks).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_from_100_ms_to_30_s() {
        let timing = Timing::default();
        let almost_one = 1.0 - f64::EPSILON;
        let waits: Vec<u128> = (0..12)
            .map(|attempt| timing.back_off(attempt, almost_one).as_millis())
            .collect();
        let expected = [
            100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000,
        ];
        for (attempt, (wait, expected)) in waits.iter().zip(expected).enumerate() {
            assert!(
                expected - wait <= 1,
                "attempt {attempt}: {wait} ms for {expected} ms"
            );
        }
    }

    #[test]
    fn jitter_takes_off_half_at_most() {
        let timing = Timing::default();
        assert_eq!(timing.back_off(0, 0.0), Duration::from_millis(50));
        assert_eq!(timing.back_off(0, 0.5), Duration::from_millis(75));
    }

    #[test]
    fn a_very_long_series_still_waits_the_longest_time() {
        let timing = Timing::default();
        assert_eq!(timing.back_off(31, 0.0), Duration::from_secs(15));
        assert_eq!(timing.back_off(u32::MAX, 0.0), Duration::from_secs(15));
    }

    #[test]
    fn thirty_looks_a_second_apart_make_thirty_seconds() {
        assert_eq!(Timing::default().silent_looks_max(), 30);
    }

    #[test]
    fn one_failure_in_a_series_cannot_hide_in_the_longest_back_off() {
        let timing = Timing::default();
        assert!(timing.quiet_after > timing.back_off_max);
    }
}
