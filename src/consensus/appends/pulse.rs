//! Signs of life.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::WireError;
use crate::consensus::links::{KEEPALIVE_EVERY, KEEPALIVE_WITHIN};

/// Beats a connection may be silent for. Beats are counted and not time, so that a process that stood still itself does not
/// take its peers for dead.
const SILENT_BEATS_MAX: u128 = KEEPALIVE_WITHIN.as_millis() / KEEPALIVE_EVERY.as_millis();

/// Beats every [`KEEPALIVE_EVERY`], and looks whether the other side has said anything between.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: Interval,
    silent: u128,
}

impl Pulse {
    /// From now on.
    pub(super) fn new() -> Self {
        Self::every(KEEPALIVE_EVERY)
    }

    /// The same, at another pace.
    pub(super) fn every(pause: Duration) -> Self {
        let mut beats = interval(pause);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { beats, silent: 0 }
    }

    /// Ready with each beat. `heard`: whether something came since the last one; is taken back then.
    ///
    /// Errors: nothing came for too long.
    pub(super) fn poll_beat(
        &mut self,
        cx: &mut Context<'_>,
        heard: &mut bool,
    ) -> Poll<Result<(), WireError>> {
        std::task::ready!(self.beats.poll_tick(cx));
        self.silent = if std::mem::take(heard) { 0 } else { self.silent + 1 };
        if self.silent > SILENT_BEATS_MAX {
            return Poll::Ready(Err(WireError::Silent));
        }
        Poll::Ready(Ok(()))
    }
}
