//! The files in which a transfer gathers: beside the log's own, under names that the log does not look at, so that each
//! becomes part of the log by a rename within one directory.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Manifest, TransferError};
use crate::{
    storage::{
        fs::{File, FileSystem, OpenMode},
        names,
        segment::for_each_piece,
    },
    types::LogIndex,
};

/// The staging files of one log.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    pub(super) file_system: Arc<dyn FileSystem>,
    pub(super) directory: PathBuf,
}

impl Staging {
    /// The manifest of what is being received; `None` when nothing is, or its bytes are not whole.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>, TransferError> {
        let path = names::manifest_incoming(&self.directory);
        let bytes = match read_whole(&*self.file_system, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        Ok(Manifest::decode(&bytes).ok())
    }

    /// Makes `manifest` the one of what is being received, durably.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError> {
        let path = names::manifest_incoming(&self.directory);
        let preparing = names::preparing(&self.directory, "manifest");
        self.remove(&preparing)?;
        let file = self.create(&preparing)?;
        file.write_all_at(0, &mut [IoSlice::new(&manifest.encode())])
            .map_err(failed("write", &preparing))?;
        file.sync_data().map_err(failed("sync", &preparing))?;
        self.file_system
            .rename(&preparing, &path)
            .map_err(failed("rename", &preparing))?;
        self.sync_directory()
    }

    /// First entries of the segments of which there is a file, whole or not.
    pub(super) fn segments(&self) -> Result<Vec<LogIndex>, TransferError> {
        let names = self
            .file_system
            .list(&self.directory)
            .map_err(failed("list", &self.directory))?;
        let mut firsts: Vec<_> = names
            .iter()
            .filter_map(|name| names::first_of_incoming(name).or(names::first_of_staged(name)))
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        Ok(firsts)
    }

    /// Opens the file of a segment that was verified.
    pub(super) fn open_staged(&self, first: LogIndex) -> Result<Option<Arc<dyn File>>, TransferError> {
        self.open(&names::staged(&self.directory, first))
    }

    /// Opens that of one that is not whole.
    pub(super) fn open_incoming(&self, first: LogIndex) -> Result<Option<Arc<dyn File>>, TransferError> {
        self.open(&names::incoming(&self.directory, first))
    }

    fn open(&self, path: &Path) -> Result<Option<Arc<dyn File>>, TransferError> {
        match self.file_system.open(path, OpenMode::ReadWrite) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("open", path)(error)),
        }
    }

    /// An empty file for a segment.
    pub(super) fn begin_segment(&self, first: LogIndex) -> Result<Arc<dyn File>, TransferError> {
        let path = names::incoming(&self.directory, first);
        self.remove(&path)?;
        self.create(&path)
    }

    /// Gives a segment that was verified the name that says so.
    pub(super) fn set_staged(&self, first: LogIndex) -> Result<(), TransferError> {
        let incoming = names::incoming(&self.directory, first);
        self.file_system
            .rename(&incoming, &names::staged(&self.directory, first))
            .map_err(failed("rename", &incoming))
    }

    /// Throws away what there is of a segment.
    pub(super) fn remove_segment(&self, first: LogIndex) -> Result<(), TransferError> {
        self.remove(&names::incoming(&self.directory, first))?;
        self.remove(&names::staged(&self.directory, first))
    }

    /// Throws away everything.
    pub(super) fn clear(&self) -> Result<(), TransferError> {
        for first in self.segments()? {
            self.remove_segment(first)?;
        }
        self.remove(&names::manifest_incoming(&self.directory))?;
        self.sync_directory()
    }

    pub(super) fn sync_directory(&self) -> Result<(), TransferError> {
        self.file_system
            .sync_dir(&self.directory)
            .map_err(failed("sync", &self.directory))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>, TransferError> {
        self.file_system
            .open(path, OpenMode::CreateNew)
            .map_err(failed("create", path))
    }

    /// Removes a file; that it is not there is fine.
    fn remove(&self, path: &Path) -> Result<(), TransferError> {
        match self.file_system.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Makes the first `end` bytes of a file dirty again and cuts the rest off. They may be in memory only, taken for clean
/// after a failed sync of an earlier process: the next sync has to write them then.
pub(super) fn write_again(file: &Arc<dyn File>, end: u64) -> io::Result<()> {
    file.set_len(end)?;
    for_each_piece(file, 0, end, |position, piece| {
        file.write_all_at(position, &mut [IoSlice::new(piece)])
    })
}

/// Checksum of a whole file.
pub(super) fn crc_of(file: &Arc<dyn File>, size: u64) -> io::Result<u32> {
    let mut crc = 0;
    for_each_piece(file, 0, size, |_, piece| {
        crc = crc32c::crc32c_append(crc, piece);
        Ok(())
    })?;
    Ok(crc)
}

/// All bytes of a small file.
pub(in crate::storage) fn read_whole(file_system: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    let file = file_system.open(path, OpenMode::Read)?;
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// An error of the disk, with what was tried.
pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    let path = path.to_owned();
    move |source| TransferError::Io {
        path,
        operation,
        source,
    }
}
