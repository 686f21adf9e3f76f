//! The connections to one peer.
//!
//! Owns     a connection for each lane, its back-off; what is published about the link.
//! Accepts  Open, Nudge; ends when its seat in the set is given up.
//! Emits    nothing: what it keeps is published in the link, for others to use without a message.
//! Limits   one connection a lane; `WAITING_MAX` callers that wait for it.
//! Fails    that link only: its connections end, and `ReplicatorsActor` starts the next instance, which connects anew.
//!
//! Handlers never wait: connections are opened and driven on the runtime. A message is sent only when a connection is opened
//! or lost; calls and their bytes never pass the mailbox.

mod child;
mod dial;
#[cfg(feature = "testing")]
pub mod faults;
mod io;
mod link;
mod moves;
mod set;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use slog::{Logger, debug, error, info, warn};
use tokio::{runtime::Handle, task::JoinError};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use child::ReplicatorsChild;
pub use dial::{Directory, Place};
pub use link::{LinkStatus, Replicators};
pub use moves::follow_moves;
pub use set::ReplicatorsActor;

use self::{
    dial::{Dialer, Opened},
    link::Link,
    set::Settle,
};
use super::{
    peer::PeerIdentity,
    supervision::{Lifeline, Reply, Timing},
};
use crate::{
    clock,
    consensus::links::{Lane, LinkError, PeerChannel},
    tls::NodeTls,
};

/// Callers that wait for a connection; more are refused. openraft has a handful, forwarders one.
const WAITING_MAX: usize = 256;
/// Messages to one link: those callers, twice.
const MESSAGES_MAX: usize = 2 * WAITING_MAX;
/// A connection that lasted less than this counts as a failure, so that one which breaks at once is not opened in a loop.
const FLAPPING: Duration = Duration::from_secs(1);
/// For how long another process must be this node in the eyes of a peer before an operator is told: the connections of one whose machine is
/// gone last 4 s at most (`KEEPALIVE_EVERY` and `KEEPALIVE_WITHIN`).
const CONTESTED_FOR: Duration = Duration::from_secs(5);
/// How often that is told.
const CONTESTED_TOLD_EVERY: Duration = Duration::from_secs(60);

/// What the replicators of a node are made of; the same for each of their lives.
#[derive(Clone, Debug)]
pub struct ReplicatorSetup {
    /// Who this node is.
    pub identity: PeerIdentity,
    /// Where peers are.
    pub directory: Directory,
    /// Where connections are driven: where consensus runs, so that what it sends wakes no other thread.
    pub runtime: Handle,
    /// How long a connection may take to be opened, the greeting included.
    pub connect_within: Duration,
    /// The rest after a failure, and the longest one.
    pub rest: (Duration, Duration),
    /// Who peers are, and who this node is to them; `None` where nothing is encrypted and nobody is asked.
    pub tls: Option<NodeTls>,
    /// Links that tests cut.
    #[cfg(feature = "testing")]
    pub faults: faults::LinkFaults,
    /// Where to write what happens.
    pub logger: Logger,
}

impl ReplicatorSetup {
    /// With the usual times: 2 s to connect, rests from 100 ms doubled to 5 s.
    #[must_use]
    pub fn new(identity: PeerIdentity, directory: Directory, runtime: Handle, logger: Logger) -> Self {
        Self {
            identity,
            directory,
            runtime,
            connect_within: Duration::from_secs(2),
            rest: (Duration::from_millis(100), Duration::from_secs(5)),
            tls: None,
            #[cfg(feature = "testing")]
            faults: faults::LinkFaults::new(),
            logger,
        }
    }

    fn dialer(&self) -> Dialer {
        Dialer {
            identity: self.identity.clone(),
            directory: self.directory.clone(),
            connect_within: self.connect_within,
            tls: self.tls.clone(),
            #[cfg(feature = "testing")]
            faults: self.faults.clone(),
        }
    }

    fn timing(&self) -> Timing {
        Timing {
            back_off_min: self.rest.0,
            back_off_max: self.rest.1,
            ..Timing::default()
        }
    }
}

/// Answer with the connection of a lane: now, or when the try under way is over.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Open {
    lane: Lane,
    reply: Reply<PeerChannel, LinkError>,
}

/// End rests after failures: there is reason to believe that the peer can be reached.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Nudge;

/// See the module.
pub struct ReplicatorActor {
    setup: Arc<ReplicatorSetup>,
    link: Arc<Link>,
    lanes: [LaneState; Lane::ALL.len()],
    /// The refusal that was logged last: each is told once.
    refusal: Option<LinkError>,
    /// When it was told last that the peer takes another process for this node.
    contest_told: Option<Instant>,
    /// Cancelled when the link is one no more, or whoever keeps the links is gone.
    given_up: CancellationToken,
    lifeline: Lifeline,
}

struct LaneState {
    phase: Phase,
    /// Tries that failed in a row.
    failures: u32,
    problem: Option<LinkError>,
    /// Whoever waits for the try under way.
    waiting: Vec<Reply<PeerChannel, LinkError>>,
}

enum Phase {
    Dialling,
    Open {
        channel: Arc<PeerChannel>,
        since: Instant,
    },
    Resting {
        wake: SpawnHandle,
    },
}

impl Actor for ReplicatorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let given_up = self.given_up.clone().cancelled_owned().into_actor(self);
        ctx.spawn(given_up.map(|(), actor, ctx| actor.retire(ctx)));
        for lane in Lane::ALL {
            self.dial(lane, ctx);
        }
        #[cfg(feature = "testing")]
        self.follow_faults(ctx);
    }
}

impl Drop for ReplicatorActor {
    fn drop(&mut self) {
        for lane in Lane::ALL {
            if let Phase::Open { channel, .. } = &self.lanes[lane as usize].phase {
                self.link.withdraw(lane, channel);
            }
        }
        self.link.status.send_modify(|status| status.connected = false);
    }
}

impl Handler<Open> for ReplicatorActor {
    type Result = ();

    fn handle(&mut self, Open { lane, reply }: Open, _: &mut Self::Context) {
        self.open(lane, reply);
    }
}

impl Handler<Nudge> for ReplicatorActor {
    type Result = ();

    fn handle(&mut self, _: Nudge, ctx: &mut Self::Context) {
        self.end_rests(ctx);
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<super::supervision::Sabotage> for ReplicatorActor {
    type Result = ();

    fn handle(&mut self, sabotage: super::supervision::Sabotage, _: &mut Self::Context) {
        sabotage.strike();
    }
}

impl ReplicatorActor {
    fn new(
        setup: Arc<ReplicatorSetup>,
        link: Arc<Link>,
        given_up: CancellationToken,
        lifeline: Lifeline,
    ) -> Self {
        let lane = || LaneState {
            phase: Phase::Dialling,
            failures: 0,
            problem: None,
            waiting: Vec::new(),
        };
        Self {
            setup,
            link,
            lanes: Lane::ALL.map(|_| lane()),
            refusal: None,
            contest_told: None,
            given_up,
            lifeline,
        }
    }

    fn retire(&mut self, ctx: &mut Context<Self>) {
        self.lifeline.retire();
        ctx.stop();
    }

    fn open(&mut self, lane: Lane, reply: Reply<PeerChannel, LinkError>) {
        let target = self.link.target;
        let state = &mut self.lanes[lane as usize];
        match &state.phase {
            Phase::Open { channel, .. } if channel.is_open() => reply.send(Ok(PeerChannel::clone(channel))),
            Phase::Resting { .. } => {
                let problem = state.problem.clone();
                reply.send(Err(problem.unwrap_or(LinkError::NoAddress { target })));
            }
            // A connection that is closed is about to be opened again: the notice of its loss is on its way.
            Phase::Open { .. } | Phase::Dialling if state.waiting.len() < WAITING_MAX => {
                state.waiting.push(reply);
            }
            Phase::Open { .. } | Phase::Dialling => reply.send(Err(LinkError::Overloaded { target })),
        }
    }

    fn dial(&mut self, lane: Lane, ctx: &mut Context<Self>) {
        self.lanes[lane as usize].phase = Phase::Dialling;
        let (dialer, target) = (self.setup.dialer(), self.link.target);
        let contact = Arc::clone(&self.link.contact);
        let task = self
            .setup
            .runtime
            .spawn(async move { dialer.dial(target, lane, &contact).await });
        let dialled = AbortOnDropHandle::new(task)
            .into_actor(self)
            .map(move |dialled, actor, ctx| actor.dialled(lane, dialled, ctx));
        ctx.spawn(dialled);
    }

    fn dialled(
        &mut self,
        lane: Lane,
        dialled: Result<Result<Opened, LinkError>, JoinError>,
        ctx: &mut Context<Self>,
    ) {
        match dialled {
            Ok(Ok(opened)) => self.opened(lane, opened, ctx),
            Ok(Err(error)) => self.failed(lane, error, ctx),
            Err(error) => {
                let error = LinkError::Down {
                    target: self.link.target,
                    address: String::new(),
                    cause: error.to_string(),
                };
                self.failed(lane, error, ctx);
            }
        }
    }

    fn opened(&mut self, lane: Lane, opened: Opened, ctx: &mut Context<Self>) {
        let Opened {
            channel,
            address,
            connection,
        } = opened;
        info!(self.setup.logger, "connected to a peer";
            "peer" => self.link.target.get(), "address" => &address, "lane" => %lane);
        let channel = Arc::new(channel);
        self.link.publish(lane, Arc::clone(&channel));
        self.refusal = None;
        let state = &mut self.lanes[lane as usize];
        for reply in state.waiting.drain(..) {
            reply.send(Ok(PeerChannel::clone(&channel)));
        }
        (state.failures, state.problem) = (0, None);
        state.phase = Phase::Open {
            channel,
            since: clock::now(),
        };
        let ended = connection
            .ended()
            .into_actor(self)
            .map(move |why, actor, ctx| actor.lost(lane, why, ctx));
        ctx.spawn(ended);
        self.publish_status(Some(address));
    }

    fn lost(&mut self, lane: Lane, why: String, ctx: &mut Context<Self>) {
        let state = &mut self.lanes[lane as usize];
        let Phase::Open { channel, since } = &state.phase else {
            return;
        };
        self.link.withdraw(lane, channel);
        warn!(self.setup.logger, "lost the connection to a peer";
            "peer" => self.link.target.get(), "lane" => %lane, "why" => &why);
        if since.elapsed() >= FLAPPING {
            self.dial(lane, ctx);
            self.publish_status(None);
            return;
        }
        let target = self.link.target;
        let address = self.link.status.borrow().address.clone().unwrap_or_default();
        let cause = format!("the connection broke as soon as it was open: {why}");
        self.failed(
            lane,
            LinkError::Down {
                target,
                address,
                cause,
            },
            ctx,
        );
    }

    fn failed(&mut self, lane: Lane, error: LinkError, ctx: &mut Context<Self>) {
        self.tell(lane, &error);
        let address = match &error {
            LinkError::Down { address, .. }
            | LinkError::Refused { address, .. }
            | LinkError::Untrusted { address, .. }
            | LinkError::Contested { address, .. } => Some(address.clone()).filter(|it| !it.is_empty()),
            LinkError::NoAddress { .. }
            | LinkError::NoCluster
            | LinkError::Overloaded { .. }
            | LinkError::Gone => None,
        };
        let wait = if self.has_moved_from(address.as_deref()) {
            self.lanes[lane as usize].failures = 0;
            Duration::ZERO
        } else {
            let failures = self.lanes[lane as usize].failures;
            self.setup.timing().back_off(failures, rand::random())
        };
        let wake = ctx.run_later(wait, move |actor, ctx| actor.dial(lane, ctx));
        let state = &mut self.lanes[lane as usize];
        state.failures = state.failures.saturating_add(1);
        for reply in state.waiting.drain(..) {
            reply.send(Err(error.clone()));
        }
        state.phase = Phase::Resting { wake };
        state.problem = Some(error);
        self.publish_status(address);
    }

    /// Whether the peer was found to be elsewhere while it was tried at this address: then the failure says nothing.
    fn has_moved_from(&self, tried: Option<&str>) -> bool {
        let now = self.setup.directory.find(self.link.target);
        tried.zip(now.as_deref()).is_some_and(|(tried, now)| tried != now)
    }

    /// Each refusal once and loudly; other failures the 1st, 2nd, 4th, 8th time.
    fn tell(&mut self, lane: Lane, error: &LinkError) {
        let log = &self.setup.logger;
        match error {
            LinkError::Refused { .. } | LinkError::Untrusted { .. }
                if self.refusal.as_ref() == Some(error) => {}
            LinkError::Untrusted { .. } => {
                error!(log, "a peer and this node do not trust each other; nothing is exchanged";
                    "peer" => self.link.target.get(), "why" => %error);
                self.refusal = Some(error.clone());
            }
            LinkError::Refused { .. } => {
                error!(log, "a peer refuses this node; nothing is exchanged";
                    "peer" => self.link.target.get(), "why" => %error);
                self.refusal = Some(error.clone());
            }
            LinkError::Down { .. } => {
                let failures = self.lanes[lane as usize].failures + 1;
                if failures.is_power_of_two() {
                    warn!(log, "cannot connect to a peer"; "peer" => self.link.target.get(),
                        "lane" => %lane, "failures" => failures, "why" => %error);
                }
            }
            LinkError::Contested { .. } => self.tell_of_contest(error),
            LinkError::NoAddress { .. }
            | LinkError::NoCluster
            | LinkError::Overloaded { .. }
            | LinkError::Gone => {
                debug!(log, "no connection to a peer yet"; "peer" => self.link.target.get(), "why" => %error);
            }
        }
    }

    /// Loudly once it is for certain that the other process is alive, and then now and then.
    fn tell_of_contest(&mut self, error: &LinkError) {
        let (log, target) = (&self.setup.logger, self.link.target);
        let lasts = self.setup.identity.contest().lasts_with(target);
        if lasts.is_none_or(|lasts| lasts < CONTESTED_FOR) {
            debug!(log, "a peer takes another process for this node yet"; "peer" => target.get(), "why" => %error);
            return;
        }
        let was_told = |told: Instant| told.elapsed() < CONTESTED_TOLD_EVERY;
        if !self.contest_told.is_some_and(was_told) {
            error!(log, "another process uses this node's id; was its data directory copied? this process takes no part until it is the only one";
                "node_id" => self.setup.identity.node_id().get(), "peer" => target.get(), "why" => %error);
            self.contest_told = Some(clock::now());
        }
    }

    fn end_rests(&mut self, ctx: &mut Context<Self>) {
        for lane in Lane::ALL {
            if let Phase::Resting { wake } = self.lanes[lane as usize].phase {
                ctx.cancel_future(wake);
                self.dial(lane, ctx);
            }
        }
    }

    fn publish_status(&self, address: Option<String>) {
        let connected = self
            .lanes
            .iter()
            .all(|lane| matches!(lane.phase, Phase::Open { .. }));
        let failures = self.lanes.iter().map(|lane| lane.failures).max();
        let problem = self.lanes.iter().find_map(|lane| lane.problem.as_ref());
        self.link.status.send_modify(|status| {
            status.connected = connected;
            status.failures = failures.unwrap_or(0);
            status.problem = problem.map(LinkError::to_string);
            status.refusal = problem.filter(|it| it.is_refusal()).map(LinkError::to_string);
            if address.is_some() {
                status.address = address;
            }
        });
    }

    /// A link that was healed is tried at once.
    #[cfg(feature = "testing")]
    fn follow_faults(&self, ctx: &mut Context<Self>) {
        let link = self
            .setup
            .faults
            .of(self.setup.identity.node_id(), self.link.target);
        let healed =
            actix::fut::wrap_stream::<_, Self>(tokio_stream::wrappers::WatchStream::from_changes(link))
                .map(|cut, actor, ctx| {
                    if cut.is_none() {
                        actor.end_rests(ctx);
                    }
                })
                .finish();
        ctx.spawn(healed);
    }
}
