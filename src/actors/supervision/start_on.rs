//! Starts an actor on another thread.

use actix::{
    dev::{Addr, channel},
    prelude::*,
};

/// Starts the actor that `build` makes, on `thread`, with a mailbox for `messages_max`.
///
/// Not `Actor::start_in_arbiter`: the limit that it lets `build` set counts only once the thread has come to that. Until
/// then the mailbox holds actix's default of 16, and whoever posts meanwhile is refused for want of room that is there.
pub fn start_on<A>(
    thread: &ArbiterHandle,
    messages_max: usize,
    build: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let (sender, receiver) = channel::channel(messages_max);
    // On a thread that has ended the receiver is dropped with the closure, and every post is given back.
    thread.spawn_fn(move || {
        let mut context = Context::with_receiver(receiver);
        let actor = build(&mut context);
        context.run(actor);
    });
    Addr::new(sender)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::actors::supervision::{ActorRef, PostError};

    struct Idle;

    impl Actor for Idle {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Nothing;

    impl Handler<Nothing> for Idle {
        type Result = ();

        fn handle(&mut self, _: Nothing, _: &mut Self::Context) {}
    }

    /// A restarted committer refused producers as overload: its mailbox took 16 messages while its thread was busy.
    #[test]
    fn the_mailbox_has_its_room_before_the_thread_has_come_to_the_actor() {
        System::new().block_on(async {
            let thread = Arbiter::new();
            let (release, busy) = mpsc::channel::<()>();
            thread.spawn_fn(move || assert!(busy.recv().is_err()));
            let actor = ActorRef::new();
            actor.set(start_on(&thread.handle(), 100, |_| Idle));
            let posted = (0..100).filter(|_| actor.post(Nothing).is_ok()).count();
            assert_eq!(posted, 100);
            assert!(matches!(actor.post(Nothing), Err(PostError::Full(_))));
            drop(release);
            thread.stop();
            thread.join().unwrap();
        });
    }
}
