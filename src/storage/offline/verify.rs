//! Whether a log is whole: every byte of it that means anything is read.

use std::{io, path::Path};

use super::{
    Findings, LogFiles, ReadOnly, Weight, promises,
    received::check_received,
    segment::{Question, Seen},
};
use crate::{
    storage::{Checkpoint, beginning, names},
    types::{ClusterId, LogIndex, Offset, Term},
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
/// Blocking: reads every store whole. Errors: a file, or the directory, cannot be read.
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
    if files.installing {
        findings.of_file(
            Weight::Mends,
            &names::manifest_installing(directory),
            "a snapshot was being installed when the node stopped",
            "the next start ends that; until then segments are not compared with one another",
        );
    }
    check_received(file_system, &files, cluster_id, findings)?;
    let begins = promises::check_beginning(file_system, directory, cluster_id, findings)?;
    let known = promises::check_committed(file_system, directory, findings)?;
    let (mut first_offset, mut previous) = (None, None::<Seen>);
    for first in &files.stores {
        let question = Question {
            file_system,
            files: &files,
            first: *first,
            is_last: files.stores.last() == Some(first),
            cluster_id,
        };
        let seen = question.ask(&mut verified.findings, progress)?;
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
        check_ends(
            &files,
            begins.as_ref(),
            first_offset,
            known,
            previous.as_ref(),
            &mut verified.findings,
        );
    }
    let last_term = previous.map_or(Term::ZERO, |last| last.last_term);
    promises::check_vote(file_system, directory, last_term, &mut verified.findings)?;
    Ok(verified)
}

const LOST: &str =
    "restore the files from a backup, or let the cluster bring them: start the node where others have them";

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

/// The log begins where it should, and goes on as far as it is known to.
fn check_ends(
    files: &LogFiles,
    begins: Option<&Checkpoint>,
    first_offset: Option<Offset>,
    known: LogIndex,
    last: Option<&Seen>,
    findings: &mut Findings,
) {
    let begins = begins.map(|before| before.last_log_index().plus(1));
    let Some(first) = files.first() else {
        let what = match begins {
            _ if known > LogIndex::ZERO => {
                format!("entries up to {known} were committed here, and no segment is left")
            }
            Some(begins) if begins > LogIndex(1) => {
                format!("the log begins with entry {begins}, and no segment is left")
            }
            _ => return,
        };
        findings.of_file(Weight::Fault, &files.directory, what, LOST);
        return;
    };
    let trim_point = last.and_then(|last| Some(last.behind.as_ref()?.trim_point()));
    let is_trimmed = first_offset.is_some_and(|first| trim_point.is_some_and(|trimmed| first <= trimmed));
    match begins {
        Some(begins) if begins < first && !is_trimmed => {
            let what = format!(
                "the log begins with entry {begins}, and its first segments, with the entries up to {}, are missing",
                first.get() - 1
            );
            let noted_in = files.directory.join(beginning::FILE_NAME);
            findings.of_file(Weight::Fault, &noted_in, what, LOST);
        }
        None if first > LogIndex(1) && !is_trimmed => findings.of_file(
            Weight::Note,
            &files.directory,
            format!("it begins with entry {first}, and nothing says whether there were others before that"),
            "logs of earlier versions have no file `beginning`; it is written at the next trim",
        ),
        Some(_) | None => {}
    }
    // Of a segment that is damaged, which was told, nobody knows where it ends.
    let Some(last) = last.filter(|last| last.behind.is_some() && last.last_seen < known) else {
        return;
    };
    let what = format!(
        "entries up to {known} were committed here, and those behind {} are gone",
        last.last_seen
    );
    findings.at(Weight::Fault, &files.store(last.first), last.end, what, LOST);
}
