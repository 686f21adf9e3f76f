//! Opens a log: finds its segments, recovers the last one, or begins the first.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::{LogOptions, LogState, MissingSegments, install::finish_install, quarantine::Holes};
use crate::{
    storage::{
        CommitNoteFile, Damage, OpenError, ReadError, SegmentWriter,
        beginning::Beginning,
        checkpoint::Checkpoint,
        fs::FileSystem,
        names,
        segment::{OpenFiles, Preparer, Recovered, SegmentContext, SegmentReader, recover},
        tail_cache::TailCache,
        view::{Kept, LogView},
    },
    types::{LogIndex, Offset, Position},
};

/// An opened log, in the parts that its users keep apart.
#[derive(Debug)]
pub struct Opened {
    /// The segments and the place of the next entry.
    pub state: LogState,
    /// Writes the active segment. `None`: the log is damaged, and only read.
    pub writer: Option<SegmentWriter>,
    /// What was found.
    pub report: OpenReport,
}

/// What opening a log found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// How many segments there are.
    pub segments: usize,
    /// The oldest readable offset.
    pub earliest: Offset,
    /// The offset behind the last record.
    pub tail: Offset,
    /// The last entry.
    pub last_log_index: LogIndex,
    /// Bytes behind the last intact frame that were never synced, and were cut off.
    pub cut_bytes: u64,
    /// Bytes that were synced are not what was written: the log is readable up to there and takes no writes.
    pub damage: Option<Damage>,
    /// The first segments are missing. What follows on them is read and written all the same.
    pub missing: Option<MissingSegments>,
}

impl LogState {
    /// Opens the log in the directory of `options`, or begins one there. Reads the last segment only, however many there
    /// are.
    ///
    /// What readers see is published in `view` from then on.
    ///
    /// Blocking.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        options: LogOptions,
        view: &Arc<ArcSwap<LogView>>,
    ) -> Result<Opened, OpenError> {
        let directory = options.directory.clone();
        let in_directory = |operation| {
            let path = directory.clone();
            move |source| OpenError::Io {
                path,
                operation,
                source,
            }
        };
        file_system
            .create_dir_all(&directory)
            .map_err(in_directory("create"))?;
        let context = SegmentContext {
            file_system,
            directory: directory.clone(),
            cluster_id: options.cluster_id,
            segment_bytes: options.segment_bytes,
            cache: Arc::new(TailCache::new(options.tail_cache_bytes)),
        };
        let mut beginning =
            Beginning::unread(context.file_system.clone(), directory.clone(), context.cluster_id);
        finish_install(&context, &mut beginning)?;
        let (stores, holes) =
            find_segments(&*context.file_system, &directory).map_err(in_directory("list"))?;
        // A name that is there may still be taken away by a power loss, if a crash came before its sync: make sure
        // before anything is built on it.
        context
            .file_system
            .sync_dir(&directory)
            .map_err(in_directory("sync"))?;
        beginning.read()?;
        let open_files = Arc::new(OpenFiles::new(options.open_files_max));
        let mut state = LogState {
            checkpoint: Checkpoint::new(),
            segments: Vec::new(),
            first_offset: Offset::ZERO,
            trim_point: Offset::ZERO,
            beginning,
            trimmed: VecDeque::new(),
            holes,
            active: None,
            damage: None,
            view: view.clone(),
            kept: Kept::default(),
            context,
            options,
            open_files,
            preparer: None,
            free_bytes_min: 0,
        };
        let known = known_committed(&state.context);
        let missing_end = state.missing_end(stores.last().copied());
        let Some((last, sealed)) = stores.split_last() else {
            return match missing_end {
                None if known > LogIndex::ZERO => Err(OpenError::Damaged(nothing_left(
                    directory,
                    format!("entries up to {known} were committed here"),
                ))),
                None => match state.beginning.first() {
                    Some(first) if first > LogIndex(1) => Err(OpenError::Damaged(nothing_left(
                        directory,
                        format!("the log begins with entry {first}"),
                    ))),
                    _ => state.begin(),
                },
                Some(damage) => Ok(state.without_stores(damage)),
            };
        };
        let recovered = recover(&state.context, *last, known);
        let mut recovered = match recovered {
            // One damage at the end can be repaired.
            Err(OpenError::Damaged(header)) if missing_end.is_none() => {
                return state.without_header(header, (*last, sealed), known);
            }
            recovered => recovered?,
        };
        if missing_end.is_some() {
            // To go on here would be to forget what was acknowledged behind it.
            recovered.writer = None;
            recovered.damage = missing_end;
        }
        state.take_sealed(sealed, *last);
        state.adopt(*last, recovered, None)
    }

    /// Takes in what is before the segment `last`: the sealed segments, those that were taken out, and those that are missing.
    pub(super) fn take_sealed(&mut self, sealed: &[LogIndex], last: LogIndex) {
        let sealed = sealed.iter().map(|first| self.sealed_reader(*first, None));
        let holes = self.holes.range(..last);
        let holes = holes.map(|(first, kept_as)| self.hole(*first, *kept_as));
        let mut segments: Vec<_> = sealed.chain(holes).map(Arc::new).collect();
        segments.sort_unstable_by_key(|segment| segment.first_log_index());
        let there = segments.first().map_or(last, |segment| segment.first_log_index());
        segments.splice(..0, self.missing_before(there).map(Arc::new));
        self.segments = segments;
    }

    /// Begins a new log.
    fn begin(mut self) -> Result<Opened, OpenError> {
        if self.beginning.first().is_none() {
            // Before there is anything that could get lost.
            self.beginning.set(Checkpoint::new()).map_err(OpenError::Write)?;
        }
        let writer = self.start_segment().map_err(OpenError::Write)?;
        let report = self.report(0, None);
        Ok(Opened {
            state: self,
            writer: Some(writer),
            report,
        })
    }

    /// A log of which nothing but quarantined segments is there: it is not a new one.
    fn without_stores(mut self, damage: Damage) -> Opened {
        let holes = self.holes.iter();
        let holes = holes.map(|(first, kept_as)| Arc::new(self.hole(*first, *kept_as)));
        self.segments = holes.collect();
        let there = self.segments.first().map(|first| first.first_log_index());
        let missing = there.and_then(|there| self.missing_before(there));
        self.segments.splice(..0, missing.map(Arc::new));
        if let Some(Ok(face)) = self.segments.first().map(|first| first.face()) {
            self.first_offset = face.first_offset;
        }
        self.damage = Some(damage.clone());
        self.publish();
        let report = self.report(0, Some(damage));
        Opened {
            state: self,
            writer: None,
            report,
        }
    }

    /// Begins to write zeros ahead, if the options ask for it and the log takes appends; never so many that less than
    /// `free_bytes_min` stay free on the disk.
    ///
    /// Errors: there is no thread for it.
    pub fn prepare_ahead(&mut self, free_bytes_min: u64) -> Result<(), OpenError> {
        self.free_bytes_min = free_bytes_min;
        let rate = self.options.prezero_bytes_per_second;
        if rate == 0 || self.active.is_none() {
            return Ok(());
        }
        let (file_system, directory) = (self.context.file_system.clone(), &self.options.directory);
        let segment_bytes = self.options.segment_bytes;
        let preparer = Preparer::start(file_system, directory, segment_bytes, rate, free_bytes_min);
        self.preparer = Some(preparer.map_err(|source| OpenError::Io {
            path: directory.clone(),
            operation: "prepare segments in",
            source,
        })?);
        Ok(())
    }

    /// Takes the last segment in that can be read, and `behind` it one that cannot.
    pub(super) fn adopt(
        mut self,
        last: LogIndex,
        recovered: Recovered,
        behind: Option<SegmentReader>,
    ) -> Result<Opened, OpenError> {
        let Recovered {
            checkpoint,
            end,
            mut writer,
            mut damage,
            cut_bytes,
        } = recovered;
        self.checkpoint = checkpoint;
        if let Some(found) = self.find_earliest(last)? {
            writer = None;
            damage.get_or_insert(found);
        }
        match &writer {
            Some(writer) => self.activate(writer).map_err(|source| OpenError::Io {
                path: writer.path(),
                operation: "read the size of",
                source,
            })?,
            None => self.segments.push(Arc::new(self.sealed_reader(last, Some(end)))),
        }
        self.segments.extend(behind.map(Arc::new));
        for (first, kept_as) in self.holes.range(last.plus(1)..) {
            let hole = self.hole(*first, *kept_as);
            self.segments.push(Arc::new(hole));
        }
        self.damage.clone_from(&damage);
        self.adopt_beginning();
        self.publish();
        let report = self.report(cut_bytes, damage);
        Ok(Opened {
            state: self,
            writer,
            report,
        })
    }

    /// Finds the oldest readable offset. When the oldest sealed segment has a bad header, says so: the log is then only
    /// read, and what the segment holds counts as lost up to the first offset that another one is sure of.
    fn find_earliest(&mut self, last: LogIndex) -> Result<Option<Damage>, OpenError> {
        let mut damage = None;
        let active = self.sealed_reader(last, None);
        for segment in self.segments.iter().map(AsRef::as_ref).chain([&active]) {
            let is_very_first = segment.first_log_index() == LogIndex(1);
            match segment.face() {
                Ok(face) => {
                    self.first_offset = face.first_offset;
                    break;
                }
                Err(ReadError::Corrupt { path, position, what }) => {
                    damage.get_or_insert(Damage { path, position, what });
                    if is_very_first {
                        self.first_offset = Offset::ZERO;
                        break;
                    }
                }
                Err(error) => return Err(read_failed(error)),
            }
        }
        Ok(damage)
    }

    pub(super) fn report(&self, cut_bytes: u64, damage: Option<Damage>) -> OpenReport {
        OpenReport {
            segments: self.segments.len(),
            earliest: self.earliest(),
            tail: self.checkpoint.next_offset(),
            last_log_index: self.checkpoint.last_log_index(),
            cut_bytes,
            damage,
            missing: self.missing_segments(),
        }
    }
}

/// Entries up to here were synced in this log, and committed, as its note says: it is written once both are so.
fn known_committed(context: &SegmentContext) -> LogIndex {
    let (_, noted) = CommitNoteFile::open(context.file_system.clone(), &context.directory);
    noted.map_or(LogIndex::ZERO, |noted| noted.log_index)
}

fn nothing_left(directory: PathBuf, known: String) -> Damage {
    Damage {
        path: directory,
        position: Position::ZERO,
        what: format!("{known}, and no segment is left"),
    }
}

/// Whether a log here has ever been written to, or a promise been made for it: a node with such a directory has been in a
/// cluster.
///
/// Blocking.
pub fn has_been_used(file_system: &dyn FileSystem, directory: &Path) -> io::Result<bool> {
    let names = match file_system.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        names => names?,
    };
    // The first segment is made before anything is written.
    let later = |name: &str| names::first_of_store(name).is_some_and(|first| first > LogIndex(1));
    let of_a_cluster = |name: &String| {
        name == crate::storage::vote::FILE_NAME || names::of_quarantined(name).is_some() || later(name)
    };
    Ok(names.iter().any(of_a_cluster))
}

/// First log indexes of the segments, in order, and those whose place is empty. Removes files that never became part of
/// the log, and indexes without a store: a reader may have rebuilt one while its segment was trimmed.
fn find_segments(file_system: &dyn FileSystem, directory: &Path) -> io::Result<(Vec<LogIndex>, Holes)> {
    let names = file_system.list(directory)?;
    let mut firsts: Vec<_> = names
        .iter()
        .filter_map(|name| names::first_of_store(name))
        .collect();
    firsts.sort_unstable();
    let is_orphan = |first: LogIndex| firsts.binary_search(&first).is_err();
    let mut holes = Holes::new();
    for name in &names {
        if names::is_preparing(name) || names::first_of_index(name).is_some_and(is_orphan) {
            match file_system.remove(&directory.join(name)) {
                // Whoever writes beside the log was faster.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if let Some((first, kept_as)) = names::of_quarantined(name).filter(|(first, _)| is_orphan(*first)) {
            let newest = holes.entry(first).or_insert(kept_as);
            *newest = kept_as.max(*newest);
        }
    }
    Ok((firsts, holes))
}

fn read_failed(error: ReadError) -> OpenError {
    match error {
        ReadError::Corrupt { path, position, what } => OpenError::Damaged(Damage { path, position, what }),
        ReadError::Io { path, source } => OpenError::Io {
            path,
            operation: "read",
            source,
        },
        ReadError::Trimmed { .. } | ReadError::Replaced { .. } => {
            unreachable!("nobody trims or replaces segments of a log that is being opened")
        }
    }
}
