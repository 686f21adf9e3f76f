//! A file of which only what is in memory is read.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use crate::storage::fs::{File, Mapping};

/// Reads never wait for the disk: they fail with `WouldBlock` instead. Everything else is refused.
#[derive(Debug)]
pub(super) struct Resident(pub(super) Arc<dyn File>);

impl File for Resident {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_resident_at(position, into)
    }

    fn write_all_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map(&self) -> io::Result<Mapping> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
