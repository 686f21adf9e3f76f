//! Addresses that outlive the actors behind them.

use std::{fmt, sync::Arc};

use actix::{
    Actor, Addr, Handler, Message,
    dev::{SendError, ToEnvelope},
};
use arc_swap::ArcSwapOption;

use crate::error::Disposition;

use super::Heartbeat;

/// Where an actor is at present. Cheap to clone; every clone sees every later [`ActorRef::set`].
pub struct ActorRef<A: Actor> {
    address: Arc<ArcSwapOption<Addr<A>>>,
}

impl<A: Actor> ActorRef<A> {
    /// A reference to an actor that has not been started yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            address: Arc::new(ArcSwapOption::empty()),
        }
    }

    /// From now on messages go to `address`.
    pub fn set(&self, address: Addr<A>) {
        self.address.store(Some(Arc::new(address)));
    }

    /// From now on there is nobody to take messages.
    pub fn clear(&self) {
        self.address.store(None);
    }

    /// Puts a message into the actor's mailbox. Callable from any thread; never waits.
    ///
    /// Errors: the message comes back, so nothing has happened; as against a dropped [`super::Reply`], after which
    /// nobody knows. The mailbox's limit may be passed by as many messages as threads post at the same moment (ACT-2).
    pub fn post<M>(&self, message: M) -> Result<(), PostError<M>>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        match &*self.address.load() {
            None => Err(PostError::Gone(message)),
            Some(address) => address.try_send(message).map_err(|refused| match refused {
                SendError::Full(message) => PostError::Full(message),
                SendError::Closed(message) => PostError::Gone(message),
            }),
        }
    }

    /// Asks the actor for a sign of life: what [`super::Child::ping`] does.
    #[expect(
        clippy::disallowed_methods,
        reason = "a busy actor with a full mailbox must not pass for a stuck one; the Agent keeps at most one ping \
                  per sign of life waiting, so the mailbox stays bounded"
    )]
    pub fn ping(&self)
    where
        A: Handler<Heartbeat>,
        A::Context: ToEnvelope<A, Heartbeat>,
    {
        if let Some(address) = &*self.address.load() {
            address.do_send(Heartbeat);
        }
    }

    /// The same reference, for those who know the message but not the actor.
    #[must_use]
    pub fn recipient<M>(&self) -> RecipientRef<M>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        RecipientRef {
            actor: Arc::new(self.clone()),
        }
    }
}

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self {
            address: Arc::clone(&self.address),
        }
    }
}

impl<A: Actor> Default for ActorRef<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Actor> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorRef")
            .field("started", &self.address.load().is_some())
            .finish()
    }
}

/// An [`ActorRef`] seen as a receiver of `M`: whoever takes that message at present.
pub struct RecipientRef<M> {
    actor: Arc<dyn Post<M> + Send + Sync>,
}

impl<M> RecipientRef<M> {
    /// As [`ActorRef::post`].
    pub fn post(&self, message: M) -> Result<(), PostError<M>> {
        self.actor.post(message)
    }
}

impl<M> Clone for RecipientRef<M> {
    fn clone(&self) -> Self {
        Self {
            actor: Arc::clone(&self.actor),
        }
    }
}

impl<M> fmt::Debug for RecipientRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientRef").finish_non_exhaustive()
    }
}

/// Hides the actor's type.
trait Post<M> {
    fn post(&self, message: M) -> Result<(), PostError<M>>;
}

impl<A, M> Post<M> for ActorRef<A>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn post(&self, message: M) -> Result<(), PostError<M>> {
        Self::post(self, message)
    }
}

/// A message was not delivered, and comes back.
#[derive(thiserror::Error)]
pub enum PostError<M> {
    /// The mailbox holds as much as it may.
    #[error("the actor's mailbox is full")]
    Full(M),
    /// The actor is not there: not started yet, being restarted, or stopped.
    #[error("the actor is not running")]
    Gone(M),
}

impl<M> PostError<M> {
    /// The message.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message) | Self::Gone(message) => message,
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Full(_) | Self::Gone(_) => Disposition::Retry,
        }
    }
}

impl<M> fmt::Debug for PostError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Gone(_) => "Gone(..)",
        })
    }
}
