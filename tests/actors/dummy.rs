//! A supervised part that fails in every way it is asked to, and tells what the Agent does to it.

use std::{cell::RefCell, future, rc::Rc, time::Duration};

use actix::prelude::*;
use annals::{
    actors::{
        agent::AgentActor,
        supervision::{
            ActorRef, Child, EndOfProcess, Ending, Heartbeat, Lifeline, Part, Reply, StartError, Timing,
            Unanswered,
        },
    },
    error::Disposition,
};
use futures::future::{FutureExt, LocalBoxFuture};
use tokio::sync::mpsc;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the Agent does, in order: `start log 1`, `stop log 1`, ..
type Events = mpsc::UnboundedSender<String>;

/// Answer with the instance's generation.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WhichGeneration(pub Reply<u64, Unanswered>);

/// Keep the reply for ever.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Hold(pub Reply<u64, Unanswered>);

/// Panic.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Panic;

/// Take no further message, heartbeats included.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Freeze;

/// Stop with this reason.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Fail(pub Disposition);

/// Start a segment and let it end: as planned, or not.
#[derive(Message)]
#[rtype(result = "()")]
pub struct EndSegment {
    pub planned: bool,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop(Reply<(), Unanswered>);

pub struct DummyActor {
    held: Vec<Reply<u64, Unanswered>>,
    lifeline: Lifeline,
}

impl DummyActor {
    pub fn new(lifeline: Lifeline) -> Self {
        Self {
            held: Vec::new(),
            lifeline,
        }
    }
}

impl Actor for DummyActor {
    type Context = Context<Self>;
}

impl Handler<Heartbeat> for DummyActor {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Self::Context) {
        self.lifeline.beat();
    }
}

impl Handler<WhichGeneration> for DummyActor {
    type Result = ();

    fn handle(&mut self, WhichGeneration(reply): WhichGeneration, _: &mut Self::Context) {
        reply.send(Ok(self.lifeline.generation()));
    }
}

impl Handler<Hold> for DummyActor {
    type Result = ();

    fn handle(&mut self, Hold(reply): Hold, _: &mut Self::Context) {
        self.held.push(reply);
    }
}

impl Handler<Panic> for DummyActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

impl Handler<Freeze> for DummyActor {
    type Result = ();

    fn handle(&mut self, _: Freeze, context: &mut Self::Context) {
        context.wait(future::pending::<()>().into_actor(self));
    }
}

impl Handler<Fail> for DummyActor {
    type Result = ();

    fn handle(&mut self, Fail(disposition): Fail, context: &mut Self::Context) {
        self.lifeline.fail(disposition, "on purpose");
        context.stop();
    }
}

impl Handler<EndSegment> for DummyActor {
    type Result = ();

    fn handle(&mut self, EndSegment { planned }: EndSegment, _: &mut Self::Context) {
        let mut segment = self.lifeline.branch(Part::Segment);
        if planned {
            segment.retire();
        }
    }
}

impl Handler<Stop> for DummyActor {
    type Result = ();

    fn handle(&mut self, Stop(reply): Stop, context: &mut Self::Context) {
        reply.send(Ok(()));
        context.stop();
    }
}

/// One part of the node, played by a [`DummyActor`].
pub struct Dummy {
    part: Part,
    actor: ActorRef<DummyActor>,
    events: Events,
    arbiter: ArbiterHandle,
    /// How the next starts end, first one first; when empty they succeed.
    start_errors: Rc<RefCell<Vec<StartError>>>,
    stops_in_time: bool,
}

impl Child for Dummy {
    fn part(&self) -> Part {
        self.part
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        self.events
            .send(format!("start {} {}", self.part, lifeline.generation()))
            .unwrap();
        if let Some(error) = self.start_errors.borrow_mut().pop() {
            return future::ready(Err(error)).boxed_local();
        }
        let (reply, ready) = Reply::<u64, Unanswered>::channel();
        let actor = DummyActor::start_in_arbiter(&self.arbiter, |_| DummyActor::new(lifeline));
        self.actor.set(actor);
        self.actor.post(WhichGeneration(reply)).unwrap();
        async {
            ready
                .await
                .map(drop)
                .map_err(|error| StartError::new(Disposition::Restart, error))
        }
        .boxed_local()
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        self.events.send(format!("stop {}", self.part)).unwrap();
        if !self.stops_in_time {
            return future::pending().boxed_local();
        }
        let (reply, stopped) = Reply::channel();
        drop(self.actor.post(Stop(reply)));
        self.actor.clear();
        stopped.map(drop).boxed_local()
    }

    fn ping(&self) {
        self.actor.ping();
    }
}

/// A log, a committer and a gateway under an Agent.
pub struct Tree {
    pub agent: Addr<AgentActor>,
    pub log: ActorRef<DummyActor>,
    pub committer: ActorRef<DummyActor>,
    pub gateway: ActorRef<DummyActor>,
    end: EndOfProcess,
    events: mpsc::UnboundedReceiver<String>,
}

/// What a [`Tree`] is made of before it grows.
pub struct Seed {
    pub timing: Timing,
    dummies: Vec<Dummy>,
    events: mpsc::UnboundedReceiver<String>,
}

impl Seed {
    /// Restarts come quickly, and nothing is taken for stuck. The log has a thread of its own.
    pub fn new() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let dummy = |part, arbiter| Dummy {
            part,
            actor: ActorRef::new(),
            events: sender.clone(),
            arbiter,
            start_errors: Rc::default(),
            stops_in_time: true,
        };
        let timing = Timing {
            back_off_min: Duration::from_millis(1),
            back_off_max: Duration::from_millis(5),
            heartbeat_every: Duration::from_millis(5),
            stuck_after: DEADLINE,
            stop_within: DEADLINE,
            stop_within_when_failed: DEADLINE,
            ..Timing::default()
        };
        let dummies = vec![
            dummy(Part::Log, Arbiter::new().handle()),
            dummy(Part::Committer, Arbiter::current()),
            dummy(Part::Gateway, Arbiter::current()),
        ];
        Self {
            timing,
            dummies,
            events,
        }
    }

    fn dummy(&mut self, part: Part) -> &mut Dummy {
        self.dummies
            .iter_mut()
            .find(|dummy| dummy.part == part)
            .expect("part of every tree")
    }

    /// The part's next starts fail so, the last one first.
    pub fn start_errors(&mut self, part: Part) -> Rc<RefCell<Vec<StartError>>> {
        Rc::clone(&self.dummy(part).start_errors)
    }

    /// The part never answers its stop.
    pub fn never_stops(&mut self, part: Part) {
        self.dummy(part).stops_in_time = false;
    }

    pub fn grow(self) -> Tree {
        let [log, committer, gateway] = [0, 1, 2].map(|seat| self.dummies[seat].actor.clone());
        let children = self
            .dummies
            .into_iter()
            .map(|dummy| Box::new(dummy) as Box<dyn Child>)
            .collect();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let (agent, end) = AgentActor::new(children, self.timing, &logger);
        Tree {
            agent: agent.start(),
            log,
            committer,
            gateway,
            end,
            events: self.events,
        }
    }
}

impl Tree {
    /// A tree whose parts all run in their first generation.
    pub async fn grown(seed: Seed) -> Self {
        let mut tree = seed.grow();
        tree.sees(&["start log 1", "start committer 1", "start gateway 1"])
            .await;
        assert_eq!(tree.generation_of(&tree.gateway).await, 1);
        tree
    }

    /// Waits for these events; they must be the next ones.
    pub async fn sees(&mut self, expected: &[&str]) {
        for expected in expected {
            let event = tokio::time::timeout(DEADLINE, self.events.recv()).await;
            assert_eq!(
                event.expect("an event within the deadline").as_deref(),
                Some(*expected)
            );
        }
    }

    /// Waits for the end, after which nothing more may have happened.
    pub async fn ends(mut self) -> Ending {
        let ending = tokio::time::timeout(DEADLINE, self.end.wait()).await;
        assert_eq!(
            self.events.try_recv().ok(),
            None,
            "something happened after what the test has seen"
        );
        ending.expect("an end within the deadline")
    }

    /// Asks until an instance answers with its generation: in between there may be none.
    pub async fn generation_of(&self, actor: &ActorRef<DummyActor>) -> u64 {
        let asking = async {
            loop {
                let (reply, answer) = Reply::channel();
                drop(actor.post(WhichGeneration(reply)));
                if let Ok(generation) = answer.await {
                    return generation;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, asking)
            .await
            .expect("an answer within the deadline")
    }
}
