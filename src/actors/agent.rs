//! Starts the parts of the node, restarts the ones that fail, and stops them in reverse order.
//!
//! Owns     the children, in start order; their restart budgets and back-offs; the end of the process.
//! Accepts  Status, Shutdown, Restart; Died from the lifelines.
//! Emits    Ending to `main`, once, when everything is down.
//! Limits   one instance of each child; budget_restarts within budget_window; stop_within for each stop.
//! Fails    `main` sees its end as an ending with EXIT_ESCALATED: nobody supervises the supervisor.

use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, crit, error, info, o, warn};

use crate::clock;

use super::supervision::{
    Child, Died, EndOfProcess, Ending, Exit, Lifeline, Part, PartStatus, Reply, StartError, Timing,
    Unanswered,
    pulse::Pulse,
    roster::{Command, Roster, Verdict},
};

/// Asks for the supervision tree: the Agent's children in start order, each with its dependants.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<PartStatus>")]
pub struct Status;

/// Ends the process: every part is stopped gracefully, in reverse start order. Asking again changes nothing.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Builds a part and its dependants again; a segment means its log. Not counted as a failure. Answers whether it will
/// be done: false when the process is ending or has no such part.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct Restart(pub Part);

/// The root of the supervision tree.
pub struct AgentActor {
    roster: Roster,
    children: Vec<Box<dyn Child>>,
    /// The last `start` of each child, to be dropped when the child must stop instead.
    starting: Vec<Option<SpawnHandle>>,
    /// Wakes when the next back-off is over.
    wake: Option<SpawnHandle>,
    timing: Timing,
    end: Option<Reply<Ending, Unanswered>>,
    logger: Logger,
}

impl Actor for AgentActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.look_later(context);
        self.settle(context);
    }
}

impl Handler<Status> for AgentActor {
    type Result = Vec<PartStatus>;

    fn handle(&mut self, _: Status, _: &mut Self::Context) -> Self::Result {
        self.roster.status(clock::now(), clock::wall())
    }
}

impl Handler<Shutdown> for AgentActor {
    type Result = ();

    fn handle(&mut self, _: Shutdown, context: &mut Self::Context) {
        info!(self.logger, "stopping");
        self.roster.end(Ending::graceful());
        self.settle(context);
    }
}

impl Handler<Restart> for AgentActor {
    type Result = bool;

    fn handle(&mut self, Restart(part): Restart, context: &mut Self::Context) -> bool {
        info!(self.logger, "restart asked for"; "part" => %part);
        let accepted = self.roster.restart(part);
        self.settle(context);
        accepted
    }
}

impl Handler<Died> for AgentActor {
    type Result = ();

    fn handle(&mut self, died: Died, context: &mut Self::Context) {
        let part = died.part;
        let verdict = self.roster.died(died, clock::now(), jitter());
        self.report(part, &verdict);
        self.settle(context);
    }
}

impl AgentActor {
    /// An Agent for `children`, in start order: a part comes after those it depends on. It starts them when it is
    /// started itself; `main` waits for the `EndOfProcess`.
    ///
    /// Panics: when a part is there twice, comes before one it depends on, or is one that another part starts.
    pub fn new(children: Vec<Box<dyn Child>>, timing: Timing, logger: &Logger) -> (Self, EndOfProcess) {
        let parts: Vec<Part> = children.iter().map(|child| child.part()).collect();
        let (reply, end) = EndOfProcess::channel();
        let agent = Self {
            roster: Roster::new(&parts, timing, clock::now()),
            starting: vec![None; children.len()],
            children,
            wake: None,
            timing,
            end: Some(reply),
            logger: logger.new(o!("actor" => "agent")),
        };
        (agent, end)
    }

    /// Does what the roster wants done, and sets the alarm for the next back-off.
    fn settle(&mut self, context: &mut Context<Self>) {
        for command in self.roster.advance(clock::now()) {
            match command {
                Command::Start {
                    seat,
                    generation,
                    pulse,
                } => self.start(seat, generation, pulse, context),
                Command::Stop { seat, within } => self.stop(seat, within, context),
                Command::End(ending) => self.finish(ending, context),
            }
        }
        if let Some(wake) = self.wake.take() {
            context.cancel_future(wake);
        }
        let wait = self.roster.next_wake(clock::now());
        self.wake = wait.map(|wait| context.run_later(wait, |agent, context| agent.settle(context)));
    }

    fn start(&mut self, seat: usize, generation: u64, pulse: Pulse, context: &mut Context<Self>) {
        let part = self.roster.part(seat);
        info!(self.logger, "starting"; "part" => %part, "generation" => generation);
        let lifeline = Lifeline::with_pulse(part, generation, context.address().recipient(), pulse);
        let start = self.children[seat].start(lifeline).into_actor(self);
        let handle = context.spawn(start.map(move |result, agent, context| {
            agent.started(seat, generation, result, context);
        }));
        self.starting[seat] = Some(handle);
    }

    fn started(
        &mut self,
        seat: usize,
        generation: u64,
        result: Result<(), StartError>,
        context: &mut Context<Self>,
    ) {
        let part = self.roster.part(seat);
        let result = result.map_err(|error| Exit::Failed {
            disposition: error.disposition(),
            text: error.causes(),
        });
        if result.is_ok() {
            info!(self.logger, "running"; "part" => %part, "generation" => generation);
        }
        let verdict = self
            .roster
            .started(seat, generation, result, clock::now(), jitter());
        self.report(part, &verdict);
        self.settle(context);
    }

    fn stop(&mut self, seat: usize, within: Duration, context: &mut Context<Self>) {
        if let Some(starting) = self.starting[seat].take() {
            context.cancel_future(starting);
        }
        let stop = tokio::time::timeout(within, self.children[seat].stop()).into_actor(self);
        context.spawn(stop.map(move |in_time, agent, context| {
            let part = agent.roster.part(seat);
            match in_time {
                Ok(()) => info!(agent.logger, "stopped"; "part" => %part),
                Err(_) => warn!(agent.logger, "did not stop in time, passed over"; "part" => %part, "within" => ?within),
            }
            let verdict = agent.roster.stopped(seat, in_time.is_ok(), clock::now());
            agent.report(part, &verdict);
            agent.settle(context);
        }));
    }

    /// Looks when it is time, again and again. Not by an interval, which makes up for ticks that it missed: after the
    /// process was frozen, all parts would be found silent before one of them had its turn.
    fn look_later(&self, context: &mut Context<Self>) {
        context.run_later(self.timing.heartbeat_every, |agent, context| {
            agent.look(context);
            agent.look_later(context);
        });
    }

    /// Asks those that answered for the next sign of life, and gives up those that did not for too long.
    fn look(&mut self, context: &mut Context<Self>) {
        let (to_ping, stuck) = self.roster.look();
        for seat in to_ping {
            self.children[seat].ping();
        }
        for seat in stuck {
            let verdict = self.roster.stuck(seat, clock::now(), jitter());
            self.report(self.roster.part(seat), &verdict);
        }
        self.settle(context);
    }

    fn report(&self, part: Part, verdict: &Verdict) {
        match verdict {
            Verdict::Ignored => {}
            Verdict::Restart { exit, wait } => {
                error!(self.logger, "a part failed and is restarted"; "part" => %part, "exit" => %exit, "wait" => ?wait);
            }
            Verdict::End(ending) => {
                crit!(self.logger, "the process ends"; "cause" => &ending.cause, "exit_code" => ending.exit_code);
            }
        }
    }

    fn finish(&mut self, ending: Ending, context: &mut Context<Self>) {
        info!(self.logger, "every part is down"; "cause" => &ending.cause, "exit_code" => ending.exit_code);
        if let Some(end) = self.end.take() {
            end.send(Ok(ending));
        }
        context.stop();
    }
}

/// Spreads restarts; see [`Timing::back_off`].
fn jitter() -> f64 {
    rand::random()
}
