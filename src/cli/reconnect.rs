//! The way back to a node: how long to wait before the next try, and when to stop trying.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand::Rng;
use tokio::time;

use crate::{clock, error::Disposition};

use super::{addresses::Addresses, connect::Connection, credentials::REPLACED_WITHIN, error::CliError};

/// The first pause: longer than the restart of a listener, too short to be noticed.
const FIRST: Duration = Duration::from_millis(50);

/// A node that is back is found within this.
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses that double, counted from the last progress.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    last_progress: Instant,
    give_up_after: Option<Duration>,
    /// Since when the two sides do not trust each other, who did before.
    distrusted_since: Option<Instant>,
}

impl Backoff {
    /// Gives up when there is no progress for `give_up_after`; `None`: never.
    pub(super) fn new(give_up_after: Option<Duration>) -> Self {
        Self {
            next: FIRST,
            last_progress: clock::now(),
            give_up_after,
            distrusted_since: None,
        }
    }

    /// Something was done: the next pause is short, and the time to give up is far.
    pub(super) fn progress(&mut self) {
        self.next = FIRST;
        self.last_progress = clock::now();
    }

    /// The node that is back is trusted, and trusts.
    pub(super) fn trusted(&mut self) {
        self.distrusted_since = None;
    }

    /// Whether a failure of TLS may pass: one of the two may be about to have its certificate, or those whom it believes, replaced.
    /// Who never gives up does so here, or would never tell that it is locked out.
    fn may_be_trusted_again(&mut self, now: Instant) -> bool {
        now - *self.distrusted_since.get_or_insert(now) < REPLACED_WITHIN
    }

    /// Whether it is time to give up.
    pub(super) fn is_over(&self) -> bool {
        self.give_up_after.is_some_and(|after| self.waited() >= after)
    }

    /// The error of giving up on `addr`, whose last word was `reason`.
    pub(super) fn no_answer(&self, addr: &impl fmt::Display, reason: String) -> CliError {
        CliError::NoAnswer {
            addr: addr.to_string(),
            waited: in_tenths(self.waited()),
            reason,
        }
    }

    fn waited(&self) -> Duration {
        clock::now() - self.last_progress
    }

    /// The pause before the next try, at least `at_least` and then not much more, since whoever said that knows better than a guess;
    /// `None` when it is time to give up.
    pub(super) fn pause(&mut self, at_least: Option<Duration>) -> Option<Duration> {
        // Jitter, so that those who lost the same node do not come back as one.
        let pause = self
            .next
            .min(at_least.map_or(LONGEST, |at_least| at_least * 2))
            .mul_f64(rand::rng().random_range(0.5..1.0))
            .max(at_least.unwrap_or_default());
        self.next = (self.next * 2).min(LONGEST);
        match self.give_up_after {
            Some(after) if self.waited() + pause >= after => None,
            _ => Some(pause),
        }
    }
}

/// As people are told it: more digits say nothing, and whole seconds would make none of half a second.
fn in_tenths(waited: Duration) -> Duration {
    let tenths = waited.as_millis() / 100;
    Duration::from_millis(u64::try_from(tenths * 100).unwrap_or(u64::MAX))
}

/// Waits after `error`, and connects again, until that works or it is time to give up: each time to the next address, or to
/// where the leader is said to be.
///
/// Errors: `error` itself when a retry does not help or it is a refusal, or a failure of TLS, that did not pass; `NoAnswer`. Cancel: safe.
pub(super) async fn reconnect(
    addrs: &mut Addresses,
    backoff: &mut Backoff,
    mut error: CliError,
) -> Result<Connection, CliError> {
    loop {
        match error.disposition() {
            Disposition::Retry => {}
            _ if addrs.count() > 1 && is_of_one_node(&error) => {}
            _ if matches!(error, CliError::Tls { .. }) && backoff.may_be_trusted_again(clock::now()) => {}
            Disposition::Reject | Disposition::Restart | Disposition::Failsafe | Disposition::Escalate => {
                return Err(error);
            }
        }
        let at_least = match &error {
            CliError::Refused(refusal) => refusal.retry_after,
            _ => None,
        };
        let Some(pause) = backoff.pause(at_least) else {
            return Err(match error {
                CliError::Lost { reason } | CliError::CannotConnect { reason, .. } => {
                    backoff.no_answer(addrs, reason)
                }
                refused => refused,
            });
        };
        time::sleep(pause).await;
        turn(addrs, &error);
        match Connection::open(addrs.current()).await {
            Ok(connection) => return Ok(connection),
            Err(next) => error = next,
        }
    }
}

/// Another node of the cluster may take what this one refuses for ever.
fn is_of_one_node(error: &CliError) -> bool {
    matches!(error, CliError::Refused(refusal) if ["REMOVED", "FAILSAFE"].contains(&refusal.reason.as_str()))
}

/// Chooses whom to try after an error.
fn turn(addrs: &mut Addresses, error: &CliError) {
    addrs.turn();
    if let CliError::Refused(refusal) = error
        && refusal.reason == "NOT_LEADER"
        && let Some(leader) = refusal.metadata.get("leader_address")
    {
        addrs.prefer(leader);
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

    #[test]
    fn it_gives_up_rather_than_sleep_past_the_deadline() {
        let mut backoff = Backoff::new(Some(Duration::from_secs(3)));
        assert!(backoff.pause(Some(Duration::from_secs(1))).is_some());
        assert_eq!(backoff.pause(Some(Duration::from_secs(4))), None);
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

    #[test]
    fn a_wait_of_less_than_a_second_is_not_told_as_none() {
        let cases = [(199, 100), (500, 500), (1_999, 1_900), (30_000, 30_000)];
        for (waited, told) in
            cases.map(|(waited, told)| (Duration::from_millis(waited), Duration::from_millis(told)))
        {
            assert_eq!(in_tenths(waited), told);
        }
    }
}
