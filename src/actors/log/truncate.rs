//! How LogActor drops the end of the log: what a new leader of consensus does not have.

use actix::prelude::*;

use super::{LogActor, LogFailed, Truncate, open::Waiting};
use crate::{
    actors::{
        segment::Finish,
        supervision::{Reply, Unanswered},
    },
    error::Disposition,
};

impl LogActor {
    pub(super) fn truncate(&mut self, truncate: Truncate, context: &mut Context<Self>) {
        let Some(open) = &mut self.open else { return };
        let read_only = || open.damage.as_ref().map(ToString::to_string);
        if let Some(cause) = read_only() {
            truncate.reply.send(Err(LogFailed::ReadOnly { cause }));
            return;
        }
        if open.rolling {
            open.waiting.push_back(Waiting::Truncate(truncate));
            return;
        }
        // Before the active segment is finished: then the log goes on as if nothing had been asked.
        if let Err(error) = open.state.check_in_log(truncate.from) {
            truncate.reply.send(Err(LogFailed::Cut(error)));
            return;
        }
        let (reply, finished) = Reply::channel();
        drop(open.segment.post(Finish { reply }));
        open.rolling = true;
        let then = finished
            .into_actor(self)
            .map(move |finished, actor, context| match finished {
                Ok(()) => actor.cut(truncate, context),
                Err(Unanswered) => context.stop(),
            });
        context.spawn(then);
    }

    /// The active segment is finished: cuts the log, and goes on behind the cut.
    fn cut(&mut self, truncate: Truncate, context: &mut Context<Self>) {
        if self.is_fenced_off() {
            context.stop();
            return;
        }
        let Some(mut open) = self.open.take() else { return };
        match open.state.truncate(truncate.from) {
            Ok(writer) => {
                self.start_segment(&open, writer);
                open.rolling = false;
                self.setup.board.set_tail(open.state.checkpoint().next_offset());
                self.open = Some(open);
                truncate.reply.send(Ok(()));
                self.resume(context);
            }
            Err(error) => {
                self.open = Some(open);
                // Even where nothing was cut: the active segment's actor has ended, so the log is opened again.
                let disposition = match error.disposition() {
                    Disposition::Reject | Disposition::Retry => Disposition::Restart,
                    other => other,
                };
                self.fail(&error, disposition, context);
                truncate.reply.send(Err(LogFailed::Cut(error)));
            }
        }
    }
}
