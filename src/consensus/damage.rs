//! Which sealed segments whoever read them found damaged, until each was repaired or has been tried.
//!
//! Readers of all kinds report here, whoever repairs takes from here, and between the two a segment is named once: of a thousand reads
//! that fail, the first one wakes the repair.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::{storage::ReadError, types::LogIndex};

/// See the module. Cheap to clone; outlives restarts of whoever repairs. At most one item a segment.
#[derive(Clone, Debug, Default)]
pub struct DamageBoard {
    segments: Arc<watch::Sender<BTreeMap<LogIndex, Stage>>>,
}

/// How far the repair of a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Found, with what is wrong.
    Found(String),
    /// Somebody sees to it, or rests before it is tried again.
    Taken,
    /// There is nobody to repair it from.
    Hopeless,
}

impl DamageBoard {
    /// A read has failed: has the segment repaired when that was for damage in one, and that is not under way. Answers the segment's
    /// first entry.
    pub fn report(&self, error: &ReadError) -> Option<LogIndex> {
        let ReadError::Corrupt { what, .. } = error else {
            return None;
        };
        let first = error.damaged_segment()?;
        self.found(first, what);
        Some(first)
    }

    /// The segment that begins with this entry is damaged.
    pub fn found(&self, first: LogIndex, what: &str) {
        self.segments.send_if_modified(|segments| {
            let is_new = !segments.contains_key(&first);
            if is_new {
                segments.insert(first, Stage::Found(what.to_owned()));
            }
            is_new
        });
    }

    /// Waits until damage was found that nobody sees to, and takes all of it: segments, by their first entries, and what is wrong.
    ///
    /// Cancel: safe.
    pub async fn take(&self) -> Vec<(LogIndex, String)> {
        let is_found = |stage: &Stage| matches!(stage, Stage::Found(_));
        let mut segments = self.segments.subscribe();
        // An error would mean that the sender is gone, which is here.
        drop(
            segments
                .wait_for(|segments| segments.values().any(is_found))
                .await,
        );
        self.take_now()
    }

    /// The same without waiting: nothing, when nothing was found.
    #[must_use]
    pub fn take_now(&self) -> Vec<(LogIndex, String)> {
        let mut taken = Vec::new();
        self.segments.send_if_modified(|segments| {
            for (first, stage) in segments.iter_mut() {
                if let Stage::Found(what) = stage {
                    taken.push((*first, std::mem::take(what)));
                    *stage = Stage::Taken;
                }
            }
            false
        });
        taken
    }

    /// Nobody is there to repair the segment from: nobody need wait for it.
    pub fn give_up(&self, first: LogIndex) {
        self.segments.send_modify(|segments| {
            segments.insert(first, Stage::Hopeless);
        });
    }

    /// The segment is repaired, or may be tried again: what is found in it from now on is new.
    pub fn settle(&self, first: LogIndex) {
        self.segments
            .send_if_modified(|segments| segments.remove(&first).is_some());
    }

    /// All of them: whoever saw to them is gone.
    pub fn settle_all(&self) {
        self.segments.send_modify(BTreeMap::clear);
    }

    /// Waits until it is worth reading the segment again; false when it is not, since nobody is there to repair it from.
    ///
    /// Cancel: safe.
    pub async fn settled(&self, first: LogIndex) -> bool {
        let mut segments = self.segments.subscribe();
        let is_decided =
            |segments: &BTreeMap<_, _>| matches!(segments.get(&first), None | Some(Stage::Hopeless));
        let decided = segments.wait_for(is_decided).await;
        decided.is_ok_and(|segments| !segments.contains_key(&first))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use futures::FutureExt;

    use super::*;
    use crate::types::Position;

    fn damage_in(file: &str) -> ReadError {
        ReadError::Corrupt {
            path: PathBuf::from("/data/logs/default").join(file),
            position: Position(4096),
            what: "payload checksum does not match".to_owned(),
        }
    }

    #[test]
    fn of_many_reads_that_meet_the_same_damage_the_first_one_wakes_the_repair() {
        let board = DamageBoard::default();
        let error = damage_in("00000000000000000042.store");
        assert_eq!(board.take().now_or_never(), None);
        for _ in 0..3 {
            assert_eq!(board.report(&error), Some(LogIndex(42)));
        }
        let what = "payload checksum does not match".to_owned();
        assert_eq!(board.take().now_or_never(), Some(vec![(LogIndex(42), what)]));
        board.report(&error);
        assert_eq!(board.take().now_or_never(), None, "it is seen to");
        assert_eq!(board.settled(LogIndex(42)).now_or_never(), None);
        board.settle(LogIndex(42));
        assert_eq!(board.settled(LogIndex(42)).now_or_never(), Some(true));
        board.report(&error);
        assert_eq!(
            board.take().now_or_never().map(|taken| taken.len()),
            Some(1),
            "it was tried"
        );
    }

    #[test]
    fn nobody_waits_for_a_segment_that_nobody_can_repair() {
        let board = DamageBoard::default();
        board.report(&damage_in("00000000000000000007.store"));
        assert_eq!(board.settled(LogIndex(7)).now_or_never(), None);
        board.give_up(LogIndex(7));
        assert_eq!(board.settled(LogIndex(7)).now_or_never(), Some(false));
        assert_eq!(board.take().now_or_never(), None);
        board.settle_all();
        assert_eq!(board.settled(LogIndex(7)).now_or_never(), Some(true));
    }

    #[test]
    fn what_is_no_damage_in_a_segment_wakes_nobody() {
        let board = DamageBoard::default();
        let gone = ReadError::Replaced {
            path: PathBuf::from("/data/logs/default/00000000000000000042.store"),
        };
        assert_eq!(board.report(&gone), None);
        assert_eq!(board.report(&damage_in("vote")), None);
        assert_eq!(board.take().now_or_never(), None);
    }
}
