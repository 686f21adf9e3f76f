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

/// How a start goes wrong.
pub enum Start {
    /// It reports this.
    Fails(StartError),
    /// It never reports; `abandon log 1` tells that it was given up.
    Hangs,
}

/// How a part's next starts go, the last one first; when empty they succeed.
pub type Script = Rc<RefCell<Vec<Start>>>;

/// One part of the node, played by a [`DummyActor`].
pub struct Dummy {
    part: Part,
    actor: ActorRef<DummyActor>,
    events: Events,
    arbiter: ArbiterHandle,
    script: Script,
    stops_in_time: bool,
}

struct HangingStart {
    told: String,
    events: Events,
}

impl Drop for HangingStart {
    fn drop(&mut self) {
        drop(self.events.send(self.told.clone()));
    }
}

impl Child for Dummy {
    fn part(&self) -> Part {
        self.part
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        self.events
            .send(format!("start {} {}", self.part, lifeline.generation()))
            .unwrap();
        match self.script.borrow_mut().pop() {
            Some(Start::Fails(error)) => return future::ready(Err(error)).boxed_local(),
            Some(Start::Hangs) => {
                let told = format!("abandon {} {}", self.part, lifeline.generation());
                let start = HangingStart {
                    told,
                    events: self.events.clone(),
                };
                return async move {
                    let _start = start;
                    future::pending().await
                }
                .boxed_local();
            }
            None => {}
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

/// What the future gives, which must be in time.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("done within the deadline")
}

/// What is received next.
pub async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    in_time(receiver.recv()).await.expect("somebody who sends")
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
            script: Rc::default(),
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
            dummy(Part::Raft, Arbiter::current()),
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

    /// How the part's next starts go.
    pub fn script(&mut self, part: Part) -> Script {
        Rc::clone(&self.dummy(part).script)
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
        tree.sees(&["start log 1", "start raft 1", "start gateway 1"])
            .await;
        assert_eq!(tree.generation_of(&tree.gateway).await, 1);
        tree
    }

    /// Waits for these events; they must be the next ones.
    pub async fn sees(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(next(&mut self.events).await, *expected);
        }
    }

    /// Waits for the end, after which nothing more may have happened.
    pub async fn ends(mut self) -> Ending {
        let ending = in_time(self.end.wait()).await;
        assert_eq!(
            self.events.try_recv().ok(),
            None,
            "something happened after what the test has seen"
        );
        ending
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
        in_time(asking).await
    }
}
