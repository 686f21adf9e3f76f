//! How LogActor exchanges its log for segments that were fetched from a peer.

use actix::prelude::*;
use slog::info;

use super::{Install, LogActor, LogFailed, open::Waiting};
use crate::{
    actors::{
        segment::Finish,
        supervision::{Reply, Unanswered},
    },
    error::Disposition,
    storage::{CutError, Incoming, Staged},
};

impl LogActor {
    /// Blocking: looks through what was fetched, which was checked when it came.
    pub(super) fn install(&mut self, install: Install, context: &mut Context<Self>) {
        let Some(open) = &mut self.open else { return };
        if open.rolling {
            open.waiting.push_back(Waiting::Install(install));
            return;
        }
        // Before the active segment is finished: then the log goes on as if nothing had been asked.
        let staged = match self.staged(&install) {
            Ok(Some(staged)) => staged,
            Ok(None) => {
                install.reply.send(Ok(false));
                return;
            }
            Err(error) => {
                install.reply.send(Err(error));
                return;
            }
        };
        let Some(open) = &mut self.open else { return };
        let (reply, finished) = Reply::<(), Unanswered>::channel();
        drop(open.segment.post(Finish { reply }));
        open.rolling = true;
        let then = finished
            .into_actor(self)
            .map(move |finished, actor, context| match finished {
                Ok(()) => actor.exchange(&staged, install, context),
                Err(Unanswered) => context.stop(),
            });
        context.spawn(then);
    }

    /// What was fetched, if the log lacks any of it.
    fn staged(&self, install: &Install) -> Result<Option<Staged>, LogFailed> {
        let Some(open) = &self.open else {
            return Err(LogFailed::Unanswered(Unanswered));
        };
        let directory = self.setup.options.directory.as_path();
        let view = open.state.view().load_full();
        let incoming = Incoming::resume(self.setup.file_system.clone(), directory, &view)?;
        let Some(mut incoming) = incoming.filter(|incoming| incoming.manifest().encode() == install.manifest)
        else {
            let cause = "what was fetched is of another manifest; fetch again".to_owned();
            return Err(LogFailed::ReadOnly { cause });
        };
        let staged = incoming.complete()?;
        match open.state.check_install(&staged) {
            Ok(()) => Ok(Some(staged)),
            Err(CutError::AlreadyHeld { .. }) => {
                incoming.discard().map_err(LogFailed::Transfer)?;
                Ok(None)
            }
            Err(error) => Err(LogFailed::Cut(error)),
        }
    }

    /// The active segment is finished: exchanges the log, and goes on behind what was installed.
    fn exchange(&mut self, staged: &Staged, install: Install, context: &mut Context<Self>) {
        if self.is_fenced_off() {
            context.stop();
            return;
        }
        let Some(mut open) = self.open.take() else { return };
        match open.state.install(staged) {
            Ok(writer) => {
                info!(self.setup.logger, "segments installed"; "segments" => staged.manifest().segments.len(),
                    "last_log_index" => staged.manifest().last_log_index().get());
                self.start_segment(&open, writer);
                open.rolling = false;
                open.damage = None;
                open.promises.look_again(&open.state);
                self.setup.board.set_tail(open.state.checkpoint().next_offset());
                self.open = Some(open);
                install.reply.send(Ok(true));
                self.resume(context);
            }
            Err(error) => {
                self.open = Some(open);
                // The active segment's actor has ended, so the log is opened again, which finishes what was begun.
                let disposition = match error.disposition() {
                    Disposition::Reject | Disposition::Retry => Disposition::Restart,
                    other => other,
                };
                self.fail(&error, disposition, context);
                install.reply.send(Err(LogFailed::Cut(error)));
            }
        }
    }
}
