//! The Agent with parts that fail: who comes back, in which order, and who is answered.

use std::time::Duration;

use actix::prelude::*;
use annals::{
    actors::{
        agent::{AgentActor, Restart, Shutdown, Status},
        supervision::{
            ActorRef, Child, Died, Exit, Heartbeat, Lifeline, Part, PostError, Reply, StartError, State,
            Timing, Unanswered,
            policy::{EXIT_CANNOT_START, EXIT_ESCALATED, EXIT_FAILSAFE, EXIT_GRACEFUL},
        },
    },
    error::Disposition,
};
use futures::future::LocalBoxFuture;
use tokio::sync::mpsc;

use super::dummy::{
    DummyActor, EndSegment, Fail, Freeze, Hold, Panic, Seed, Start, Tree, WhichGeneration, in_time, next,
};

#[actix::test]
async fn shutdown_stops_in_reverse_order_however_often_it_is_asked_for() {
    let mut tree = Tree::grown(Seed::new()).await;
    tree.agent.try_send(Shutdown).unwrap();
    tree.agent.try_send(Shutdown).unwrap();
    tree.sees(&["stop gateway", "stop raft", "stop log"]).await;
    assert_eq!(tree.ends().await.exit_code, EXIT_GRACEFUL);
}

#[actix::test]
async fn a_part_that_panics_is_restarted_and_its_reference_reaches_the_new_instance() {
    let mut tree = Tree::grown(Seed::new()).await;
    let recipient = tree.gateway.recipient::<WhichGeneration>();
    tree.gateway.post(Panic).unwrap();
    tree.sees(&["stop gateway", "start gateway 2"]).await;
    assert_eq!(tree.generation_of(&tree.gateway).await, 2);
    let (reply, answer) = Reply::channel();
    recipient.post(WhichGeneration(reply)).unwrap();
    assert_eq!(in_time(answer).await, Ok(2));
}

#[actix::test]
async fn a_log_that_panics_on_its_own_thread_is_restarted_with_its_dependants_in_order() {
    let mut tree = Tree::grown(Seed::new()).await;
    tree.log.post(Panic).unwrap();
    tree.sees(&["stop raft", "stop log", "start log 2", "start raft 2"])
        .await;
    assert_eq!(tree.generation_of(&tree.log).await, 2);
    assert_eq!(tree.generation_of(&tree.committer).await, 2);
    assert_eq!(tree.generation_of(&tree.gateway).await, 1);
}

#[actix::test]
async fn a_segment_that_dies_restarts_its_log_and_one_that_ends_as_planned_does_not() {
    let mut tree = Tree::grown(Seed::new()).await;
    tree.log.post(EndSegment { planned: true }).unwrap();
    assert_eq!(tree.generation_of(&tree.log).await, 1);
    tree.log.post(EndSegment { planned: false }).unwrap();
    tree.sees(&["stop raft", "stop log", "start log 2", "start raft 2"])
        .await;
}

#[actix::test]
async fn every_caller_of_a_part_that_dies_is_answered() {
    let mut tree = Tree::grown(Seed::new()).await;
    let mut answers = Vec::new();
    let mut channel = || {
        let (reply, answer) = Reply::<u64, Unanswered>::channel();
        answers.push(answer);
        reply
    };
    // Nothing is handled in between: the committer shares this thread.
    tree.committer.post(Hold(channel())).unwrap();
    tree.committer.post(Panic).unwrap();
    for _ in 0..10 {
        tree.committer.post(WhichGeneration(channel())).unwrap();
    }
    for answer in answers {
        assert_eq!(in_time(answer).await, Err(Unanswered));
    }
    tree.sees(&["stop raft", "start raft 2"]).await;
}

#[actix::test]
async fn the_budget_ends_the_process() {
    let mut tree = Tree::grown(Seed::new()).await;
    for generation in 1..=5 {
        tree.committer.post(Panic).unwrap();
        tree.sees(&["stop raft", &format!("start raft {}", generation + 1)])
            .await;
        assert_eq!(tree.generation_of(&tree.committer).await, generation + 1);
    }
    tree.committer.post(Panic).unwrap();
    tree.sees(&["stop gateway", "stop raft", "stop log"]).await;
    let ending = tree.ends().await;
    assert_eq!(ending.exit_code, EXIT_ESCALATED);
    assert_eq!(ending.cause, "raft panicked, after 5 restarts within 60s");
}

#[actix::test]
async fn the_gateway_is_restarted_more_often_than_any_budget_allows() {
    let mut tree = Tree::grown(Seed::new()).await;
    for generation in 1..=8 {
        tree.gateway.post(Panic).unwrap();
        tree.sees(&["stop gateway", &format!("start gateway {}", generation + 1)])
            .await;
        assert_eq!(tree.generation_of(&tree.gateway).await, generation + 1);
    }
}

#[actix::test]
async fn restarts_that_fail_count_against_the_budget() {
    let mut seed = Seed::new();
    let script = seed.script(Part::Log);
    let mut tree = Tree::grown(seed).await;
    let failing = |_| Start::Fails(StartError::new(Disposition::Restart, "no such file"));
    script.borrow_mut().extend((0..5).map(failing));
    tree.log.post(Panic).unwrap();
    tree.sees(&["stop raft", "stop log"]).await;
    for generation in 2..=5 {
        tree.sees(&[&format!("start log {generation}"), "stop log"]).await;
    }
    tree.sees(&["start log 6", "stop gateway", "stop log"]).await;
    let ending = tree.ends().await;
    assert_eq!(ending.exit_code, EXIT_ESCALATED);
    assert_eq!(
        ending.cause,
        "log failed: no such file, after 5 restarts within 60s"
    );
}

fn impatient(mut seed: Seed) -> Seed {
    seed.timing.stuck_after = seed.timing.heartbeat_every * 60;
    seed.timing.stop_within = Duration::from_millis(10);
    seed.timing.stop_within_when_failed = Duration::from_millis(10);
    seed
}

#[actix::test]
async fn a_stuck_committer_ends_the_process() {
    let mut tree = Tree::grown(impatient(Seed::new())).await;
    tree.committer.post(Freeze).unwrap();
    tree.sees(&["stop gateway", "stop raft", "stop log"]).await;
    let ending = tree.ends().await;
    assert_eq!(
        (ending.cause.as_str(), ending.exit_code),
        ("raft is stuck", EXIT_ESCALATED)
    );
}

#[actix::test]
async fn a_stuck_gateway_is_restarted() {
    let mut tree = Tree::grown(impatient(Seed::new())).await;
    tree.gateway.post(Freeze).unwrap();
    tree.sees(&["stop gateway", "start gateway 2"]).await;
    assert_eq!(tree.generation_of(&tree.gateway).await, 2);
}

#[actix::test]
async fn a_part_that_does_not_stop_in_time_is_passed_over() {
    let mut seed = impatient(Seed::new());
    seed.never_stops(Part::Raft);
    let mut tree = Tree::grown(seed).await;
    tree.agent.send(Shutdown).await.unwrap();
    tree.sees(&["stop gateway", "stop raft", "stop log"]).await;
    assert_eq!(tree.ends().await.exit_code, EXIT_GRACEFUL);
}

#[actix::test]
async fn a_part_that_cannot_start_ends_the_process_and_says_why() {
    let mut seed = Seed::new();
    let error = StartError::new(Disposition::Restart, "address in use");
    seed.script(Part::Raft).borrow_mut().push(Start::Fails(error));
    let mut tree = seed.grow();
    tree.sees(&["start log 1", "start raft 1", "stop raft", "stop log"])
        .await;
    let ending = tree.ends().await;
    assert_eq!(ending.cause, "cannot start the raft: address in use");
    assert_eq!(ending.exit_code, EXIT_CANNOT_START);
}

#[actix::test]
async fn a_start_that_hangs_is_given_up_when_its_part_must_stop() {
    let mut seed = Seed::new();
    let script = seed.script(Part::Gateway);
    let mut tree = Tree::grown(seed).await;
    script.borrow_mut().push(Start::Hangs);
    assert!(tree.agent.send(Restart(Part::Gateway)).await.unwrap());
    tree.sees(&["stop gateway", "start gateway 2"]).await;
    assert!(tree.agent.send(Restart(Part::Gateway)).await.unwrap());
    tree.sees(&["stop gateway", "abandon gateway 2", "start gateway 3"])
        .await;
    assert_eq!(tree.generation_of(&tree.gateway).await, 3);
}

#[actix::test]
async fn a_failsafe_ends_the_process_with_its_own_code_and_restarts_nothing() {
    let mut tree = Tree::grown(Seed::new()).await;
    tree.log.post(Fail(Disposition::Failsafe)).unwrap();
    tree.sees(&["stop gateway", "stop raft", "stop log"]).await;
    let ending = tree.ends().await;
    assert_eq!(
        (ending.cause.as_str(), ending.exit_code),
        ("log failed: on purpose", EXIT_FAILSAFE)
    );
}

#[actix::test]
async fn a_part_is_restarted_on_request_and_no_failure_is_counted() {
    let mut tree = Tree::grown(Seed::new()).await;
    assert!(tree.agent.send(Restart(Part::Log)).await.unwrap());
    tree.sees(&["stop raft", "stop log", "start log 2", "start raft 2"])
        .await;
    assert_eq!(tree.generation_of(&tree.committer).await, 2);
    let status = tree.agent.send(Status).await.unwrap();
    assert!(
        status
            .iter()
            .all(|part| part.restarts == 0 && part.last_exit.is_none()),
        "{status:?}"
    );
}

#[actix::test]
async fn status_tells_the_tree() {
    let mut tree = Tree::grown(Seed::new()).await;
    tree.gateway.post(Panic).unwrap();
    tree.sees(&["stop gateway", "start gateway 2"]).await;
    assert_eq!(tree.generation_of(&tree.gateway).await, 2);
    let status = tree.agent.send(Status).await.unwrap();
    let parts: Vec<_> = status
        .iter()
        .map(|part| (part.part, part.state, part.generation, part.restarts))
        .collect();
    assert_eq!(
        parts[..2],
        [
            (Part::Log, State::Running, 1, 0),
            (Part::Raft, State::Running, 1, 0)
        ]
    );
    assert_eq!(parts[2], (Part::Gateway, State::Running, 2, 1));
    assert_eq!(status[0].dependants, [Part::Raft]);
    assert_eq!(status[2].last_exit, Some(Exit::Panicked));
}

/// A part that panics on the Agent's own stack.
struct Bomb;

impl Child for Bomb {
    fn part(&self) -> Part {
        Part::Log
    }

    fn start(&mut self, _: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        panic!("on purpose");
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        panic!("on purpose");
    }

    fn ping(&self) {}
}

#[actix::test]
async fn the_death_of_the_agent_ends_the_process() {
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let (agent, end) = AgentActor::new(vec![Box::new(Bomb)], Timing::default(), &logger);
    agent.start();
    assert_eq!(in_time(end.wait()).await.exit_code, EXIT_ESCALATED);
}

/// Stands where the Agent would be.
struct Notices(mpsc::UnboundedSender<Died>);

impl Actor for Notices {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(1);
    }
}

impl Handler<Died> for Notices {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        self.0.send(died).expect("every test keeps the receiver");
    }
}

fn notices() -> (Recipient<Died>, mpsc::UnboundedReceiver<Died>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Notices(sender).start().recipient(), receiver)
}

#[actix::test]
async fn no_notice_of_a_death_is_lost_in_a_full_mailbox() {
    let (agent, mut notices) = notices();
    let died = |generation| Died {
        part: Part::Gateway,
        generation,
        exit: Exit::Stopped,
    };
    // Nothing is handled in between: the receiver shares this thread.
    let sent = (1..1000)
        .take_while(|generation| agent.try_send(died(*generation)).is_ok())
        .count() as u64;
    assert!(sent < 100, "the mailbox has no limit");
    drop(Lifeline::new(Part::Gateway, sent + 1, agent));
    for generation in 1..=sent + 1 {
        assert_eq!(next(&mut notices).await, died(generation));
    }
}

#[actix::test]
async fn a_lifeline_tells_the_first_reason_unless_a_failsafe_follows() {
    let (agent, mut notices) = notices();
    let mut lifeline = Lifeline::new(Part::Log, 1, agent.clone());
    lifeline.fail(Disposition::Restart, "first");
    lifeline.fail(Disposition::Escalate, "second");
    drop(lifeline);
    let exit = Exit::Failed {
        disposition: Disposition::Restart,
        text: "first".to_owned(),
    };
    assert_eq!(next(&mut notices).await.exit, exit);

    let mut lifeline = Lifeline::new(Part::Log, 1, agent);
    lifeline.retire();
    lifeline.fail(Disposition::Restart, "first");
    lifeline.fail(Disposition::Failsafe, "sync failed");
    drop(lifeline);
    let exit = Exit::Failed {
        disposition: Disposition::Failsafe,
        text: "sync failed".to_owned(),
    };
    assert_eq!(next(&mut notices).await.exit, exit);
}

fn question() -> WhichGeneration {
    WhichGeneration(Reply::channel().0)
}

#[actix::test]
async fn a_full_mailbox_gives_the_message_back() {
    let (agent, _notices) = notices();
    let actor = ActorRef::new();
    actor.set(DummyActor::create(|context| {
        context.set_mailbox_capacity(4);
        DummyActor::new(Lifeline::new(Part::Raft, 7, agent))
    }));
    // Nothing is handled in between: the actor shares this thread.
    for _ in 0..3 {
        actor.post(question()).unwrap();
    }
    let (reply, last_answer) = Reply::channel();
    actor.post(WhichGeneration(reply)).unwrap();

    let (reply, refused_answer) = Reply::channel();
    let refused = actor.post(WhichGeneration(reply)).unwrap_err();
    assert!(matches!(refused, PostError::Full(_)), "{refused:?}");
    let WhichGeneration(reply) = refused.into_inner();
    reply.send(Ok(1));
    assert_eq!(in_time(refused_answer).await, Ok(1));

    assert_eq!(in_time(last_answer).await, Ok(7));
    let (reply, answer) = Reply::channel();
    actor.post(WhichGeneration(reply)).unwrap();
    assert_eq!(in_time(answer).await, Ok(7));
}

#[actix::test]
async fn a_reference_without_an_actor_gives_the_message_back() {
    let (agent, _notices) = notices();
    let actor = ActorRef::<DummyActor>::new();
    assert!(matches!(actor.post(question()), Err(PostError::Gone(_))));
    actor.set(DummyActor::new(Lifeline::new(Part::Raft, 1, agent)).start());
    actor.post(question()).unwrap();
    actor.clear();
    assert!(matches!(actor.post(question()), Err(PostError::Gone(_))));
}

#[actix::test]
async fn a_dead_actor_gives_the_message_back() {
    let (agent, mut notices) = notices();
    let actor = ActorRef::new();
    actor.set(DummyActor::new(Lifeline::new(Part::Raft, 1, agent)).start());
    actor.post(Panic).unwrap();
    assert_eq!(next(&mut notices).await.exit, Exit::Panicked);
    assert!(matches!(actor.post(question()), Err(PostError::Gone(_))));
}

#[actix::test]
async fn threads_that_post_at_once_cannot_flood_a_mailbox() {
    const THREADS: usize = 4;
    const CAPACITY: usize = 8;
    let (agent, _notices) = notices();
    let actor = ActorRef::new();
    actor.set(DummyActor::create(|context| {
        context.set_mailbox_capacity(CAPACITY);
        DummyActor::new(Lifeline::new(Part::Raft, 1, agent))
    }));
    let flood = || (0..1000).filter(|_| actor.post(question()).is_ok()).count();
    // Nothing is handled in between: the actor shares this thread.
    let accepted: usize = std::thread::scope(|scope| {
        let threads = [0; THREADS].map(|_| scope.spawn(flood));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(
        (CAPACITY..CAPACITY + THREADS).contains(&accepted),
        "{accepted} messages in the mailbox"
    );
}

/// Takes questions and tells of heartbeats.
struct Pinged(mpsc::UnboundedSender<()>);

impl Actor for Pinged {
    type Context = Context<Self>;
}

impl Handler<WhichGeneration> for Pinged {
    type Result = ();

    fn handle(&mut self, _: WhichGeneration, _: &mut Self::Context) {}
}

impl Handler<Heartbeat> for Pinged {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Self::Context) {
        self.0.send(()).expect("the test keeps the receiver");
    }
}

#[actix::test]
async fn a_ping_gets_past_a_full_mailbox() {
    let (sender, mut heartbeats) = mpsc::unbounded_channel();
    let actor = ActorRef::new();
    actor.set(Pinged::create(|context| {
        context.set_mailbox_capacity(1);
        Pinged(sender)
    }));
    actor.post(question()).unwrap();
    assert!(matches!(actor.post(question()), Err(PostError::Full(_))));
    actor.ping();
    next(&mut heartbeats).await;
}
