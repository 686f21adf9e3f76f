//! What is done to the nodes, and in which order.

use rand::{rngs::StdRng, seq::SliceRandom};

/// One of the things that happen to clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillLeader,
    KillFollower,
    /// The leader and another one at once: no majority is left until one is back.
    KillTwo,
    /// SIGTERM for one after the other, each when the last is back.
    RollingRestart,
    CutLeaderOff,
    CutFollowerOff,
    FreezeLeader,
    FreezeFollower,
    /// A follower is cut off, and then the leader killed: no majority is left until that is back.
    KillLeaderWhileOneIsCutOff,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::KillLeader,
        Self::CutLeaderOff,
        Self::RollingRestart,
        Self::FreezeLeader,
        Self::KillFollower,
        Self::KillTwo,
        Self::CutFollowerOff,
        Self::FreezeFollower,
        Self::KillLeaderWhileOneIsCutOff,
    ];

    /// As the table of pauses says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill -9 of the leader",
            Self::KillFollower => "kill -9 of a follower",
            Self::KillTwo => "kill -9 of the leader and another",
            Self::RollingRestart => "rolling restart, SIGTERM to each",
            Self::CutLeaderOff => "leader cut off from its peers",
            Self::CutFollowerOff => "follower cut off from its peers",
            Self::FreezeLeader => "leader frozen (SIGSTOP)",
            Self::FreezeFollower => "follower frozen (SIGSTOP)",
            Self::KillLeaderWhileOneIsCutOff => "kill -9 of the leader, another cut off",
        }
    }

    /// Whether somebody has to lead in a later term afterwards.
    pub(crate) fn ends_a_term(self) -> bool {
        match self {
            Self::KillLeader
            | Self::KillTwo
            | Self::RollingRestart
            | Self::CutLeaderOff
            | Self::FreezeLeader
            | Self::KillLeaderWhileOneIsCutOff => true,
            Self::KillFollower | Self::CutFollowerOff | Self::FreezeFollower => false,
        }
    }
}

/// Faults without end: all kinds, and then all of them again in an order that chance decides. The first ones are always those that a short
/// run must not miss.
pub(crate) struct Schedule {
    left: Vec<Fault>,
}

impl Schedule {
    pub(crate) fn new() -> Self {
        let mut left = Fault::ALL.to_vec();
        left.reverse();
        Self { left }
    }

    pub(crate) fn next(&mut self, chance: &mut StdRng) -> Fault {
        if self.left.is_empty() {
            self.left = Fault::ALL.to_vec();
            self.left.shuffle(chance);
        }
        self.left.pop().expect("it was filled")
    }
}
