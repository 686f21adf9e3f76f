//! A log of five segments, which tests damage in ways of their own.

use std::path::PathBuf;

use annals::{
    storage::{Last, Log, Rebuilt, RepairError, entry::Payload},
    types::{LogIndex, Offset},
};

use crate::{
    history::{History, directory, open, options},
    support::sim_fs::{SimFileSystem, Snapshot},
};

/// Five segments of three entries, 1 to 15, all synced and marked.
pub(crate) struct FiveSegments {
    pub(crate) fs: SimFileSystem,
    pub(crate) snapshot: Snapshot,
    pub(crate) history: History,
}

/// The store of the segment that begins with this entry.
pub(crate) fn store(first: u64) -> PathBuf {
    directory().join(format!("{first:020}.store"))
}

impl FiveSegments {
    /// With what `payload` says in each entry, by its number.
    pub(crate) fn of(payload: impl Fn(u64) -> Payload) -> Self {
        let fs = SimFileSystem::new(1);
        let (mut log, _) = open(&fs, options()).unwrap();
        let mut history = History::new();
        for number in 1..=15 {
            if number % 3 == 1 {
                log.roll().unwrap();
            }
            history.append_to(&mut log, 1 + number / 6, 1000 + number, payload(number));
            log.sync().unwrap();
        }
        log.mark().unwrap();
        drop(log);
        let snapshot = fs.snapshot();
        Self {
            fs,
            snapshot,
            history,
        }
    }

    pub(crate) fn open(&self) -> Log {
        open(&self.fs, options()).unwrap().0
    }

    /// Of the first record in an entry, or behind it.
    pub(crate) fn offset_of(&self, number: u64) -> Offset {
        self.history.checkpoint(number - 1).next_offset()
    }

    /// What another node has of the gap that begins with this entry.
    pub(crate) fn rebuilt(&self, log: &Log, first: u64) -> Result<Rebuilt, RepairError> {
        let gap = log.state().gap(LogIndex(first))?;
        let (Last::Exactly(last) | Last::AtLeast(last)) = gap.last();
        let mut rebuild = log.state().rebuild(gap)?;
        while rebuild.next() <= last {
            rebuild.append(self.history.entry(rebuild.next().get()))?;
        }
        rebuild.finish()
    }
}
