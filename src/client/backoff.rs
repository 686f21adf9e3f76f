//! How long to wait before the next try, and when to stop trying.

use std::time::{Duration, Instant};

use rand::Rng;

use crate::clock;

use super::credentials::REPLACED_WITHIN;

/// The first pause: longer than the restart of a listener, too short to be noticed.
const FIRST: Duration = Duration::from_millis(50);

/// A node that is back is found within this.
const LONGEST: Duration = Duration::from_secs(2);

/// What the last try has of the time: long enough for a connect and an answer, even of a node that asks a majority first.
const LAST_TRY: Duration = Duration::from_millis(500);
/// Or so much of it, where there is little.
const LAST_TRY_SHARE: u32 = 10;

/// Pauses that double, counted from the last progress.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    last_progress: Instant,
    give_up_after: Option<Duration>,
    /// Since when the two sides do not trust each other, who did before.
    distrusted_since: Option<Instant>,
}

impl Backoff {
    /// Gives up when there is no progress for `give_up_after`; `None`: never.
    pub(crate) fn new(give_up_after: Option<Duration>) -> Self {
        Self {
            next: FIRST,
            last_progress: clock::now(),
            give_up_after,
            distrusted_since: None,
        }
    }

    /// From now on there is no time to give up.
    pub(crate) fn never_give_up(&mut self) {
        self.give_up_after = None;
    }

    /// Something was done: the next pause is short, and the time to give up is far.
    pub(crate) fn progress(&mut self) {
        self.next = FIRST;
        self.last_progress = clock::now();
    }

    /// The node that is back is trusted, and trusts.
    pub(crate) fn trusted(&mut self) {
        self.distrusted_since = None;
    }

    /// Whether a failure of TLS may pass: one of the two may be about to have its certificate, or those whom it believes, replaced.
    /// Who never gives up does so here, or would never tell that it is locked out.
    pub(crate) fn may_be_trusted_again(&mut self, now: Instant) -> bool {
        now - *self.distrusted_since.get_or_insert(now) < REPLACED_WITHIN
    }

    /// Whether it is time to give up.
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The time until then; `None`: it never comes.
    pub(crate) fn left(&self) -> Option<Duration> {
        Some(self.give_up_after?.saturating_sub(self.waited()))
    }

    /// The time since the last progress.
    pub(crate) fn waited(&self) -> Duration {
        clock::now() - self.last_progress
    }

    /// The pause before the next try, at least `at_least` and then not much more, since whoever said that knows better than a guess;
    /// less before the last one, which there is time for. `None` when it is time to give up.
    pub(crate) fn pause(&mut self, at_least: Option<Duration>) -> Option<Duration> {
        // Jitter, so that those who lost the same node do not come back as one.
        let pause = self
            .next
            .min(at_least.map_or(LONGEST, |at_least| at_least * 2))
            .mul_f64(rand::rng().random_range(0.5..1.0))
            .max(at_least.unwrap_or_default());
        self.next = (self.next * 2).min(LONGEST);
        let Some(after) = self.give_up_after else {
            return Some(pause);
        };
        let last_try = LAST_TRY.min(after / LAST_TRY_SHARE);
        let until_last_try = self.left()?.saturating_sub(last_try);
        (!until_last_try.is_zero()).then(|| pause.min(until_last_try))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_shrink_on_progress() {
        let mut backoff = Backoff::new(None);
        let pauses: Vec<_> = (0..12).filter_map(|_| backoff.pause(None)).collect();
        assert_eq!(pauses.len(), 12);
        assert!(pauses[0] <= FIRST);
        assert!(pauses[11] >= LONGEST / 2 && pauses[11] <= LONGEST);
        backoff.progress();
        assert!(backoff.pause(None).expect("it never gives up") <= FIRST);
    }

    #[test]
    fn who_is_told_when_to_come_back_comes_about_then() {
        let mut backoff = Backoff::new(None);
        let told = Duration::from_millis(250);
        for _ in 0..12 {
            let pause = backoff.pause(Some(told)).expect("it never gives up");
            assert!(pause >= told && pause <= 2 * told, "{pause:?}");
        }
    }

    /// A call was given up as soon as a whole pause did not fit into its time any more: of three seconds it used less than two.
    #[test]
    fn there_is_a_last_try_just_before_the_deadline_and_none_behind_it() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(Some(seconds(3)));
        assert!(backoff.pause(Some(seconds(1))).expect("it fits") >= seconds(1));
        for at_least in [2, 4, 3600] {
            let pause = backoff
                .pause(Some(seconds(at_least)))
                .expect("there is time for a try");
            assert!(pause >= seconds(2) && pause < seconds(3), "{pause:?}");
        }
        backoff.last_progress -= seconds(3) - Duration::from_millis(200);
        assert_eq!(backoff.pause(None), None, "the last try has failed");
    }

    #[test]
    fn a_node_that_is_not_trusted_may_be_for_a_while_also_by_who_never_gives_up() {
        let mut backoff = Backoff::new(None);
        let start = clock::now();
        assert!(backoff.may_be_trusted_again(start));
        assert!(backoff.may_be_trusted_again(start + REPLACED_WITHIN / 2));
        assert!(!backoff.may_be_trusted_again(start + REPLACED_WITHIN));
        backoff.trusted();
        assert!(backoff.may_be_trusted_again(start + REPLACED_WITHIN));
    }
}
