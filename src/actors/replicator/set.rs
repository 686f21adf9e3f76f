//! The ReplicatorActors of a node: one for each peer, started, watched and restarted here.
//!
//! Owns     which instance serves which link; their back-offs.
//! Accepts  Settle, Stop, Heartbeat; Died from the lifelines of the ReplicatorActors.
//! Emits    nothing; giving up a seat ends the actor in it.
//! Limits   one instance a link; one link for each peer that was asked for, or is kept.
//! Fails    rebuilt with all its links, which connect anew.
//!
//! The Agent sees this actor alone. One that panics among many is of no concern to the others, nor to the Agent: it is
//! started again here, as often as need be, by the same table of policies.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use slog::{debug, warn};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    MESSAGES_MAX, ReplicatorActor, ReplicatorSetup,
    link::{Link, LinkTable},
};
use crate::{
    actors::supervision::{
        Died, Heartbeat, Lifeline, Part, Reply, Unanswered,
        policy::{self, Action},
    },
    clock,
    consensus::links::LinkError,
    error::Disposition,
    types::NodeId,
};

/// Make the actors those of the links in the table.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Settle {
    pub(super) reply: Reply<(), LinkError>,
}

/// End all links, and stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop {
    pub(super) reply: Reply<(), Unanswered>,
}

/// See the module.
pub struct ReplicatorsActor {
    setup: Arc<ReplicatorSetup>,
    table: LinkTable,
    seats: HashMap<NodeId, Seat>,
    /// Instances started so far, over all links: the number of each.
    instances: u64,
    lifeline: Lifeline,
}

/// A link and whoever serves it. Dropping it ends that actor, also when this one panics.
struct Seat {
    link: Arc<Link>,
    instance: u64,
    /// Deaths in a row, none of them long after the one before.
    deaths: u32,
    last_death: Option<Instant>,
    given_up: DropGuard,
}

impl Actor for ReplicatorsActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.settle(ctx);
    }
}

impl Handler<Settle> for ReplicatorsActor {
    type Result = ();

    fn handle(&mut self, Settle { reply }: Settle, ctx: &mut Self::Context) {
        self.settle(ctx);
        reply.send(Ok(()));
    }
}

impl Handler<Died> for ReplicatorsActor {
    type Result = ();

    fn handle(&mut self, died: Died, ctx: &mut Self::Context) {
        self.died(&died, ctx);
    }
}

impl Handler<Stop> for ReplicatorsActor {
    type Result = ();

    fn handle(&mut self, Stop { reply }: Stop, ctx: &mut Self::Context) {
        self.stop(ctx);
        reply.send(Ok(()));
    }
}

impl Handler<Heartbeat> for ReplicatorsActor {
    type Result = ();

    // The links' actors share this thread and never wait, so this sign of life is theirs too.
    fn handle(&mut self, _: Heartbeat, _: &mut Self::Context) {
        self.lifeline.beat();
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<crate::actors::supervision::Sabotage> for ReplicatorsActor {
    type Result = ();

    fn handle(&mut self, sabotage: crate::actors::supervision::Sabotage, _: &mut Self::Context) {
        sabotage.strike();
    }
}

impl ReplicatorsActor {
    pub(super) fn new(setup: Arc<ReplicatorSetup>, table: LinkTable, lifeline: Lifeline) -> Self {
        Self {
            setup,
            table,
            seats: HashMap::new(),
            instances: 0,
            lifeline,
        }
    }

    fn settle(&mut self, ctx: &mut Context<Self>) {
        let table = self.table.clone();
        let stale = |seat: &Seat| {
            let link = table.get(seat.link.target);
            link.is_none_or(|link| !Arc::ptr_eq(&link, &seat.link))
        };
        self.seats.retain(|_, seat| !stale(seat));
        for link in self.table.all() {
            if !self.seats.contains_key(&link.target) {
                self.start(Seat::new(link), ctx);
            }
        }
    }

    fn start(&mut self, mut seat: Seat, ctx: &mut Context<Self>) {
        self.instances += 1;
        seat.instance = self.instances;
        let lifeline = Lifeline::new(Part::Replicator, seat.instance, ctx.address().recipient());
        let given_up = CancellationToken::new();
        seat.given_up = given_up.clone().drop_guard();
        let (setup, link) = (Arc::clone(&self.setup), Arc::clone(&seat.link));
        seat.link.actor.set(ReplicatorActor::create(|context| {
            context.set_mailbox_capacity(MESSAGES_MAX);
            ReplicatorActor::new(setup, link, given_up, lifeline)
        }));
        self.seats.insert(seat.link.target, seat);
    }

    fn died(&mut self, died: &Died, ctx: &mut Context<Self>) {
        let mut seats = self.seats.values_mut();
        let Some(seat) = seats.find(|seat| seat.instance == died.generation) else {
            return;
        };
        seat.link.actor.clear();
        let target = seat.link.target;
        match policy::decide(died.part, &died.exit) {
            Action::Restart { .. } => {
                let timing = self.setup.timing();
                let wait = timing.back_off(seat.count_death(timing.quiet_after), rand::random());
                warn!(self.setup.logger, "a replicator died and is started again";
                    "peer" => target.get(), "exit" => %died.exit, "wait" => ?wait);
                let instance = seat.instance;
                ctx.run_later(wait, move |actor, ctx| actor.restart(target, instance, ctx));
            }
            Action::Escalate(_) => {
                let text = format!("the replicator of node {target} {}", died.exit);
                self.lifeline.fail(Disposition::Escalate, text);
                ctx.stop();
            }
        }
    }

    fn restart(&mut self, target: NodeId, instance: u64, ctx: &mut Context<Self>) {
        if self
            .seats
            .get(&target)
            .is_some_and(|seat| seat.instance == instance)
            && let Some(seat) = self.seats.remove(&target)
        {
            self.start(seat, ctx);
        }
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.seats.clear();
        debug!(self.setup.logger, "replicators have stopped");
        self.lifeline.retire();
        ctx.stop();
    }
}

impl Seat {
    fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            instance: 0,
            deaths: 0,
            last_death: None,
            given_up: CancellationToken::new().drop_guard(),
        }
    }

    /// Which death of its series, from 0.
    fn count_death(&mut self, quiet_after: Duration) -> u32 {
        let now = clock::now();
        let quiet = |last: Instant| now.saturating_duration_since(last) >= quiet_after;
        if self.last_death.is_none_or(quiet) {
            self.deaths = 0;
        }
        self.last_death = Some(now);
        self.deaths += 1;
        self.deaths - 1
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.link.actor.clear();
    }
}
