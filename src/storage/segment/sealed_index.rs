//! The index of a sealed segment: a file that is mapped, and built again when it is missing or wrong.

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use super::SegmentReader;
use crate::{
    storage::{
        ReadError,
        fs::{FileSystem, OpenMode},
        index::{ActiveIndex, SealedIndex},
        names,
    },
    types::LogIndex,
};

impl SegmentReader {
    /// The index of a sealed segment: the file when it is whole, else rebuilt from the store and written again.
    pub(super) fn sealed_index<'a>(
        &self,
        index: &'a OnceLock<SealedIndex>,
    ) -> Result<&'a SealedIndex, ReadError> {
        if let Some(index) = index.get() {
            return Ok(index);
        }
        let (face, len) = (*self.face()?, self.end()?);
        let path = names::index(&self.directory, self.first_log_index());
        let opened = self
            .file_system
            .open(&path, OpenMode::Read)
            .and_then(|file| file.map());
        if let Ok(mapping) = opened
            && let Some(opened) = SealedIndex::open(&face, len, mapping)
        {
            return Ok(index.get_or_init(|| opened));
        }
        let rebuilt = ActiveIndex::new(&face, len);
        let is_whole = match self.walk(|frame| rebuilt.note(&frame.header, frame.position.get())) {
            Ok(()) => true,
            // What lies before the damage is found by it, and what lies behind is looked for up to the damage.
            Err(ReadError::Corrupt { .. }) => false,
            Err(other) => return Err(other),
        };
        let bytes = rebuilt.encode(face.salt, len);
        if is_whole && !self.ends_before_its_file() {
            // Only a cache: what cannot be written now is rebuilt at the next start.
            drop(write_index(
                &*self.file_system,
                &self.directory,
                self.first_log_index(),
                &bytes,
            ));
        }
        let opened = SealedIndex::open(&face, len, Arc::new(bytes)).expect("an index just built is whole");
        Ok(index.get_or_init(|| opened))
    }
}

/// Puts an index file in place, whole or not at all. Not synced: it is checked when it is opened.
pub(super) fn write_index(
    file_system: &dyn FileSystem,
    directory: &Path,
    first: LogIndex,
    bytes: &[u8],
) -> io::Result<()> {
    let preparing = names::preparing(directory, &format!("{:020}.index", first.get()));
    if let Err(error) = file_system.remove(&preparing)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let file = file_system.open(&preparing, OpenMode::CreateNew)?;
    file.write_all_at(0, &mut [io::IoSlice::new(bytes)])?;
    file_system.rename(&preparing, &names::index(directory, first))
}
