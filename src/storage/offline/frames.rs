//! The frames of a log in order, from an entry or an offset on.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{Finding, Findings, LogFiles, ReadOnly, ends::Ends, received::check_received, segment::Question};
use crate::{
    error::Disposition,
    storage::{
        Checkpoint, Damage, StoredBatch,
        frame::{FrameHeader, FrameKind},
        fs::{File, FileSystem, OpenMode},
        segment::{FrameError, Frames, Scan, Unfit, WALK_WINDOW, read_header},
        segment_header::SegmentFace,
    },
    types::{LogIndex, Offset, Position},
};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first frame that is there.
    Earliest,
    /// With the frame of this entry.
    LogIndex(LogIndex),
    /// With the frame that holds this record.
    Offset(Offset),
}

impl Start {
    /// Whether a log that begins behind that has all of it.
    fn is_behind(self, before: &Checkpoint) -> bool {
        match self {
            Self::Earliest => true,
            Self::LogIndex(log_index) => log_index > before.last_log_index(),
            Self::Offset(offset) => offset >= before.next_offset(),
        }
    }
}

/// A frame whose checksums match.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// The segment that it is in, by its first entry.
    pub segment: LogIndex,
    /// Where in the store.
    pub position: Position,
    /// What it says of itself.
    pub header: FrameHeader,
    /// Attributes and payload.
    pub payload: Bytes,
}

impl StoredFrame {
    /// Whether all of its records are below that offset, where it holds some.
    #[must_use]
    pub fn is_below(&self, offset: Offset) -> bool {
        self.header.record_count > 0 && self.header.next_offset() <= offset
    }

    /// The records, where it holds some that took offsets.
    #[must_use]
    pub fn batch(&self) -> Option<StoredBatch> {
        let header = &self.header;
        (header.kind == FrameKind::Records && header.record_count > 0).then(|| StoredBatch {
            base_offset: header.base_offset,
            record_count: header.record_count,
            timestamp: header.timestamp,
            term: header.term,
            log_index: header.log_index,
            records: self.payload.slice(header.attributes_len()..),
        })
    }
}

/// Frames cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// A file, or the directory, cannot be read.
    #[error("cannot read {0}")]
    Io(#[from] io::Error),
    /// Bytes that were synced are not what was written, or are not there.
    #[error("{0}")]
    Damaged(Damage),
    /// Something is missing at an end of the log; all that is there was shown.
    #[error("fault in {}: {}", .0.path.display(), .0.what)]
    Missing(Box<Finding>),
    /// What was asked for was before the first frame, and is rightly gone.
    #[error("the log in {} begins with entry {log_index} and offset {offset}", directory.display())]
    Before {
        /// Where the log is.
        directory: PathBuf,
        /// Its first entry.
        log_index: LogIndex,
        /// Its first offset.
        offset: Offset,
    },
}

impl FramesError {
    /// What is to be done about it: by a person, in each case.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io(_) => Disposition::Retry,
            Self::Damaged(_) | Self::Missing(_) | Self::Before { .. } => Disposition::Reject,
        }
    }
}

/// Shows the frames of the log in a directory, from `start` on, until `see` says that it has seen enough, or the log ends. What a
/// crash has left behind the last whole frame is no part of it.
///
/// Blocking. Errors: damage ends it, with its place; all before that was shown. So was all that is there where something that is asked
/// for is missing at an end.
pub fn walk(
    file_system: &ReadOnly,
    directory: &Path,
    start: Start,
    mut see: impl FnMut(StoredFrame) -> ControlFlow<()>,
) -> Result<(), FramesError> {
    let files = LogFiles::list(file_system, directory)?;
    let mut found = Findings::default();
    let ends = Ends::read(file_system, directory, None, &mut found);
    if files.installing {
        check_received(file_system, &files, None, &mut found);
    }
    let firsts: Vec<_> = files.stores.iter().copied().collect();
    let (number, is_before_all) = match first_store(file_system, &files, &firsts, start) {
        // What should be there and is not is told at the end.
        Err(FramesError::Before { .. }) if ends.should_have(|before| start.is_behind(before)) => (0, true),
        number => (number?, start == Start::Earliest || firsts.is_empty()),
    };
    // Who begins later does not ask for what is missing before.
    if is_before_all && !files.installing {
        match firsts.first() {
            Some(first) => files.note_holes(..*first, &mut found),
            None => files.note_holes(.., &mut found),
        }
        let first_offset = firsts
            .first()
            .and_then(|first| face(file_system, files.store(*first)).ok());
        let trim_point = || trim_point(file_system, &files);
        ends.check_beginning(
            &files,
            first_offset.map(|face| face.first_offset),
            trim_point,
            &mut found,
        );
    }
    let mut last = None::<Shown>;
    for first in &firsts[number..] {
        let path = files.store(*first);
        if let Some(last) = &last {
            check_follows(&path, *first, last.next)?;
        }
        let segment = Segment {
            path,
            first: *first,
            is_last: firsts.last() == Some(first),
        };
        match segment.walk(file_system, start, &mut see)? {
            ControlFlow::Break(()) => {
                last = None;
                break;
            }
            ControlFlow::Continue(shown) => last = Some(shown),
        }
    }
    if let Some(last) = last.filter(|_| !files.installing) {
        files.note_holes(last.next.., &mut found);
        let last_seen = LogIndex(last.next.get().saturating_sub(1));
        ends.check_end(&last.path, last.end, last_seen, &mut found);
    }
    match found.into_first_fault() {
        Some(fault) => Err(FramesError::Missing(Box::new(fault))),
        None => Ok(()),
    }
}

/// A segment that was shown to its end.
struct Shown {
    path: PathBuf,
    /// Where its intact frames end.
    end: u64,
    /// Which entry should come next.
    next: LogIndex,
}

fn check_follows(path: &Path, first: LogIndex, next: LogIndex) -> Result<(), FramesError> {
    let what = if next < first {
        format!("entries {next} to {} before it are missing", first.get() - 1)
    } else if next > first {
        format!(
            "it begins with entry {first}, and the segment before it goes on to entry {}",
            next.get() - 1
        )
    } else {
        return Ok(());
    };
    Err(damaged(path.to_owned(), 0, what))
}

/// Below which offset the log in a directory is trimmed; `None`: that cannot be told. Records below it may lie there yet, since files go as
/// whole segments; no node reads them.
///
/// Blocking: reads the last segment whole.
pub fn trimmed_below(file_system: &ReadOnly, directory: &Path) -> Option<Offset> {
    trim_point(file_system, &LogFiles::list(file_system, directory).ok()?)
}

/// Below which offset all of the log may go, by its last segment.
fn trim_point(file_system: &ReadOnly, files: &LogFiles) -> Option<Offset> {
    let question = Question {
        file_system,
        files,
        first: *files.stores.last()?,
        is_last: true,
        cluster_id: None,
    };
    let seen = question.ask(&mut Findings::default(), &mut |_| ());
    Some(seen.behind?.trim_point())
}

fn damaged(path: PathBuf, position: u64, what: String) -> FramesError {
    FramesError::Damaged(Damage {
        path,
        position: Position(position),
        what,
    })
}

/// Number of the store in which to begin.
fn first_store(
    file_system: &dyn FileSystem,
    files: &LogFiles,
    firsts: &[LogIndex],
    start: Start,
) -> Result<usize, FramesError> {
    let face = |first: LogIndex| face(file_system, files.store(first));
    let number = match start {
        Start::Earliest => return Ok(0),
        Start::LogIndex(log_index) => firsts.partition_point(|first| *first <= log_index),
        Start::Offset(offset) => {
            let mut behind = firsts.len();
            while behind > 0 {
                // One whose header is bad is passed over towards the beginning: that costs time, and misses nothing.
                match face(firsts[behind - 1]) {
                    Ok(face) if face.first_offset <= offset => break,
                    Ok(_) | Err(FramesError::Damaged(_)) => behind -= 1,
                    Err(error) => return Err(error),
                }
            }
            behind
        }
    };
    match (number.checked_sub(1), firsts.first()) {
        (Some(number), _) => Ok(number),
        (None, None) => Ok(0),
        (None, Some(first)) => Err(FramesError::Before {
            directory: files.directory.clone(),
            log_index: *first,
            offset: face(*first)?.first_offset,
        }),
    }
}

fn face(file_system: &dyn FileSystem, path: PathBuf) -> Result<SegmentFace, FramesError> {
    let mut fixed = [0; SegmentFace::LEN];
    let read = file_system.open(&path, OpenMode::Read)?.read_at(0, &mut fixed)?;
    SegmentFace::decode(&fixed[..read]).map_err(|error| damaged(path, 0, error.to_string()))
}

struct Segment {
    path: PathBuf,
    first: LogIndex,
    is_last: bool,
}

impl Segment {
    /// Shows its frames; says where they end.
    fn walk(
        &self,
        file_system: &dyn FileSystem,
        start: Start,
        see: &mut impl FnMut(StoredFrame) -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Shown>, FramesError> {
        let file: Arc<dyn File> = file_system.open(&self.path, OpenMode::Read)?;
        let size = file.size()?;
        let (header, header_len) = match read_header(&file, size) {
            Ok(found) => found,
            Err(Unfit::Io(error)) => return Err(error.into()),
            Err(Unfit::Content(what)) => return Err(damaged(self.path.clone(), 0, what)),
        };
        let mut scan = Scan {
            frames: Frames::new(&file, header.salt, header_len, size, WALK_WINDOW),
            mark: 0,
        };
        let mut next = self.first;
        loop {
            let position = scan.frames.position();
            let frame = match scan.frames.next() {
                Ok(None) => return Ok(ControlFlow::Continue(self.shown(position, next))),
                Ok(Some(frame)) => frame,
                Err(FrameError::Io(error)) => return Err(error.into()),
                Err(FrameError::Fault(fault)) if !self.is_last => {
                    return Err(damaged(self.path.clone(), position, fault.to_string()));
                }
                Err(FrameError::Fault(fault)) => {
                    return match scan.damage_behind(position, fault)? {
                        Some(what) => Err(damaged(self.path.clone(), position, what)),
                        None => Ok(ControlFlow::Continue(self.shown(position, next))),
                    };
                }
            };
            scan.note(&frame.header);
            next = frame.header.log_index.plus(1);
            let is_before = match start {
                Start::Earliest => false,
                Start::LogIndex(log_index) => frame.header.log_index < log_index,
                // A frame that takes no offsets has the next one.
                Start::Offset(offset) => {
                    frame.header.base_offset < offset && frame.header.next_offset() <= offset
                }
            };
            let shown = StoredFrame {
                segment: self.first,
                position: frame.position,
                header: frame.header,
                payload: frame.payload,
            };
            if !is_before && see(shown).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    fn shown(&self, end: u64, next: LogIndex) -> Shown {
        Shown {
            path: self.path.clone(),
            end,
            next,
        }
    }
}
