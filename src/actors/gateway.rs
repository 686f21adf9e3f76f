//! The node's door to clients: listeners, servers, and their orderly end.
//!
//! Owns     the listeners, the tonic and axum servers, the admission budget, health.
//! Accepts  Drain, Heartbeat.
//! Emits    Propose and ReadIndex to the committer, from its calls.
//! Limits   connections_max; admission_bytes of batches in flight; one chunk per consumer.
//! Fails    a panic closes the listeners at once; they are bound again, at the same ports, by the next instance, while the
//!          connections of the old one end as in a drain.
//!
//! The servers run on the multi-thread runtime; this actor only starts and ends them, and knows of them no more than
//! [`Servers`] says: the network is above the actors.

use std::{fmt, rc::Rc};

use actix::prelude::*;
use futures::future::{self, LocalBoxFuture};

use super::supervision::{ActorRef, Child, Heartbeat, Lifeline, Part, Reply, StartError, Unanswered};

/// Servers that are running.
pub trait Servers: fmt::Debug {
    /// Takes no more connections, and waits for the calls in flight, for a limited time; then gives the addresses up.
    ///
    /// Cancel: the drain goes on in the background.
    fn drain(&self) -> LocalBoxFuture<'static, ()>;

    /// Gives the addresses up at once; calls in flight end in the background. More than once is as once.
    fn close(&self);
}

/// Starts servers, each time at the same addresses.
pub trait Launch: fmt::Debug {
    /// Starts them.
    ///
    /// Errors: when an address cannot be listened on.
    fn launch(&mut self) -> Result<Rc<dyn Servers>, StartError>;
}

/// Take no more connections, let the calls in flight end, and stop. Answered when the last connection has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// Where the answer goes.
    pub reply: Reply<(), Unanswered>,
}

/// See the module.
#[derive(Debug)]
pub struct GrpcGatewayActor {
    servers: Rc<dyn Servers>,
    lifeline: Lifeline,
}

impl Actor for GrpcGatewayActor {
    type Context = Context<Self>;
}

impl Drop for GrpcGatewayActor {
    fn drop(&mut self) {
        self.servers.close();
    }
}

impl Handler<Drain> for GrpcGatewayActor {
    type Result = ();

    fn handle(&mut self, message: Drain, ctx: &mut Context<Self>) {
        self.drain(message.reply, ctx);
    }
}

impl Handler<Heartbeat> for GrpcGatewayActor {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Context<Self>) {
        self.lifeline.beat();
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<super::supervision::Sabotage> for GrpcGatewayActor {
    type Result = ();

    fn handle(&mut self, sabotage: super::supervision::Sabotage, _: &mut Context<Self>) {
        sabotage.strike();
    }
}

impl GrpcGatewayActor {
    /// The actor of servers that are running.
    #[must_use]
    pub fn new(servers: Rc<dyn Servers>, lifeline: Lifeline) -> Self {
        Self { servers, lifeline }
    }

    fn drain(&mut self, reply: Reply<(), Unanswered>, ctx: &mut Context<Self>) {
        self.lifeline.retire();
        let drained = self.servers.drain();
        ctx.spawn(drained.into_actor(self).map(|(), _, ctx| {
            reply.send(Ok(()));
            ctx.stop();
        }));
    }
}

/// Builds the gateway for the Agent.
#[derive(Debug)]
pub struct GatewayChild {
    launcher: Box<dyn Launch>,
    /// Of the present instance. Kept here too, since an instance that is stuck never lets go of its listeners.
    servers: Option<Rc<dyn Servers>>,
    actor: ActorRef<GrpcGatewayActor>,
}

impl GatewayChild {
    /// A gateway of the servers that `launcher` starts.
    #[must_use]
    pub fn new(launcher: Box<dyn Launch>) -> Self {
        Self {
            launcher,
            servers: None,
            actor: ActorRef::new(),
        }
    }

    /// The present instance.
    #[must_use]
    pub fn actor(&self) -> ActorRef<GrpcGatewayActor> {
        self.actor.clone()
    }

    fn start_actor(&mut self, lifeline: Lifeline) -> Result<(), StartError> {
        // What an instance that died, or is stuck, left behind would be in the way.
        self.actor.clear();
        if let Some(servers) = self.servers.take() {
            servers.close();
        }
        let servers = self.launcher.launch()?;
        self.servers = Some(Rc::clone(&servers));
        self.actor.set(GrpcGatewayActor::new(servers, lifeline).start());
        Ok(())
    }
}

impl Child for GatewayChild {
    fn part(&self) -> Part {
        Part::Gateway
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        Box::pin(future::ready(self.start_actor(lifeline)))
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, drained) = Reply::<(), Unanswered>::channel();
        // When nobody takes the message its reply is dropped, and `drained` answers at once.
        drop(self.actor.post(Drain { reply }));
        let servers = self.servers.take();
        let actor = self.actor.clone();
        Box::pin(async move {
            let outcome = drained.await;
            actor.clear();
            if let (Err(Unanswered), Some(servers)) = (outcome, servers) {
                servers.close();
            }
        })
    }

    fn ping(&self) {
        self.actor.ping();
    }
}
