//! Which files a log's directory has.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::RangeBounds,
    path::{Path, PathBuf},
};

use super::{Findings, Weight};
use crate::{
    storage::{
        beginning, commit_note,
        fs::{FileSystem, NotAFile, OpenMode},
        names, vote,
    },
    types::LogIndex,
};

/// The files beside the segments.
const BESIDE_SEGMENTS: [&str; 3] = [vote::FILE_NAME, commit_note::FILE_NAME, beginning::FILE_NAME];

/// The files of a log, by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFiles {
    /// Where they are.
    pub directory: PathBuf,
    /// First entries of the segments that are there.
    pub stores: BTreeSet<LogIndex>,
    /// First entries of the segments of which an index is there.
    pub indexes: BTreeSet<LogIndex>,
    /// First entries of segments that were taken out, damaged, and are missing; with the number of the newest file.
    pub holes: BTreeMap<LogIndex, u32>,
    /// What was taken out and is replaced, or is kept for people.
    pub taken_out: Vec<String>,
    /// What never became part of the log.
    pub preparing: Vec<String>,
    /// What is being received from another node.
    pub received: Vec<String>,
    /// An install was cut short.
    pub installing: bool,
    /// Files that are none of the log's.
    pub others: Vec<String>,
    /// What is no file at all.
    pub no_files: Vec<(String, NotAFile)>,
}

impl LogFiles {
    /// Lists the directory.
    ///
    /// Blocking.
    pub fn list(file_system: &dyn FileSystem, directory: &Path) -> io::Result<Self> {
        let mut names = file_system.list(directory)?;
        names.sort_unstable();
        let mut no_files = file_system.list_others(directory)?;
        no_files.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut files = Self {
            directory: directory.to_owned(),
            no_files,
            ..Self::default()
        };
        for name in names {
            files.sort_in(name);
        }
        let replaced: Vec<_> = files.holes.keys().copied().collect();
        for first in replaced.into_iter().filter(|first| files.stores.contains(first)) {
            files.holes.remove(&first);
        }
        Ok(files)
    }

    fn sort_in(&mut self, name: String) {
        if let Some(first) = names::first_of_store(&name) {
            self.stores.insert(first);
        } else if let Some(first) = names::first_of_index(&name) {
            self.indexes.insert(first);
        } else if let Some((first, number)) = names::of_quarantined(&name) {
            let newest = self.holes.entry(first).or_insert(number);
            *newest = number.max(*newest);
            self.taken_out.push(name);
        } else if names::of_closed(&name).is_some() {
            self.taken_out.push(name);
        } else if names::is_preparing(&name) {
            self.preparing.push(name);
        } else if names::is_manifest_installing(&name) {
            self.installing = true;
        } else if names::is_manifest_incoming(&name)
            || names::first_of_incoming(&name).is_some()
            || names::first_of_staged(&name).is_some()
        {
            self.received.push(name);
        } else if !BESIDE_SEGMENTS.contains(&name.as_str()) {
            self.others.push(name);
        }
    }

    /// Whether a file of that name is one of the log's.
    fn is_of_a_log(name: &str) -> bool {
        let mut alone = Self::default();
        alone.sort_in(name.to_owned());
        alone.others.is_empty()
    }

    /// Where the store of a segment is.
    #[must_use]
    pub fn store(&self, first: LogIndex) -> PathBuf {
        names::store(&self.directory, first)
    }

    /// Where the index of a segment is.
    #[must_use]
    pub fn index(&self, first: LogIndex) -> PathBuf {
        names::index(&self.directory, first)
    }

    /// Bytes of all stores.
    ///
    /// Blocking: asks for the size of each.
    pub fn bytes(&self, file_system: &dyn FileSystem) -> io::Result<u64> {
        let size = |first: &LogIndex| file_system.open(&self.store(*first), OpenMode::Read)?.size();
        self.stores.iter().map(size).sum()
    }

    /// The first entry that is there, or is known to be missing.
    pub(super) fn first(&self) -> Option<LogIndex> {
        let firsts = self.stores.first().into_iter().chain(self.holes.keys().next());
        firsts.min().copied()
    }

    /// What lies where files of the log belong, and is none. A link to a file is one to whoever opens it by its name, as is done with all but
    /// segments, which are listed.
    ///
    /// Blocking.
    pub(super) fn note_no_files(&self, file_system: &dyn FileSystem, findings: &mut Findings) {
        for (name, kind) in &self.no_files {
            let path = self.directory.join(name);
            if !Self::is_of_a_log(name) {
                findings.of_file(
                    Weight::Note,
                    &path,
                    kind.to_string(),
                    "it is no part of the log; it is left alone",
                );
            } else if names::first_of_store(name).is_some() {
                findings.of_file(
                    Weight::Fault,
                    &path,
                    kind.to_string(),
                    "a node sees no segment in it: put the file itself there",
                );
            } else {
                note_no_file(file_system, &path, *kind, findings);
            }
        }
    }

    /// What is there beside the log itself.
    pub(super) fn note_leftovers(&self, findings: &mut Findings) {
        let mut note = |names: &[String], meaning| {
            for name in names {
                findings.of_file(
                    Weight::Note,
                    &self.directory.join(name),
                    "it is no part of the log",
                    meaning,
                );
            }
        };
        note(
            &self.preparing,
            "it was never finished; the next start removes it",
        );
        note(
            &self.received,
            "it is being received from another node, which goes on when the node runs",
        );
        let taken_out: Vec<_> = self
            .taken_out
            .iter()
            .filter(|name| {
                names::of_quarantined(name).is_none_or(|(first, _)| !self.holes.contains_key(&first))
            })
            .cloned()
            .collect();
        note(
            &taken_out,
            "a damaged segment that was replaced; kept for people, and may be removed",
        );
        note(
            &self.others,
            "no file of that name belongs here; it is left alone",
        );
        for first in self.indexes.difference(&self.stores) {
            findings.of_file(
                Weight::Note,
                &self.index(*first),
                "it has no store",
                "an index of what was trimmed; the next start removes it",
            );
        }
        self.note_holes(.., findings);
    }

    /// Segments that were taken out and are missing, of those that begin with such an entry.
    pub(super) fn note_holes(&self, firsts: impl RangeBounds<LogIndex>, findings: &mut Findings) {
        for (first, number) in self.holes.range(firsts) {
            findings.of_file(
                Weight::Fault,
                &names::quarantined(&self.directory, *first, *number),
                format!("the segment that begins with entry {first} was damaged and taken out, and nothing has taken its place"),
                "the leader of its cluster repairs it when the node runs; a node that is alone needs a backup of that file",
            );
        }
    }
}

/// Something that is no file, where one belongs that is opened by its name.
pub(super) fn note_no_file(
    file_system: &dyn FileSystem,
    path: &Path,
    kind: NotAFile,
    findings: &mut Findings,
) {
    let leads_to_a_file = kind == NotAFile::Link && file_system.open(path, OpenMode::Read).is_ok();
    let (weight, meaning) = if leads_to_a_file {
        (
            Weight::Note,
            "what it leads to is read; a node that writes the file anew replaces the link",
        )
    } else {
        (
            Weight::Fault,
            "a file belongs there: somebody has put this in its place, and a node cannot replace it",
        )
    };
    findings.of_file(weight, path, kind.to_string(), meaning);
}

/// The bytes of a file, at most so many.
pub(super) fn read_small(file_system: &dyn FileSystem, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = file_system.open(path, OpenMode::Read)?;
    let size = usize::try_from(file.size()?.min(bytes_max)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::RealFileSystem;

    #[test]
    fn each_file_is_known_for_what_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let names = [
            "00000000000000000001.store",
            "00000000000000000001.store.quarantined.1",
            "00000000000000000005.store.quarantined.2",
            "00000000000000000007.index",
            "00000000000000000009.store.closed.1",
            "00000000000000000009.incoming",
            "manifest.incoming",
            "manifest.installing",
            "vote.preparing",
            "vote",
            "committed",
            "beginning",
            "notes.txt",
        ];
        for name in names {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        let files = LogFiles::list(&RealFileSystem, temp.path()).unwrap();
        let wanted = LogFiles {
            directory: temp.path().to_owned(),
            stores: [LogIndex(1)].into(),
            indexes: [LogIndex(7)].into(),
            holes: [(LogIndex(5), 2)].into(),
            taken_out: vec![names[1].to_owned(), names[2].to_owned(), names[4].to_owned()],
            preparing: vec![names[8].to_owned()],
            received: vec![names[5].to_owned(), names[6].to_owned()],
            installing: true,
            others: vec![names[12].to_owned()],
            no_files: Vec::new(),
        };
        assert_eq!(files, wanted);
        let mut findings = Findings::default();
        files.note_leftovers(&mut findings);
        let of = |weight: Weight| {
            findings
                .iter()
                .filter(move |finding| finding.weight == weight)
                .count()
        };
        assert_eq!((of(Weight::Note), of(Weight::Fault)), (7, 1));
    }
}
