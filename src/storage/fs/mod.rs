//! The seam between the log and the disk, small enough that a test can stand in for the disk: fail the nth call,
//! lose everything that was not synced.
//!
//! What is assumed of an implementation stands at each method; `docs/format.md` has the crash model.

mod not_a_file;
mod real;

use std::{
    fmt::Debug,
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

pub use not_a_file::NotAFile;
pub use real::RealFileSystem;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; writes fail.
    Read,
    /// It must exist.
    ReadWrite,
    /// It must not exist.
    CreateNew,
}

/// Directory operations. All calls block.
pub trait FileSystem: Send + Sync + Debug {
    /// Opens a file. Creating one is durable only after [`FileSystem::sync_dir`].
    ///
    /// Errors: what is there is no file ([`NotAFile`] is the source), which nobody waits for.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Names of the files (not directories) in a directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// What else is in a directory, and what each is, in no order. A file system that holds files only has nothing else.
    fn list_others(&self, directory: &Path) -> io::Result<Vec<(String, NotAFile)>> {
        let _ = directory;
        Ok(Vec::new())
    }

    /// Makes a directory and those above it. Durable once the call returns.
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;

    /// Renames a file, replacing the target atomically. Durable after [`FileSystem::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`FileSystem::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that an unprivileged process may still write below `directory`.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// An open file. All calls block; positions are absolute, so calls share no cursor.
///
/// The clippy `is_empty` convention is left out on purpose: a file's length can fail to be read.
pub trait File: Send + Sync + Debug {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads up to `into.len()` bytes at `position`; fewer only at the end of the file.
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize>;

    /// The same when all of it is in memory already; `WouldBlock` when the disk would have to be asked, or nobody knows.
    fn read_resident_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let _ = (position, into);
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Writes all parts, one behind the other, at `position`; grows the file where needed. Not durable until
    /// [`File::sync_data`]; after a crash any mixture of what was not synced may be there.
    fn write_all_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// `fdatasync`: makes everything written so far durable, and the length. After an error the file's unsynced
    /// content is unknown for good; a second call proves nothing (fsyncgate, 2018).
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or grows (with zeros) the file. Durable after [`File::sync_data`].
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The whole file as it is now, mapped for reading. The caller keeps the file at this length or longer.
    fn map(&self) -> io::Result<Mapping>;
}

/// A file mapped into memory for reading.
pub type Mapping = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Reads exactly `into.len()` bytes.
///
/// Errors: `UnexpectedEof` when the file ends before.
pub fn read_exact_at(file: &dyn File, position: u64, into: &mut [u8]) -> io::Result<()> {
    match file.read_at(position, into)? {
        read if read == into.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
