//! How the Agent starts and stops RaftActor.

use actix::prelude::*;
use futures::{FutureExt, future::LocalBoxFuture};

use super::{RaftActor, RaftSetup, Retire};
use crate::actors::supervision::{ActorRef, Child, Lifeline, Part, Reply, StartError};

/// RaftActor as a child of the Agent. It runs on the Agent's thread; what takes time runs on the pool.
#[derive(Debug)]
pub struct RaftChild {
    setup: RaftSetup,
    raft: ActorRef<RaftActor>,
}

impl RaftChild {
    /// Starts nothing yet; `raft` is where it will be reached.
    #[must_use]
    pub fn new(setup: RaftSetup, raft: ActorRef<RaftActor>) -> Self {
        Self { setup, raft }
    }
}

impl Child for RaftChild {
    fn part(&self) -> Part {
        Part::Raft
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        let (opening, opened) = Reply::channel();
        let actor = RaftActor::new(self.setup.clone(), self.raft.clone(), opening, lifeline);
        self.raft.set(actor.start());
        opened.boxed_local()
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, retired) = Reply::channel();
        let posted = self.raft.post(Retire { reply });
        self.raft.clear();
        let setup = self.setup.clone();
        async move {
            if posted.is_ok() {
                // Unanswered: it died on the way, which its lifeline tells.
                retired.await.unwrap_or(());
            }
            // One that died has left consensus running: nothing may append to the log that is opened next.
            setup.end().await;
        }
        .boxed_local()
    }

    fn ping(&self) {
        self.raft.ping();
    }
}
