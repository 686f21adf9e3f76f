//! A data directory as a whole: whose it is, and its log.

use std::io;

use super::{Findings, LogFiles, ReadOnly, Verified, Weight, verify};
use crate::storage::data_dir::{DataDirError, IdleDataDir, refuse_gone};

/// Whether all that a data directory holds is whole, as [`verify`] tells it of the log, and the identity.
///
/// Blocking: reads every store whole. Errors: a file, or the directory, cannot be read.
pub fn verify_node(
    file_system: &ReadOnly,
    data: &IdleDataDir,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Verified> {
    let mut findings = Findings::default();
    let cluster_id = check_identity(file_system, data, &mut findings)?;
    let directory = data.log_path();
    match refuse_gone(file_system, data.path()) {
        Ok(()) => {}
        Err(DataDirError::LogGone { path, .. }) => findings.of_file(
            Weight::Fault,
            &path,
            "it is missing or empty, and the file `begun` says that this node has a log",
            "the node does not start: put the directory back, or start it anew with an empty data directory",
        ),
        Err(error) => return Err(io::Error::other(crate::error::causes(&error))),
    }
    let mut verified = match verify(file_system, &directory, cluster_id, progress) {
        // A node that has never started its log has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_no_log(file_system, data) => {
            Verified::default()
        }
        verified => verified?,
    };
    verified.findings.put_first(findings);
    Ok(verified)
}

fn is_no_log(file_system: &ReadOnly, data: &IdleDataDir) -> bool {
    let listed = LogFiles::list(file_system, &data.log_path());
    listed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whose the data is, as far as that can be told.
fn check_identity(
    file_system: &ReadOnly,
    data: &IdleDataDir,
    findings: &mut Findings,
) -> io::Result<Option<crate::types::ClusterId>> {
    const NO_START: &str = "the node does not start: restore the file from a backup of this node, or start it anew with an empty \
         data directory";
    let path = data.path().join("identity");
    match data.identity() {
        Ok(Some(identity)) => return Ok(identity.cluster_id),
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
        Err(error) => return Err(io::Error::other(crate::error::causes(error))),
    }
    Ok(None)
}
