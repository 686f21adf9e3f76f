//! What is there: the segments of a log, and what the files beside them say.

use std::{io, path::Path};

use super::{
    Findings, LogFiles, ReadOnly, VoteCopies, Weight, promises,
    segment::{HEADER, Question},
};
use crate::{
    storage::{
        Checkpoint, Committed,
        fs::{FileSystem, OpenMode},
        segment_header::SegmentFace,
    },
    types::{LogIndex, Offset, TimestampMs},
};

/// A log, as its headers and its last segment tell.
#[derive(Clone, Debug)]
pub struct LogSummary {
    /// Oldest first; those that are missing are among them.
    pub segments: Vec<SegmentSummary>,
    /// The newest term and vote.
    pub vote: VoteCopies,
    /// What is noted as committed.
    pub committed: Option<Committed>,
    /// The first entry that the log should have; `None`: that is not written down, or not readable.
    pub begins: Option<LogIndex>,
    /// What the log amounts to at its end; `None`: there is no segment, or the last one is damaged.
    pub end: Option<Checkpoint>,
    /// Bytes behind the end that a start cuts off.
    pub torn_bytes: u64,
    /// What was found on the way. That is less than [`super::verify`] finds.
    pub findings: Findings,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its first entry.
    pub first: LogIndex,
    /// Its last entry; `None`: it holds none, or that cannot be told.
    pub last: Option<LogIndex>,
    /// Offset of its first record; `None`: its header cannot be read.
    pub first_offset: Option<Offset>,
    /// The offset behind its last record, where that is known.
    pub next_offset: Option<Offset>,
    /// Bytes of its store.
    pub bytes: u64,
    /// When it was made.
    pub created: Option<TimestampMs>,
    /// What it is.
    pub state: SegmentState,
}

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// It takes no more frames.
    Sealed,
    /// It is the last one, which takes frames.
    Active,
    /// Its header cannot be read.
    Damaged,
    /// It was damaged and taken out, and nothing has taken its place.
    Missing,
}

/// Looks at the log in a directory: the header of each segment, and the whole of the last one.
///
/// Blocking. Errors: the directory cannot be read; a file that cannot is among the findings.
pub fn summarize(file_system: &ReadOnly, directory: &Path) -> io::Result<LogSummary> {
    let files = LogFiles::list(file_system, directory)?;
    let mut findings = Findings::default();
    files.note_leftovers(&mut findings);
    files.note_no_files(file_system, &mut findings);
    let mut found = |error: io::Error| findings.unreadable(directory, None, &error);
    let begins = promises::read_beginning(file_system, directory);
    let begins = begins.unwrap_or_else(|error| {
        found(error);
        None
    });
    let vote = promises::read_vote(file_system, directory).unwrap_or_else(|error| {
        found(error);
        VoteCopies::Unknown
    });
    let committed = promises::read_committed(file_system, directory);
    let (committed, _) = committed.unwrap_or_else(|error| {
        found(error);
        (None, false)
    });
    let mut summary = LogSummary {
        segments: Vec::with_capacity(files.stores.len() + files.holes.len()),
        vote,
        committed,
        begins: begins
            .and_then(Result::ok)
            .map(|(_, before)| before.last_log_index().plus(1)),
        end: None,
        torn_bytes: 0,
        findings,
    };
    for first in &files.stores {
        let is_last = files.stores.last() == Some(first);
        let segment = match sealed(file_system, &files, *first) {
            Ok(Ok(segment)) => segment,
            Ok(Err((bytes, what))) => {
                // Of the last one it is found below.
                if !is_last {
                    let path = files.store(*first);
                    summary.findings.at(Weight::Fault, &path, 0, what, HEADER);
                }
                SegmentSummary {
                    bytes,
                    ..SegmentSummary::unknown(*first, SegmentState::Damaged)
                }
            }
            Err(error) => {
                summary.findings.unreadable(&files.store(*first), None, &error);
                SegmentSummary::unknown(*first, SegmentState::Damaged)
            }
        };
        summary.segments.push(segment);
        if is_last {
            summary.look_at_last(file_system, &files, *first);
        }
    }
    let missing = |first: &LogIndex| SegmentSummary::unknown(*first, SegmentState::Missing);
    summary.segments.extend(files.holes.keys().map(missing));
    summary.segments.sort_unstable_by_key(|segment| segment.first);
    summary.end_each_where_the_next_begins();
    Ok(summary)
}

/// A segment, by its header; or its size, and what is wrong with that header.
fn sealed(
    file_system: &dyn FileSystem,
    files: &LogFiles,
    first: LogIndex,
) -> io::Result<Result<SegmentSummary, (u64, String)>> {
    let file = file_system.open(&files.store(first), OpenMode::Read)?;
    let bytes = file.size()?;
    let mut fixed = [0; SegmentFace::LEN];
    let read = file.read_at(0, &mut fixed)?;
    Ok(match SegmentFace::decode(&fixed[..read]) {
        Ok(face) if face.first_log_index == first => Ok(SegmentSummary {
            first,
            last: None,
            first_offset: Some(face.first_offset),
            next_offset: None,
            bytes,
            created: Some(face.created),
            state: SegmentState::Sealed,
        }),
        Ok(face) => {
            let says = face.first_log_index;
            Err((
                bytes,
                format!("the header says entry {says}, the file's name {first}"),
            ))
        }
        Err(error) => Err((bytes, error.to_string())),
    })
}

impl SegmentSummary {
    /// Whether all of its records are below that offset.
    #[must_use]
    pub fn is_below(&self, offset: Offset) -> bool {
        let ends_below = self.next_offset.is_some_and(|next| next <= offset);
        ends_below && self.first_offset < self.next_offset
    }

    /// One of which nothing can be read.
    fn unknown(first: LogIndex, state: SegmentState) -> Self {
        Self {
            first,
            last: None,
            first_offset: None,
            next_offset: None,
            bytes: 0,
            created: None,
            state,
        }
    }
}

impl LogSummary {
    /// Below which offset the log is trimmed; `None`: that cannot be told. Records below it may lie there yet, and no node reads them.
    #[must_use]
    pub fn trimmed_below(&self) -> Option<Offset> {
        Some(self.end.as_ref()?.trim_point())
    }

    /// Where the records begin that lie there, trimmed or not; `None`: that cannot be told.
    #[must_use]
    pub fn first_offset(&self) -> Option<Offset> {
        self.segments.first()?.first_offset
    }

    /// The lowest offset that a node reads; `None`: that cannot be told.
    #[must_use]
    pub fn earliest(&self) -> Option<Offset> {
        Some(
            self.first_offset()?
                .max(self.trimmed_below().unwrap_or(Offset::ZERO)),
        )
    }

    fn look_at_last(&mut self, file_system: &dyn FileSystem, files: &LogFiles, first: LogIndex) {
        let question = Question {
            file_system,
            files,
            first,
            is_last: true,
            cluster_id: None,
        };
        let seen = question.ask(&mut self.findings, &mut |_| ());
        self.torn_bytes = seen.torn_bytes;
        if let Some(last) = self.segments.last_mut().filter(|_| seen.face.is_some()) {
            last.state = SegmentState::Active;
            last.last = (seen.last_seen >= first).then_some(seen.last_seen);
            last.next_offset = seen.behind.as_ref().map(Checkpoint::next_offset);
        }
        self.end = seen.behind;
    }

    fn end_each_where_the_next_begins(&mut self) {
        for number in 1..self.segments.len() {
            let next = (self.segments[number].first, self.segments[number].first_offset);
            let segment = &mut self.segments[number - 1];
            segment.last = Some(LogIndex(next.0.get() - 1)).filter(|last| *last >= segment.first);
            segment.next_offset = next.1;
        }
    }
}
