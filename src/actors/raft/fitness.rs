//! Whether this node should lead, and what follows: a leader whose disk is full or hangs lets another node lead, and such a node,
//! or one that is being stopped, leaves it to the others to stand for election.
//!
//! Nothing of this is needed for safety. But a leader with a full disk refuses every write though the others have room; and
//! one whose disk hangs goes on showing itself, so that nobody else stands, while it applies nothing and answers nobody.

use std::{
    fmt,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use actix::prelude::*;
use slog::{debug, info, warn};

use super::{HandOver, RaftActor};
use crate::{
    actors::{log::Condition, supervision::Reply},
    clock,
};

/// How often it is looked at in an election timeout: often enough that who leads next is found within little more than one.
const LOOKS: u32 = 10;
/// Who let another node lead because of its disk does not again for so many election timeouts: where several disks are bad,
/// leadership must not wander, since each move costs some writes.
const REST_TIMEOUTS: u32 = 30;
/// Who should not lead stands all the same when nobody has led for so many election timeouts: it may be the only one left that
/// has everything. Reads are served then, and a trim, which empties a full disk, takes a leader.
const LEADERLESS_TIMEOUTS: u32 = 3;
/// Who lacks more entries than this would take too long to take over: as many as go in one append.
const LAG_MAX: u64 = 4096;

/// Why a node should not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// Its log refuses appends until there is room.
    DiskFull,
    /// Its disk has owed a sync for longer than an election timeout.
    DiskHangs,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiskFull => "its disk is nearly full",
            Self::DiskHangs => "its disk hangs",
        })
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    /// It stands for election when it hears of no leader.
    stands: bool,
    /// It leads, and lets another node lead if one can.
    yields: bool,
}

/// What is remembered from look to look. Pure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fitness {
    leaderless_since: Option<Instant>,
    /// It does not try to let another lead before.
    rests_until: Option<Instant>,
}

impl Fitness {
    /// A look at `now`: whether the node should not lead, and whether somebody leads, and it is this node.
    fn look(&mut self, unfit: bool, leader: Option<bool>, timeout: Duration, now: Instant) -> Verdict {
        let leaderless_for = match leader {
            Some(_) => {
                self.leaderless_since = None;
                Duration::ZERO
            }
            None => now.saturating_duration_since(*self.leaderless_since.get_or_insert(now)),
        };
        let rests = self.rests_until.is_some_and(|until| now < until);
        let yields = unfit && leader == Some(true) && !rests;
        if yields {
            self.rests_until = Some(now + timeout);
        }
        Verdict {
            stands: !unfit || leaderless_for >= LEADERLESS_TIMEOUTS * timeout,
            yields,
        }
    }

    /// Another node was asked to lead.
    fn yielded(&mut self, timeout: Duration, now: Instant) {
        self.rests_until = Some(now + REST_TIMEOUTS * timeout);
    }
}

/// How often it is looked at.
pub(super) fn look_every(election_timeout: Duration) -> Duration {
    election_timeout / LOOKS
}

impl RaftActor {
    /// Looks at the disk, and does what follows.
    pub(super) fn look_at_disk(&mut self, context: &mut Context<Self>) {
        let Some(consensus) = self.consensus.clone() else {
            return;
        };
        let (own, timeout) = (self.setup.node_id, self.setup.timing.election_timeout);
        let unfit = if consensus.sync_due_for(clock::now()) >= timeout {
            Some(Unfit::DiskHangs)
        } else if matches!(self.setup.board.condition(), Condition::StorageFull { .. }) {
            Some(Unfit::DiskFull)
        } else {
            None
        };
        let voters = consensus.voters();
        // Where nobody else votes there is nobody to leave it to.
        let unfit = unfit.filter(|_| voters != [own]);
        let leader = self.setup.leadership.borrow().leader;
        let leads = leader.map(|leader| leader == own);
        self.look_at_room(leads == Some(true), &voters);
        // It hands leadership over by itself before its clients are asked to go.
        let leaves = self.setup.stopping.load(Ordering::Acquire);
        let should_not = unfit.is_some() || leaves;
        let verdict = self.fitness.look(should_not, leads, timeout, clock::now());
        self.setup.port.set_stands(verdict.stands);
        if let Some(unfit) = unfit.filter(|_| verdict.yields && !leaves) {
            self.let_another_lead(unfit, context);
        }
    }

    /// Asks the other voters who of them may lead, and hands leadership over to one that has nearly everything.
    fn let_another_lead(&mut self, unfit: Unfit, context: &mut Context<Self>) {
        let last = self.setup.cluster.state().last;
        let mut candidates = self.candidates();
        candidates.retain(|candidate| last.distance_from(candidate.matched.min(last)) <= LAG_MAX);
        let found = self
            .setup
            .runtime
            .spawn(self.candidate_calls().fittest(candidates));
        context.spawn(found.into_actor(self).map(move |found, actor, context| {
            let Ok(Some(to)) = found else {
                debug!(actor.setup.logger, "this node should not lead, and nobody else can"; "why" => %unfit);
                return;
            };
            warn!(actor.setup.logger, "this node should not lead, and lets another do it"; "why" => %unfit, "to" => to.get());
            actor
                .fitness
                .yielded(actor.setup.timing.election_timeout, clock::now());
            let (reply, handed_over) = Reply::channel();
            actor.hand_over(HandOver { to: Some(to), reply }, context);
            context.spawn(handed_over.into_actor(actor).map(|handed_over, actor, _| match handed_over {
                Ok(leader) => info!(actor.setup.logger, "another node leads"; "leader" => leader.map(|leader| leader.get())),
                // Where the disk hangs this node may be the last to hear of it.
                Err(error) => info!(actor.setup.logger, "not known whether another node leads"; "cause" => %error),
            }));
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    struct Table {
        fitness: Fitness,
        now: Instant,
    }

    impl Table {
        fn new() -> Self {
            Self {
                fitness: Fitness::default(),
                now: clock::now(),
            }
        }

        /// What a look says after so many election timeouts more.
        fn after(&mut self, timeouts: u32, unfit: bool, leader: Option<bool>) -> (bool, bool) {
            self.now += timeouts * TIMEOUT;
            let Verdict { stands, yields } = self.fitness.look(unfit, leader, TIMEOUT, self.now);
            (stands, yields)
        }
    }

    #[test]
    fn a_node_that_is_well_stands_and_leads_on() {
        let mut table = Table::new();
        for leader in [None, Some(true), Some(false)] {
            assert_eq!(table.after(1, false, leader), (true, false));
        }
    }

    #[test]
    fn an_unfit_leader_yields_tries_again_after_a_timeout_and_rests_when_it_has() {
        let mut table = Table::new();
        assert_eq!(table.after(0, true, Some(true)), (false, true));
        assert_eq!(
            table.after(0, true, Some(true)),
            (false, false),
            "it is being asked"
        );
        assert_eq!(table.after(1, true, Some(true)), (false, true), "nobody could");
        table.fitness.yielded(TIMEOUT, table.now);
        // It leads again, as when all the others have failed.
        assert_eq!(table.after(REST_TIMEOUTS - 1, true, Some(true)), (false, false));
        assert_eq!(table.after(1, true, Some(true)), (false, true));
    }

    #[test]
    fn an_unfit_follower_stands_only_when_nobody_has_led_for_long() {
        let mut table = Table::new();
        assert_eq!(table.after(0, true, Some(false)), (false, false));
        assert_eq!(table.after(1, true, None), (false, false));
        assert_eq!(table.after(LEADERLESS_TIMEOUTS - 1, true, None), (false, false));
        assert_eq!(table.after(1, true, None), (true, false));
        assert_eq!(table.after(1, true, Some(false)), (false, false));
        assert_eq!(
            table.after(1, true, None),
            (false, false),
            "its patience begins anew"
        );
    }
}
