//! What lies where a file belongs, and is none.

use std::{fs, io, os::unix::fs::FileTypeExt};

/// Something in a directory that is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFile {
    /// A directory.
    #[error("it is a directory, and no file")]
    Directory,
    /// A symbolic link, whatever it leads to.
    #[error("it is a symbolic link, and no file")]
    Link,
    /// A pipe with a name, of which a read would wait for whoever writes.
    #[error("it is a FIFO, and no file")]
    Fifo,
    /// A socket.
    #[error("it is a socket, and no file")]
    Socket,
    /// A device.
    #[error("it is a device, and no file")]
    Device,
}

impl NotAFile {
    /// What that is; `None`: a file.
    pub(crate) fn of(kind: fs::FileType) -> Option<Self> {
        if kind.is_file() {
            None
        } else if kind.is_dir() {
            Some(Self::Directory)
        } else if kind.is_symlink() {
            Some(Self::Link)
        } else if kind.is_fifo() {
            Some(Self::Fifo)
        } else if kind.is_socket() {
            Some(Self::Socket)
        } else {
            Some(Self::Device)
        }
    }
}

impl From<NotAFile> for io::Error {
    fn from(found: NotAFile) -> Self {
        let kind = match found {
            NotAFile::Directory => io::ErrorKind::IsADirectory,
            NotAFile::Link | NotAFile::Fifo | NotAFile::Socket | NotAFile::Device => {
                io::ErrorKind::InvalidInput
            }
        };
        Self::new(kind, found)
    }
}
