//! The log: its segments, where the next entry goes, and what readers see of it.
//!
//! Owns     the list of segments and the place of the next entry; starts and stops the active segment's actor.
//! Accepts  Append, SaveVote, Trim, SetTrimPoint, Truncate, Install, NoteCommitted, RetentionDue, Describe, Close.
//! Emits    the LogView and the log's condition, published for readers; Write to the active segment.
//! Limits   one active segment (STO-1); appends that arrive while it is being replaced wait, bounded by the gateway's
//!          permits (ACT-2).
//! Fails    reopened from disk, and the committer after it; a failed write or sync ends the process (STO-3).

mod child;
mod condition;
mod health;
mod install;
mod messages;
mod open;
mod promises;
mod repair;
mod trim;
mod truncate;

#[cfg(test)]
mod fence_test;

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use actix::prelude::*;
use arc_swap::ArcSwap;
use slog::{Logger, o};
use tokio::sync::watch;

pub use child::{LogChild, LogShared};
pub use condition::{Condition, ConditionBoard};
pub use messages::{
    Append, AppendFailed, BeginRepair, Close, Describe, Install, LogFailed, NoteCommitted, OnPersisted,
    Replace, RetentionDue, SaveVote, SetTrimPoint, Standing, Trim, Truncate,
};

use self::{
    open::{Open, Waiting},
    promises::Promises,
};
use super::{
    segment::{Fences, Finish, Seal, SegmentActor, Settle},
    supervision::{ActorRef, Heartbeat, Lifeline, Reply, StartError, Unanswered},
};
use crate::{
    error::{Disposition, causes},
    storage::{LogOptions, LogState, LogView, Opened, SegmentWriter, fs::FileSystem},
    types::ClusterId,
};

/// Messages that may wait for the log. Far more than the gateway's permits allow of batches; a bound all the same.
pub(super) const MAILBOX_MESSAGES_MAX: usize = 1 << 20;
/// How often the free space and the age of the active segment are looked at when nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many bytes may be appended before it is looked at again: a small part of any sensible floor.
const FREE_SPACE_EVERY_BYTES: u64 = 8 << 20;

/// What LogActor is made of; the same for each of its lives.
#[derive(Clone, Debug)]
pub struct LogSetup {
    /// The disk.
    pub file_system: Arc<dyn FileSystem>,
    /// How the log is kept. The cluster it belongs to comes by `cluster_id`.
    pub options: LogOptions,
    /// The cluster that this node belongs to, once it does; the log is opened then.
    pub cluster_id: watch::Receiver<Option<ClusterId>>,
    /// The data directory, where it is noted that the log has begun; `None`: nobody looks for the note.
    pub data_dir: Option<PathBuf>,
    /// Appends are refused while fewer bytes are free.
    pub free_bytes_min: u64,
    /// Where readers find the log.
    pub view: Arc<ArcSwap<LogView>>,
    /// Where the log's condition is published.
    pub board: ConditionBoard,
    /// Where to write what happens.
    pub logger: Logger,
}

/// See the module.
pub struct LogActor {
    setup: LogSetup,
    fences: Fences,
    /// Whoever waits for the log to be open.
    opening: Option<Reply<(), StartError>>,
    /// Who asked where the log stands before it could be opened.
    asked_early: Vec<Describe>,
    open: Option<Open>,
    lifeline: Lifeline,
}

impl Actor for LogActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(LOOK_EVERY, |actor, context| {
            actor.look_at_free_space();
            actor.roll_if_old(context);
        });
        self.open_when_it_may(context);
    }
}

impl Drop for LogActor {
    fn drop(&mut self) {
        // One that was passed over may go when the next one is open already, and speaks for it no more.
        if !self.is_fenced_off() {
            self.setup.board.set(Condition::Opening);
        }
    }
}

impl Handler<Append> for LogActor {
    type Result = ();

    fn handle(&mut self, append: Append, context: &mut Self::Context) {
        self.append(append, context);
    }
}

impl Handler<Describe> for LogActor {
    type Result = ();

    fn handle(&mut self, describe: Describe, _: &mut Self::Context) {
        self.describe(describe);
    }
}

impl Handler<Trim> for LogActor {
    type Result = ();

    fn handle(&mut self, trim: Trim, context: &mut Self::Context) {
        self.trim(trim, None, context);
    }
}

impl Handler<Truncate> for LogActor {
    type Result = ();

    fn handle(&mut self, truncate: Truncate, context: &mut Self::Context) {
        self.truncate(truncate, context);
    }
}

impl Handler<SaveVote> for LogActor {
    type Result = ();

    fn handle(&mut self, save: SaveVote, context: &mut Self::Context) {
        self.save_vote(save, context);
    }
}

impl Handler<Install> for LogActor {
    type Result = ();

    fn handle(&mut self, install: Install, context: &mut Self::Context) {
        self.install(install, context);
    }
}

impl Handler<SetTrimPoint> for LogActor {
    type Result = ();

    fn handle(&mut self, trim: SetTrimPoint, _: &mut Self::Context) {
        if let Some(open) = &mut self.open
            && open.state.set_trim_point(trim.below)
        {
            open.promises.trimmed(&open.state);
        }
    }
}

impl Handler<BeginRepair> for LogActor {
    type Result = ();

    fn handle(&mut self, begin: BeginRepair, _: &mut Self::Context) {
        self.begin_repair(begin);
    }
}

impl Handler<Replace> for LogActor {
    type Result = ();

    fn handle(&mut self, replace: Replace, context: &mut Self::Context) {
        self.replace(replace, context);
    }
}

impl Handler<NoteCommitted> for LogActor {
    type Result = ();

    fn handle(&mut self, note: NoteCommitted, _: &mut Self::Context) {
        self.note_committed(&note);
    }
}

impl Handler<RetentionDue> for LogActor {
    type Result = ();

    fn handle(&mut self, due: RetentionDue, context: &mut Self::Context) {
        self.retention_due(due, context);
    }
}

impl Handler<Close> for LogActor {
    type Result = ();

    fn handle(&mut self, close: Close, context: &mut Self::Context) {
        self.close(close, context);
    }
}

impl Handler<Heartbeat> for LogActor {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Self::Context) {
        self.lifeline.beat();
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<super::supervision::Sabotage> for LogActor {
    type Result = ();

    fn handle(&mut self, sabotage: super::supervision::Sabotage, _: &mut Self::Context) {
        match (sabotage.of, &self.open) {
            (super::supervision::Part::Segment, Some(open)) => drop(open.segment.post(sabotage)),
            _ => sabotage.strike(),
        }
    }
}

impl LogActor {
    /// Opens the log when it is started, and answers `opening` then.
    fn new(setup: LogSetup, fences: Fences, opening: Reply<(), StartError>, lifeline: Lifeline) -> Self {
        let logger = setup.logger.new(o!("actor" => "log"));
        Self {
            setup: LogSetup { logger, ..setup },
            fences,
            opening: Some(opening),
            asked_early: Vec::new(),
            open: None,
            lifeline,
        }
    }

    /// Opens the log once it is known which cluster's it is. Until then the node has no log, and is started all the
    /// same: it looks for its cluster, and says so to probes.
    fn open_when_it_may(&mut self, context: &mut Context<Self>) {
        let mut cluster_id = self.setup.cluster_id.clone();
        let known = *cluster_id.borrow_and_update();
        if let Some(known) = known {
            let opening = self.opening.take();
            self.open(known, opening, context);
            return;
        }
        if let Some(opening) = self.opening.take() {
            opening.send(Ok(()));
        }
        let found = async move { cluster_id.wait_for(Option::is_some).await.ok().and_then(|id| *id) };
        context.spawn(found.into_actor(self).map(|found, actor, context| {
            if let Some(found) = found {
                actor.open(found, None, context);
            }
        }));
    }

    /// Blocking: this thread is there for it.
    fn open(
        &mut self,
        cluster_id: ClusterId,
        opening: Option<Reply<(), StartError>>,
        context: &mut Context<Self>,
    ) {
        // Before anything is read: what an earlier instance still writes would be missing in what is found.
        let fence = self.fences.next();
        let file_system = self.setup.file_system.clone();
        let options = LogOptions {
            cluster_id,
            ..self.setup.options.clone()
        };
        let directory = options.directory.clone();
        let opened = LogState::open(file_system.clone(), options, &self.setup.view).and_then(|mut opened| {
            opened.state.prepare_ahead(self.setup.free_bytes_min)?;
            let promises = Promises::open(&file_system, &directory, &mut opened.state)?;
            // The log is on the disk, and nobody was promised anything yet.
            promises::note_begun(&self.setup)?;
            Ok((opened, promises))
        });
        match opened {
            Err(error) => {
                self.lifeline.fail(error.disposition(), causes(&error));
                if let Some(opening) = opening {
                    opening.send(Err(StartError::new(error.disposition(), error)));
                }
                context.stop();
            }
            Ok((opened, promises)) => {
                let Opened {
                    state,
                    writer,
                    mut report,
                } = opened;
                // By now it is known what is committed, and so whether a trim has let them go.
                report.missing = state.missing_segments();
                self.report(&report);
                let open = Open {
                    state,
                    segment: ActorRef::new(),
                    fence,
                    damage: report.damage,
                    rolling: false,
                    waiting: VecDeque::new(),
                    unchecked_bytes: 0,
                    promises,
                };
                if let Some(writer) = writer {
                    self.start_segment(&open, writer);
                }
                self.setup.board.set_tail(open.state.checkpoint().next_offset());
                self.setup.board.set(match &open.damage {
                    None => Condition::Writable,
                    Some(damage) => Condition::Damaged {
                        cause: damage.to_string(),
                    },
                });
                self.open = Some(open);
                self.look_at_free_space();
                if let Some(opening) = opening {
                    opening.send(Ok(()));
                }
                for describe in std::mem::take(&mut self.asked_early) {
                    self.describe(describe);
                }
            }
        }
    }

    fn start_segment(&self, open: &Open, writer: SegmentWriter) {
        let lifeline = self.lifeline.branch(super::supervision::Part::Segment);
        let actor = SegmentActor::new(writer, open.fence.clone(), self.setup.board.clone(), lifeline);
        // The segment's actor gets no more than this one was given, and that is bounded in bytes at the gateway.
        open.segment.set(SegmentActor::create(|context| {
            context.set_mailbox_capacity(MAILBOX_MESSAGES_MAX);
            actor
        }));
    }

    /// Whether the log has been opened by another instance since.
    fn is_fenced_off(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.fence.is_closed())
    }

    /// Answered when all that is told of is synced: a committer takes it for committed.
    fn describe(&mut self, describe: Describe) {
        let Some(open) = &mut self.open else {
            self.asked_early.push(describe);
            return;
        };
        if open.rolling {
            open.waiting.push_back(Waiting::Describe(describe));
            return;
        }
        let (standing, reply) = (open.standing(), describe.reply);
        if standing.damage.is_some() {
            reply.send(Ok(standing));
        } else {
            // A segment that is gone has died, and its lifeline restarts the log; the reply says so by being dropped.
            drop(open.segment.post(Settle { standing, reply }));
        }
    }

    fn append(&mut self, append: Append, context: &mut Context<Self>) {
        let Some(open) = &mut self.open else { return };
        if let Some(damage) = &open.damage {
            append.on_persisted.call(Err(AppendFailed::Refused {
                cause: damage.to_string(),
            }));
            return;
        }
        if open.rolling {
            open.waiting.push_back(Waiting::Append(append));
        } else if open.roll_is_due(&append) {
            open.waiting.push_back(Waiting::Append(append));
            self.roll(context);
        } else {
            open.write(append);
            self.setup.board.set_tail(open.state.checkpoint().next_offset());
            if open.unchecked_bytes >= FREE_SPACE_EVERY_BYTES {
                self.look_at_free_space();
            }
        }
    }

    /// Seals the active segment; what is appended meanwhile waits.
    ///
    /// When the segment's actor dies of it, its lifeline has told the Agent; this one ends too, so that whoever waits
    /// is answered now and not when the Agent comes to the log, which may be after a drain of the gateway.
    fn roll(&mut self, context: &mut Context<Self>) {
        let Some(open) = &mut self.open else { return };
        let (reply, sealed) = Reply::channel();
        drop(open.segment.post(Seal { reply }));
        open.rolling = true;
        let then = sealed
            .into_actor(self)
            .map(|sealed, actor, context| match sealed {
                Ok(()) => actor.rolled(context),
                Err(Unanswered) => context.stop(),
            });
        context.spawn(then);
    }

    /// A segment that nobody appends to gets old too, and retention can take it only when it is sealed.
    fn roll_if_old(&mut self, context: &mut Context<Self>) {
        let old = |open: &Open| open.damage.is_none() && !open.rolling && open.state.roll_by_age_is_due();
        if self.open.as_ref().is_some_and(old) {
            self.roll(context);
        }
    }

    fn rolled(&mut self, context: &mut Context<Self>) {
        if self.is_fenced_off() {
            context.stop();
            return;
        }
        let Some(mut open) = self.open.take() else { return };
        match open.state.start_segment() {
            Err(error) => {
                self.open = Some(open);
                self.fail(&error, error.disposition(), context);
            }
            Ok(writer) => {
                self.start_segment(&open, writer);
                open.rolling = false;
                self.open = Some(open);
                self.resume(context);
            }
        }
    }

    /// The active segment is there again: does what has waited, in order.
    fn resume(&mut self, context: &mut Context<Self>) {
        let waiting = self.open.as_mut().map(|open| std::mem::take(&mut open.waiting));
        for waiting in waiting.unwrap_or_default() {
            match waiting {
                Waiting::Append(append) => self.append(append, context),
                Waiting::Describe(describe) => self.describe(describe),
                Waiting::Truncate(truncate) => self.truncate(truncate, context),
                Waiting::SaveVote(save) => self.save_vote(save, context),
                Waiting::Install(install) => self.install(install, context),
                Waiting::Close(close) => self.close(close, context),
            }
        }
    }

    /// Syncs what is in the log, and ends. A roll is finished first, since appends wait for it.
    fn close(&mut self, close: Close, context: &mut Context<Self>) {
        let Some(open) = &mut self.open else {
            close.reply.send(Ok(()));
            context.stop();
            return;
        };
        if open.rolling {
            open.waiting.push_back(Waiting::Close(close));
            return;
        }
        let (reply, finished) = Reply::channel();
        drop(open.segment.post(Finish { reply }));
        // A segment that does not answer is dead; there is nothing left to sync.
        let then =
            finished
                .into_actor(self)
                .map(|_: Result<(), Unanswered>, _, context: &mut Context<Self>| {
                    close.reply.send(Ok(()));
                    context.stop();
                });
        context.spawn(then);
    }

    fn fail(&mut self, error: &dyn std::error::Error, disposition: Disposition, context: &mut Context<Self>) {
        let cause = causes(error);
        if disposition == Disposition::Failsafe {
            self.setup.board.fail(&cause);
        }
        self.lifeline.fail(disposition, cause);
        context.stop();
    }
}
