//! How long clients had to wait, by what was done to the nodes meanwhile.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::{
    pulse::{Kind, Pulse},
    support::log_checker::Moment,
};

/// The longest pause of each client in each span of time, by what went on in it.
#[derive(Default)]
pub(crate) struct Pauses(BTreeMap<(&'static str, Kind), Histogram<u64>>);

impl Pauses {
    /// Takes note of what each client saw from one moment to another.
    pub(crate) fn add<'a>(
        &mut self,
        what: &'static str,
        from: Moment,
        to: Moment,
        pulses: impl IntoIterator<Item = &'a Pulse>,
    ) {
        for pulse in pulses {
            let longest = pulse.longest_pause(from, to);
            let histogram = self
                .0
                .entry((what, pulse.kind))
                .or_insert_with(|| Histogram::new(3).expect("three digits are what a histogram can have"));
            histogram
                .record(milliseconds(longest))
                .expect("it takes all there are");
        }
    }

    /// A table for people.
    pub(crate) fn print(&self) {
        println!(
            "the longest time in which nothing came back to a client, from a fault until all nodes served again:"
        );
        println!(
            "{:<42} {:<9} {:>5} {:>9} {:>9} {:>9}",
            "", "seen by", "times", "p50", "p99", "max"
        );
        for ((what, kind), histogram) in &self.0 {
            let at = |quantile| format!("{} ms", histogram.value_at_quantile(quantile));
            let kind = format!("{kind:?}").to_lowercase();
            println!(
                "{what:<42} {kind:<9} {:>5} {:>9} {:>9} {:>9}",
                histogram.len(),
                at(0.5),
                at(0.99),
                format!("{} ms", histogram.max())
            );
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
