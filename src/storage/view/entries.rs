//! Reads by log index: whole entries, whatever they carry.

use super::LogView;
use crate::{
    storage::{ReadEntriesError, ReadError, entry::Entry},
    types::{LogIndex, Position},
};

impl LogView {
    /// Entries of `[from, below)` in order, void ones included, up to about `bytes_max` of payload but at least one. Each
    /// is as it was appended, but for a timestamp below that of the entry before it, which was raised to that. Empty when
    /// the log ends before `from`, and when `from >= below`.
    ///
    /// What is synced is given, committed or not: this is for replication and tools.
    ///
    /// Blocking: reads files. Errors: `ReadEntriesError::Trimmed` when `from` lies before the first entry there is;
    /// `ReadError::Corrupt`.
    pub fn read_entries(
        &self,
        from: LogIndex,
        below: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, ReadEntriesError> {
        let first = self.segments.first().map(|segment| segment.first_log_index());
        let trimmed = |first| ReadEntriesError::Trimmed {
            log_index: from,
            first,
        };
        let Some(first) = first.filter(|_| from < below) else {
            return Ok(Vec::new());
        };
        if from < first {
            return Err(trimmed(first));
        }
        let behind = self
            .segments
            .partition_point(|segment| segment.first_log_index() <= from);
        let segment = &self.segments[behind - 1];
        let entries = match segment.entries(from, below, bytes_max) {
            Ok(entries) => entries,
            Err(error) if self.was_trimmed(segment, &error) => return Err(trimmed(self.kept.from())),
            Err(error) => return Err(error.into()),
        };
        // Where another segment follows, this one reaches up to it.
        if entries.is_empty() && behind < self.segments.len() {
            return Err(ReadEntriesError::Read(ReadError::Corrupt {
                path: segment.path().to_owned(),
                position: Position(segment.end()?),
                what: format!("the segment ends before entry {from}, which it should hold"),
            }));
        }
        Ok(entries)
    }
}
