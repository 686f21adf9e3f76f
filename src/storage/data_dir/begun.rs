//! The note that a node's log has begun, beside its identity: what tells a node that has not written yet from one whose log is gone.
//!
//! Without it a node whose `logs` were lost and whose identity was not would come back as the voter it was, with nothing of what it
//! had acknowledged and none of its promises.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
};

use super::DataDirError;
use crate::storage::fs::{FileSystem, OpenMode};

/// The note: a file, of which only the name counts.
const FILE_NAME: &str = "begun";

/// For people who find it.
const TEXT: &[u8] = b"This node's log has begun: without the directory `logs` the node does not start. To start it anew, empty all of \
    the data directory.\n";

/// Looks whether the log is where it was, and takes note of it where there is one. The directory is that of a node with an
/// identity.
///
/// Errors: `LogGone`; what the system says.
pub(super) fn look(fs: &dyn FileSystem, directory: &Path) -> Result<(), DataDirError> {
    if has_log(fs, directory)? {
        note(fs, directory).map_err(DataDirError::io("write", &directory.join(FILE_NAME)))
    } else {
        refuse_gone(fs, directory)
    }
}

/// Looks whether the log is where it was, and changes nothing.
///
/// Errors: as [`look`].
pub(in crate::storage) fn refuse_gone(fs: &dyn FileSystem, directory: &Path) -> Result<(), DataDirError> {
    let names = fs.list(directory).map_err(DataDirError::io("list", directory))?;
    if !names.iter().any(|name| name == FILE_NAME) || has_log(fs, directory)? {
        return Ok(());
    }
    Err(DataDirError::LogGone {
        path: log_of(directory),
        begun: directory.join(FILE_NAME),
    })
}

fn has_log(fs: &dyn FileSystem, directory: &Path) -> Result<bool, DataDirError> {
    let logs = log_of(directory);
    match fs.list(&logs) {
        Ok(names) => Ok(!names.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DataDirError::io("list", &logs)(error)),
    }
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join("logs").join("default")
}

/// Notes in the data directory that its log has begun; durable when the call returns. The same again is fine.
///
/// To be done once the first file of the log is there, and before anything is promised or acknowledged: before that a crash would leave a node that
/// does not start and has lost nothing, and after it the loss of the log would go unseen.
///
/// Errors: what the system says of the file `begun` there. Blocking.
pub fn note(fs: &dyn FileSystem, directory: &Path) -> io::Result<()> {
    match fs.open(&directory.join(FILE_NAME), OpenMode::CreateNew) {
        // A note that a power loss left empty says as much.
        Ok(file) => {
            file.write_all_at(0, &mut [IoSlice::new(TEXT)])?;
            file.sync_data()?;
        }
        // Its name may not be durable yet, if whoever made it failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    fs.sync_dir(directory)
}
