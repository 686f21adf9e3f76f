//! Peers that were refused, so that each kind of refusal is told of once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Kinds that are remembered. More than this is an attack, and not a mistake.
const KINDS_MAX: usize = 256;
/// For how long the connections of a process that has ended may still seem to be there.
const LINGERS: Duration = Duration::from_millis(300);
/// After this what was not worth a word is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strangers(BTreeMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    first: Instant,
    is_told: bool,
}

impl Strangers {
    /// Whether a refusal of that kind, at `now`, is to be told of. `may_pass`: it may be over in a moment, and is news only when it is
    /// still so then.
    pub(super) fn is_news(&mut self, kind: String, may_pass: bool, now: Instant) -> bool {
        self.0
            .retain(|_, seen| seen.is_told || now - seen.first < FORGOTTEN_AFTER);
        if self.0.len() >= KINDS_MAX && !self.0.contains_key(&kind) {
            return false;
        }
        let seen = self.0.entry(kind).or_insert(Seen {
            first: now,
            is_told: false,
        });
        let stays = !may_pass || now - seen.first >= LINGERS;
        stays && !std::mem::replace(&mut seen.is_told, stays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn each_kind_is_told_of_once() {
        let (mut strangers, now) = (Strangers::default(), clock::now());
        assert!(strangers.is_news("a".to_owned(), false, now));
        assert!(!strangers.is_news("a".to_owned(), false, now + 2 * FORGOTTEN_AFTER));
        assert!(strangers.is_news("b".to_owned(), false, now));
        for number in 2..KINDS_MAX {
            assert!(strangers.is_news(number.to_string(), false, now));
        }
        assert!(!strangers.is_news("one more".to_owned(), false, now));
    }

    /// A node that was started again was told of as a second process of itself: the connections of the first had not ended yet.
    #[test]
    fn what_may_pass_is_told_of_when_it_has_not() {
        let (mut strangers, began) = (Strangers::default(), clock::now());
        let mut is_news_after = |wait| strangers.is_news("a".to_owned(), true, began + wait);
        assert!(!is_news_after(Duration::ZERO));
        assert!(!is_news_after(LINGERS / 2));
        assert!(is_news_after(LINGERS));
        assert!(!is_news_after(2 * LINGERS));
    }

    #[test]
    fn what_passed_is_forgotten() {
        let (mut strangers, now) = (Strangers::default(), clock::now());
        for number in 0..KINDS_MAX {
            assert!(!strangers.is_news(number.to_string(), true, now));
        }
        assert!(strangers.is_news("later".to_owned(), false, now + FORGOTTEN_AFTER));
    }
}
