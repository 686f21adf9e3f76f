//! What LogActor holds while the log is open.

use std::collections::VecDeque;

use super::promises::Promises;
use super::{Append, AppendFailed, Close, Describe, Install, SaveVote, Standing, Truncate};
use crate::{
    actors::{
        segment::{Fence, SegmentActor, Write},
        supervision::{ActorRef, PostError},
    },
    storage::{Damage, LogState, entry::Entry, frame},
};

/// What came while the active segment was being replaced; it is done in this order.
pub(super) enum Waiting {
    Append(Append),
    Describe(Describe),
    Truncate(Truncate),
    SaveVote(SaveVote),
    Install(Install),
    Close(Close),
}

/// The log while it is open.
pub(super) struct Open {
    pub(super) state: LogState,
    pub(super) segment: ActorRef<SegmentActor>,
    pub(super) fence: Fence,
    pub(super) damage: Option<Damage>,
    /// The active segment is being sealed; what comes meanwhile.
    pub(super) rolling: bool,
    pub(super) waiting: VecDeque<Waiting>,
    /// Bytes placed since the free space was looked at.
    pub(super) unchecked_bytes: u64,
    pub(super) promises: Promises,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Whatever ends this actor: the segment's actor must not write once the log is opened anew.
        self.fence.close();
    }
}

impl Open {
    pub(super) fn standing(&self) -> Standing {
        let checkpoint = self.state.checkpoint();
        Standing {
            last_log_index: checkpoint.last_log_index(),
            last_term: checkpoint.last_term(),
            tail: checkpoint.next_offset(),
            damage: self.damage.clone(),
            missing: self.state.missing_segments(),
            floor: self.promises.floor.clone(),
            committed: self.promises.committed.clone(),
            membership: checkpoint.membership().cloned(),
            vote: self.promises.votes.vote(),
        }
    }

    pub(super) fn roll_is_due(&self, append: &Append) -> bool {
        let bytes = |entry: &Entry| frame::payload_len(&entry.payload);
        self.state.roll_is_due(append.entries.iter().map(bytes).sum())
    }

    /// Gives the entries their places and hands them to the active segment.
    pub(super) fn write(&mut self, append: Append) {
        let (mut entries, mut all_placed) = (Vec::with_capacity(append.entries.len()), Vec::new());
        for entry in append.entries {
            let bytes = frame::payload_len(&entry.payload) as u64;
            match self.state.place(entry) {
                Ok((entry, placed)) => {
                    self.unchecked_bytes += bytes;
                    entries.push(entry);
                    all_placed.push(placed);
                }
                // Consensus hands over consecutive entries of fair size; what does not fit is a bug there, and is
                // answered as one: those before it are in the log, it and those behind it are not.
                Err(error) => {
                    append.on_persisted.call(Err(AppendFailed::Refused {
                        cause: error.to_string(),
                    }));
                    panic!("an entry that cannot be placed: {error}");
                }
            }
        }
        let write = Write {
            entries,
            placed: all_placed,
            on_persisted: append.on_persisted,
        };
        match self.segment.post(write) {
            Ok(()) => {}
            // It died, and its lifeline restarts the log. Nothing of this is in a file.
            Err(PostError::Gone(write)) => write.on_persisted.call(Err(AppendFailed::Unavailable)),
            // These entries have places: without them nothing that follows may be written.
            Err(PostError::Full(write)) => {
                write.on_persisted.call(Err(AppendFailed::Overloaded));
                panic!("more waits for the segment than was given to the log");
            }
        }
    }
}
