//! The supervision tree as told to people.

use std::fmt;

use crate::types::TimestampMs;

use super::{Exit, Part};

/// What a part is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being built, or waits for the parts it needs.
    Starting,
    /// It is at work.
    Running,
    /// It is being stopped, for good or to be built again.
    Stopping,
    /// It failed and waits for its restart.
    BackingOff,
    /// It is down and stays down: the process is ending.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::BackingOff => "backing off",
            Self::Stopped => "stopped",
        })
    }
}

/// One part of the tree; the Agent is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartStatus {
    /// Which part.
    pub part: Part,
    /// The parts that are stopped before it and started after it.
    pub dependants: &'static [Part],
    /// What it is doing.
    pub state: State,
    /// Its instance, counted from 1; 0 before its first start.
    pub generation: u64,
    /// How often it failed and was granted a restart, since the process began.
    pub restarts: u64,
    /// How its last instance that failed ended.
    pub last_exit: Option<Exit>,
    /// Since when `state` holds.
    pub since: TimestampMs,
}
