//! Who is up, who is to go down, and what comes next: the Agent's decisions, without its actor.
//!
//! Events come in ([`Roster::started`], [`Roster::died`], ..) and change what is wanted of each seat; [`Roster::advance`]
//! then says what has to be done now. A seat is one child, in start order. It is *condemned* when its instance must be
//! stopped, whether to be built again or for good.

use std::time::{Duration, Instant};

use crate::types::TimestampMs;

use super::{
    Died, Exit, Part, PartStatus, Timing,
    ending::Ending,
    policy::{self, Action, EXIT_CANNOT_START, EXIT_ESCALATED, EXIT_FAILSAFE},
    pulse::{Pulse, Vitals},
    seat::{Phase, Seat},
};

/// Something for the Agent to do. `seat` is the child's place in start order.
#[derive(Debug)]
pub(crate) enum Command {
    /// Build a new instance.
    Start {
        seat: usize,
        generation: u64,
        pulse: Pulse,
    },
    /// Stop it, within that time.
    Stop { seat: usize, within: Duration },
    /// Everything is down.
    End(Ending),
}

/// What a failure leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: it is over already, or was intended.
    Ignored,
    /// The part, which ended like this, is built again after that time.
    Restart { exit: Exit, wait: Duration },
    /// The process ends.
    End(Ending),
}

/// All children and what is wanted of them.
#[derive(Debug)]
pub(crate) struct Roster {
    seats: Vec<Seat>,
    timing: Timing,
    /// Set when everything is to go down.
    ending: Option<Ending>,
    ended: bool,
}

impl Roster {
    /// `parts` in start order, none of them up.
    ///
    /// Panics: when a part is there twice, comes before one it depends on, or is not started by the Agent.
    pub(crate) fn new(parts: &[Part], timing: Timing, now: Instant) -> Self {
        for (index, part) in parts.iter().enumerate() {
            let row = policy::row(*part);
            assert!(
                row.restart == *part,
                "the {part} is not started by the Agent but with the {}",
                row.restart
            );
            let misplaced = |earlier: &Part| earlier == part || row.dependants.contains(earlier);
            assert!(
                !parts[..index].iter().any(misplaced),
                "the {part} comes too late or twice"
            );
        }
        let seats = parts.iter().map(|part| Seat::new(*part, now)).collect();
        Self {
            seats,
            timing,
            ending: None,
            ended: false,
        }
    }

    /// Which part sits there.
    pub(crate) fn part(&self, seat: usize) -> Part {
        self.seats[seat].part
    }

    /// What has to be done now, given all that happened so far.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<Command> {
        let mut commands = self.stop_condemned(now);
        if self.ending.is_none() {
            commands.extend(self.start_idle(now));
        } else if !self.ended && self.seats.iter().all(Seat::is_idle) {
            self.ended = true;
            commands.extend(self.ending.clone().map(Command::End));
        }
        commands
    }

    /// How long until a seat's back-off is over and [`Roster::advance`] has to be asked again.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Duration> {
        let to_come = self
            .seats
            .iter()
            .filter_map(|seat| seat.retry_at)
            .filter(|at| *at > now);
        to_come.map(|at| at.saturating_duration_since(now)).min()
    }

    /// The `start` of that generation has reported. One that was given up may still report, after the next has begun.
    pub(crate) fn started(
        &mut self,
        seat: usize,
        generation: u64,
        result: Result<(), Exit>,
        now: Instant,
        jitter: f64,
    ) -> Verdict {
        let current = self.seats[seat].generation == generation;
        let Phase::Starting { died } = &mut self.seats[seat].phase else {
            return Verdict::Ignored;
        };
        if !current {
            return Verdict::Ignored;
        }
        let died = died.take();
        let result = result.and_then(|()| died.map_or(Ok(()), Err));
        match result {
            Ok(()) => {
                self.seats[seat].ever_ran = true;
                self.seats[seat].watch.begin_anew();
                self.seats[seat].enter(Phase::Running, now);
                Verdict::Ignored
            }
            Err(exit) => {
                let part = self.seats[seat].part;
                if self.seats[seat].ever_ran {
                    self.fail(seat, part, exit, now, jitter)
                } else {
                    self.refuse_start(seat, exit)
                }
            }
        }
    }

    /// A `stop` is over: the part is down, or was not `in_time` and is passed over.
    ///
    /// When the process ends and it was the log, nobody may believe that all went well: its last sync never returned.
    pub(crate) fn stopped(&mut self, seat: usize, in_time: bool, now: Instant) -> Verdict {
        let seat = &mut self.seats[seat];
        if !matches!(seat.phase, Phase::Stopping) {
            return Verdict::Ignored;
        }
        seat.condemned = false;
        seat.enter(Phase::Idle, now);
        let part = seat.part;
        let ends_well = self
            .ending
            .as_ref()
            .is_some_and(|ending| *ending == Ending::graceful());
        if in_time || part != Part::Log || !ends_well {
            return Verdict::Ignored;
        }
        let ending = Ending {
            cause: format!("asked to stop, but the {part} did not stop in time"),
            exit_code: EXIT_ESCALATED,
        };
        self.end(ending.clone());
        Verdict::End(ending)
    }

    /// A lifeline was dropped.
    pub(crate) fn died(&mut self, died: Died, now: Instant, jitter: f64) -> Verdict {
        let Some(index) = self.seat_of(died.part) else {
            return Verdict::Ignored;
        };
        // Whoever reopens files after a failed sync reads what is not on the disk: too late is no excuse (STO-3).
        let failsafe = policy::decide(died.part, &died.exit) == Action::Escalate(EXIT_FAILSAFE);
        let seat = &mut self.seats[index];
        let current = seat.generation == died.generation && !seat.condemned;
        match &mut seat.phase {
            Phase::Starting { died: last_words } if current && !failsafe => {
                last_words.get_or_insert(died.exit);
                Verdict::Ignored
            }
            Phase::Running if current => self.fail(index, died.part, died.exit, now, jitter),
            _ if failsafe => self.fail(index, died.part, died.exit, now, jitter),
            Phase::Idle | Phase::Starting { .. } | Phase::Running | Phase::Stopping => Verdict::Ignored,
        }
    }

    /// Looks at the pulse of all that run or are built again: which seats to ping, and which are stuck. The first start
    /// has no limit: nobody is served yet, and whoever started the process may lose patience by himself.
    pub(crate) fn look(&mut self) -> (Vec<usize>, Vec<usize>) {
        let (mut to_ping, mut stuck) = (Vec::new(), Vec::new());
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let looks_max = if seat.is_ready() {
                self.timing.silent_looks_max()
            } else if seat.is_built_again() {
                self.timing.starting_looks_max()
            } else {
                continue;
            };
            match seat.watch.look(looks_max) {
                Vitals::Alive if seat.is_ready() => to_ping.push(index),
                Vitals::Alive | Vitals::Silent => {}
                Vitals::Stuck => stuck.push(index),
            }
        }
        (to_ping, stuck)
    }

    /// A seat is stuck.
    pub(crate) fn stuck(&mut self, seat: usize, now: Instant, jitter: f64) -> Verdict {
        let part = self.seats[seat].part;
        self.fail(seat, part, Exit::Stuck, now, jitter)
    }

    /// Somebody wants a part built again, at once and at no cost to its budget. False when the process is ending, or
    /// the part is not supervised.
    pub(crate) fn restart(&mut self, part: Part) -> bool {
        match self.seat_of(part) {
            Some(seat) if self.ending.is_none() => {
                self.seats[seat].retry_at = None;
                self.condemn_with_dependants(seat);
                true
            }
            _ => false,
        }
    }

    /// Everything goes down; the weightiest of several endings is the one that is told.
    pub(crate) fn end(&mut self, ending: Ending) {
        for seat in &mut self.seats {
            seat.retry_at = None;
            seat.condemned = true;
        }
        let earlier = self.ending.as_ref();
        if earlier.is_none_or(|earlier| ending.outranks(earlier)) {
            self.ending = Some(ending);
        }
    }

    /// The tree as it is now.
    pub(crate) fn status(&self, now: Instant, wall: TimestampMs) -> Vec<PartStatus> {
        let ending = self.ending.is_some();
        self.seats
            .iter()
            .map(|seat| seat.status(ending, now, wall))
            .collect()
    }

    /// The seat whose restart is the answer to `part`'s failure.
    fn seat_of(&self, part: Part) -> Option<usize> {
        let owner = policy::row(part).restart;
        self.seats.iter().position(|seat| seat.part == owner)
    }

    fn depends(&self, dependant: usize, on: usize) -> bool {
        policy::row(self.seats[on].part)
            .dependants
            .contains(&self.seats[dependant].part)
    }

    /// Applies the policy to the end of `part`, which lives in `seat`.
    fn fail(&mut self, index: usize, part: Part, exit: Exit, now: Instant, jitter: f64) -> Verdict {
        let action = policy::decide(part, &exit);
        let seat = &mut self.seats[index];
        seat.last_exit = Some(exit.clone());
        let ending = match action {
            Action::Escalate(exit_code) => Ending {
                cause: format!("{part} {exit}"),
                exit_code,
            },
            Action::Restart { .. } if self.ending.is_some() => return Verdict::Ignored,
            Action::Restart { .. } => match seat.ledger.grant(&self.timing, now, jitter) {
                Some(wait) => {
                    seat.restarts += 1;
                    seat.retry_at = Some(now + wait);
                    self.condemn_with_dependants(index);
                    return Verdict::Restart { exit, wait };
                }
                None => self.budget_spent(part, &exit),
            },
        };
        self.end(ending.clone());
        Verdict::End(ending)
    }

    fn budget_spent(&self, part: Part, exit: &Exit) -> Ending {
        let Timing {
            budget_restarts,
            budget_window,
            ..
        } = self.timing;
        Ending {
            cause: format!("{part} {exit}, after {budget_restarts} restarts within {budget_window:?}"),
            exit_code: EXIT_ESCALATED,
        }
    }

    /// A part that never ran cannot be expected to start on the second try.
    fn refuse_start(&mut self, index: usize, exit: Exit) -> Verdict {
        let seat = &mut self.seats[index];
        let exit_code = match policy::decide(seat.part, &exit) {
            Action::Escalate(EXIT_FAILSAFE) => EXIT_FAILSAFE,
            Action::Escalate(_) | Action::Restart { .. } => EXIT_CANNOT_START,
        };
        let reason = match &exit {
            Exit::Failed { text, .. } => text.clone(),
            Exit::Stopped | Exit::Panicked | Exit::Stuck => format!("it {exit}"),
        };
        let ending = Ending {
            cause: format!("cannot start the {}: {reason}", seat.part),
            exit_code,
        };
        seat.last_exit = Some(exit);
        self.end(ending.clone());
        Verdict::End(ending)
    }

    fn condemn_with_dependants(&mut self, index: usize) {
        for other in 0..self.seats.len() {
            if other == index || self.depends(other, index) {
                self.seats[other].condemned = true;
            }
        }
    }

    /// In reverse start order, each once all that must go before it is down.
    fn stop_condemned(&mut self, now: Instant) -> Vec<Command> {
        let within = match &self.ending {
            Some(ending) if *ending != Ending::graceful() => self.timing.stop_within_when_failed,
            Some(_) | None => self.timing.stop_within,
        };
        let mut commands = Vec::new();
        for index in (0..self.seats.len()).rev() {
            let may_stop = self.may_stop(index);
            let seat = &mut self.seats[index];
            match seat.phase {
                Phase::Idle => seat.condemned = false,
                Phase::Starting { .. } | Phase::Running if seat.condemned && may_stop => {
                    seat.enter(Phase::Stopping, now);
                    commands.push(Command::Stop { seat: index, within });
                }
                Phase::Starting { .. } | Phase::Running | Phase::Stopping => {}
            }
        }
        commands
    }

    /// Whether all that must go before it is down: its dependants, or everything later when the process ends.
    fn may_stop(&self, index: usize) -> bool {
        let goes_first = |later: &usize| self.ending.is_some() || self.depends(*later, index);
        (index + 1..self.seats.len())
            .filter(goes_first)
            .all(|later| self.seats[later].is_idle())
    }

    /// At process start one after the other; later each as soon as its back-off is over and all it depends on runs.
    fn start_idle(&mut self, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        for index in 0..self.seats.len() {
            let may_follow = |earlier: usize| {
                let seat = &self.seats[earlier];
                if self.depends(index, earlier) {
                    seat.is_ready()
                } else {
                    seat.ever_ran
                }
            };
            let ready = (0..index).all(may_follow);
            let seat = &mut self.seats[index];
            let rested = seat.retry_at.is_none_or(|at| at <= now);
            if seat.is_idle() && ready && rested {
                let pulse = seat.next_generation(now);
                let generation = seat.generation;
                commands.push(Command::Start {
                    seat: index,
                    generation,
                    pulse,
                });
            }
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actors::supervision::{State, policy::EXIT_GRACEFUL},
        clock,
        error::Disposition,
    };

    const LOG: usize = 0;
    const COMMITTER: usize = 1;
    const GATEWAY: usize = 2;

    /// A roster, its time, and what it last asked for, in words.
    struct Table {
        roster: Roster,
        now: Instant,
    }

    impl Table {
        fn new() -> Self {
            let now = clock::now();
            let parts = [Part::Log, Part::Raft, Part::Gateway];
            Self {
                roster: Roster::new(&parts, Timing::default(), now),
                now,
            }
        }

        /// All parts up, in their first generation.
        fn up() -> Self {
            let mut table = Self::new();
            for seat in [LOG, COMMITTER, GATEWAY] {
                table.advance();
                table.ready(seat);
            }
            assert_eq!(table.advance(), [""; 0]);
            table
        }

        fn advance(&mut self) -> Vec<String> {
            let roster = &mut self.roster;
            let commands = roster.advance(self.now);
            let in_words = |command: &Command| match command {
                Command::Start { seat, generation, .. } => {
                    format!("start {} {generation}", roster.part(*seat))
                }
                Command::Stop { seat, .. } => format!("stop {}", roster.part(*seat)),
                Command::End(ending) => format!("end {}", ending.exit_code),
            };
            commands.iter().map(in_words).collect()
        }

        /// The current generation's start reports.
        fn report(&mut self, seat: usize, result: Result<(), Exit>) -> Verdict {
            let generation = self.roster.seats[seat].generation;
            self.roster.started(seat, generation, result, self.now, 0.0)
        }

        fn ready(&mut self, seat: usize) {
            assert_eq!(self.report(seat, Ok(())), Verdict::Ignored);
        }

        fn down(&mut self, seat: usize) -> Vec<String> {
            assert_eq!(self.roster.stopped(seat, true, self.now), Verdict::Ignored);
            self.advance()
        }

        fn die(&mut self, part: Part, generation: u64, exit: Exit) -> Verdict {
            self.roster.died(
                Died {
                    part,
                    generation,
                    exit,
                },
                self.now,
                0.0,
            )
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }

        fn states(&self) -> Vec<State> {
            self.roster
                .status(self.now, TimestampMs(0))
                .iter()
                .map(|part| part.state)
                .collect()
        }
    }

    fn failed(disposition: Disposition) -> Exit {
        Exit::Failed {
            disposition,
            text: "on purpose".to_owned(),
        }
    }

    fn exit_code(verdict: Verdict) -> Option<u8> {
        match verdict {
            Verdict::End(ending) => Some(ending.exit_code),
            Verdict::Ignored | Verdict::Restart { .. } => None,
        }
    }

    #[test]
    fn parts_are_started_one_after_the_other() {
        let mut table = Table::new();
        assert_eq!(table.advance(), ["start log 1"]);
        assert_eq!(table.advance(), [""; 0]);
        table.ready(LOG);
        assert_eq!(table.advance(), ["start raft 1"]);
        table.ready(COMMITTER);
        assert_eq!(table.advance(), ["start gateway 1"]);
    }

    #[test]
    fn a_dead_log_takes_the_committer_down_first_and_brings_it_up_after() {
        let mut table = Table::up();
        let wait = Duration::from_millis(50);
        let verdict = table.die(Part::Log, 1, Exit::Panicked);
        assert_eq!(
            verdict,
            Verdict::Restart {
                exit: Exit::Panicked,
                wait
            }
        );
        assert_eq!(table.advance(), ["stop raft"]);
        assert_eq!(table.down(COMMITTER), ["stop log"]);
        assert_eq!(table.down(LOG), [""; 0]);
        assert_eq!(
            table.states(),
            [State::BackingOff, State::Starting, State::Running]
        );
        assert_eq!(table.roster.next_wake(table.now), Some(wait));
        table.pass(wait);
        assert_eq!(table.advance(), ["start log 2"]);
        table.ready(LOG);
        assert_eq!(table.advance(), ["start raft 2"]);
        table.ready(COMMITTER);
        assert_eq!(table.states(), [State::Running; 3]);
    }

    #[test]
    fn a_dead_segment_restarts_its_log() {
        let mut table = Table::up();
        table.die(Part::Segment, 1, Exit::Panicked);
        assert_eq!(table.advance(), ["stop raft"]);
        assert_eq!(table.down(COMMITTER), ["stop log"]);
    }

    #[test]
    fn the_gateway_is_restarted_alone_even_while_the_log_is_down() {
        let mut table = Table::up();
        table.die(Part::Log, 1, Exit::Panicked);
        table.advance();
        table.die(Part::Gateway, 1, Exit::Stopped);
        assert_eq!(table.advance(), ["stop gateway"]);
        table.pass(Duration::from_millis(50));
        assert_eq!(table.down(GATEWAY), ["start gateway 2"]);
    }

    #[test]
    fn a_death_that_the_agent_asked_for_is_no_failure() {
        let mut table = Table::up();
        assert!(table.roster.restart(Part::Raft));
        assert_eq!(table.advance(), ["stop raft"]);
        assert_eq!(table.die(Part::Raft, 1, Exit::Stopped), Verdict::Ignored);
        assert_eq!(table.down(COMMITTER), ["start raft 2"]);
        assert_eq!(
            table.roster.status(table.now, TimestampMs(0))[COMMITTER].restarts,
            0
        );
    }

    #[test]
    fn a_late_death_of_an_old_generation_is_ignored() {
        let mut table = Table::up();
        table.roster.restart(Part::Raft);
        table.advance();
        table.down(COMMITTER);
        table.ready(COMMITTER);
        assert_eq!(table.die(Part::Raft, 1, Exit::Panicked), Verdict::Ignored);
        assert_eq!(table.advance(), [""; 0]);
    }

    #[test]
    fn a_failsafe_ends_the_process_even_from_an_old_generation_or_while_stopping() {
        let mut late = Table::up();
        late.roster.restart(Part::Log);
        late.advance();
        late.down(COMMITTER);
        late.down(LOG);
        late.ready(LOG);
        let verdict = late.die(Part::Segment, 1, failed(Disposition::Failsafe));
        assert_eq!(exit_code(verdict), Some(EXIT_FAILSAFE));

        let mut stopping = Table::up();
        stopping.roster.end(Ending::graceful());
        stopping.advance();
        let verdict = stopping.die(Part::Log, 1, failed(Disposition::Failsafe));
        assert_eq!(exit_code(verdict), Some(EXIT_FAILSAFE));
        stopping.down(GATEWAY);
        stopping.down(COMMITTER);
        assert_eq!(stopping.down(LOG), ["end 74"]);
    }

    #[test]
    fn a_part_that_dies_while_it_starts_fails_when_its_start_reports() {
        let mut table = Table::up();
        table.roster.restart(Part::Gateway);
        table.advance();
        table.down(GATEWAY);
        assert_eq!(table.die(Part::Gateway, 2, Exit::Panicked), Verdict::Ignored);
        let verdict = table.report(GATEWAY, Ok(()));
        assert_eq!(
            verdict,
            Verdict::Restart {
                exit: Exit::Panicked,
                wait: Duration::from_millis(50)
            }
        );
    }

    #[test]
    fn a_start_that_was_given_up_does_not_speak_for_the_next_one() {
        let mut table = Table::up();
        for _ in 0..2 {
            table.roster.restart(Part::Gateway);
            table.advance();
            table.down(GATEWAY);
        }
        assert_eq!(
            table.roster.started(GATEWAY, 2, Ok(()), table.now, 0.0),
            Verdict::Ignored
        );
        assert_eq!(table.states()[GATEWAY], State::Starting);
        table.ready(GATEWAY);
        assert_eq!(table.states()[GATEWAY], State::Running);
    }

    #[test]
    fn the_error_of_a_failed_start_is_told_rather_than_the_death_it_caused() {
        let mut table = Table::new();
        table.advance();
        table.die(Part::Log, 1, Exit::Stopped);
        let verdict = table.report(LOG, Err(failed(Disposition::Restart)));
        let cause = "cannot start the log: on purpose".to_owned();
        assert_eq!(
            verdict,
            Verdict::End(Ending {
                cause,
                exit_code: EXIT_CANNOT_START
            })
        );
        assert_eq!(table.advance(), ["stop log"]);
        assert_eq!(table.down(LOG), ["end 78"]);
    }

    #[test]
    fn a_first_start_that_meets_a_bad_disk_ends_with_the_code_for_that() {
        let mut table = Table::new();
        table.advance();
        let verdict = table.report(LOG, Err(failed(Disposition::Failsafe)));
        assert_eq!(exit_code(verdict), Some(EXIT_FAILSAFE));
    }

    #[test]
    fn a_restart_that_fails_counts_against_the_budget() {
        let mut table = Table::up();
        table.die(Part::Raft, 1, Exit::Panicked);
        let mut failures = 1;
        let ending = loop {
            table.advance();
            table.down(COMMITTER);
            table.pass(Duration::from_secs(1));
            assert_eq!(table.advance().len(), 1, "after {failures} failures");
            let error = failed(Disposition::Restart);
            failures += 1;
            if let Verdict::End(ending) = table.report(COMMITTER, Err(error)) {
                break ending;
            }
        };
        assert_eq!(failures, 6);
        assert_eq!(ending.exit_code, EXIT_ESCALATED);
        assert_eq!(
            ending.cause,
            "raft failed: on purpose, after 5 restarts within 60s"
        );
    }

    #[test]
    fn a_stuck_log_ends_the_process_and_a_stuck_gateway_does_not() {
        let mut table = Table::up();
        let verdict = table.roster.stuck(GATEWAY, table.now, 0.0);
        assert_eq!(
            verdict,
            Verdict::Restart {
                exit: Exit::Stuck,
                wait: Duration::from_millis(50)
            }
        );
        let verdict = table.roster.stuck(LOG, table.now, 0.0);
        assert_eq!(exit_code(verdict), Some(EXIT_ESCALATED));
    }

    #[test]
    fn only_parts_that_run_are_looked_at() {
        let mut table = Table::new();
        table.advance();
        assert_eq!(table.roster.look(), (vec![], vec![]));
        table.ready(LOG);
        assert_eq!(table.roster.look(), (vec![LOG], vec![]));
        let looks = Timing::default().silent_looks_max() as usize;
        let silent = |table: &mut Table| (0..looks).map(|_| table.roster.look().1).collect::<Vec<_>>();
        let mut expected = vec![vec![]; looks - 1];
        expected.push(vec![LOG]);
        assert_eq!(silent(&mut table), expected);
        table.roster.end(Ending::graceful());
        assert_eq!(table.roster.look(), (vec![], vec![]));
    }

    #[test]
    fn a_restart_that_takes_far_too_long_ends_the_process_and_a_first_start_does_not() {
        let mut table = Table::new();
        table.advance();
        let looks = Timing::default().starting_looks_max();
        for _ in 0..2 * looks {
            assert_eq!(table.roster.look(), (vec![], vec![]));
        }
        let mut table = Table::up();
        table.die(Part::Log, 1, Exit::Panicked);
        table.advance();
        table.down(COMMITTER);
        table.down(LOG);
        table.pass(Duration::from_secs(1));
        assert_eq!(table.advance(), ["start log 2"]);
        let stuck = |table: &mut Table| table.roster.look().1.contains(&LOG);
        // The first look sees the start itself.
        assert!((0..looks).all(|_| !stuck(&mut table)));
        assert!(stuck(&mut table));
        let verdict = table.roster.stuck(LOG, table.now, 0.0);
        assert_eq!(exit_code(verdict), Some(EXIT_ESCALATED));
    }

    #[test]
    fn a_long_start_is_forgotten_once_the_part_runs() {
        let mut table = Table::up();
        table.roster.restart(Part::Gateway);
        table.advance();
        table.down(GATEWAY);
        for _ in 0..Timing::default().starting_looks_max() {
            table.roster.look();
        }
        table.ready(GATEWAY);
        let (to_ping, stuck) = table.roster.look();
        assert!(to_ping.contains(&GATEWAY) && !stuck.contains(&GATEWAY));
    }

    #[test]
    fn a_log_that_is_passed_over_at_the_end_makes_it_a_failure() {
        let mut table = Table::up();
        table.roster.end(Ending::graceful());
        table.advance();
        let verdict = table.roster.stopped(GATEWAY, false, table.now);
        assert_eq!(verdict, Verdict::Ignored, "clients that stay lose nothing");
        table.advance();
        table.down(COMMITTER);
        let cause = "asked to stop, but the log did not stop in time".to_owned();
        let ending = Ending {
            cause,
            exit_code: EXIT_ESCALATED,
        };
        let verdict = table.roster.stopped(LOG, false, table.now);
        assert_eq!(verdict, Verdict::End(ending));
        assert_eq!(table.advance(), ["end 70"]);
    }

    #[test]
    fn shutdown_stops_in_reverse_order_and_ends_once() {
        let mut table = Table::up();
        table.roster.end(Ending::graceful());
        table.roster.end(Ending::graceful());
        assert_eq!(table.advance(), ["stop gateway"]);
        assert_eq!(table.down(GATEWAY), ["stop raft"]);
        assert_eq!(table.down(COMMITTER), ["stop log"]);
        assert_eq!(table.down(LOG), [format!("end {EXIT_GRACEFUL}")]);
        assert_eq!(table.advance(), [""; 0]);
        assert_eq!(table.states(), [State::Stopped; 3]);
    }

    #[test]
    fn shutdown_does_not_wait_for_a_start_or_a_back_off() {
        let mut table = Table::new();
        table.advance();
        table.roster.end(Ending::graceful());
        assert_eq!(table.advance(), ["stop log"]);
        assert_eq!(table.report(LOG, Ok(())), Verdict::Ignored);
        assert_eq!(table.down(LOG), ["end 0"]);

        let mut table = Table::up();
        table.die(Part::Gateway, 1, Exit::Panicked);
        table.advance();
        table.down(GATEWAY);
        table.roster.end(Ending::graceful());
        assert_eq!(table.advance(), ["stop raft"]);
        assert!(!table.roster.restart(Part::Gateway));
    }

    #[test]
    fn parts_get_less_time_to_stop_when_the_process_ends_by_a_failure() {
        let patience = |mut table: Table| match table.roster.advance(table.now).as_slice() {
            [Command::Stop { within, .. }] => *within,
            other => panic!("one part is to stop, not {other:?}"),
        };
        let mut asked = Table::up();
        asked.roster.end(Ending::graceful());
        assert_eq!(patience(asked), Timing::default().stop_within);
        let mut restarted = Table::up();
        restarted.die(Part::Raft, 1, Exit::Panicked);
        assert_eq!(patience(restarted), Timing::default().stop_within);
        let mut failed_for_good = Table::up();
        failed_for_good.die(Part::Log, 1, failed(Disposition::Escalate));
        assert_eq!(
            patience(failed_for_good),
            Timing::default().stop_within_when_failed
        );
    }

    #[test]
    fn a_back_off_that_is_over_sets_no_alarm_while_the_part_waits_for_another() {
        let mut table = Table::up();
        table.die(Part::Raft, 1, Exit::Panicked);
        table.advance();
        table.down(COMMITTER);
        table.roster.restart(Part::Log);
        table.advance();
        table.pass(Duration::from_secs(1));
        assert_eq!(table.advance(), [""; 0]);
        assert_eq!(table.roster.next_wake(table.now), None);
        assert_eq!(table.down(LOG), ["start log 2"]);
        table.ready(LOG);
        assert_eq!(table.advance(), ["start raft 2"]);
    }

    #[test]
    fn status_says_since_when() {
        let mut table = Table::up();
        table.pass(Duration::from_secs(3));
        let status = table.roster.status(table.now, TimestampMs(10_000));
        assert_eq!(status[LOG].since, TimestampMs(7_000));
    }
}
