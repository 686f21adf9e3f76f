//! The small files beside the segments: what the node has promised, what it knows to be committed, where its log begins.

use std::{io, path::Path};

use super::{Findings, Weight, files::read_small};
use crate::{
    storage::{
        Checkpoint, Committed, Vote,
        beginning::{self, Fault},
        commit_note,
        fs::FileSystem,
        vote::{self, Flaw, Mend},
    },
    types::{ClusterId, LogIndex, Term},
};

/// What the two copies of the vote say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteCopies {
    /// There is no file: the node has never voted here.
    None,
    /// Both say the same.
    Same(Vote),
    /// One of them is bad or older, as a crash leaves it: this is the vote.
    OneCounts(Vote),
    /// Nobody knows what the node has promised.
    Unknown,
    /// A newer program wrote the file.
    Version(u32),
}

impl VoteCopies {
    /// What the node has promised, where that is known.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        match self {
            Self::Same(vote) | Self::OneCounts(vote) => Some(*vote),
            Self::None | Self::Unknown | Self::Version(_) => None,
        }
    }
}

/// Of a small file, whatever is there in its place: more than the largest checkpoint takes.
const BYTES_MAX: u64 = 65 << 20;

/// A file, if it is there.
fn read(file_system: &dyn FileSystem, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_small(file_system, path, BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the file of the vote says.
///
/// Blocking.
pub(super) fn read_vote(file_system: &dyn FileSystem, directory: &Path) -> io::Result<VoteCopies> {
    let Some(bytes) = read(file_system, &directory.join(vote::FILE_NAME))? else {
        return Ok(VoteCopies::None);
    };
    let [first, second] = vote::slots(&bytes);
    let newer = [first, second].into_iter().find_map(|slot| match slot {
        Err(Flaw::Version(found)) => Some(found),
        Ok(_) | Err(Flaw::Damaged) => None,
    });
    if let Some(found) = newer {
        return Ok(VoteCopies::Version(found));
    }
    Ok(match (vote::judge(first, second), first, second) {
        (None, ..) => VoteCopies::Unknown,
        (Some(Mend::Second(slot)), Ok(_), Ok(_)) => VoteCopies::Same(slot.vote),
        (Some(Mend::Second(slot) | Mend::Both(slot)), ..) => VoteCopies::OneCounts(slot.vote),
    })
}

/// Reads the vote, and says what is wrong with it. `last_term` is that of the log's last entry.
pub(super) fn check_vote(
    file_system: &dyn FileSystem,
    directory: &Path,
    last_term: Term,
    findings: &mut Findings,
) {
    const NEW_NODE: &str = "the node does not start: remove it from the cluster, and start it anew with an empty data directory; an \
         old copy of the file would be as bad as none";
    let path = directory.join(vote::FILE_NAME);
    let copies = match read_vote(file_system, directory) {
        Ok(copies) => copies,
        Err(error) => return findings.unreadable(&path, None, &error),
    };
    match copies {
        VoteCopies::None | VoteCopies::Same(_) => {}
        VoteCopies::OneCounts(_) => findings.of_file(
            Weight::Mends,
            &path,
            "one of its two copies is damaged or older than the other",
            "the other one counts; the next start writes both",
        ),
        VoteCopies::Unknown => {
            findings.of_file(Weight::Fault, &path, "both of its copies are damaged", NEW_NODE);
            return;
        }
        VoteCopies::Version(found) => {
            let what = format!("it has format version {found}");
            findings.of_file(
                Weight::Fault,
                &path,
                what,
                "a newer program wrote it; use that one",
            );
            return;
        }
    }
    let term = copies.vote().map_or(Term::ZERO, |vote| vote.term);
    if term < last_term {
        let what =
            format!("it says term {term}, and the log holds entries of term {last_term}: votes were lost");
        findings.of_file(Weight::Fault, &path, what, NEW_NODE);
    }
}

/// What is noted as committed, and whether the file holds bytes that are no note.
///
/// Blocking.
pub(super) fn read_committed(
    file_system: &dyn FileSystem,
    directory: &Path,
) -> io::Result<(Option<Committed>, bool)> {
    let bytes = read(file_system, &directory.join(commit_note::FILE_NAME))?;
    let newest = bytes.as_deref().and_then(commit_note::newest);
    let is_unreadable = bytes.is_some() && newest.is_none();
    Ok((newest.map(|(_, note)| note), is_unreadable))
}

/// Entries up to here were synced in this log, and committed, as far as that is noted.
pub(super) fn check_committed(
    file_system: &dyn FileSystem,
    directory: &Path,
    findings: &mut Findings,
) -> LogIndex {
    let path = directory.join(commit_note::FILE_NAME);
    let (note, is_unreadable) = match read_committed(file_system, directory) {
        Ok(read) => read,
        Err(error) => {
            findings.unreadable(&path, None, &error);
            return LogIndex::ZERO;
        }
    };
    if is_unreadable {
        findings.of_file(
            Weight::Mends,
            &path,
            "no note in it is whole",
            "a cache: what is committed is found out again, and noted",
        );
    }
    note.map_or(LogIndex::ZERO, |note| note.log_index)
}

/// Where the log begins, as the file says. `None`: nobody knows.
///
/// Blocking.
pub(super) fn read_beginning(
    file_system: &dyn FileSystem,
    directory: &Path,
) -> io::Result<Option<Result<(ClusterId, Checkpoint), Fault>>> {
    let bytes = read(file_system, &directory.join(beginning::FILE_NAME))?;
    Ok(bytes.map(|bytes| beginning::decode(&bytes)))
}

/// What the log before its first entry amounts to, where that is known.
pub(super) fn check_beginning(
    file_system: &dyn FileSystem,
    directory: &Path,
    cluster_id: Option<ClusterId>,
    findings: &mut Findings,
) -> Option<Checkpoint> {
    let path = directory.join(beginning::FILE_NAME);
    let read = match read_beginning(file_system, directory) {
        Ok(read) => read,
        Err(error) => {
            findings.unreadable(&path, None, &error);
            return None;
        }
    };
    let (what, meaning) = match read? {
        Ok((found, before)) => match cluster_id.filter(|own| *own != found) {
            None => return Some(before),
            Some(own) => (
                format!("it belongs to cluster {found}, this node to cluster {own}"),
                "the node does not start: was the directory of another node copied here?",
            ),
        },
        Err(Fault::Damaged(what)) => (
            what,
            "the node does not start: restore it from a backup, or remove it if you know that the log's first segments are all there",
        ),
        Err(Fault::Version(found)) => (
            format!("it has format version {found}"),
            "a newer program wrote it; use that one",
        ),
    };
    findings.of_file(Weight::Fault, &path, what, meaning);
    None
}
