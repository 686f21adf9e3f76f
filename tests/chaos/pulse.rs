//! When something went well for a client.

use std::{sync::Mutex, time::Duration};

use crate::support::log_checker::Moment;

const LOCK: &str = "no call panics while it has the lock";

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Has records stored.
    Producer,
    /// Follows the log.
    Consumer,
    /// Makes one linearizable read after the other.
    Reader,
}

/// The moments at which something came back to one client: an acknowledgement, records, a page.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    beats: Mutex<Vec<Moment>>,
}

impl Pulse {
    pub(crate) fn new(name: String, kind: Kind) -> Self {
        Self {
            name,
            kind,
            beats: Mutex::default(),
        }
    }

    pub(crate) fn beat(&self, at: Moment) {
        self.beats.lock().expect(LOCK).push(at);
    }

    /// How often.
    pub(crate) fn count(&self) -> usize {
        self.beats.lock().expect(LOCK).len()
    }

    /// The longest time without, between two moments.
    pub(crate) fn longest_pause(&self, from: Moment, to: Moment) -> Duration {
        let beats = self.beats.lock().expect(LOCK);
        let within = beats.partition_point(|beat| *beat < from)..beats.partition_point(|beat| *beat < to);
        let (mut before, mut longest) = (from, Duration::ZERO);
        for beat in beats[within].iter().copied().chain([to]) {
            longest = longest.max(beat.since(before));
            before = beat;
        }
        longest
    }
}

#[test]
fn the_longest_pause_is_found_in_the_middle_and_at_both_ends() {
    let clock = crate::support::log_checker::Clock::new();
    let moments: Vec<Moment> = (0..5)
        .map(|_| {
            // No two moments are the same, however fast the machine is.
            clock.now()
        })
        .collect();
    let pulse = Pulse::new("one".to_owned(), Kind::Producer);
    assert_eq!(
        pulse.longest_pause(moments[0], moments[4]),
        moments[4].since(moments[0])
    );
    pulse.beat(moments[2]);
    let (first, second) = (moments[2].since(moments[0]), moments[4].since(moments[2]));
    assert_eq!(pulse.longest_pause(moments[0], moments[4]), first.max(second));
    // A beat outside counts for nothing.
    assert_eq!(
        pulse.longest_pause(moments[3], moments[4]),
        moments[4].since(moments[3])
    );
}
