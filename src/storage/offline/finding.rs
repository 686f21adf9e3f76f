//! What is not as it should be, where, and what it means.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::read_only::file_of;
use crate::types::Position;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nothing needs to be done.
    Note,
    /// The next start mends it, and nothing that was acknowledged is lost by it.
    Mends,
    /// Bytes are not what was written, or files are not there: a start reports it, or refuses.
    Fault,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// The file, or the directory that lacks one.
    pub path: PathBuf,
    /// Where in the file; `None`: it is about the file as a whole.
    pub position: Option<Position>,
    /// What was found.
    pub what: String,
    /// What that means, or what to do.
    pub meaning: &'static str,
}

/// All findings of one look at a log, bounded: a disk of noise must not fill the memory.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    all: Vec<Finding>,
    untold: u64,
    worst: Option<Weight>,
}

const UNREADABLE: &str =
    "what is in it is not known: look at the disk, and at whom the file belongs to and who may read it";

/// More than anybody reads; each takes a few hundred bytes.
const FINDINGS_MAX: usize = 1000;

impl Findings {
    /// In the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.all.iter()
    }

    /// How many there are, with those that are only counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.all.len() as u64 + self.untold
    }

    /// How many more there are than are kept.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// The worst of them; `None`: there are none.
    #[must_use]
    pub fn worst(&self) -> Option<Weight> {
        self.worst
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.worst = self.worst.max(Some(finding.weight));
        if self.all.len() < FINDINGS_MAX {
            self.all.push(finding);
        } else {
            self.untold += 1;
        }
    }

    /// Puts what was found earlier in front.
    pub(super) fn put_first(&mut self, earlier: Self) {
        let later = std::mem::replace(self, earlier);
        self.untold += later.untold;
        self.worst = self.worst.max(later.worst);
        for finding in later.all {
            self.add(finding);
        }
    }

    /// The first fault.
    pub(super) fn into_first_fault(self) -> Option<Finding> {
        self.all
            .into_iter()
            .find(|finding| finding.weight == Weight::Fault)
    }

    /// The file that the error names, or else `path`, cannot be read; `position`: from there on. Said once.
    pub(super) fn unreadable(&mut self, path: &Path, position: Option<u64>, error: &io::Error) {
        let (path, error) = file_of(error).unwrap_or((path, error));
        let is_told = |told: &Finding| told.weight == Weight::Fault && told.path == path;
        if !self.all.iter().any(is_told) {
            self.add(Finding {
                weight: Weight::Fault,
                path: path.to_owned(),
                position: position.map(Position),
                what: format!("it cannot be read: {}", error),
                meaning: UNREADABLE,
            });
        }
    }

    /// About a file as a whole.
    pub(super) fn of_file(
        &mut self,
        weight: Weight,
        path: &Path,
        what: impl Into<String>,
        meaning: &'static str,
    ) {
        self.add(Finding {
            weight,
            path: path.to_owned(),
            position: None,
            what: what.into(),
            meaning,
        });
    }

    /// About a place in a file.
    pub(super) fn at(
        &mut self,
        weight: Weight,
        path: &Path,
        position: u64,
        what: impl Into<String>,
        meaning: &'static str,
    ) {
        self.add(Finding {
            weight,
            path: path.to_owned(),
            position: Some(Position(position)),
            what: what.into(),
            meaning,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_counted_and_weighs() {
        let mut findings = Findings::default();
        assert_eq!(findings.worst(), None);
        for _ in 0..FINDINGS_MAX {
            findings.of_file(Weight::Note, Path::new("a"), "", "");
        }
        findings.of_file(Weight::Fault, Path::new("a"), "", "");
        assert_eq!(findings.iter().count(), FINDINGS_MAX);
        assert_eq!(
            (findings.count(), findings.untold()),
            (FINDINGS_MAX as u64 + 1, 1)
        );
        assert_eq!(findings.worst(), Some(Weight::Fault));
    }
}
