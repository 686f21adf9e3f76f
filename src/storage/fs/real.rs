//! The disk.

use std::{
    ffi::OsString,
    fs,
    io::{self, IoSlice},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::OFlags,
    io::{Errno, ReadWriteFlags},
};

use super::{File, FileSystem, Mapping, NotAFile, OpenMode};

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        // To open a FIFO would wait for whoever writes to it; a file does not care.
        let no_wait = OFlags::NONBLOCK.bits().to_ne_bytes();
        options.read(true).custom_flags(i32::from_ne_bytes(no_wait));
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        let file = options.open(path)?;
        match NotAFile::of(file.metadata()?.file_type()) {
            None => Ok(Arc::new(RealFile(file))),
            Some(other) => Err(other.into()),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = OsString::into_string(entry.file_name())
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn list_others(&self, directory: &Path) -> io::Result<Vec<(String, NotAFile)>> {
        let mut others = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Some(other) = NotAFile::of(entry.file_type()?) {
                others.push((entry.file_name().to_string_lossy().into_owned(), other));
            }
        }
        Ok(others)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        // Every directory that may be new is an entry in its parent; sync up to the first that surely existed.
        let mut at = Some(directory);
        while let Some(path) = at {
            if path.as_os_str().is_empty() {
                break;
            }
            match fs::File::open(path).and_then(|opened| opened.sync_all()) {
                Ok(()) => {}
                // A parent that we may pass through but not read was there before us.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path != directory => break,
                Err(error) => return Err(error),
            }
            at = path.parent();
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        fs::File::open(directory)?.sync_all()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read_at(&mut into[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_resident_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let len = into.len();
        let parts = &mut [io::IoSliceMut::new(into)];
        match rustix::io::preadv2(self.0.as_fd(), parts, position, ReadWriteFlags::NOWAIT) {
            Ok(read) if read == len => Ok(read),
            // Less: the rest is not in memory, or the file ends; the blocking read tells which. Some file systems cannot
            // say at all.
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write_all_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = parts;
        let mut position = position;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            // IOV_MAX on Linux is 1024; more in one call is EINVAL.
            let some = &rest[..rest.len().min(1024)];
            match rustix::io::pwritev(self.0.as_fd(), some, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn map(&self) -> io::Result<Mapping> {
        if self.size()? == 0 {
            return Ok(Arc::new([0_u8; 0]));
        }
        Ok(Arc::new(map_read_only(&self.0)?))
    }
}

#[expect(unsafe_code, reason = "memmap2 asks the caller to vouch for the file")]
fn map_read_only(file: &fs::File) -> io::Result<memmap2::Mmap> {
    // SAFETY: only sealed index files are mapped. This process holds the data directory's LOCK, never writes or cuts a
    // sealed index in place (a new one replaces it by rename), and reads through the mapping are checked against the
    // index's own checksum when it is opened.
    unsafe { memmap2::Mmap::map(file) }
}
