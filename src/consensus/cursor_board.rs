//! What is committed of cursors, for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    storage::cursors::{CommandPlace, CursorCommand, CursorVerdict, Cursors},
    types::LogIndex,
};

/// The cursors that the entries applied on this node amount to. Cheap to clone; clones share it. It outlives restarts of
/// consensus, and never goes back with them: what was read once stays read.
#[derive(Clone, Debug, Default)]
pub struct CursorBoard(Arc<Mutex<Option<Board>>>);

#[derive(Debug)]
struct Board {
    /// All entries up to here have done to the cursors what they do.
    as_of: LogIndex,
    cursors: Cursors,
}

impl CursorBoard {
    /// A panic cannot leave it half changed, so poison says nothing.
    fn lock(&self) -> MutexGuard<'_, Option<Board>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log up to the entry `as_of`, all of it committed, amounts to `cursors`. Nothing is changed where more is known already.
    pub(super) fn begin(&self, as_of: LogIndex, cursors: Cursors) {
        let mut board = self.lock();
        if board.as_ref().is_none_or(|known| as_of > known.as_of) {
            *board = Some(Board { as_of, cursors });
        }
    }

    /// A command is committed; all before it have been told. `None` where it was told before, as after a restart of consensus.
    pub(super) fn apply(&self, at: CommandPlace, command: &CursorCommand) -> Option<CursorVerdict> {
        let mut board = self.lock();
        let board = board.as_mut().filter(|board| at.log_index > board.as_of)?;
        board.as_of = at.log_index;
        Some(board.cursors.apply(at, command))
    }

    /// What `look` sees in the cursors; `None` before this node knows of any, as while it starts.
    ///
    /// Nothing is committed while it looks.
    pub fn look<T>(&self, look: impl FnOnce(&Cursors) -> T) -> Option<T> {
        self.lock().as_ref().map(|board| look(&board.cursors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        storage::cursors::CursorName,
        types::{Offset, TimestampMs},
    };

    fn at(log_index: u64) -> CommandPlace {
        CommandPlace {
            log_index: LogIndex(log_index),
            timestamp: TimestampMs(log_index),
            next_offset: Offset(9),
        }
    }

    #[test]
    fn what_is_told_again_after_a_restart_changes_nothing() {
        let board = CursorBoard::default();
        assert_eq!(board.look(Cursors::clone), None, "nothing is known yet");
        board.begin(LogIndex::ZERO, Cursors::default());
        let name: CursorName = "a".parse().unwrap();
        let take = CursorCommand::Take { name: name.clone() };
        let epoch = || board.look(|cursors| cursors.get(&name).map(|cursor| cursor.epoch.get()));
        assert!(matches!(board.apply(at(3), &take), Some(Ok(_))));
        assert!(matches!(board.apply(at(5), &take), Some(Ok(_))));
        board.begin(LogIndex(2), Cursors::default());
        assert_eq!(board.apply(at(3), &take), None);
        assert_eq!(board.apply(at(5), &take), None);
        assert_eq!(epoch(), Some(Some(5)));
        board.begin(LogIndex(8), Cursors::default());
        assert_eq!(epoch(), Some(None), "an installed log goes further");
    }
}
