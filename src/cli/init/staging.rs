//! A directory that is there as a whole or not at all.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    super::certs::{CertsFailure, is_there},
    error::InitFailure,
};

/// For its owner alone: keys are in it, and the data of nodes will be.
const MODE: u32 = 0o700;

/// What is to become the directory, beside where it will be; gone again unless it is put in place.
#[derive(Debug)]
pub(super) struct Staging {
    temporary: TempDir,
    parent: PathBuf,
    directory: PathBuf,
}

impl Staging {
    /// An empty one.
    ///
    /// Errors: `Exists`, `NoParent`, `NoName`, `Files`.
    pub(super) fn beside(directory: &Path) -> Result<Self, InitFailure> {
        let path = || directory.to_owned();
        if is_there(directory)? {
            return Err(InitFailure::Exists { path: path() });
        }
        let name = directory
            .file_name()
            .ok_or_else(|| InitFailure::NoName { path: path() })?;
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(MODE))
            .tempdir_in(parent)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => InitFailure::NoParent {
                    path: parent.to_owned(),
                },
                _ => CertsFailure::io("make", directory)(error).into(),
            })?;
        Ok(Self {
            temporary,
            parent: parent.to_owned(),
            directory: path(),
        })
    }

    /// Where to put what is to be in it.
    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives it its name; it is on the disk once this returns.
    ///
    /// Errors: `Exists`, when somebody else has made something of that name meanwhile; `Files`.
    pub(super) fn put_in_place(self) -> Result<(), InitFailure> {
        sync(self.temporary.path())?;
        // Takes the place of nothing but an empty directory.
        fs::rename(self.temporary.path(), &self.directory).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => InitFailure::Exists {
                path: self.directory.clone(),
            },
            _ => CertsFailure::io("make", &self.directory)(error).into(),
        })?;
        // Under its old name there is nothing left to remove.
        let _old_name = self.temporary.keep();
        Ok(sync(&self.parent)?)
    }
}

fn sync(directory: &Path) -> Result<(), CertsFailure> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(CertsFailure::io("sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_put_in_place_leaves_nothing_and_what_came_meanwhile_stays() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("new");
        let names = || fs::read_dir(above.path()).unwrap().count();
        let staging = Staging::beside(&directory).unwrap();
        fs::write(staging.path().join("file"), "x").unwrap();
        assert_eq!(names(), 1);
        drop(staging);
        assert_eq!(names(), 0);

        let late = Staging::beside(&directory).unwrap();
        fs::write(late.path().join("file"), "late").unwrap();
        let early = Staging::beside(&directory).unwrap();
        fs::write(early.path().join("file"), "early").unwrap();
        early.put_in_place().unwrap();
        let refused = late.put_in_place();
        assert!(matches!(refused, Err(InitFailure::Exists { .. })), "{refused:?}");
        assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "early");
        assert_eq!(names(), 1);
    }
}
