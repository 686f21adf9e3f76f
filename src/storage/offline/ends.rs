//! Where a log should begin, and how far it should go on, as what lies beside its segments says.

use std::path::Path;

use super::{Findings, LogFiles, Weight, promises};
use crate::{
    storage::{Checkpoint, beginning, fs::FileSystem},
    types::{ClusterId, LogIndex, Offset},
};

/// What to do where something is missing.
pub(super) const LOST: &str =
    "restore the files from a backup, or let the cluster bring them: start the node where others have them";

/// Both ends.
#[derive(Debug)]
pub(super) struct Ends {
    /// What the log before its first entry amounts to; `None`: nobody knows.
    begins: Option<Checkpoint>,
    /// Entries up to here were synced in this log, and committed, as far as that is noted.
    committed: LogIndex,
}

impl Ends {
    /// As the files say that are there; what is wrong with those is found.
    ///
    /// Blocking.
    pub(super) fn read(
        file_system: &dyn FileSystem,
        directory: &Path,
        cluster_id: Option<ClusterId>,
        findings: &mut Findings,
    ) -> Self {
        Self {
            begins: promises::check_beginning(file_system, directory, cluster_id, findings),
            committed: promises::check_committed(file_system, directory, findings),
        }
    }

    /// Whether the log should have that entry or offset, though the first segment that is there begins behind it.
    pub(super) fn should_have(&self, is_from: impl FnOnce(&Checkpoint) -> bool) -> bool {
        self.begins.as_ref().is_some_and(is_from)
    }

    /// The log begins where it should. `first_offset` is that of its first segment, and `trim_point`, asked where it matters, says below
    /// which offset all of it may go.
    pub(super) fn check_beginning(
        &self,
        files: &LogFiles,
        first_offset: Option<Offset>,
        trim_point: impl FnOnce() -> Option<Offset>,
        findings: &mut Findings,
    ) {
        let begins = self.begins.as_ref().map(|before| before.last_log_index().plus(1));
        let Some(first) = files.first() else {
            let what = match begins {
                _ if self.committed > LogIndex::ZERO => {
                    format!(
                        "entries up to {} were committed here, and no segment is left",
                        self.committed
                    )
                }
                Some(begins) if begins > LogIndex(1) => {
                    format!("the log begins with entry {begins}, and no segment is left")
                }
                _ => return,
            };
            findings.of_file(Weight::Fault, &files.directory, what, LOST);
            return;
        };
        let should_begin = begins.unwrap_or(LogIndex(1));
        if should_begin >= first {
            return;
        }
        let is_trimmed = || Some(first_offset? <= trim_point()?);
        if is_trimmed().unwrap_or(false) {
            return;
        }
        if begins.is_some() {
            let what = format!(
                "the log begins with entry {should_begin}, and its first segments, with the entries up to {}, are missing",
                first.get() - 1
            );
            let noted_in = files.directory.join(beginning::FILE_NAME);
            findings.of_file(Weight::Fault, &noted_in, what, LOST);
        } else {
            findings.of_file(
                Weight::Note,
                &files.directory,
                format!(
                    "it begins with entry {first}, and nothing says whether there were others before that"
                ),
                "logs of earlier versions have no file `beginning`; it is written at the next trim",
            );
        }
    }

    /// The log goes on as far as it is known to; its last segment ends at that position, with the entry `last_seen`.
    pub(super) fn check_end(&self, last: &Path, end: u64, last_seen: LogIndex, findings: &mut Findings) {
        let known = self.committed;
        if last_seen < known {
            let what =
                format!("entries up to {known} were committed here, and those behind {last_seen} are gone");
            findings.at(Weight::Fault, last, end, what, LOST);
        }
    }
}
