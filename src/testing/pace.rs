//! How fast nodes of tests are: faster than those of production where somebody waits, and patient where a busy machine may
//! take its time.

use std::time::Duration;

use super::waiting::DEADLINE;
use crate::{
    actors::{membership::GossipTiming, raft::VoterRules, supervision},
    consensus::Timing,
};

/// The times of consensus: a second or less may pass on two cores with much else to do. A leader that is gone is replaced within
/// one election timeout, mostly, and two that stand at the same time need one more.
pub const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_timeout: Duration::from_millis(900),
};

/// When a learner becomes a voter: soon.
pub(super) const VOTERS: VoterRules = VoterRules {
    voters_max: 5,
    stable_for: Duration::from_millis(300),
};

/// Fast enough for a test, and slow enough for a machine that does much else.
pub(super) fn gossip() -> GossipTiming {
    GossipTiming {
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(100),
        gossip_interval: Duration::from_millis(20),
        exchange_interval: Duration::from_millis(500),
        connection_timeout: Duration::from_secs(1),
        reclaim_after: Duration::from_millis(50),
        join_wait_min: Duration::from_millis(50),
        join_wait_max: Duration::from_millis(400),
    }
}

/// Quick restarts of what fails.
pub(super) fn supervision() -> supervision::Timing {
    supervision::Timing {
        back_off_min: Duration::from_millis(10),
        back_off_max: Duration::from_millis(20),
        // A test is hardly about a machine so busy that a thread does not get to run for a while.
        stuck_after: DEADLINE,
        ..supervision::Timing::default()
    }
}
