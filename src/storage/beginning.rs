//! `beginning`: where a log rightfully begins, so that segments which were lost are told from those that were trimmed.
//!
//! It is written before the first segment is, before a trim removes anything, and before an install is over. So a log may hold
//! more than it says, after a crash in between, and never less (ADR 0013).

use std::{io, io::IoSlice, path::PathBuf, sync::Arc};

use bytes::BufMut;

use super::{
    OpenError, WriteError,
    checkpoint::Checkpoint,
    fs::{FileSystem, OpenMode},
    names,
    transfer::read_whole,
};
use crate::{
    error::causes,
    types::{ClusterId, LogIndex},
};

pub(super) const FILE_NAME: &str = "beginning";
const MAGIC: [u8; 8] = *b"ANNALBEG";
const VERSION: u32 = 1;
const CRC_AT: usize = 8;
const VERSION_AT: usize = 12;
const HEADER_LEN: usize = 32;

/// The file of one log, and what it says.
#[derive(Debug)]
pub(super) struct Beginning {
    file_system: Arc<dyn FileSystem>,
    directory: PathBuf,
    cluster_id: ClusterId,
    /// What the log before its first entry amounts to; `None`: nobody knows where it begins.
    before: Option<Checkpoint>,
}

/// Why bytes do not say where a log begins.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// With what is wrong.
    Damaged(String),
    /// A newer program wrote them.
    Version(u32),
}

impl Beginning {
    /// That of the log in a directory, before the file is read.
    pub(super) fn unread(
        file_system: Arc<dyn FileSystem>,
        directory: PathBuf,
        cluster_id: ClusterId,
    ) -> Self {
        Self {
            file_system,
            directory,
            cluster_id,
            before: None,
        }
    }

    /// Reads the file. There is none beside a log of a version before it: then nothing is known.
    ///
    /// Blocking. Errors: it is damaged, of a newer program, or of another cluster.
    pub(super) fn read(&mut self) -> Result<(), OpenError> {
        let path = self.path();
        let bytes = match read_whole(&*self.file_system, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(OpenError::Io {
                    path,
                    operation: "read",
                    source,
                });
            }
        };
        let (found, before) = decode(&bytes).map_err(|fault| match fault {
            Fault::Damaged(what) => OpenError::BeginningDamaged {
                path: path.clone(),
                what,
            },
            Fault::Version(found) => OpenError::BeginningVersion {
                path: path.clone(),
                found,
            },
        })?;
        if found != self.cluster_id {
            return Err(OpenError::OtherCluster {
                path,
                found,
                expected: self.cluster_id,
            });
        }
        self.before = Some(before);
        Ok(())
    }

    /// What the log before its first entry amounts to, where that is known.
    pub(super) fn before(&self) -> Option<&Checkpoint> {
        self.before.as_ref()
    }

    /// The first entry, where that is known.
    pub(super) fn first(&self) -> Option<LogIndex> {
        Some(self.before.as_ref()?.last_log_index().plus(1))
    }

    /// Where the file is.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// From now on the log begins behind `before`. Durable when it returns.
    ///
    /// Blocking: two syncs. Errors: the file says what it said before, or this; what is known here has not changed.
    pub(super) fn set(&mut self, before: Checkpoint) -> Result<(), WriteError> {
        let preparing = names::preparing(&self.directory, FILE_NAME);
        let failed = |operation, path: &PathBuf| {
            let path = path.clone();
            move |source| WriteError::Io {
                path,
                operation,
                source,
            }
        };
        match self.file_system.remove(&preparing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &preparing)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = self
            .file_system
            .open(&preparing, OpenMode::CreateNew)
            .map_err(failed("create", &preparing))?;
        let bytes = encode(self.cluster_id, &before);
        file.write_all_at(0, &mut [IoSlice::new(&bytes)])
            .map_err(failed("write", &preparing))?;
        file.sync_data().map_err(failed("sync", &preparing))?;
        self.file_system
            .rename(&preparing, &self.path())
            .map_err(failed("rename", &preparing))?;
        self.file_system
            .sync_dir(&self.directory)
            .map_err(failed("sync", &self.directory))?;
        self.before = Some(before);
        Ok(())
    }
}

/// Its bytes.
pub(super) fn encode(cluster_id: ClusterId, before: &Checkpoint) -> Vec<u8> {
    let checkpoint = before.encode();
    let mut bytes = Vec::with_capacity(HEADER_LEN + checkpoint.len());
    bytes.put_slice(&MAGIC);
    bytes.put_u32_le(0);
    bytes.put_u32_le(VERSION);
    bytes.put_u128_le(cluster_id.0);
    bytes.put_slice(&checkpoint);
    let crc = crc32c::crc32c(&bytes[VERSION_AT..]);
    bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Whose log it is, and what the log before its first entry amounts to.
pub(super) fn decode(bytes: &[u8]) -> Result<(ClusterId, Checkpoint), Fault> {
    let damaged = |what: &str| Fault::Damaged(what.to_owned());
    let (header, checkpoint) = bytes
        .split_first_chunk::<HEADER_LEN>()
        .ok_or_else(|| damaged("it is too short"))?;
    let u32_at = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("inside HEADER_LEN"));
    if header[..CRC_AT] != MAGIC || crc32c::crc32c(&bytes[VERSION_AT..]) != u32_at(CRC_AT) {
        return Err(damaged("checksum does not match"));
    }
    match u32_at(VERSION_AT) {
        VERSION => {}
        found => return Err(Fault::Version(found)),
    }
    let cluster_id = u128::from_le_bytes(*header[16..].first_chunk().expect("inside HEADER_LEN"));
    let before = Checkpoint::decode(checkpoint).map_err(|error| Fault::Damaged(causes(&error)))?;
    Ok((ClusterId(cluster_id), before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::entry::{Entry, Payload};
    use crate::types::{Term, TimestampMs};

    fn before() -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        let entry = Entry {
            log_index: LogIndex(1),
            term: Term(2),
            timestamp: TimestampMs(5),
            payload: Payload::Membership(bytes::Bytes::from_static(b"node-0")),
        };
        checkpoint.place(entry).unwrap();
        checkpoint
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(ClusterId(9), &before());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&flipped), Err(Fault::Damaged(_))), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(
                matches!(decode(&bytes[..cut]), Err(Fault::Damaged(_))),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn what_a_newer_program_wrote_is_left_to_it() {
        let mut bytes = encode(ClusterId(9), &before());
        bytes[VERSION_AT] = 2;
        let crc = crc32c::crc32c(&bytes[VERSION_AT..]);
        bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&bytes), Err(Fault::Version(2)));
    }
}
