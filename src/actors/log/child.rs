//! How the Agent starts and stops LogActor.

use actix::prelude::*;
use futures::{FutureExt, future::LocalBoxFuture};

use super::{Close, LogActor, LogSetup, MAILBOX_MESSAGES_MAX};
use crate::{
    actors::{
        segment::Fences,
        supervision::{ActorRef, Child, Lifeline, Part, Reply, StartError, Unanswered, start_on},
    },
    error::Disposition,
};

/// What outlives LogActor: its thread and its address.
#[derive(Clone, Debug)]
pub struct LogShared {
    /// The log's thread, where handlers may block on the disk.
    pub thread: ArbiterHandle,
    /// Where LogActor is at present.
    pub log: ActorRef<LogActor>,
}

/// LogActor as a child of the Agent.
#[derive(Debug)]
pub struct LogChild {
    setup: LogSetup,
    shared: LogShared,
    fences: Fences,
}

impl LogChild {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(setup: LogSetup, shared: LogShared) -> Self {
        Self {
            setup,
            shared,
            fences: Fences::default(),
        }
    }
}

impl From<Unanswered> for StartError {
    fn from(unanswered: Unanswered) -> Self {
        Self::new(Disposition::Restart, unanswered)
    }
}

impl Child for LogChild {
    fn part(&self) -> Part {
        Part::Log
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        let (opening, opened) = Reply::channel();
        let (setup, fences) = (self.setup.clone(), self.fences.clone());
        let address = start_on(&self.shared.thread, MAILBOX_MESSAGES_MAX, move |_| {
            LogActor::new(setup, fences, opening, lifeline)
        });
        self.shared.log.set(address);
        opened.boxed_local()
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, closed) = Reply::channel();
        let posted = self.shared.log.post(Close { reply });
        self.shared.log.clear();
        async move {
            if posted.is_ok() {
                // Unanswered: it died on the way, which its lifeline tells.
                closed.await.unwrap_or(());
            }
        }
        .boxed_local()
    }

    fn ping(&self) {
        self.shared.log.ping();
    }
}
