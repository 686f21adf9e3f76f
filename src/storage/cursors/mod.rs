//! Named cursors: how far each consumer has come, kept in the log itself.
//!
//! A pure function of the log before a command, like the producer table: every node comes to the same, and a checkpoint
//! carries it. It knows no record, no file and no clock.
//!
//! A cursor is *taken* before it is used by who must not share it. The take is an entry of the log, and its number is the
//! taker's *epoch*: no two takes have the same, not even of a cursor that was deleted in between, and the newer one has the
//! higher. From then on only commits with that epoch count; all others are fenced. A cursor that nobody has ever taken is
//! committed without an epoch, by whoever likes; the last one wins. The holder may go back, so that records are read again.

mod command;
mod table_bytes;

use std::collections::BTreeMap;

pub use crate::types::{CURSOR_NAME_BYTES_MAX, CursorName, NoCursorName};
pub use command::CursorCommand;

use crate::types::{LogIndex, Offset, TimestampMs};

/// How many cursors a log has at most. None is ever forgotten by itself: a new one is refused until another is deleted.
///
/// Part of the format: nodes that disagree about it would disagree about what there is. A thousand is far above the number of
/// programs that read one log, and costs each segment's header 160 KB at most.
pub const CURSORS_MAX: usize = 1024;

/// How far a consumer has come, and who that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The entry that took it last; 0: nobody ever has.
    pub epoch: LogIndex,
    /// The next offset to read; `None`: it was taken and never committed.
    pub offset: Option<Offset>,
    /// When it was last taken or committed, by the log's time.
    pub changed: TimestampMs,
}

/// Where in the log a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandPlace {
    /// Its entry.
    pub log_index: LogIndex,
    /// That entry's time, raised to that of the entry before it.
    pub timestamp: TimestampMs,
    /// The offset that the next record gets.
    pub next_offset: Offset,
}

/// Why a command changes nothing. A function of the log before it, hence the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorRefusal {
    /// Another holder has taken it, or somebody holds it and the command says no epoch.
    Fenced {
        /// The epoch that counts; 0: it was deleted meanwhile, and made anew by somebody who did not take it.
        current_epoch: LogIndex,
    },
    /// There is no such cursor, or no longer.
    Unknown,
    /// The offset lies behind the log's end.
    Ahead {
        /// The highest offset that could be committed.
        next_offset: Offset,
    },
    /// There are [`CURSORS_MAX`] others.
    Full,
}

/// What became of a command: the cursor as it is now; of a deleted one as it was.
pub type CursorVerdict = Result<Cursor, CursorRefusal>;

/// All cursors of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    table: BTreeMap<CursorName, Cursor>,
}

impl Cursors {
    /// The cursor of that name.
    #[must_use]
    pub fn get(&self, name: &CursorName) -> Option<Cursor> {
        self.table.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&CursorName, &Cursor)> {
        self.table.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Carries out the command that stands there in the log. One that is refused changes nothing.
    pub fn apply(&mut self, at: CommandPlace, command: &CursorCommand) -> CursorVerdict {
        match command {
            CursorCommand::Take { name } => self.take(at, name),
            CursorCommand::Commit { name, epoch, offset } => self.commit(at, name, *epoch, *offset),
            CursorCommand::Delete { name } => self.table.remove(name).ok_or(CursorRefusal::Unknown),
        }
    }

    fn take(&mut self, at: CommandPlace, name: &CursorName) -> CursorVerdict {
        let offset = self.get(name).and_then(|cursor| cursor.offset);
        self.put(name, at, at.log_index, offset)
    }

    fn commit(
        &mut self,
        at: CommandPlace,
        name: &CursorName,
        epoch: LogIndex,
        offset: Offset,
    ) -> CursorVerdict {
        match self.table.get(name) {
            None if epoch != LogIndex::ZERO => return Err(CursorRefusal::Unknown),
            Some(known) if known.epoch != epoch => {
                return Err(CursorRefusal::Fenced {
                    current_epoch: known.epoch,
                });
            }
            None | Some(_) => {}
        }
        if offset > at.next_offset {
            return Err(CursorRefusal::Ahead {
                next_offset: at.next_offset,
            });
        }
        self.put(name, at, epoch, Some(offset))
    }

    fn put(
        &mut self,
        name: &CursorName,
        at: CommandPlace,
        epoch: LogIndex,
        offset: Option<Offset>,
    ) -> CursorVerdict {
        let cursor = Cursor {
            epoch,
            offset,
            changed: at.timestamp,
        };
        let is_full = self.table.len() >= CURSORS_MAX;
        match self.table.get_mut(name) {
            Some(known) => *known = cursor,
            None if is_full => return Err(CursorRefusal::Full),
            None => drop(self.table.insert(name.clone(), cursor)),
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CursorName {
        text.parse().unwrap()
    }

    fn take(text: &str) -> CursorCommand {
        CursorCommand::Take { name: name(text) }
    }

    fn commit(text: &str, epoch: u64, offset: u64) -> CursorCommand {
        CursorCommand::Commit {
            name: name(text),
            epoch: LogIndex(epoch),
            offset: Offset(offset),
        }
    }

    fn delete(text: &str) -> CursorCommand {
        CursorCommand::Delete { name: name(text) }
    }

    /// The entry of that number, behind 100 records.
    fn at(log_index: u64) -> CommandPlace {
        CommandPlace {
            log_index: LogIndex(log_index),
            timestamp: TimestampMs(1000 + log_index),
            next_offset: Offset(100),
        }
    }

    fn cursor(epoch: u64, offset: impl Into<Option<u64>>, log_index: u64) -> CursorVerdict {
        Ok(Cursor {
            epoch: LogIndex(epoch),
            offset: offset.into().map(Offset),
            changed: at(log_index).timestamp,
        })
    }

    fn fenced(current_epoch: u64) -> CursorVerdict {
        Err(CursorRefusal::Fenced {
            current_epoch: LogIndex(current_epoch),
        })
    }

    /// What becomes of commands that stand in the log from entry 1 on.
    fn verdicts(commands: &[CursorCommand]) -> Vec<CursorVerdict> {
        let mut cursors = Cursors::default();
        let mut log_index = 0;
        let apply = |command| {
            log_index += 1;
            let before = cursors.clone();
            let verdict = cursors.apply(at(log_index), command);
            assert!(verdict.is_ok() || cursors == before, "a refusal changes nothing");
            verdict
        };
        commands.iter().map(apply).collect()
    }

    #[test]
    fn who_takes_a_cursor_goes_on_where_it_was_left_and_fences_whoever_had_it() {
        let done = verdicts(&[
            take("a"),
            commit("a", 1, 7),
            take("a"),
            commit("a", 1, 8),
            commit("a", 3, 9),
            commit("a", 4, 9),
        ]);
        let expected = [
            cursor(1, None, 1),
            cursor(1, 7, 2),
            cursor(3, 7, 3),
            fenced(3),
            cursor(3, 9, 5),
            fenced(3),
        ];
        assert_eq!(done, expected);
    }

    #[test]
    fn a_cursor_that_nobody_took_is_committed_by_whoever_likes_and_one_that_is_held_is_not() {
        let done = verdicts(&[commit("a", 0, 7), commit("a", 0, 3), take("a"), commit("a", 0, 4)]);
        assert_eq!(
            done,
            [cursor(0, 7, 1), cursor(0, 3, 2), cursor(3, 3, 3), fenced(3)]
        );
    }

    #[test]
    fn the_holder_may_go_back_and_say_the_same_twice() {
        let done = verdicts(&[take("a"), commit("a", 1, 9), commit("a", 1, 9), commit("a", 1, 2)]);
        assert_eq!(done[1..], [cursor(1, 9, 2), cursor(1, 9, 3), cursor(1, 2, 4)]);
    }

    #[test]
    fn nothing_behind_the_end_of_the_log_is_committed() {
        let ahead = Err(CursorRefusal::Ahead {
            next_offset: Offset(100),
        });
        let done = verdicts(&[commit("a", 0, 101), commit("a", 0, 100), commit("a", 0, 101)]);
        assert_eq!(done, [ahead, cursor(0, 100, 2), ahead]);
    }

    /// With epochs counted from 1 for each cursor, the holder of a cursor that was deleted could commit to the next one of that name.
    #[test]
    fn who_held_a_cursor_that_was_deleted_is_fenced_for_ever() {
        let done = verdicts(&[
            take("a"),
            commit("a", 1, 5),
            delete("a"),
            commit("a", 1, 6),
            delete("a"),
            commit("a", 0, 1),
            commit("a", 1, 6),
            take("a"),
            commit("a", 1, 6),
        ]);
        let unknown = Err(CursorRefusal::Unknown);
        assert_eq!(done[2..5], [cursor(1, 5, 2), unknown, unknown]);
        assert_eq!(
            done[5..],
            [cursor(0, 1, 6), fenced(0), cursor(8, 1, 8), fenced(8)]
        );
    }

    #[test]
    fn one_too_many_is_refused_until_another_is_deleted() {
        let mut cursors = Cursors::default();
        for number in 0..CURSORS_MAX {
            assert!(cursors.apply(at(1), &take(&number.to_string())).is_ok());
        }
        let refused = Err(CursorRefusal::Full);
        assert_eq!(cursors.apply(at(2), &take("another")), refused);
        assert_eq!(cursors.apply(at(2), &commit("another", 0, 1)), refused);
        assert_eq!(cursors.apply(at(3), &take("7")), cursor(3, None, 3));
        assert!(cursors.apply(at(4), &delete("8")).is_ok());
        assert_eq!(cursors.apply(at(5), &take("another")), cursor(5, None, 5));
        assert_eq!(cursors.iter().count(), CURSORS_MAX);
    }
}
