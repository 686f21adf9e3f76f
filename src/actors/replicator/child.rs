//! How the Agent starts and stops the replicators.

use std::{future, sync::Arc};

use actix::prelude::*;
use futures::future::LocalBoxFuture;

use super::{MESSAGES_MAX, ReplicatorSetup, Replicators, ReplicatorsActor, link::LinkTable, set::Stop};
use crate::actors::supervision::{ActorRef, Child, Lifeline, Part, Reply, StartError, Unanswered};

/// The replicators as one child of the Agent, on the Agent's thread.
#[derive(Debug)]
pub struct ReplicatorsChild {
    setup: Arc<ReplicatorSetup>,
    table: LinkTable,
    set: ActorRef<ReplicatorsActor>,
}

impl ReplicatorsChild {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(setup: ReplicatorSetup) -> Self {
        Self {
            setup: Arc::new(setup),
            table: LinkTable::default(),
            set: ActorRef::new(),
        }
    }

    /// The way to them, over all their lives.
    #[must_use]
    pub fn replicators(&self) -> Replicators {
        Replicators::new(Arc::clone(&self.setup), self.table.clone(), self.set.clone())
    }

    /// The present instance of whoever keeps them; for tests and tools.
    #[must_use]
    pub fn actor(&self) -> ActorRef<ReplicatorsActor> {
        self.set.clone()
    }
}

impl Child for ReplicatorsChild {
    fn part(&self) -> Part {
        Part::Replicators
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        let (setup, table) = (Arc::clone(&self.setup), self.table.clone());
        self.set.set(ReplicatorsActor::create(|context| {
            context.set_mailbox_capacity(MESSAGES_MAX);
            ReplicatorsActor::new(setup, table, lifeline)
        }));
        Box::pin(future::ready(Ok(())))
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, stopped) = Reply::<(), Unanswered>::channel();
        // When nobody takes the message its reply is dropped, and `stopped` answers at once.
        drop(self.set.post(Stop { reply }));
        self.set.clear();
        // Unanswered: it died, and its links with it.
        Box::pin(async move { stopped.await.unwrap_or(()) })
    }

    fn ping(&self) {
        self.set.ping();
    }
}
