//! What is done when a part of the node fails: a table, and the numbers that `main` ends with.

use std::fmt;

use crate::error::Disposition;

use super::Exit;

/// The process was asked to stop, and did.
pub const EXIT_GRACEFUL: u8 = 0;
/// A part failed in a way, or so often, that no restart of it helps (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_ESCALATED: u8 = 70;
/// The disk can no longer be trusted (`EX_IOERR`): look at it before starting again.
pub const EXIT_FAILSAFE: u8 = 74;
/// A part could not be started when the process began (`EX_CONFIG`): starting again unchanged will not help.
pub const EXIT_CANNOT_START: u8 = 78;

/// A supervised part of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// LogActor.
    Log,
    /// A SegmentActor; started and stopped by LogActor, and restarted with it.
    Segment,
    /// Whoever decides what is committed.
    Raft,
    /// ReplicatorsActor, which keeps the ReplicatorActors.
    Replicators,
    /// A ReplicatorActor: the connections to one peer. Started and restarted by ReplicatorsActor, each alone; the Agent
    /// hears nothing of it.
    Replicator,
    /// MembershipActor.
    Membership,
    /// GrpcGatewayActor.
    Gateway,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Segment => "segment",
            Self::Raft => "raft",
            Self::Replicators => "replicators",
            Self::Replicator => "replicator",
            Self::Membership => "membership",
            Self::Gateway => "gateway",
        })
    }
}

/// One part's line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The part that failed.
    pub part: Part,
    /// The part that is built again for it: itself, or the one that owns it.
    pub restart: Part,
    /// Parts that hold state derived from that one: stopped before it and started after it.
    pub dependants: &'static [Part],
    /// Whether the restarts are counted, and too many of them end the process.
    pub budgeted: bool,
    /// Whether the part can be restarted while it is stuck. A thread stuck in the disk cannot.
    pub restart_when_stuck: bool,
}

/// What is done about each part.
pub const TABLE: [Row; 7] = [
    Row {
        part: Part::Log,
        restart: Part::Log,
        dependants: &[Part::Raft],
        budgeted: true,
        restart_when_stuck: false,
    },
    Row {
        part: Part::Segment,
        restart: Part::Log,
        dependants: &[Part::Raft],
        budgeted: true,
        restart_when_stuck: false,
    },
    Row {
        part: Part::Raft,
        restart: Part::Raft,
        dependants: &[],
        budgeted: true,
        restart_when_stuck: false,
    },
    Row {
        part: Part::Replicators,
        restart: Part::Replicators,
        dependants: &[],
        budgeted: false,
        restart_when_stuck: true,
    },
    Row {
        part: Part::Replicator,
        restart: Part::Replicator,
        dependants: &[],
        budgeted: false,
        restart_when_stuck: true,
    },
    Row {
        part: Part::Membership,
        restart: Part::Membership,
        dependants: &[],
        budgeted: false,
        restart_when_stuck: true,
    },
    Row {
        part: Part::Gateway,
        restart: Part::Gateway,
        dependants: &[],
        budgeted: false,
        restart_when_stuck: true,
    },
];

/// What the Agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop `part`'s dependants, build `part` again from disk, then its dependants.
    Restart {
        /// The part to build again.
        part: Part,
        /// What goes down and comes up with it, in start order.
        dependants: &'static [Part],
    },
    /// End the process with this exit code.
    Escalate(u8),
}

/// A part's line of [`TABLE`].
#[must_use]
pub fn row(part: Part) -> &'static Row {
    match part {
        Part::Log => &TABLE[0],
        Part::Segment => &TABLE[1],
        Part::Raft => &TABLE[2],
        Part::Replicators => &TABLE[3],
        Part::Replicator => &TABLE[4],
        Part::Membership => &TABLE[5],
        Part::Gateway => &TABLE[6],
    }
}

/// What is done when `part` ends like this.
#[must_use]
pub fn decide(part: Part, exit: &Exit) -> Action {
    let row = row(part);
    let restart = Action::Restart {
        part: row.restart,
        dependants: row.dependants,
    };
    match exit {
        Exit::Stopped | Exit::Panicked => restart,
        Exit::Stuck if row.restart_when_stuck => restart,
        Exit::Stuck => Action::Escalate(EXIT_ESCALATED),
        Exit::Failed { disposition, .. } => match disposition {
            Disposition::Reject | Disposition::Retry | Disposition::Restart => restart,
            Disposition::Failsafe => Action::Escalate(EXIT_FAILSAFE),
            Disposition::Escalate => Action::Escalate(EXIT_ESCALATED),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [Part; 7] = [
        Part::Log,
        Part::Segment,
        Part::Raft,
        Part::Replicators,
        Part::Replicator,
        Part::Membership,
        Part::Gateway,
    ];

    fn failed(disposition: Disposition) -> Exit {
        Exit::Failed {
            disposition,
            text: "on purpose".to_owned(),
        }
    }

    fn rebuilt(part: Part) -> Action {
        let dependants: &[Part] = match part {
            Part::Log | Part::Segment => &[Part::Raft],
            Part::Raft | Part::Replicators | Part::Replicator | Part::Membership | Part::Gateway => &[],
        };
        let part = if part == Part::Segment { Part::Log } else { part };
        Action::Restart { part, dependants }
    }

    #[test]
    fn every_part_has_its_own_row() {
        for part in PARTS {
            assert_eq!(row(part).part, part);
        }
    }

    #[test]
    fn a_row_restarts_a_part_that_restarts_itself() {
        for row_of_part in &TABLE {
            let owner = row(row_of_part.restart);
            assert_eq!(
                owner.restart, row_of_part.restart,
                "{} has no owner to restart",
                row_of_part.part
            );
            assert_eq!(owner.dependants, row_of_part.dependants, "{}", row_of_part.part);
        }
    }

    #[test]
    fn a_panic_or_an_unexpected_stop_restarts_the_part_with_its_dependants() {
        for part in PARTS {
            assert_eq!(decide(part, &Exit::Panicked), rebuilt(part), "{part}");
            assert_eq!(decide(part, &Exit::Stopped), rebuilt(part), "{part}");
        }
    }

    #[test]
    fn a_stuck_part_ends_the_process_unless_it_is_of_the_network() {
        for part in [Part::Log, Part::Segment, Part::Raft] {
            assert_eq!(
                decide(part, &Exit::Stuck),
                Action::Escalate(EXIT_ESCALATED),
                "{part}"
            );
        }
        for part in [
            Part::Replicators,
            Part::Replicator,
            Part::Membership,
            Part::Gateway,
        ] {
            assert_eq!(decide(part, &Exit::Stuck), rebuilt(part), "{part}");
        }
    }

    #[test]
    fn a_failure_that_a_restart_can_heal_restarts() {
        for part in PARTS {
            for disposition in [Disposition::Reject, Disposition::Retry, Disposition::Restart] {
                assert_eq!(
                    decide(part, &failed(disposition)),
                    rebuilt(part),
                    "{part} {disposition:?}"
                );
            }
        }
    }

    #[test]
    fn a_failsafe_ends_the_process_with_its_own_code_whatever_the_part() {
        for part in PARTS {
            assert_eq!(
                decide(part, &failed(Disposition::Failsafe)),
                Action::Escalate(EXIT_FAILSAFE),
                "{part}"
            );
        }
    }

    #[test]
    fn a_failure_that_escalates_ends_the_process_whatever_the_part() {
        for part in PARTS {
            assert_eq!(
                decide(part, &failed(Disposition::Escalate)),
                Action::Escalate(EXIT_ESCALATED),
                "{part}"
            );
        }
    }

    #[test]
    fn only_what_is_of_the_network_may_restart_without_end() {
        let unbudgeted: Vec<Part> = TABLE
            .iter()
            .filter(|row| !row.budgeted)
            .map(|row| row.part)
            .collect();
        let network = [
            Part::Replicators,
            Part::Replicator,
            Part::Membership,
            Part::Gateway,
        ];
        assert_eq!(unbudgeted, network);
    }

    #[test]
    fn exit_codes_tell_the_causes_apart() {
        let codes = [EXIT_GRACEFUL, EXIT_ESCALATED, EXIT_FAILSAFE, EXIT_CANNOT_START];
        let distinct: std::collections::HashSet<u8> = codes.into_iter().collect();
        assert_eq!(distinct.len(), codes.len());
    }
}
