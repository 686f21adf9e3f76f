//! The node's door to clients: listeners, servers, and their orderly end.
//!
//! Owns     the listeners, the tonic and axum servers, the admission budget, health.
//! Accepts  Drain, Heartbeat.
//! Emits    Propose and ReadIndex to the committer, from its calls.
//! Limits   connections_max; admission_bytes of batches in flight; one chunk per consumer.
//! Fails    a panic closes the listeners at once; they are bound again, at the same ports, by the next instance, while the
//!          connections of the old one end as in a drain.
//!
//! The servers run on the multi-thread runtime; this actor only starts and ends them.

use actix::prelude::*;
use futures::future::{self, LocalBoxFuture};
use tokio::runtime::Handle;

use super::supervision::{ActorRef, Child, Heartbeat, Lifeline, Part, Reply, StartError, Unanswered};
use crate::net::{
    context::Parts,
    server::{Ports, Servers},
};

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
    servers: Servers,
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

impl GrpcGatewayActor {
    /// The actor of servers that are running.
    #[must_use]
    pub fn new(servers: Servers, lifeline: Lifeline) -> Self {
        Self { servers, lifeline }
    }

    fn drain(&mut self, reply: Reply<(), Unanswered>, ctx: &mut Context<Self>) {
        self.lifeline.retire();
        let servers = self.servers.clone();
        let drained = async move { servers.drain().await };
        ctx.spawn(drained.into_actor(self).map(|(), _, ctx| {
            reply.send(Ok(()));
            ctx.stop();
        }));
    }
}

/// Builds the gateway for the Agent, each time on the same ports.
#[derive(Debug)]
pub struct GatewayChild {
    runtime: Handle,
    parts: Parts,
    ports: Ports,
    /// Of the present instance. Kept here too, since an instance that is stuck never lets go of its listeners.
    servers: Option<Servers>,
    actor: ActorRef<GrpcGatewayActor>,
}

impl GatewayChild {
    /// A gateway whose servers run on `runtime`, a multi-thread one.
    #[must_use]
    pub fn new(runtime: Handle, parts: Parts) -> Self {
        Self {
            runtime,
            parts,
            ports: Ports::default(),
            servers: None,
            actor: ActorRef::new(),
        }
    }

    /// Where the gateway listens, once it has been started.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The present instance.
    #[must_use]
    pub fn actor(&self) -> ActorRef<GrpcGatewayActor> {
        self.actor.clone()
    }

    fn launch(&mut self, lifeline: Lifeline) -> Result<(), StartError> {
        self.clear_away();
        let servers = Servers::start(&self.runtime, &self.parts, &mut self.ports)
            .map_err(|error| StartError::new(error.disposition(), error))?;
        self.servers = Some(servers.clone());
        self.actor.set(GrpcGatewayActor::new(servers, lifeline).start());
        Ok(())
    }

    /// Ends what an instance that died, or is stuck, left behind.
    fn clear_away(&mut self) {
        self.actor.clear();
        if let Some(servers) = self.servers.take() {
            servers.close();
        }
    }
}

impl Child for GatewayChild {
    fn part(&self) -> Part {
        Part::Gateway
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        Box::pin(future::ready(self.launch(lifeline)))
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, drained) = Reply::channel();
        let asked = self.actor.post(Drain { reply }).is_ok();
        let servers = self.servers.take();
        let actor = self.actor.clone();
        Box::pin(async move {
            // Dead already: nobody answers, and the answer says so at once.
            if asked && drained.await.is_err() || !asked {
                servers.inspect(Servers::close);
            }
            actor.clear();
        })
    }

    fn ping(&self) {
        self.actor.ping();
    }
}
