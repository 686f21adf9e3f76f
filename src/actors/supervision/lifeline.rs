//! How an actor's end reaches the Agent, whatever ends it.

use std::{fmt, thread};

use actix::{Message, Recipient};

use crate::error::Disposition;

use super::{Part, pulse::Pulse};

/// How an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It stopped without saying why.
    Stopped,
    /// One of its handlers panicked.
    Panicked,
    /// It gave no sign of life for so long that the Agent gave it up.
    Stuck,
    /// It stopped itself, or could not start.
    Failed {
        /// What its error asks for.
        disposition: Disposition,
        /// What went wrong.
        text: String,
    },
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped unexpectedly"),
            Self::Panicked => f.write_str("panicked"),
            Self::Stuck => f.write_str("is stuck"),
            Self::Failed { text, .. } => write!(f, "failed: {text}"),
        }
    }
}

/// An actor has ended. Sent by its [`Lifeline`] to the Agent.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Died {
    /// Which part it was.
    pub part: Part,
    /// Which instance, counted from 1 by the Agent.
    pub generation: u64,
    /// How it ended.
    pub exit: Exit,
}

/// Held by every supervised actor; tells the Agent when it is dropped, also by a panic.
///
/// Make it the last field of the actor: fields are dropped in order, and whatever the actor holds (files, locks,
/// replies) should be let go before the Agent hears of its end.
#[derive(Debug)]
pub struct Lifeline {
    part: Part,
    generation: u64,
    pulse: Pulse,
    agent: Recipient<Died>,
    failure: Option<(Disposition, String)>,
    retired: bool,
}

impl Lifeline {
    /// A line from one instance of `part` to whoever takes `Died` (the Agent; in tests anybody).
    #[must_use]
    pub fn new(part: Part, generation: u64, agent: Recipient<Died>) -> Self {
        Self::with_pulse(part, generation, agent, Pulse::default())
    }

    pub(crate) fn with_pulse(part: Part, generation: u64, agent: Recipient<Died>, pulse: Pulse) -> Self {
        Self {
            part,
            generation,
            pulse,
            agent,
            failure: None,
            retired: false,
        }
    }

    /// A line for an actor that this one starts itself, as LogActor does for its segments. It is of the same
    /// generation, and its beats count as this actor's: they share a thread, so each shows that it moves.
    #[must_use]
    pub fn branch(&self, part: Part) -> Self {
        Self::with_pulse(part, self.generation, self.agent.clone(), self.pulse.clone())
    }

    /// The actor's instance, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Shows that the actor makes progress. One atomic addition.
    pub fn beat(&self) {
        self.pulse.beat();
    }

    /// Records why the actor is about to stop itself. The first reason stays, unless a later one is a failsafe.
    pub fn fail(&mut self, disposition: Disposition, text: impl Into<String>) {
        if self.failure.is_none() || disposition == Disposition::Failsafe {
            self.failure = Some((disposition, text.into()));
        }
    }

    /// The actor's end is as planned by the one that started it (a trimmed segment): the Agent hears nothing of it,
    /// unless it fails or panics on the way.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    fn exit(&mut self) -> Option<Exit> {
        match self.failure.take() {
            Some((disposition, text)) => Some(Exit::Failed { disposition, text }),
            None if thread::panicking() => Some(Exit::Panicked),
            None if self.retired => None,
            None => Some(Exit::Stopped),
        }
    }
}

impl Drop for Lifeline {
    #[expect(
        clippy::disallowed_methods,
        reason = "the notice must arrive even when the Agent's mailbox is full; there is one for each actor that ever \
                  started, so the mailbox stays bounded"
    )]
    fn drop(&mut self) {
        if let Some(exit) = self.exit() {
            self.agent.do_send(Died {
                part: self.part,
                generation: self.generation,
                exit,
            });
        }
    }
}
