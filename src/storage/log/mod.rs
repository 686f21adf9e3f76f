//! All segments in order.
//!
//! [`LogState`] knows which segments there are and places entries; a [`SegmentWriter`] writes the active one. LogActor
//! holds the first and a SegmentActor the second. [`Log`] is both in one, for whoever needs no actors: tools, tests.

mod open;
mod state;

mod cut;
mod gap;
mod headless;
mod install;
mod missing;
mod quarantine;
mod rebuild;
mod retention;

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
pub use cut::Trimmed;
pub use gap::{Gap, Last};
pub use missing::MissingSegments;
pub use open::{OpenReport, Opened, has_been_used};
pub use quarantine::Repaired;
pub use rebuild::{Rebuild, Rebuilt};
pub use retention::{Due, Retention};
pub use state::{LogState, Placed};

use super::{
    CutError, OpenError, PlaceError, ReadEntriesError, SegmentWriter, Staged, WriteError, entry::Entry,
    fs::FileSystem, view::LogView,
};
use crate::types::{ClusterId, LogIndex, Offset};

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The directory of this log alone.
    pub directory: PathBuf,
    /// Whose log it is.
    pub cluster_id: ClusterId,
    /// A segment is full from this size on.
    pub segment_bytes: u64,
    /// A segment that is not empty is full from this age on.
    pub segment_age_ms: u64,
    /// Memory for the newest frames.
    pub tail_cache_bytes: usize,
    /// Sealed segments keep no more files open than this.
    pub open_files_max: usize,
    /// Zeros written ahead in the background, in bytes a second; 0: none.
    pub prezero_bytes_per_second: u64,
}

/// Every entry comes before it.
const LAST: LogIndex = LogIndex(u64::MAX - 1);

/// A log without actors: appends, reads, rolls, trims and truncates, all in the caller's thread.
#[derive(Debug)]
pub struct Log {
    state: LogState,
    writer: Option<SegmentWriter>,
}

/// An append to a [`Log`] failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The entry cannot be the next one.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The disk failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The log is damaged, or an earlier write has failed: it takes no writes until it is opened again.
    #[error("the log takes no writes: it is damaged, or an earlier write has failed; open it again")]
    Damaged,
}

impl Log {
    /// Opens the log, recovering what a crash left, or begins a new one.
    ///
    /// Blocking.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        options: LogOptions,
    ) -> Result<(Self, OpenReport), OpenError> {
        let Opened {
            mut state,
            writer,
            report,
        } = LogState::open(
            file_system,
            options,
            &Arc::new(ArcSwap::from_pointee(LogView::unopened())),
        )?;
        state.prepare_ahead(0)?;
        Ok((Self { state, writer }, report))
    }

    /// Appends entries; they are durable after [`Log::sync`].
    ///
    /// Blocking. Errors: entries before the one that failed are appended.
    pub fn append(&mut self, entries: Vec<Entry>) -> Result<Vec<Placed>, AppendError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            if self.state.roll_is_due(super::frame::payload_len(&entry.payload)) {
                self.roll()?;
            }
            let writer = self.writer.as_mut().ok_or(AppendError::Damaged)?;
            let (placed, outcome) = self.state.place(entry)?;
            writer.append(&placed)?;
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Makes everything appended durable and readable.
    ///
    /// Blocking.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.writer.as_mut().ok_or(AppendError::Damaged)?.flush()?;
        Ok(())
    }

    /// As an idle log does: says on disk that everything so far is synced.
    ///
    /// Blocking.
    pub fn mark(&mut self) -> Result<(), AppendError> {
        self.writer.as_mut().ok_or(AppendError::Damaged)?.mark()?;
        Ok(())
    }

    /// Seals the active segment and starts the next. Does nothing while the active one holds no entry: the next one would
    /// have its name.
    ///
    /// Blocking.
    pub fn roll(&mut self) -> Result<(), AppendError> {
        if self.state.active_is_empty() {
            return self.sync();
        }
        self.writer.take().ok_or(AppendError::Damaged)?.seal()?;
        self.writer = Some(self.state.start_segment()?);
        Ok(())
    }

    /// Drops whole sealed segments below `below`.
    ///
    /// Blocking.
    pub fn trim(&mut self, below: Offset) -> Result<Trimmed, CutError> {
        self.state.trim(below, LAST, usize::MAX)
    }

    /// Begins the log for readers where its entries up to `committed` say; see [`LogState::trim_to_committed`].
    ///
    /// Blocking.
    pub fn trim_to_committed(&mut self, committed: LogIndex) -> Result<Offset, ReadEntriesError> {
        self.state.trim_to_committed(committed)
    }

    /// Drops the entry `from` and all behind it. Durable when it returns.
    ///
    /// Blocking. Errors: `CutError::NotInLog` changes nothing; after others the log takes no writes and must be opened
    /// again. Invariant: STO-3.
    pub fn truncate(&mut self, from: LogIndex) -> Result<(), CutError> {
        let refused = |error| CutError::Open(OpenError::Write(error));
        let path = self.state.last_store();
        let poisoned = || refused(WriteError::Poisoned { path });
        let mut writer = self.writer.take().ok_or_else(poisoned)?;
        writer.flush().map_err(refused)?;
        let truncated = self.state.truncate(from);
        match truncated {
            Ok(active) => self.writer = Some(active),
            Err(error) => {
                let unchanged = matches!(error, CutError::NotInLog { .. });
                self.writer = unchanged.then_some(writer);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Exchanges the log for what was received; see [`LogState::install`].
    ///
    /// Blocking. Errors: `AlreadyHeld` and `NotStaged` change nothing; after others the log takes no writes and must be
    /// opened again.
    pub fn install(&mut self, staged: &Staged) -> Result<(), CutError> {
        if let Some(writer) = &mut self.writer {
            writer
                .flush()
                .map_err(|error| CutError::Open(OpenError::Write(error)))?;
        }
        let writer = self.writer.take();
        match self.state.install(staged) {
            Ok(active) => self.writer = Some(active),
            Err(error) => {
                let unchanged = matches!(error, CutError::AlreadyHeld { .. } | CutError::NotStaged { .. });
                self.writer = writer.filter(|_| unchanged);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes a damaged segment out; see [`LogState::quarantine`].
    ///
    /// Blocking.
    pub fn quarantine(&mut self, first: LogIndex) -> Result<(), CutError> {
        self.state.quarantine(first)
    }

    /// Puts one that was written anew in its place; see [`LogState::replace`].
    ///
    /// Blocking.
    pub fn replace(&mut self, rebuilt: Rebuilt) -> Result<Repaired, CutError> {
        self.state.replace(rebuilt)
    }

    /// The log as readers see it now.
    #[must_use]
    pub fn view(&self) -> Arc<LogView> {
        self.state.view().load_full()
    }

    /// What the log's entries amount to.
    #[must_use]
    pub fn state(&self) -> &LogState {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::{
        storage::{
            ReadEntriesError, ReadError,
            entry::{Batch, Outcome, Payload},
            fs::RealFileSystem,
        },
        types::{Term, TimestampMs},
    };

    fn options(directory: &Path) -> LogOptions {
        LogOptions {
            directory: directory.to_owned(),
            cluster_id: ClusterId(9),
            segment_bytes: 16 << 10,
            segment_age_ms: u64::MAX,
            tail_cache_bytes: 8 << 10,
            open_files_max: 2,
            prezero_bytes_per_second: 0,
        }
    }

    fn open(directory: &Path) -> Log {
        Log::open(Arc::new(RealFileSystem), options(directory)).unwrap().0
    }

    /// Entry `log_index` of a log in which every entry has one record.
    fn entry(log_index: u64) -> Entry {
        let records = Bytes::from(format!("record {log_index} {}", "x".repeat(200)));
        Entry {
            log_index: LogIndex(log_index),
            term: Term(1),
            timestamp: TimestampMs(1000 + log_index),
            payload: Payload::Records(Batch {
                producer: None,
                expected_offset: None,
                record_count: 1,
                records,
            }),
        }
    }

    fn filled(directory: &Path, entries: u64) -> Log {
        let mut log = open(directory);
        for log_index in 1..=entries {
            log.append(vec![entry(log_index)]).unwrap();
            log.sync().unwrap();
        }
        log
    }

    fn read_all(log: &Log) -> Vec<u64> {
        let (view, tail) = (log.view(), log.state().checkpoint().next_offset());
        let mut at = view.earliest();
        let mut offsets = Vec::new();
        while at < tail {
            let chunk = view.read(at, tail, 1000).unwrap();
            let resident = view.read_resident(at, tail, 1000);
            assert!(resident.is_none_or(|resident| resident == chunk));
            for batch in &chunk.batches {
                let Payload::Records(expected) = entry(batch.log_index.get()).payload else {
                    unreachable!()
                };
                assert_eq!(batch.records, expected.records);
                offsets.push(batch.base_offset.get());
            }
            at = chunk.next_offset;
        }
        offsets
    }

    #[test]
    fn records_are_read_back_across_segments_before_and_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let log = filled(directory.path(), 300);
        assert!(log.view().describe().unwrap().len() > 4);
        assert_eq!(read_all(&log), (0..300).collect::<Vec<_>>());
        drop(log);
        let log = open(directory.path());
        assert_eq!(read_all(&log), (0..300).collect::<Vec<_>>());
        log.view().scrub(|_| ()).unwrap();
    }

    #[test]
    fn what_was_read_once_is_read_without_waiting_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 300));
        let log = open(directory.path());
        let view = log.view();
        assert_eq!(
            view.read_resident(Offset(10), Offset(300), 1000),
            None,
            "nothing was opened yet"
        );
        let chunk = view.read(Offset(10), Offset(300), 1000).unwrap();
        assert_eq!(view.read_resident(Offset(10), Offset(300), 1000), Some(chunk));
    }

    #[test]
    fn a_lost_or_wrong_index_is_rebuilt() {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 300));
        for (number, file) in std::fs::read_dir(directory.path()).unwrap().enumerate() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "index") {
                if number % 2 == 0 {
                    std::fs::remove_file(&path)
                } else {
                    std::fs::write(&path, b"junk")
                }
                .unwrap();
            }
        }
        let log = open(directory.path());
        assert_eq!(read_all(&log), (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn a_trim_drops_whole_segments_and_readers_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = filled(directory.path(), 300);
        let old_view = log.view();
        let trimmed = log.trim(Offset(150)).unwrap();
        assert!(trimmed.segments > 0 && trimmed.earliest <= Offset(150) && trimmed.earliest > Offset(80));
        assert!(matches!(
            log.view().read(Offset(0), Offset(300), 1),
            Err(ReadError::Trimmed { .. })
        ));
        assert!(matches!(
            old_view.read(Offset(0), Offset(300), 1),
            Err(ReadError::Trimmed { .. })
        ));
        let expected: Vec<_> = (trimmed.earliest.get()..300).collect();
        assert_eq!(read_all(&log), expected);
        drop(log);
        let log = open(directory.path());
        assert_eq!(log.view().earliest(), trimmed.earliest);
        assert_eq!(read_all(&log), expected);
    }

    #[test]
    fn marks_count_for_the_size_of_a_segment() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path());
        for log_index in 1..=1000 {
            let mut small = entry(log_index);
            small.payload = Payload::Blank;
            log.append(vec![small]).unwrap();
            log.mark().unwrap();
        }
        let header_bytes = 4096;
        for segment in log.view().describe().unwrap() {
            assert!(
                segment.bytes <= log.state.options.segment_bytes + header_bytes,
                "{segment:?}"
            );
        }
    }

    #[test]
    fn a_segment_that_is_old_enough_is_left_at_the_next_append() {
        for (segment_age_ms, segments) in [(0, 3), (u64::MAX, 1)] {
            let directory = tempfile::tempdir().unwrap();
            let options = LogOptions {
                segment_age_ms,
                ..options(directory.path())
            };
            let mut log = Log::open(Arc::new(RealFileSystem), options).unwrap().0;
            assert!(!log.state.roll_by_age_is_due(), "an empty one is of any age");
            for log_index in 1..=3 {
                log.append(vec![entry(log_index)]).unwrap();
                log.sync().unwrap();
            }
            assert_eq!(log.state.roll_by_age_is_due(), segment_age_ms == 0);
            assert_eq!(log.view().describe().unwrap().len(), segments);
        }
    }

    #[test]
    fn a_segment_that_has_used_up_its_zeros_is_left_for_a_prepared_one() {
        const MIB: u64 = 1 << 20;
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_bytes: 16 * MIB,
            prezero_bytes_per_second: 1 << 40,
            ..options(directory.path())
        };
        let mut log = Log::open(Arc::new(RealFileSystem), options).unwrap().0;
        let ready = |log: &Log| {
            log.state
                .preparer
                .as_ref()
                .is_some_and(super::super::segment::Preparer::is_ready)
        };
        let deadline = crate::clock::now() + std::time::Duration::from_secs(30);
        while !ready(&log) {
            assert!(crate::clock::now() < deadline, "nothing is prepared");
            std::thread::yield_now();
        }
        let segments_after = |log: &mut Log, log_index: u64| {
            let mut large = entry(log_index);
            large.payload = Payload::Control(Bytes::from(vec![b'.'; MIB as usize]));
            log.append(vec![large]).unwrap();
            log.sync().unwrap();
            log.view().describe().unwrap()
        };
        // The first segment has zeros for less than eight of them, and room for fifteen.
        for log_index in 1..=7 {
            assert_eq!(segments_after(&mut log, log_index).len(), 1);
        }
        let segments = segments_after(&mut log, 8);
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1].first_log_index, LogIndex(8));
        let store = directory.path().join("00000000000000000008.store");
        assert_eq!(
            std::fs::metadata(store).unwrap().len(),
            16 * MIB,
            "it is the prepared one"
        );
    }

    #[test]
    fn the_next_segment_gets_no_zeros_that_would_fill_the_disk_up_to_its_floor() {
        for (free_bytes_min, zeros) in [(0, 16 << 10), (u64::MAX, 0)] {
            let directory = tempfile::tempdir().unwrap();
            let options = LogOptions {
                prezero_bytes_per_second: 1,
                ..options(directory.path())
            };
            let mut log = Log::open(Arc::new(RealFileSystem), options).unwrap().0;
            // None is prepared: the one that is made for the roll is to be looked at.
            log.state.preparer = None;
            log.state.free_bytes_min = free_bytes_min;
            log.append(vec![entry(1)]).unwrap();
            log.roll().unwrap();
            let store = directory.path().join("00000000000000000002.store");
            let header_bytes = 4096;
            assert_eq!(std::fs::metadata(store).unwrap().len(), header_bytes.max(zeros));
        }
    }

    #[test]
    fn a_trim_keeps_the_entries_behind_the_last_that_may_go_though_no_record_tells_them_apart() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path());
        log.append(vec![entry(1)]).unwrap();
        for log_index in 2..=5 {
            log.roll().unwrap();
            let blank = Entry {
                payload: Payload::Blank,
                ..entry(log_index)
            };
            log.append(vec![blank]).unwrap();
        }
        let trimmed = log.state.trim(Offset(1), LogIndex(3), usize::MAX).unwrap();
        assert_eq!((trimmed.complete, trimmed.segments), (true, 3));
        assert_eq!(log.view().segment_firsts(), [LogIndex(4), LogIndex(5)]);
        let again = log.state.trim(Offset(1), LogIndex(2), usize::MAX).unwrap();
        assert_eq!((again.complete, again.segments), (true, 0));
    }

    #[test]
    fn a_trim_of_a_few_segments_at_a_time_drops_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = filled(directory.path(), 300);
        let segments = log.view().describe().unwrap();
        let expected = segments[3].first_offset;
        let first = log.state.trim(expected, LAST, 2).unwrap();
        assert_eq!(
            (first.complete, first.segments, first.earliest),
            (false, 2, segments[2].first_offset)
        );
        let rest = log.state.trim(expected, LAST, 2).unwrap().after(Some(first));
        assert_eq!((rest.complete, rest.segments, rest.earliest), (true, 3, expected));
        assert_eq!(
            rest.bytes,
            segments[..3].iter().map(|segment| segment.bytes).sum::<u64>()
        );
        assert_eq!(read_all(&log), (expected.get()..300).collect::<Vec<_>>());
    }

    #[test]
    fn what_retention_drops_is_found_with_a_few_stores_opened_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 300));
        let log = open(directory.path());
        let segments = log.view().describe().unwrap();
        let newest_two: u64 = segments.iter().rev().take(2).map(|segment| segment.bytes).sum();
        let by_bytes = Retention {
            bytes_max: Some(newest_two),
            age_max_ms: None,
        };
        // Entry 100 and all before it are too old, which the first segment behind it shows.
        let by_age = Retention {
            bytes_max: None,
            age_max_ms: Some(1000),
        };
        let now = TimestampMs(1000 + 100 + 1001);
        let old = segments
            .iter()
            .rfind(|segment| segment.first_offset <= Offset(100));
        for (retention, expected) in [
            (by_bytes, Due::Below(segments[segments.len() - 2].first_offset)),
            (by_age, Due::Below(old.unwrap().first_offset)),
            (Retention::default(), Due::Nothing),
        ] {
            let log = open(directory.path());
            let mut asked = 0;
            let due = loop {
                asked += 1;
                match log.state.retention_due(&retention, now, 1).unwrap() {
                    Due::Unknown => assert!(asked < 3 * segments.len()),
                    due => break due,
                }
            };
            assert_eq!(due, expected);
            assert_eq!(asked > 1, retention != Retention::default());
            let at_once = log.state.retention_due(&retention, now, 0).unwrap();
            assert_eq!(at_once, expected, "what was learnt stays known");
        }
    }

    #[test]
    fn entries_that_were_trimmed_are_said_to_be_and_a_store_that_somebody_removed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 300));
        let segments = open(directory.path()).view().describe().unwrap();
        let mut log = open(directory.path());
        let old_view = log.view();
        // Nobody has it open, or the machine would keep it.
        let removed = &segments[3];
        let name = format!("{:020}.store", removed.first_log_index.get());
        std::fs::remove_file(directory.path().join(name)).unwrap();
        for view in [&old_view, &log.view()] {
            let by_offset = view.read(removed.first_offset, Offset(300), 1).unwrap_err();
            assert!(!matches!(by_offset, ReadError::Trimmed { .. }), "{by_offset}");
            let by_index = view.read_entries(removed.first_log_index, LogIndex(301), 1);
            assert!(matches!(by_index, Err(ReadEntriesError::Read(_))), "{by_index:?}");
            // It keeps nobody from what lies before it.
            let before = view.read(Offset(0), Offset(300), 1).unwrap();
            assert_eq!(before.batches[0].base_offset, Offset(0));
        }
        // Two others take the place of the first one among the open files.
        for segment in &segments[1..3] {
            old_view.read(segment.first_offset, Offset(300), 1).unwrap();
        }
        log.trim(segments[1].first_offset).unwrap();
        for view in [&old_view, &log.view()] {
            let refused = view.read_entries(LogIndex(1), LogIndex(301), 1);
            assert!(
                matches!(refused, Err(ReadEntriesError::Trimmed { first, .. }) if first == segments[1].first_log_index),
                "{refused:?}"
            );
            assert_eq!(
                view.read_entries(LogIndex(5), LogIndex(5), 1).unwrap(),
                [],
                "nothing was asked for"
            );
        }
    }

    #[test]
    fn a_truncated_suffix_is_gone_and_other_entries_take_its_place() {
        for from in [1, 2, 57, 150, 299, 300, 301] {
            let directory = tempfile::tempdir().unwrap();
            let mut log = filled(directory.path(), 300);
            log.truncate(LogIndex(from)).unwrap();
            assert_eq!(log.state().checkpoint().last_log_index(), LogIndex(from - 1));
            assert_eq!(read_all(&log), (0..from - 1).collect::<Vec<_>>());
            for log_index in from..from + 10 {
                log.append(vec![Entry {
                    term: Term(2),
                    ..entry(log_index)
                }])
                .unwrap();
                log.sync().unwrap();
            }
            drop(log);
            let log = open(directory.path());
            assert_eq!(read_all(&log), (0..from + 9).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_entries_of_the_log_can_be_truncated() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = filled(directory.path(), 300);
        assert!(matches!(
            log.truncate(LogIndex(302)),
            Err(CutError::NotInLog { .. })
        ));
        log.trim(Offset(150)).unwrap();
        assert!(matches!(
            log.truncate(LogIndex(1)),
            Err(CutError::NotInLog { .. })
        ));
        assert_eq!(
            log.append(vec![entry(301)]).unwrap()[0].outcome,
            Outcome::Stored {
                base_offset: Offset(300)
            }
        );
    }

    #[test]
    fn a_time_finds_the_first_batch_that_is_not_older() {
        let directory = tempfile::tempdir().unwrap();
        let log = filled(directory.path(), 300);
        for (at, offset) in [
            (0, 0),
            (1001, 0),
            (1002, 1),
            (1150, 149),
            (1300, 299),
            (1301, 300),
            (9999, 300),
        ] {
            assert_eq!(
                log.view().offset_at(TimestampMs(at), Offset(300)).unwrap(),
                Offset(offset),
                "at {at}"
            );
        }
    }

    #[test]
    fn another_clusters_log_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path(), 3));
        let other = LogOptions {
            cluster_id: ClusterId(10),
            ..options(directory.path())
        };
        let refused = Log::open(Arc::new(RealFileSystem), other).unwrap_err();
        assert!(matches!(refused, OpenError::OtherCluster { .. }), "{refused}");
    }
}
