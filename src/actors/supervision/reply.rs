//! The way back from an actor to whoever asked it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// The actor's end: travels inside the message and is answered once (ACT-1).
///
/// Dropping it is an answer too, `E::from(Unanswered)`: that is what the caller gets when the actor panics, when it
/// stops with the message in its mailbox, and when nobody remembers to answer.
#[derive(Debug)]
pub struct Reply<T, E> {
    sender: oneshot::Sender<Result<T, E>>,
}

/// The caller's end: a future of the answer.
///
/// Cancel: safe; the actor's answer then goes nowhere.
#[derive(Debug)]
#[must_use = "an answer that nobody waits for is lost"]
pub struct Answer<T, E> {
    receiver: oneshot::Receiver<Result<T, E>>,
}

/// The `Reply` was dropped: the actor may have done what it was asked or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the actor ended before it answered")]
pub struct Unanswered;

impl<T, E> Reply<T, E> {
    /// Both ends of one answer.
    pub fn channel() -> (Self, Answer<T, E>)
    where
        E: From<Unanswered>,
    {
        let (sender, receiver) = oneshot::channel();
        (Self { sender }, Answer { receiver })
    }

    /// Answers. A caller that has gone away in the meantime is no concern of the actor.
    pub fn send(self, result: Result<T, E>) {
        drop(self.sender.send(result));
    }
}

impl<T, E: From<Unanswered>> Future for Answer<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let received = Pin::new(&mut self.receiver).poll(context);
        received.map(|answer| answer.unwrap_or_else(|_| Err(E::from(Unanswered))))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_answer_reaches_the_caller() {
        let (reply, answer) = Reply::<u32, Unanswered>::channel();
        reply.send(Ok(7));
        assert_eq!(answer.now_or_never(), Some(Ok(7)));
    }

    #[test]
    fn a_dropped_reply_answers_unanswered() {
        let (reply, mut answer) = Reply::<u32, Unanswered>::channel();
        assert_eq!((&mut answer).now_or_never(), None);
        drop(reply);
        assert_eq!(answer.now_or_never(), Some(Err(Unanswered)));
    }

    #[test]
    fn a_reply_lost_in_a_panic_answers_unanswered() {
        let (reply, answer) = Reply::<u32, Unanswered>::channel();
        let handler = std::thread::spawn(move || {
            let _held = reply;
            panic!("on purpose");
        });
        assert!(handler.join().is_err());
        assert_eq!(answer.now_or_never(), Some(Err(Unanswered)));
    }

    #[test]
    fn a_caller_that_went_away_does_not_hurt_the_actor() {
        let (reply, answer) = Reply::<u32, Unanswered>::channel();
        drop(answer);
        reply.send(Ok(7));
    }
}
