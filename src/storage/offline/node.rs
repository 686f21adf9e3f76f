//! A data directory as a whole: whose it is, and its log.

use std::{io, path::Path};

use super::{Findings, LogFiles, ReadOnly, Verified, Weight, files::note_no_file, verify};
use crate::{
    error::causes,
    storage::{
        data_dir::{self, DataDirError, IdleDataDir},
        fs::{FileSystem, NotAFile},
    },
    types::ClusterId,
};

/// The files of a data directory beside its logs.
const FILES: [&str; 5] = ["LOCK", "identity", "begun", "removed", "peers"];

/// Whether all that a data directory holds is whole, as [`verify`] tells it of the log, and the identity.
///
/// Blocking: reads every store whole. Errors: the data directory cannot be read; what in it cannot is a finding.
pub fn verify_node(
    file_system: &ReadOnly,
    data: &IdleDataDir,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Verified> {
    let mut findings = Findings::default();
    for (name, kind) in file_system.list_others(data.path())? {
        if FILES.contains(&name.as_str()) {
            note_no_file(file_system, &data.path().join(name), kind, &mut findings);
        }
    }
    for place in [data.path().join("logs"), data.log_path()] {
        note_no_directory(file_system, &place, &mut findings);
    }
    let cluster_id = check_identity(file_system, data, &mut findings);
    let directory = data.log_path();
    // A directory that cannot be listed is told of below.
    if let Err(DataDirError::LogGone { path, .. }) = refuse_gone(file_system, data) {
        findings.of_file(
            Weight::Fault,
            &path,
            "it is missing or empty, and the file `begun` says that this node has a log",
            "the node does not start: put the directory back, or start it anew with an empty data directory",
        );
    }
    let mut verified = match verify(file_system, &directory, cluster_id, progress) {
        Ok(verified) => verified,
        // A node that has never started its log has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Verified::default(),
        Err(error) => {
            findings.unreadable(&directory, None, &error);
            Verified::default()
        }
    };
    verified.findings.put_first(findings);
    Ok(verified)
}

/// Something that is no directory, nor leads to one, where one belongs.
fn note_no_directory(file_system: &ReadOnly, path: &Path, findings: &mut Findings) {
    let beside = path.parent().map(|above| file_system.list_others(above));
    let beside = beside.and_then(Result::ok).unwrap_or_default();
    let is_other = |(name, kind): &(String, NotAFile)| {
        path.ends_with(name) && *kind != NotAFile::Directory && file_system.list(path).is_err()
    };
    if beside.iter().any(is_other) {
        let what = "it is no directory, and leads to none";
        findings.of_file(
            Weight::Fault,
            path,
            what,
            "the directory of the log belongs there: put it back",
        );
    }
}

/// Whether the log is where it was, once it has begun.
///
/// Blocking. Errors: `LogGone`; what the system says.
pub fn refuse_gone(file_system: &ReadOnly, data: &IdleDataDir) -> Result<(), DataDirError> {
    data_dir::refuse_gone(file_system, data.path())
}

fn is_no_log(file_system: &ReadOnly, data: &IdleDataDir) -> bool {
    let listed = LogFiles::list(file_system, &data.log_path());
    listed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whose the data is, as far as that can be told.
fn check_identity(file_system: &ReadOnly, data: &IdleDataDir, findings: &mut Findings) -> Option<ClusterId> {
    const NO_START: &str = "the node does not start: restore the file from a backup of this node, or start it anew with an empty \
         data directory";
    let path = data.path().join("identity");
    match data.identity() {
        Ok(Some(identity)) => return identity.cluster_id,
        Ok(None) if is_no_log(file_system, data) => {}
        Ok(None) => findings.of_file(
            Weight::Fault,
            &path,
            "it is missing, and there is a log: nobody knows whose",
            NO_START,
        ),
        Err(DataDirError::IdentityDamaged { position, what, .. }) => {
            findings.at(Weight::Fault, &path, position.get(), *what, NO_START);
        }
        Err(DataDirError::NewerFormat { found, .. }) => findings.of_file(
            Weight::Fault,
            &path,
            format!("it has format version {found}"),
            "a newer program wrote it; use that one",
        ),
        Err(DataDirError::Io { source, .. }) => findings.unreadable(&path, None, source),
        Err(error) => findings.of_file(Weight::Fault, &path, causes(error), NO_START),
    }
    None
}
