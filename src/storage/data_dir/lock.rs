//! `LOCK`: one process at a time.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FlockOperation, OFlags};

use super::DataDirError;

/// Held by this process until dropped, or until the process ends in whatever way.
///
/// It is the system's lock on an open file, so nothing needs to be cleaned up after a crash. What the file says, the
/// holder's pid, is for people only.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs::File,
}

impl Lock {
    /// Locks `LOCK` in `directory`, without waiting.
    pub(super) fn take(directory: &Path) -> Result<Self, DataDirError> {
        let path = directory.join("LOCK");
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(DataDirError::io("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DataDirError::InUse {
                    path: directory.to_owned(),
                    pid: pid(&mut file),
                });
            }
            Err(error) => return Err(DataDirError::io("lock", &path)(error.into())),
        }
        write_pid(&mut file).map_err(DataDirError::io("write", &path))?;
        Ok(Self { _file: file })
    }

    /// The same for whoever only reads: beside others who do, and never beside a node. Nothing is written. `None`: there is no
    /// `LOCK`, as in a copy of the logs alone, and so nothing that a node could hold.
    pub(super) fn share(directory: &Path) -> Result<Option<Self>, DataDirError> {
        let path = directory.join("LOCK");
        // To open a FIFO would wait for whoever writes to it; a file does not care.
        let no_wait = OFlags::NONBLOCK.bits().to_ne_bytes();
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(i32::from_ne_bytes(no_wait));
        let mut file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DataDirError::io("open", &path)(error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse {
                path: directory.to_owned(),
                pid: pid(&mut file),
            }),
            Err(error) => Err(DataDirError::io("lock", &path)(error.into())),
        }
    }
}

fn write_pid(file: &mut fs::File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// What the holder wrote, if it did: whoever only reads writes nothing, and beside one the file has the pid of the last node.
fn pid(file: &mut fs::File) -> Option<u32> {
    let mut text = String::new();
    // A pid has at most 10 digits; the file may hold anything.
    file.take(16).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse::<u32>().ok()?;
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    // One that may not be asked is there, too.
    let is_gone = rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH);
    (!is_gone).then_some(pid)
}
