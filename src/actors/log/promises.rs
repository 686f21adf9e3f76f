//! What lies beside the segments: whom this node has promised to follow, and how far the log is known to be committed.

use std::{path::Path, sync::Arc};

use actix::prelude::*;
use slog::warn;

use super::{Condition, LogActor, LogFailed, LogSetup, NoteCommitted, SaveVote, open::Waiting};
use crate::{
    actors::{
        segment::Settle,
        supervision::{Reply, Unanswered},
    },
    storage::{
        Checkpoint, CommitNoteFile, Committed, LogState, OpenError, VoteFile, WriteError,
        data_dir::note_begun as note, fs::FileSystem,
    },
    types::{LogIndex, Term},
};

/// The files, while the log is open.
pub(super) struct Promises {
    pub(super) votes: VoteFile,
    note: CommitNoteFile,
    /// As found when the log was opened.
    pub(super) committed: Committed,
    pub(super) floor: Checkpoint,
}

impl Promises {
    /// Opens them beside the log that was found.
    ///
    /// Blocking. Errors: the promises are unreadable, or cannot be those of this log.
    pub(super) fn open(
        file_system: &Arc<dyn FileSystem>,
        directory: &Path,
        state: &mut LogState,
    ) -> Result<Self, OpenError> {
        let (votes, _) = VoteFile::open(file_system.clone(), directory)?;
        votes.check_covers(state.checkpoint().last_term())?;
        let (note, noted) = CommitNoteFile::open(file_system.clone(), directory);
        let before_first = state.before_first().unwrap_or_default();
        let term_of_noted = noted.as_ref().and_then(|noted| term_of(state, noted.log_index));
        let committed = Committed::at_start(noted, &before_first, state.checkpoint(), term_of_noted);
        // Where that cannot be told the log begins with the first record there is, and reads say what is damaged.
        let _begins_at = state.trim_to_committed(committed.log_index);
        let floor = floor(state, &committed);
        Ok(Self {
            votes,
            note,
            committed,
            floor,
        })
    }

    /// The log begins later. What is gone from it was committed, whatever the note says: consensus may start anew before the
    /// next note.
    pub(super) fn trimmed(&mut self, state: &LogState) {
        self.floor = floor(state, &self.committed);
        let (noted, term) = (self.committed.clone(), self.committed.term);
        self.committed = Committed::at_start(Some(noted), &self.floor, state.checkpoint(), Some(term));
    }

    /// The log was exchanged for another one, all of which is committed.
    pub(super) fn look_again(&mut self, state: &LogState) {
        self.committed = Committed::at_start(None, state.checkpoint(), state.checkpoint(), None);
        self.floor = floor(state, &self.committed);
        // One that cannot be written leaves a restart with less to start from, and is written anew within a second.
        drop(self.note.note(&self.committed));
    }
}

/// Notes beside the node's identity that its log, which is on the disk by now, has begun.
///
/// Blocking. Errors: the disk refused.
pub(super) fn note_begun(setup: &LogSetup) -> Result<(), OpenError> {
    let Some(data_dir) = &setup.data_dir else {
        return Ok(());
    };
    note(&*setup.file_system, data_dir).map_err(|source| {
        OpenError::Write(WriteError::Io {
            path: data_dir.clone(),
            operation: "note that the log has begun in",
            source,
        })
    })
}

/// What the entries before the first one amount to with which consensus has to do. It goes on behind segments that are missing, as
/// long as it is known that these held nothing but what is committed: then it is for readers alone that they are repaired.
fn floor(state: &LogState, committed: &Committed) -> Checkpoint {
    state
        .behind_missing()
        .filter(|behind| behind.last_log_index() <= committed.log_index)
        .or_else(|| state.before_first())
        .unwrap_or_default()
}

/// The term of an entry of the log; `None` where that cannot be told.
fn term_of(state: &LogState, log_index: LogIndex) -> Option<Term> {
    let found = state.view().load().log_id_of(log_index).ok().flatten();
    let behind = || {
        let behind = state.behind_missing()?;
        (behind.last_log_index() == log_index).then(|| behind.last_term())
    };
    found.map(|(_, term)| term).or_else(behind)
}

impl LogActor {
    /// The vote follows what was appended before it onto the disk, so that the order on the disk is that of the calls.
    pub(super) fn save_vote(&mut self, save: SaveVote, context: &mut Context<Self>) {
        let Some(open) = &mut self.open else { return };
        if open.rolling {
            open.waiting.push_back(Waiting::SaveVote(save));
            return;
        }
        if let Some(damage) = &open.damage {
            let cause = damage.to_string();
            save.reply.send(Err(LogFailed::ReadOnly { cause }));
            return;
        }
        let (reply, settled) = Reply::<_, Unanswered>::channel();
        let standing = open.standing();
        drop(open.segment.post(Settle { standing, reply }));
        // What comes meanwhile waits: an append of the vote's term must not reach the disk before the vote.
        open.rolling = true;
        let then = settled
            .into_actor(self)
            .map(|settled, actor, context| match settled {
                Ok(_) => actor.write_vote(save, context),
                Err(Unanswered) => context.stop(),
            });
        context.spawn(then);
    }

    fn write_vote(&mut self, save: SaveVote, context: &mut Context<Self>) {
        if self.is_fenced_off() {
            context.stop();
            return;
        }
        let Some(open) = &mut self.open else { return };
        match open.promises.votes.save(&save.vote) {
            Ok(()) => {
                open.rolling = false;
                save.reply.send(Ok(()));
                self.resume(context);
            }
            Err(error) => {
                self.fail(&error, error.disposition(), context);
                save.reply.send(Err(LogFailed::Write(error)));
            }
        }
    }

    /// Blocking, but for no sync: a page that goes to the disk when the system likes.
    pub(super) fn note_committed(&mut self, note: &NoteCommitted) {
        let Some(open) = &mut self.open else { return };
        let failsafe = matches!(self.setup.board.condition(), Condition::Failsafe { .. });
        if failsafe || open.fence.is_closed() {
            return;
        }
        open.promises.committed = note.committed.clone();
        if let Err(error) = open.promises.note.note(&note.committed) {
            warn!(self.setup.logger, "cannot note what is committed; a restart has to ask for more";
                "cause" => %error);
        }
    }
}
