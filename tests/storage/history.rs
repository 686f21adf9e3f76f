//! What a log was given: the plain model that the log on disk is compared with.

use std::{path::Path, sync::Arc};

use annals::{
    storage::{
        Checkpoint, Log, LogOptions, LogView, OpenError, OpenReport, ReadEntriesError, ReadError,
        StoredBatch,
        entry::{Batch, Entry, Outcome, Payload, ProducerStamp},
        frame::PlacedEntry,
    },
    types::{ClusterId, LogIndex, Offset, Term, TimestampMs},
};
use bytes::Bytes;

use crate::support::sim_fs::SimFileSystem;

/// Where the simulated disk has the log.
pub(crate) fn directory() -> &'static Path {
    Path::new("/data/logs/default")
}

/// A log that rolls only when told to.
pub(crate) fn options() -> LogOptions {
    LogOptions {
        directory: directory().to_owned(),
        cluster_id: ClusterId(9),
        segment_bytes: 1 << 20,
        segment_age_ms: u64::MAX,
        tail_cache_bytes: 0,
        open_files_max: 2,
        prezero_bytes_per_second: 0,
    }
}

/// Opens the log on the simulated disk.
pub(crate) fn open(fs: &SimFileSystem, options: LogOptions) -> Result<(Log, OpenReport), OpenError> {
    Log::open(Arc::new(fs.clone()), options)
}

/// A batch of `record_count` records whose bytes are `records`.
pub(crate) fn batch(records: impl Into<Bytes>, record_count: u32) -> Batch {
    Batch {
        producer: None,
        expected_offset: None,
        record_count,
        records: records.into(),
    }
}

/// A batch with a stamp.
pub(crate) fn stamped(batch: Batch, id: u64, epoch: u32, sequence: u64) -> Batch {
    Batch {
        producer: Some(ProducerStamp { id, epoch, sequence }),
        ..batch
    }
}

/// A batch with a condition.
pub(crate) fn at(batch: Batch, expected: u64) -> Batch {
    Batch {
        expected_offset: Some(Offset(expected)),
        ..batch
    }
}

/// Entries in order, each with its place.
#[derive(Clone, Debug)]
pub(crate) struct History {
    entries: Vec<PlacedEntry>,
    /// Number i: what the first i entries amount to.
    checkpoints: Vec<Checkpoint>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            checkpoints: vec![Checkpoint::new()],
        }
    }

    /// Number of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// An entry, as another node would send it.
    pub(crate) fn entry(&self, number: u64) -> Entry {
        self.entries[usize::try_from(number).unwrap() - 1].entry.clone()
    }

    /// What the first `entries` entries amount to.
    pub(crate) fn checkpoint(&self, entries: u64) -> &Checkpoint {
        &self.checkpoints[usize::try_from(entries).unwrap()]
    }

    /// The offset behind all records.
    pub(crate) fn tail(&self) -> Offset {
        self.checkpoint(self.last()).next_offset()
    }

    /// The next entry, with this payload.
    pub(crate) fn next_entry(&self, term: u64, timestamp: u64, payload: Payload) -> Entry {
        Entry {
            log_index: LogIndex(self.last() + 1),
            term: Term(term),
            timestamp: TimestampMs(timestamp),
            payload,
        }
    }

    /// Takes the entry in; says where it goes.
    pub(crate) fn append(&mut self, entry: Entry) -> Outcome {
        let mut checkpoint = self.checkpoint(self.last()).clone();
        let (placed, outcome) = checkpoint.place(entry).unwrap();
        self.entries.push(placed);
        self.checkpoints.push(checkpoint);
        outcome
    }

    /// Keeps the first `entries` entries only.
    pub(crate) fn keep(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap();
        self.entries.truncate(entries);
        self.checkpoints.truncate(entries + 1);
    }

    /// The batches with records of `[from, below)`.
    pub(crate) fn batches(&self, from: Offset, below: Offset) -> Vec<StoredBatch> {
        let all = self.entries.iter().filter_map(|placed| {
            let Payload::Records(batch) = &placed.entry.payload else {
                return None;
            };
            let end = placed.base_offset.plus(u64::from(placed.record_count));
            let inside = from < below && end > from && placed.base_offset < below;
            (placed.record_count > 0 && inside).then(|| StoredBatch {
                base_offset: placed.base_offset,
                record_count: placed.record_count,
                timestamp: placed.entry.timestamp,
                term: placed.entry.term,
                log_index: placed.entry.log_index,
                records: batch.records.clone(),
            })
        });
        all.collect()
    }

    /// First offset at or behind `earliest` and below `below` of a batch that is not older than `at`.
    pub(crate) fn offset_at(&self, at: u64, earliest: Offset, below: Offset) -> Offset {
        self.batches(earliest, below)
            .iter()
            .find(|batch| batch.timestamp.0 >= at)
            .map_or(below, |batch| batch.base_offset.max(earliest))
    }

    /// Appends the payload to the log and here, and checks that both say the same.
    pub(crate) fn append_to(&mut self, log: &mut Log, term: u64, timestamp: u64, payload: Payload) {
        let entry = self.next_entry(term, timestamp, payload);
        let placed = log.append(vec![entry.clone()]).unwrap();
        assert_eq!(placed[0].outcome, self.append(entry));
    }

    /// The log holds the first `last_log_index` entries of this history, and nothing else, from its earliest offset on.
    pub(crate) fn check(&self, log: &Log) {
        let checkpoint = log.state().checkpoint();
        let entries = checkpoint.last_log_index().get();
        assert!(
            entries <= self.last(),
            "the log holds entries that nobody appended"
        );
        assert_eq!(checkpoint, self.checkpoint(entries));
        let (view, tail) = (log.view(), checkpoint.next_offset());
        for bytes_max in [1, 1 << 20] {
            let (batches, error) = read_all(&view, view.earliest(), tail, bytes_max);
            assert!(error.is_none(), "{}", error.unwrap());
            assert_eq!(batches, self.batches(view.earliest(), tail));
            self.check_entries(&view, entries, bytes_max);
        }
        self.check_log_ids(&view, entries);
        if let Err(error) = view.scrub(|_| ()) {
            panic!("{error}");
        }
    }
}

impl History {
    /// Reading by log index gives the entries as they were appended, whatever they carry.
    fn check_entries(&self, view: &LogView, last: u64, bytes_max: usize) {
        let first = view.describe().unwrap()[0].first_log_index;
        let mut next = first;
        while next <= LogIndex(last) {
            let entries = view.read_entries(next, LogIndex(last + 1), bytes_max).unwrap();
            assert!(!entries.is_empty(), "a read of entry {next} came to nothing");
            for entry in entries {
                let number = usize::try_from(next.get()).unwrap() - 1;
                assert_eq!(entry, self.entries[number].entry);
                next = next.plus(1);
            }
        }
        let behind = view.read_entries(next, LogIndex(u64::MAX), bytes_max).unwrap();
        assert_eq!(behind, [], "nothing follows the last entry");
    }

    /// Term, next offset and the state before each segment are those of the entries, from the one before the first on.
    fn check_log_ids(&self, view: &LogView, last: u64) {
        let first = view.first_log_index().unwrap();
        let before_first = first.get() - 1;
        let id = |entries: u64| {
            let checkpoint = self.checkpoint(entries);
            (checkpoint.last_log_index(), checkpoint.last_term())
        };
        for number in before_first.max(1)..=last {
            assert_eq!(view.log_id_of(LogIndex(number)).unwrap(), Some(id(number)));
        }
        for number in before_first..=last {
            let next_offset = view.next_offset_after(LogIndex(number)).unwrap();
            assert_eq!(
                next_offset,
                self.checkpoint(number).next_offset(),
                "after {number}"
            );
        }
        for behind in [last + 1, u64::MAX] {
            assert_eq!(view.log_id_of(LogIndex(behind)).unwrap(), None);
            let next_offset = view.next_offset_after(LogIndex(behind)).unwrap();
            assert_eq!(next_offset, self.checkpoint(last).next_offset());
        }
        if before_first > 0 {
            let trimmed = LogIndex(before_first - 1);
            let refused = [
                view.next_offset_after(trimmed).err(),
                (before_first > 1).then(|| view.log_id_of(trimmed).unwrap_err()),
            ];
            let is_trimmed = |error: &ReadEntriesError| matches!(error, ReadEntriesError::Trimmed { first: found, .. } if *found == first);
            assert!(refused.iter().flatten().all(is_trimmed), "{refused:?}");
            assert!(refused[0].is_some());
        }
        for number in before_first..=last {
            let trim_point = view.trim_point_at(LogIndex(number)).unwrap();
            let checkpoint = self.checkpoint(number);
            assert_eq!(trim_point, checkpoint.trim_point(), "at {number}");
            let (cursors, last_timestamp) = view.cursors_at(LogIndex(number)).unwrap();
            assert_eq!(&cursors, checkpoint.cursors(), "at {number}");
            assert_eq!(last_timestamp, checkpoint.last_timestamp(), "at {number}");
        }
        assert_eq!(view.last_log_id().unwrap(), id(last));
        for first in view.segment_firsts() {
            let before = view.checkpoint_before(first).unwrap().unwrap();
            assert_eq!(&before, self.checkpoint(first.get() - 1));
        }
        assert_eq!(view.checkpoint_before(LogIndex(u64::MAX)).unwrap(), None);
    }
}

/// What reading on and on gives, and the error that ended it.
pub(crate) fn read_all(
    view: &LogView,
    from: Offset,
    below: Offset,
    bytes_max: usize,
) -> (Vec<StoredBatch>, Option<ReadError>) {
    let (mut at, mut batches) = (from, Vec::new());
    while at < below {
        match view.read(at, below, bytes_max) {
            Ok(chunk) => {
                assert!(chunk.next_offset > at, "a read at {at} came to nothing");
                at = chunk.next_offset;
                batches.extend(chunk.batches);
            }
            Err(error) => return (batches, Some(error)),
        }
    }
    (batches, None)
}
