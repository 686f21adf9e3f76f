//! What leaves the log: retention, decided by the leader and agreed on, and what a committed trim sets free.

use actix::prelude::*;
use slog::{debug, warn};

use super::RaftActor;
use crate::{
    actors::{
        log::{Condition, RetentionDue},
        supervision::Reply,
    },
    clock,
    consensus::types::{Proposal, ProposalContent},
    storage::control::Control,
    types::Offset,
};

impl RaftActor {
    pub(super) fn look_at_retention(&mut self, context: &mut Context<Self>) {
        if self.setup.leadership.borrow().leader != Some(self.setup.node_id) {
            return;
        }
        let (reply, due) = Reply::channel();
        let ask = RetentionDue {
            retention: self.setup.retention,
            now: clock::wall(),
            reply,
        };
        if self.setup.log.post(ask).is_err() {
            return;
        }
        let then = due.into_actor(self).map(|due, actor, _| match due {
            Ok(Some(below)) => actor.propose_trim(below),
            Ok(None) => {}
            Err(error) => {
                warn!(actor.setup.logger, "cannot tell what retention drops"; "cause" => %error);
            }
        });
        context.spawn(then);
    }

    /// Retention goes through the log, so that every node drops the same.
    ///
    /// Also while the disk is nearly full, when it is needed most: the entry takes less than a hundred bytes of what is
    /// kept free.
    pub(super) fn propose_trim(&self, below: Offset) {
        match self.setup.board.condition() {
            Condition::Writable | Condition::StorageFull { .. } => {}
            Condition::Opening | Condition::Damaged { .. } | Condition::Failsafe { .. } => return,
        }
        let Some(consensus) = self.consensus.clone() else {
            return;
        };
        let proposal = Proposal {
            timestamp: clock::wall(),
            content: ProposalContent::Control(Control::Trim { below }.encode()),
        };
        let logger = self.setup.logger.clone();
        self.setup.runtime.spawn(async move {
            if let Err(error) = consensus.raft.client_write(proposal).await {
                debug!(logger, "not trimmed, retention asks again"; "below" => below.get(), "cause" => %error);
            }
        });
    }

    /// Lets openraft go of the entries below a committed trim; the log then drops their segments.
    pub(super) fn purge(&mut self, below: Offset, context: &mut Context<Self>) {
        let Some(consensus) = self.consensus.clone() else {
            return;
        };
        let purged = self
            .setup
            .runtime
            .spawn(async move { consensus.purge_below(below).await });
        context.spawn(purged.into_actor(self).map(move |purged, actor, _| match purged {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(actor.setup.logger, "not trimmed, tried again with the next trim"; "below" => below.get(),
                    "cause" => %error);
            }
            Err(error) => warn!(actor.setup.logger, "not trimmed"; "cause" => %error),
        }));
    }
}
