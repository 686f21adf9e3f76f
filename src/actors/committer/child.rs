//! How the Agent starts and stops the local committer.

use actix::prelude::*;
use futures::{FutureExt, future::LocalBoxFuture};

use super::{
    CommitterSetup, LocalCommitterActor,
    local::{PROPOSALS_MAX, Retire},
};
use crate::{
    actors::{
        log::Describe,
        supervision::{ActorRef, Child, Lifeline, Part, Reply, StartError, start_on},
    },
    error::Disposition,
};

/// The local committer as a child of the Agent. It runs on the log's thread, so that a batch takes no hop between them.
#[derive(Debug)]
pub struct CommitterChild {
    setup: CommitterSetup,
    thread: ArbiterHandle,
    committer: ActorRef<LocalCommitterActor>,
}

impl CommitterChild {
    /// Starts nothing yet; `committer` is where it will be reached.
    #[must_use]
    pub fn new(
        setup: CommitterSetup,
        thread: ArbiterHandle,
        committer: ActorRef<LocalCommitterActor>,
    ) -> Self {
        Self {
            setup,
            thread,
            committer,
        }
    }
}

impl Child for CommitterChild {
    fn part(&self) -> Part {
        Part::Committer
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        let (reply, standing) = Reply::channel();
        let asked = self.setup.log.post(Describe { reply });
        let (setup, thread, committer) = (self.setup.clone(), self.thread.clone(), self.committer.clone());
        async move {
            if asked.is_err() {
                return Err(StartError::new(Disposition::Restart, "the log is not there"));
            }
            let standing = standing.await?;
            let (opening, opened) = Reply::channel();
            committer.set(start_on(&thread, PROPOSALS_MAX, move |_| {
                LocalCommitterActor::new(setup, &standing, opening, lifeline)
            }));
            opened.await
        }
        .boxed_local()
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, retired) = Reply::channel();
        let posted = self.committer.post(Retire { reply });
        self.committer.clear();
        let wait = async move {
            if posted.is_ok() {
                // Unanswered: it died on the way, which its lifeline tells.
                retired.await.unwrap_or(());
            }
        };
        Box::pin(wait)
    }

    fn ping(&self) {
        self.committer.ping();
    }
}
