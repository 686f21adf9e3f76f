//! How LogActor drops what is not kept: a little at a time, so that appends and heartbeats get their turns in between.

use actix::prelude::*;
use slog::{info, warn};

use super::{LogActor, LogFailed, RetentionDue, Trim};
use crate::{
    error::causes,
    storage::{Due, Trimmed},
};

/// Segments dropped in one turn. Each takes about half a millisecond: two removals and a sync of the directory.
const SEGMENTS_PER_TURN: usize = 16;
/// Stores opened in one turn to learn how long or how old they are: some milliseconds.
const STORES_PER_TURN: usize = 128;

impl LogActor {
    /// Drops some segments now and the rest in later turns. `done` is what earlier turns did.
    ///
    /// A trim that fails is no reason to stop: it takes only what is to go, and goes on where it stopped.
    pub(super) fn trim(&mut self, trim: Trim, done: Option<Trimmed>, context: &mut Context<Self>) {
        if self.is_fenced_off() {
            context.stop();
            return;
        }
        let Some(open) = &mut self.open else { return };
        let trimmed = open.state.trim(trim.below, trim.last, SEGMENTS_PER_TURN);
        open.promises.trimmed(&open.state);
        self.look_at_free_space();
        match trimmed {
            Ok(trimmed) if !trimmed.complete => {
                let done = trimmed.after(done);
                self.in_another_turn(context, move |actor, context| {
                    actor.trim(trim, Some(done), context)
                });
            }
            Ok(trimmed) => {
                let trimmed = trimmed.after(done);
                if trimmed.segments > 0 {
                    info!(self.setup.logger, "log trimmed"; "earliest" => trimmed.earliest.get(),
                        "segments" => trimmed.segments, "bytes" => trimmed.bytes);
                }
                trim.reply.send(Ok(trimmed));
            }
            Err(error) => {
                warn!(self.setup.logger, "log not trimmed, tried again with the next trim"; "cause" => causes(&error));
                trim.reply.send(Err(LogFailed::Cut(error)));
            }
        }
    }

    /// Looks at some segments now and at the rest in later turns.
    pub(super) fn retention_due(&mut self, due: RetentionDue, context: &mut Context<Self>) {
        let Some(open) = &self.open else { return };
        match open.state.retention_due(&due.retention, due.now, STORES_PER_TURN) {
            Ok(Due::Unknown) => {
                self.in_another_turn(context, move |actor, context| actor.retention_due(due, context));
            }
            Ok(Due::Nothing) => due.reply.send(Ok(None)),
            Ok(Due::Below(below)) => due.reply.send(Ok(Some(below))),
            Err(error) => due.reply.send(Err(LogFailed::Read(error))),
        }
    }

    /// Goes on when the other actors of this thread, and this one's mailbox, have had a turn.
    fn in_another_turn(
        &mut self,
        context: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        self.lifeline.beat();
        let turn = tokio::task::yield_now();
        context.spawn(
            turn.into_actor(self)
                .map(|(), actor, context| then(actor, context)),
        );
    }
}
