//! A file system that only reads: whoever holds it can change nothing, whatever the code above does. Its errors name the file.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::storage::fs::{File, FileSystem, Mapping, NotAFile, OpenMode};

/// Another file system, of which nothing can be changed: calls that would are refused.
#[derive(Clone, Debug)]
pub struct ReadOnly(Arc<dyn FileSystem>);

impl ReadOnly {
    /// Of `file_system`.
    #[must_use]
    pub fn new(file_system: Arc<dyn FileSystem>) -> Self {
        Self(file_system)
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

/// An error, and of which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct OfFile {
    path: PathBuf,
    source: io::Error,
}

/// The same error with the file in front.
fn of(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_owned();
    move |source| io::Error::new(source.kind(), OfFile { path, source })
}

/// Of which file an error is, and what the system said; `None`: it is of none.
pub(super) fn file_of(error: &io::Error) -> Option<(&Path, &io::Error)> {
    let of = error.get_ref()?.downcast_ref::<OfFile>()?;
    Some((&of.path, &of.source))
}

impl FileSystem for ReadOnly {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match mode {
            OpenMode::Read => {
                let file = self.0.open(path, mode).map_err(of(path))?;
                let path = path.to_owned();
                Ok(Arc::new(ReadOnlyFile { file, path }))
            }
            OpenMode::ReadWrite | OpenMode::CreateNew => refused(),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory).map_err(of(directory))
    }

    fn list_others(&self, directory: &Path) -> io::Result<Vec<(String, NotAFile)>> {
        self.0.list_others(directory).map_err(of(directory))
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.0.free_bytes(directory)
    }
}

#[derive(Debug)]
struct ReadOnlyFile {
    file: Arc<dyn File>,
    path: PathBuf,
}

impl File for ReadOnlyFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size().map_err(of(&self.path))
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, into).map_err(of(&self.path))
    }

    fn write_all_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn map(&self) -> io::Result<Mapping> {
        self.file.map().map_err(of(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::RealFileSystem;

    #[test]
    fn whatever_would_change_something_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, "as it was").unwrap();
        let fs = ReadOnly::new(Arc::new(RealFileSystem));
        let new = temp.path().join("new");
        assert!(fs.open(&path, OpenMode::ReadWrite).is_err());
        assert!(fs.open(&new, OpenMode::CreateNew).is_err());
        assert!(fs.create_dir_all(&new).is_err() && fs.rename(&path, &new).is_err());
        assert!(fs.remove(&path).is_err() && fs.sync_dir(temp.path()).is_err());
        let file = fs.open(&path, OpenMode::Read).unwrap();
        assert!(file.write_all_at(0, &mut [IoSlice::new(b"x")]).is_err());
        assert!(file.set_len(1).is_err() && file.sync_data().is_err());
        assert_eq!(fs.list(temp.path()).unwrap(), ["file"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"as it was");
    }
}
