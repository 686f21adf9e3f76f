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

use std::{cell::RefCell, fmt, rc::Rc};

use actix::prelude::*;
use futures::future::{self, LocalBoxFuture};

use super::supervision::{ActorRef, Child, Heartbeat, Lifeline, Part, Reply, StartError, Unanswered};

/// Servers that are running.
pub trait Servers: fmt::Debug {
    /// Takes no more clients, and waits for the calls in flight, for a limited time. Peers are served as before, until
    /// [`Servers::close`].
    ///
    /// Cancel: the drain goes on in the background.
    fn drain(&self) -> LocalBoxFuture<'static, ()>;

    /// Gives the addresses up at once; calls in flight end in the background, those of peers after those of clients. More
    /// than once is as once.
    fn close(&self);
}

/// Starts servers, each time at the same addresses.
pub trait Launch: fmt::Debug {
    /// Starts them.
    ///
    /// Errors: when an address cannot be listened on.
    fn launch(&mut self) -> Result<Rc<dyn Servers>, StartError>;
}

/// Take no more clients, let the calls in flight end, and stop. Answered when the last client has gone.
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
    /// Clients have gone in good order; peers are not this actor's to send away.
    drained: bool,
    lifeline: Lifeline,
}

impl Actor for GrpcGatewayActor {
    type Context = Context<Self>;
}

impl Drop for GrpcGatewayActor {
    fn drop(&mut self) {
        if !self.drained {
            self.servers.close();
        }
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
        Self {
            servers,
            drained: false,
            lifeline,
        }
    }

    fn drain(&mut self, reply: Reply<(), Unanswered>, ctx: &mut Context<Self>) {
        self.lifeline.retire();
        let drained = self.servers.drain();
        ctx.spawn(drained.into_actor(self).map(|(), actor, ctx| {
            actor.drained = true;
            reply.send(Ok(()));
            ctx.stop();
        }));
    }
}

/// What a gateway that is stopped leaves open: the door to peers, who need consensus for as long as it runs.
#[derive(Clone, Debug, Default)]
pub struct PeersDoor(Rc<RefCell<Option<Rc<dyn Servers>>>>);

impl PeersDoor {
    /// Ends the connections of peers, and gives the address up. Does nothing while the gateway runs.
    pub fn close(&self) {
        if let Some(servers) = self.0.borrow_mut().take() {
            servers.close();
        }
    }

    fn leave_open(&self, servers: Rc<dyn Servers>) {
        self.close();
        *self.0.borrow_mut() = Some(servers);
    }
}

/// Builds the gateway for the Agent.
#[derive(Debug)]
pub struct GatewayChild {
    launcher: Box<dyn Launch>,
    /// Of the present instance. Kept here too, since an instance that is stuck never lets go of its listeners.
    servers: Option<Rc<dyn Servers>>,
    peers_door: PeersDoor,
    actor: ActorRef<GrpcGatewayActor>,
}

impl GatewayChild {
    /// A gateway of the servers that `launcher` starts.
    #[must_use]
    pub fn new(launcher: Box<dyn Launch>) -> Self {
        Self {
            launcher,
            servers: None,
            peers_door: PeersDoor::default(),
            actor: ActorRef::new(),
        }
    }

    /// The present instance.
    #[must_use]
    pub fn actor(&self) -> ActorRef<GrpcGatewayActor> {
        self.actor.clone()
    }

    /// What is left open when it is stopped, until it is closed there or the next instance starts.
    #[must_use]
    pub fn peers_door(&self) -> PeersDoor {
        self.peers_door.clone()
    }

    /// Stops as a child does, when `before` is done; the servers go on until then.
    pub fn stop_after(&mut self, before: LocalBoxFuture<'static, ()>) -> LocalBoxFuture<'static, ()> {
        let servers = self.servers.take();
        if let Some(servers) = &servers {
            self.peers_door.leave_open(Rc::clone(servers));
        }
        let actor = self.actor.clone();
        Box::pin(async move {
            before.await;
            let (reply, drained) = Reply::<(), Unanswered>::channel();
            // When nobody takes the message its reply is dropped, and `drained` answers at once.
            drop(actor.post(Drain { reply }));
            let outcome = drained.await;
            actor.clear();
            if let (Err(Unanswered), Some(servers)) = (outcome, servers) {
                servers.close();
            }
        })
    }

    fn start_actor(&mut self, lifeline: Lifeline) -> Result<(), StartError> {
        // What an instance that died, or is stuck, left behind would be in the way.
        self.actor.clear();
        self.peers_door.close();
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
        self.stop_after(Box::pin(future::ready(())))
    }

    fn ping(&self) {
        self.actor.ping();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use actix::clock::timeout;
    use tokio::sync::{Notify, mpsc};

    use super::*;
    use crate::actors::supervision::{Died, Exit};

    /// What happened, in order: `launch 1`, `drain 1`, `close 1` and so on.
    type Story = Rc<RefCell<Vec<String>>>;

    #[derive(Debug)]
    struct FakeServers {
        number: usize,
        story: Story,
        drained: Rc<Notify>,
    }

    impl Servers for FakeServers {
        fn drain(&self) -> LocalBoxFuture<'static, ()> {
            self.story.borrow_mut().push(format!("drain {}", self.number));
            let drained = Rc::clone(&self.drained);
            Box::pin(async move { drained.notified().await })
        }

        fn close(&self) {
            self.story.borrow_mut().push(format!("close {}", self.number));
        }
    }

    #[derive(Debug, Default)]
    struct FakeLauncher {
        launched: usize,
        story: Story,
        drained: Rc<Notify>,
    }

    impl Launch for FakeLauncher {
        fn launch(&mut self) -> Result<Rc<dyn Servers>, StartError> {
            self.launched += 1;
            self.story.borrow_mut().push(format!("launch {}", self.launched));
            let (story, drained) = (Rc::clone(&self.story), Rc::clone(&self.drained));
            Ok(Rc::new(FakeServers {
                number: self.launched,
                story,
                drained,
            }))
        }
    }

    /// Hears of the actor's end in the Agent's place.
    struct Ear(mpsc::UnboundedSender<Exit>);

    impl Actor for Ear {
        type Context = Context<Self>;
    }

    impl Handler<Died> for Ear {
        type Result = ();

        fn handle(&mut self, died: Died, _: &mut Context<Self>) {
            self.0.send(died.exit).unwrap();
        }
    }

    struct Stage {
        child: GatewayChild,
        story: Story,
        drained: Rc<Notify>,
        deaths: mpsc::UnboundedReceiver<Exit>,
        agent: Recipient<Died>,
    }

    impl Stage {
        fn new() -> Self {
            let launcher = FakeLauncher::default();
            let (story, drained) = (Rc::clone(&launcher.story), Rc::clone(&launcher.drained));
            let (ear, deaths) = mpsc::unbounded_channel();
            let agent = Ear(ear).start().recipient();
            Self {
                child: GatewayChild::new(Box::new(launcher)),
                story,
                drained,
                deaths,
                agent,
            }
        }

        async fn start(&mut self, generation: u64) {
            let lifeline = Lifeline::new(Part::Gateway, generation, self.agent.clone());
            self.child.start(lifeline).await.unwrap();
        }

        async fn death(&mut self) -> Exit {
            timeout(std::time::Duration::from_secs(10), self.deaths.recv())
                .await
                .unwrap()
                .unwrap()
        }

        /// Waits until the stopped instance itself is gone: the door alone has the servers then.
        async fn dropped(&self) {
            let door = self.child.peers_door();
            let holders = || door.0.borrow().as_ref().map_or(0, Rc::strong_count);
            while holders() > 1 {
                tokio::task::yield_now().await;
            }
        }

        fn story(&self) -> Vec<String> {
            self.story.borrow().clone()
        }
    }

    #[test]
    fn a_stop_waits_for_the_drain_and_is_no_failure() {
        System::new().block_on(async {
            let mut stage = Stage::new();
            stage.start(1).await;
            let mut stop = stage.child.stop();
            assert!(futures::poll!(&mut stop).is_pending());
            stage.drained.notify_one();
            stop.await;
            stage.dropped().await;
            assert_eq!(stage.story(), ["launch 1", "drain 1"], "peers are served on");
            stage.child.peers_door().close();
            stage.child.peers_door().close();
            assert_eq!(stage.story()[2..], ["close 1"]);
            assert!(stage.deaths.try_recv().is_err(), "a planned end is not told");
        });
    }

    #[test]
    fn an_instance_that_was_drained_is_closed_before_the_next_one_starts() {
        System::new().block_on(async {
            let mut stage = Stage::new();
            stage.start(1).await;
            stage.drained.notify_one();
            stage.child.stop().await;
            stage.start(2).await;
            stage.child.peers_door().close();
            assert_eq!(stage.story(), ["launch 1", "drain 1", "close 1", "launch 2"]);
        });
    }

    #[test]
    fn a_drain_that_is_passed_over_is_closed_with_the_door() {
        System::new().block_on(async {
            let mut stage = Stage::new();
            stage.start(1).await;
            let mut stop = stage.child.stop();
            assert!(futures::poll!(&mut stop).is_pending());
            drop(stop);
            stage.child.peers_door().close();
            assert!(
                stage.story().contains(&"close 1".to_owned()),
                "{:?}",
                stage.story()
            );
        });
    }

    #[test]
    fn a_new_instance_closes_what_the_one_before_it_left_open() {
        System::new().block_on(async {
            let mut stage = Stage::new();
            stage.start(1).await;
            stage.start(2).await;
            assert_eq!(stage.story()[..3], ["launch 1", "close 1", "launch 2"]);
        });
    }

    #[test]
    fn an_instance_that_ends_by_itself_closes_its_servers_before_the_agent_hears_of_it() {
        #[derive(Message)]
        #[rtype(result = "()")]
        struct End;

        impl Handler<End> for GrpcGatewayActor {
            type Result = ();

            fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
                ctx.stop();
            }
        }

        System::new().block_on(async {
            let mut stage = Stage::new();
            stage.start(1).await;
            stage.child.actor().post(End).unwrap();
            assert_eq!(stage.death().await, Exit::Stopped);
            assert_eq!(stage.story(), ["launch 1", "close 1"]);
            // Nothing is left to wait for.
            stage.child.stop().await;
        });
    }
}
