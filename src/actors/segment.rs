//! The active segment: its store, its index, and the group commit in progress.
//!
//! Owns     the segment's writer: the file, and the frames gathered for the next sync.
//! Accepts  Write, Settle, Seal, Finish; Flush from itself.
//! Emits    persisted to each appender, in order.
//! Limits   one sync in flight; at most 32 MiB unsynced. Its mailbox is bounded by LogActor, its only sender.
//! Fails    a failed write or sync poisons it (STO-3) and ends the process; a panic is a restart of the log.
//!
//! Only the active segment has an actor: sealed bytes never change (STO-2), so there is nothing to own (ADR 0004).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;

use super::{
    log::{AppendFailed, ConditionBoard, OnPersisted, Standing},
    supervision::{Lifeline, Reply, Unanswered},
};
use crate::{
    error::{Disposition, causes},
    storage::{Placed, SegmentWriter, WriteError, frame::PlacedEntry},
};

/// A log that has taken nothing for this long marks on disk that all of it is synced. Long enough that a writer in
/// lockstep pays for no marks, short enough that hardly a crash finds the newest frames uncovered.
const MARK_AFTER: Duration = Duration::from_millis(100);

/// Write entries at the end of the segment; LogActor has given them their places.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Write {
    pub(super) entries: Vec<PlacedEntry>,
    pub(super) placed: Vec<Placed>,
    pub(super) on_persisted: OnPersisted,
}

/// Sync what was written before, then answer what was said of it: nobody is told of entries that may still be lost.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Settle {
    pub(super) standing: Standing,
    pub(super) reply: Reply<Standing, Unanswered>,
}

/// Finish the segment: it takes nothing any more, and its file gets its final length.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Seal {
    pub(super) reply: Reply<(), Unanswered>,
}

/// Sync everything, and stop; the segment goes on when the log is opened again.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Finish {
    pub(super) reply: Reply<(), Unanswered>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

/// Gives each opening of the log its [`Fence`]; outlives LogActor.
#[derive(Clone, Debug, Default)]
pub(super) struct Fences(Arc<AtomicU64>);

impl Fences {
    /// A fence for the log that is opened next. Closes that of the opening before, whose actors may still be there: an
    /// instance that did not stop in time is passed over.
    pub(super) fn next(&self) -> Fence {
        let own = self.0.fetch_add(1, Ordering::AcqRel) + 1;
        Fence {
            newest: self.0.clone(),
            own,
        }
    }
}

/// Cuts LogActor and SegmentActor off from the files when their log is over: all of them live on one thread, so once it
/// is closed no write can follow, and the log can be opened anew.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    newest: Arc<AtomicU64>,
    own: u64,
}

impl Fence {
    /// Closes it, unless a newer one has done so already.
    pub(super) fn close(&self) {
        let newer = self.own + 1;
        // Whatever number is there instead, it is newer.
        let _newest = self
            .newest
            .compare_exchange(self.own, newer, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.newest.load(Ordering::Acquire) != self.own
    }
}

pub(super) struct SegmentActor {
    /// `None` once sealed, finished or fenced off.
    writer: Option<SegmentWriter>,
    waiting: Vec<(OnPersisted, Vec<Placed>)>,
    flush_is_due: bool,
    /// Flushes so far, and how many there were when the timer for the mark was set.
    flushes: u64,
    mark_timer_at: Option<u64>,
    fence: Fence,
    board: ConditionBoard,
    lifeline: Lifeline,
}

impl Actor for SegmentActor {
    type Context = Context<Self>;
}

impl Handler<Write> for SegmentActor {
    type Result = ();

    fn handle(&mut self, write: Write, context: &mut Self::Context) {
        self.write(write, context);
    }
}

impl Handler<Flush> for SegmentActor {
    type Result = ();

    fn handle(&mut self, _: Flush, context: &mut Self::Context) {
        self.flush_is_due = false;
        self.flush(context);
    }
}

impl Handler<Settle> for SegmentActor {
    type Result = ();

    fn handle(&mut self, settle: Settle, context: &mut Self::Context) {
        self.flush(context);
        if self.writer.is_some() && !self.fence.is_closed() {
            settle.reply.send(Ok(settle.standing));
        }
    }
}

impl Handler<Seal> for SegmentActor {
    type Result = ();

    fn handle(&mut self, seal: Seal, context: &mut Self::Context) {
        self.end(seal.reply, SegmentWriter::seal, context);
    }
}

impl Handler<Finish> for SegmentActor {
    type Result = ();

    fn handle(&mut self, finish: Finish, context: &mut Self::Context) {
        self.end(finish.reply, |mut writer| writer.mark(), context);
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<super::supervision::Sabotage> for SegmentActor {
    type Result = ();

    fn handle(&mut self, sabotage: super::supervision::Sabotage, _: &mut Self::Context) {
        sabotage.strike();
    }
}

impl SegmentActor {
    pub(super) fn new(
        writer: SegmentWriter,
        fence: Fence,
        board: ConditionBoard,
        lifeline: Lifeline,
    ) -> Self {
        Self {
            writer: Some(writer),
            waiting: Vec::new(),
            flush_is_due: false,
            flushes: 0,
            mark_timer_at: None,
            fence,
            board,
            lifeline,
        }
    }

    fn write(&mut self, write: Write, context: &mut Context<Self>) {
        let Some(writer) = self.writer.as_mut().filter(|_| !self.fence.is_closed()) else {
            // Dropping the callback says that nobody knows; here it is known that nothing was written.
            write.on_persisted.call(Err(AppendFailed::Unavailable));
            return;
        };
        let result = write.entries.iter().try_for_each(|entry| writer.append(entry));
        self.waiting.push((write.on_persisted, write.placed));
        if let Err(error) = result {
            self.fail(&error, context);
        } else if !self.flush_is_due {
            self.flush_is_due = true;
            // Lands behind everything that is in the mailbox now: all of that shares the sync.
            context.notify(Flush);
        }
    }

    fn flush(&mut self, context: &mut Context<Self>) {
        let Some(writer) = self.writer.as_mut().filter(|_| !self.fence.is_closed()) else {
            return;
        };
        match writer.flush() {
            Ok(_) => self.persisted(context),
            Err(error) => self.fail(&error, context),
        }
    }

    fn persisted(&mut self, context: &mut Context<Self>) {
        check!(
            LOG_2,
            self.writer.as_ref().is_some_and(|writer| !writer.has_gathered()),
            "an answer before its sync"
        );
        for (on_persisted, placed) in self.waiting.drain(..) {
            on_persisted.call(Ok(placed));
        }
        self.flushes += 1;
        self.lifeline.beat();
        self.mark_when_idle(context);
    }

    fn mark_when_idle(&mut self, context: &mut Context<Self>) {
        if self.mark_timer_at.is_some() {
            return;
        }
        self.mark_timer_at = Some(self.flushes);
        context.run_later(MARK_AFTER, |actor, context| {
            let idle = actor.mark_timer_at.take() == Some(actor.flushes);
            if !idle {
                actor.mark_when_idle(context);
            } else if let Some(writer) = actor.writer.as_mut().filter(|_| !actor.fence.is_closed())
                && !writer.has_gathered()
                && let Err(error) = writer.mark()
            {
                actor.fail(&error, context);
            }
        });
    }

    /// Flushes, then does the last thing to the writer, and stops.
    fn end(
        &mut self,
        reply: Reply<(), Unanswered>,
        last: impl FnOnce(SegmentWriter) -> Result<(), WriteError>,
        context: &mut Context<Self>,
    ) {
        self.flush(context);
        let Some(writer) = self.writer.take().filter(|_| !self.fence.is_closed()) else {
            return;
        };
        match last(writer) {
            Ok(()) => {
                self.lifeline.retire();
                reply.send(Ok(()));
                context.stop();
            }
            Err(error) => self.fail(&error, context),
        }
    }

    /// The disk failed: whoever waits is told that the outcome is unknown, and nothing is tried again (STO-3).
    fn fail(&mut self, error: &WriteError, context: &mut Context<Self>) {
        let cause = causes(error);
        self.writer = None;
        self.board.fail(&cause);
        for (on_persisted, _) in self.waiting.drain(..) {
            on_persisted.call(Err(AppendFailed::Unknown { cause: cause.clone() }));
        }
        let disposition = error.disposition();
        debug_assert_eq!(disposition, Disposition::Failsafe);
        self.lifeline.fail(disposition, cause);
        context.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_closed_by_its_owner_or_by_the_next_one() {
        let fences = Fences::default();
        let first = fences.next();
        assert!(!first.is_closed());
        let second = fences.next();
        assert!(first.is_closed() && !second.is_closed());
        first.close();
        assert!(!second.is_closed(), "an old fence cannot close a new one");
        second.close();
        assert!(second.is_closed());
        assert!(!fences.next().is_closed());
    }
}
