//! One child's place in the Agent's roster: what its instance is doing, and what it has been through.

use std::time::Instant;

use crate::types::TimestampMs;

use super::{
    Exit, Part, PartStatus, State,
    ledger::Ledger,
    policy,
    pulse::{Pulse, Watch},
};

/// What a seat's instance is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// There is none.
    Idle,
    /// It is being built. It may die before its `start` has reported; that report decides.
    Starting { died: Option<Exit> },
    /// It is at work, or dead and about to be cleared away.
    Running,
    /// It has been asked to stop.
    Stopping,
}

/// One child, in all its generations.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) part: Part,
    pub(super) phase: Phase,
    /// When `phase` began.
    since: Instant,
    /// Counts instances; 0 before the first.
    pub(super) generation: u64,
    /// The instance must be stopped, to be built again or for good.
    pub(super) condemned: bool,
    /// When its back-off is over.
    pub(super) retry_at: Option<Instant>,
    /// At least one instance became ready.
    pub(super) ever_ran: bool,
    pub(super) ledger: Ledger,
    pub(super) watch: Watch,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<Exit>,
}

impl Seat {
    pub(super) fn new(part: Part, now: Instant) -> Self {
        Self {
            part,
            phase: Phase::Idle,
            since: now,
            generation: 0,
            condemned: false,
            retry_at: None,
            ever_ran: false,
            ledger: Ledger::new(policy::row(part).budgeted),
            watch: Watch::new(Pulse::default()),
            restarts: 0,
            last_exit: None,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }

    /// A new instance is being built; it has this pulse.
    pub(super) fn next_generation(&mut self, now: Instant) -> Pulse {
        let pulse = Pulse::default();
        self.watch = Watch::new(pulse.clone());
        // Counts as a sign of life, so that the first look asks for the next one.
        pulse.beat();
        self.retry_at = None;
        self.generation += 1;
        self.enter(Phase::Starting { died: None }, now);
        pulse
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// It runs, and nobody wants to stop it.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Running) && !self.condemned
    }

    /// It is being built, and not for the first time.
    pub(super) fn is_built_again(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. }) && self.ever_ran && !self.condemned
    }

    pub(super) fn status(&self, ending: bool, now: Instant, wall: TimestampMs) -> PartStatus {
        let state = match self.phase {
            Phase::Idle if ending => State::Stopped,
            Phase::Idle if self.retry_at.is_some() => State::BackingOff,
            Phase::Idle | Phase::Starting { .. } => State::Starting,
            Phase::Running => State::Running,
            Phase::Stopping => State::Stopping,
        };
        let held = now.saturating_duration_since(self.since);
        let held_ms = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
        PartStatus {
            part: self.part,
            dependants: policy::row(self.part).dependants,
            state,
            generation: self.generation,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            since: TimestampMs(wall.0.saturating_sub(held_ms)),
        }
    }
}
