//! How LogActor has a damaged segment written anew, and puts it in its place.

use actix::prelude::*;
use slog::{error, info};

use super::{BeginRepair, LogActor, LogFailed, Replace};
use crate::{
    error::{Disposition, causes},
    storage::Repaired,
};

impl LogActor {
    /// Blocking: reads headers.
    pub(super) fn begin_repair(&mut self, begin: BeginRepair) {
        let Some(open) = &self.open else { return };
        let firsts = open.state.view().load().segment_firsts();
        let Some(first) = begin.first.or_else(|| firsts.last().copied()) else {
            let cause = "there is no segment to repair".to_owned();
            begin.reply.send(Err(LogFailed::ReadOnly { cause }));
            return;
        };
        let begun = open.state.gap(first).and_then(|gap| {
            let last = gap.last();
            Ok((Box::new(open.state.rebuild(gap)?), last))
        });
        begin.reply.send(begun.map_err(LogFailed::Repair));
    }

    /// Blocking: some renames, each made durable.
    pub(super) fn replace(&mut self, replace: Replace, context: &mut Context<Self>) {
        if self.is_fenced_off() {
            context.stop();
            return;
        }
        let Some(open) = &mut self.open else { return };
        let first = replace.rebuilt.first_log_index();
        match open.state.replace(replace.rebuilt) {
            Ok(Repaired::Readable) => {
                info!(self.setup.logger, "segment repaired"; "first_log_index" => first.get());
                replace.reply.send(Ok(()));
            }
            Ok(Repaired::Reopen) => {
                info!(self.setup.logger, "segment repaired; the log is opened again"; "first_log_index" => first.get());
                replace.reply.send(Ok(()));
                self.lifeline
                    .fail(Disposition::Restart, "the log was repaired and is opened again");
                context.stop();
            }
            Err(error) => {
                error!(self.setup.logger, "segment not repaired"; "first_log_index" => first.get(),
                    "cause" => causes(&error));
                replace.reply.send(Err(LogFailed::Cut(error)));
            }
        }
    }
}
