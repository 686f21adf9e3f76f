//! How the Agent tells an actor that is busy from one that is stuck.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix::Message;

/// The Agent's question for a sign of life; every supervised actor handles it by `lifeline.beat()`.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Heartbeat;

/// Counts signs of life; shared between an actor and the Agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a look at an actor's pulse shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vitals {
    /// There was a sign of life since the last look; time to ask for the next.
    Alive,
    /// Not yet.
    Silent,
    /// Not for so many looks that there will be none.
    Stuck,
}

/// Looks at one pulse, at regular intervals.
///
/// It counts looks and not time: after the whole process was paused (a suspended machine, a debugger) much time has
/// passed in which nobody could answer, but only one look.
#[derive(Debug)]
pub(crate) struct Watch {
    pulse: Pulse,
    seen: u64,
    silent_looks: u32,
}

impl Watch {
    pub(crate) fn new(pulse: Pulse) -> Self {
        let seen = pulse.count();
        Self {
            pulse,
            seen,
            silent_looks: 0,
        }
    }

    /// Counts from here on: the next look is a good one.
    pub(crate) fn begin_anew(&mut self) {
        self.seen = self.pulse.count().wrapping_sub(1);
        self.silent_looks = 0;
    }

    /// One look; `silent_looks_max` of them in a row without a sign of life mean stuck.
    pub(crate) fn look(&mut self, silent_looks_max: u32) -> Vitals {
        let count = self.pulse.count();
        if count != self.seen {
            self.seen = count;
            self.silent_looks = 0;
            return Vitals::Alive;
        }
        self.silent_looks = self.silent_looks.saturating_add(1);
        if self.silent_looks >= silent_looks_max {
            Vitals::Stuck
        } else {
            Vitals::Silent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_stuck_after_so_many_looks_without_a_beat() {
        let mut watch = Watch::new(Pulse::default());
        assert_eq!(watch.look(3), Vitals::Silent);
        assert_eq!(watch.look(3), Vitals::Silent);
        assert_eq!(watch.look(3), Vitals::Stuck);
    }

    #[test]
    fn a_beat_starts_the_count_anew() {
        let pulse = Pulse::default();
        let mut watch = Watch::new(pulse.clone());
        assert_eq!(watch.look(2), Vitals::Silent);
        pulse.beat();
        assert_eq!(watch.look(2), Vitals::Alive);
        assert_eq!(watch.look(2), Vitals::Silent);
        assert_eq!(watch.look(2), Vitals::Stuck);
    }
}
