//! Standard output: a pipe is written without waiting for whoever reads it, so that it is known to the byte what is out, and watched
//! meanwhile.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::Errno,
};
use tokio::{io::Interest, net::unix::pipe};

/// Where the records go.
#[derive(Debug)]
pub(super) enum Outlet {
    /// A pipe, opened once more: that nobody waits for its reader concerns nobody else who writes to it.
    Pipe(pipe::Sender),
    /// A file, a terminal or a socket; or a pipe that belongs to somebody else, as behind `sudo`, which the system does not let be opened
    /// once more. A write waits until it is done, and who goes away at the other end is met by the next one.
    Other(OwnedFd),
}

impl Outlet {
    /// Standard output, as it is.
    ///
    /// Inside a runtime. Errors: the system has no more descriptors.
    pub(super) fn of_stdout() -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        match opened_again(&stdout) {
            Some(pipe) => Ok(Self::Pipe(pipe::Sender::from_owned_fd(pipe)?)),
            None => Ok(Self::Other(stdout)),
        }
    }

    /// Writes some of it; says how much.
    ///
    /// Cancel: safe; then nothing of it was written. Errors: `BrokenPipe`, when nobody reads any more; what the system says. Blocking: where
    /// it is no pipe.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = match self {
            Self::Pipe(pipe) => pipe,
            Self::Other(other) => return write(other, bytes),
        };
        loop {
            pipe.writable().await?;
            match pipe.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }

    /// Ends when nobody reads a pipe any more.
    ///
    /// Cancel: safe.
    pub(super) async fn closed(&self) {
        let is_watched = match self {
            Self::Pipe(pipe) => pipe.ready(Interest::ERROR).await.is_ok(),
            Self::Other(_) => false,
        };
        if !is_watched {
            std::future::pending::<()>().await;
        }
    }
}

/// The same pipe, with a description of its own; `None` where it is no pipe, or the system does not let it be opened.
fn opened_again(stdout: &OwnedFd) -> Option<OwnedFd> {
    let kind = FileType::from_raw_mode(fstat(stdout).ok()?.st_mode);
    if kind != FileType::Fifo {
        return None;
    }
    let path = format!("/proc/self/fd/{}", stdout.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).ok()
}

fn write(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(to, bytes) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
