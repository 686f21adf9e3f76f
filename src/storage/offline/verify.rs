//! Whether a log is whole: every byte of it that means anything is read.

use std::{io, path::Path};

use super::{
    Findings, LogFiles, ReadOnly, Weight,
    ends::{Ends, LOST},
    promises,
    received::check_received,
    segment::{Question, Seen},
};
use crate::{
    storage::names,
    types::{ClusterId, Offset, Term},
};

/// What was read, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// What is not as it should be.
    pub findings: Findings,
    /// Segments that were read.
    pub segments: u64,
    /// Bytes of their stores.
    pub bytes: u64,
    /// Entries of which an intact header was seen.
    pub entries: u64,
    /// The oldest offset that is there; `None` where that cannot be told.
    pub earliest: Option<Offset>,
    /// The offset behind the last record; `None` where that cannot be told.
    pub tail: Option<Offset>,
}

/// Reads all of the log in a directory. `progress` hears how many bytes more were read. Without `cluster_id` the log may be any
/// cluster's.
///
/// Blocking: reads every store whole. Errors: the directory cannot be read; a file that cannot is a finding.
pub fn verify(
    file_system: &ReadOnly,
    directory: &Path,
    cluster_id: Option<ClusterId>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Verified> {
    let files = LogFiles::list(file_system, directory)?;
    let mut verified = Verified::default();
    let findings = &mut verified.findings;
    files.note_leftovers(findings);
    files.note_no_files(file_system, findings);
    if files.installing {
        findings.of_file(
            Weight::Mends,
            &names::manifest_installing(directory),
            "a snapshot was being installed when the node stopped",
            "the next start ends that; until then segments are not compared with one another",
        );
    }
    check_received(file_system, &files, cluster_id, findings);
    let ends = Ends::read(file_system, directory, cluster_id, findings);
    let (mut first_offset, mut previous) = (None, None::<Seen>);
    for first in &files.stores {
        let question = Question {
            file_system,
            files: &files,
            first: *first,
            is_last: files.stores.last() == Some(first),
            cluster_id,
        };
        let seen = question.ask(&mut verified.findings, progress);
        verified.segments += 1;
        verified.bytes += seen.size;
        verified.entries += seen.entries;
        match &previous {
            None => first_offset = seen.face.map(|face| face.first_offset),
            Some(previous) if !files.installing => {
                check_follows(&files, previous, &seen, &mut verified.findings);
            }
            Some(_) => {}
        }
        previous = Some(seen);
    }
    verified.earliest = first_offset;
    verified.tail = previous
        .as_ref()
        .and_then(|last| Some(last.behind.as_ref()?.next_offset()));
    if !files.installing {
        let trim_point = || Some(previous.as_ref()?.behind.as_ref()?.trim_point());
        ends.check_beginning(&files, first_offset, trim_point, &mut verified.findings);
        // Of a segment that is damaged, which was told, nobody knows where it ends.
        if let Some(last) = previous.as_ref().filter(|last| last.behind.is_some()) {
            ends.check_end(
                &files.store(last.first),
                last.end,
                last.last_seen,
                &mut verified.findings,
            );
        }
    }
    let last_term = previous.map_or(Term::ZERO, |last| last.last_term);
    promises::check_vote(file_system, directory, last_term, &mut verified.findings);
    Ok(verified)
}

/// Nothing is missing between two segments, and both tell the same of the log between them.
fn check_follows(files: &LogFiles, previous: &Seen, next: &Seen, findings: &mut Findings) {
    let is_hole = files.holes.range(previous.first..next.first).next().is_some();
    if is_hole {
        return;
    }
    let path = files.store(next.first);
    let expected = match &previous.behind {
        Some(behind) => behind.last_log_index().plus(1),
        // Where the end of the one before cannot be read, it may be anything behind what was seen of it.
        None if next.first > previous.last_seen => return,
        None => previous.last_seen.plus(1),
    };
    if next.first > expected {
        let what = format!(
            "entries {expected} to {} before it are missing",
            next.first.get() - 1
        );
        findings.at(Weight::Fault, &path, 0, what, LOST);
    } else if next.first < expected {
        let what = format!(
            "it begins with entry {}, and the segment before it goes on to entry {}",
            next.first,
            expected.get() - 1
        );
        findings.at(
            Weight::Fault,
            &path,
            0,
            what,
            "one of the two is not of this log: look where they come from",
        );
    } else if let (Some(behind), Some(before)) = (&previous.behind, &next.before)
        && behind != before
    {
        let what = "its header tells another state of the log before it than the segments before it come to";
        findings.at(
            Weight::Fault,
            &path,
            0,
            what,
            "one of the two is not of this log: look where they come from",
        );
    }
}
