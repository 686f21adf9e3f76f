//! Counts one part's restarts: how long to wait before the next, and when there have been too many.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Timing;

/// The restarts of one part.
#[derive(Debug)]
pub(super) struct Ledger {
    budgeted: bool,
    /// When the restarts within the budget's window were granted; never more than the budget.
    granted: VecDeque<Instant>,
    /// Restarts since the part was last quiet.
    series: u32,
    last_failure: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(budgeted: bool) -> Self {
        Self {
            budgeted,
            granted: VecDeque::new(),
            series: 0,
            last_failure: None,
        }
    }

    /// How long to wait before the restart that a failure at `now` asks for; `None` when the budget is spent.
    pub(super) fn grant(&mut self, timing: &Timing, now: Instant, jitter: f64) -> Option<Duration> {
        let since = |earlier: Instant| now.saturating_duration_since(earlier);
        if self
            .last_failure
            .is_none_or(|last| since(last) >= timing.quiet_after)
        {
            self.series = 0;
        }
        self.last_failure = Some(now);
        if self.budgeted {
            self.granted
                .retain(|granted| since(*granted) < timing.budget_window);
            if self.granted.len() >= timing.budget_restarts {
                return None;
            }
            self.granted.push_back(now);
        }
        let wait = timing.back_off(self.series, jitter);
        self.series = self.series.saturating_add(1);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn waits(ledger: &mut Ledger, times: &[Instant]) -> Vec<Option<u128>> {
        let timing = Timing::default();
        times
            .iter()
            .map(|now| ledger.grant(&timing, *now, 0.0).map(|wait| wait.as_millis()))
            .collect()
    }

    #[test]
    fn the_sixth_failure_within_a_minute_is_refused() {
        let start = clock::now();
        let times: Vec<Instant> = (0..6).map(|i| start + Duration::from_secs(i * 11)).collect();
        let waits = waits(&mut Ledger::new(true), &times);
        assert_eq!(
            waits,
            [Some(50), Some(100), Some(200), Some(400), Some(800), None]
        );
    }

    #[test]
    fn restarts_older_than_the_window_are_forgotten_by_the_budget() {
        let start = clock::now();
        let times: Vec<Instant> = (0..20).map(|i| start + Duration::from_secs(i * 12)).collect();
        assert!(waits(&mut Ledger::new(true), &times).iter().all(Option::is_some));
    }

    #[test]
    fn a_quiet_minute_resets_the_back_off() {
        let start = clock::now();
        let times = [0, 1, 61, 120].map(|seconds| start + Duration::from_secs(seconds));
        assert_eq!(
            waits(&mut Ledger::new(true), &times),
            [Some(50), Some(100), Some(50), Some(100)]
        );
    }

    #[test]
    fn a_part_without_a_budget_is_restarted_for_ever() {
        let start = clock::now();
        let times: Vec<Instant> = (0..100).map(|i| start + Duration::from_secs(i)).collect();
        let mut ledger = Ledger::new(false);
        assert!(waits(&mut ledger, &times).iter().all(Option::is_some));
        assert!(ledger.granted.is_empty());
    }
}
