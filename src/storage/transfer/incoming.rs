//! Gathers the segments of a manifest beside the log, until all are there, whole and sound.
//!
//! The manifest is stored first, so that a transfer that is cut goes on where it was, after a restart as well. A segment
//! grows as `.incoming`; once it is synced and verified it is `.staged`, and is not read again before it is part of the
//! log. What a start finds as `.incoming` is believed up to its last intact frame, and written once more, since a failed
//! sync may have left it in memory only.

use std::{io::IoSlice, path::Path, sync::Arc};

use super::{
    Manifest, ManifestSegment, TransferError,
    staging::{Staging, crc_of, failed, write_again},
};
use crate::{
    storage::{
        LogView,
        checkpoint::Checkpoint,
        fs::{File, FileSystem},
        names,
        segment::{Expected, Unfit, intact_prefix, read_header, verify},
    },
    types::{ClusterId, LogIndex, Offset, Position},
};

/// A transfer, on the receiver's side.
#[derive(Debug)]
pub struct Incoming {
    staging: Staging,
    manifest: Manifest,
    /// One for each segment of the manifest.
    parts: Vec<Part>,
}

/// How far a segment is.
#[derive(Debug)]
enum Part {
    /// Bytes are missing from `position` on.
    Missing {
        file: Option<Arc<dyn File>>,
        position: u64,
    },
    /// The log itself has the very same file.
    Held,
    /// Received and verified.
    Staged(Ends),
}

/// Which states of the log a segment leads from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    before: StateDigest,
    /// `None`: it was verified by an earlier process, or before the transfer was taken up again.
    behind: Option<StateDigest>,
}

/// Tells states of the log apart without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StateDigest {
    last_log_index: LogIndex,
    next_offset: Offset,
    crc: u32,
}

impl StateDigest {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            last_log_index: checkpoint.last_log_index(),
            next_offset: checkpoint.next_offset(),
            crc: crc32c::crc32c(&checkpoint.encode()),
        }
    }
}

/// All segments of a manifest are there, whole, sound, and each follows on the one before it: ready to be installed.
#[derive(Clone, Debug)]
pub struct Staged {
    manifest: Manifest,
}

impl Staged {
    /// What was received.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

impl Incoming {
    /// Begins to receive the segments of `manifest`, into the directory of the log that `view` shows. Segments that the log
    /// has, and those that an earlier transfer has received, byte for byte, are not asked for again.
    ///
    /// Blocking: reads what is there already. Errors: `OtherCluster`; `Io`.
    pub fn create(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        cluster_id: ClusterId,
        manifest: Manifest,
        view: &LogView,
    ) -> Result<Self, TransferError> {
        if manifest.cluster_id != cluster_id {
            return Err(TransferError::OtherCluster {
                found: manifest.cluster_id,
                expected: cluster_id,
            });
        }
        let staging = Staging {
            file_system,
            directory: directory.to_owned(),
        };
        let earlier = staging.manifest()?;
        if earlier.as_ref() != Some(&manifest) {
            let earlier = earlier.map(|manifest| manifest.segments).unwrap_or_default();
            let of = |segments: &[ManifestSegment], first| {
                segments
                    .iter()
                    .find(|segment| segment.first_log_index == first)
                    .copied()
            };
            for first in staging.segments()? {
                let wanted = of(&manifest.segments, first);
                if wanted.is_none() || wanted != of(&earlier, first) {
                    staging.remove_segment(first)?;
                }
            }
            // Before the new manifest is: or a file of the old one could be taken for one of it.
            staging.sync_directory()?;
            staging.put_manifest(&manifest)?;
        }
        Self::take_up(staging, manifest, view)
    }

    /// Goes on with the transfer that was begun, perhaps by an earlier process; `None`: there is none.
    ///
    /// Blocking: reads the headers of what is staged, the segment that is not whole, and of the log the segments that are
    /// as long as the manifest's, once in the life of the process.
    pub fn resume(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        view: &LogView,
    ) -> Result<Option<Self>, TransferError> {
        let staging = Staging {
            file_system,
            directory: directory.to_owned(),
        };
        let Some(manifest) = staging.manifest()? else {
            return Ok(None);
        };
        Self::take_up(staging, manifest, view).map(Some)
    }

    fn take_up(staging: Staging, manifest: Manifest, view: &LogView) -> Result<Self, TransferError> {
        let mut incoming = Self {
            staging,
            manifest,
            parts: Vec::new(),
        };
        for number in 0..incoming.manifest.segments.len() {
            let part = incoming.found(number, view)?;
            incoming.parts.push(part);
        }
        Ok(incoming)
    }

    /// What there is of a segment.
    fn found(&self, number: usize, view: &LogView) -> Result<Part, TransferError> {
        let segment = &self.manifest.segments[number];
        let first = segment.first_log_index;
        if is_held(view, segment) {
            return Ok(Part::Held);
        }
        if let Some(file) = self.staging.open_staged(first)? {
            return match self.staged_before(number, &file)? {
                Some(before) => Ok(Part::Staged(Ends { before, behind: None })),
                None => self.thrown_away(first),
            };
        }
        let Some(file) = self.staging.open_incoming(first)? else {
            return Ok(Part::nothing());
        };
        let path = names::incoming(&self.staging.directory, first);
        let size = file.size().map_err(failed("read", &path))?;
        let position = intact_prefix(&file, size.min(segment.bytes)).map_err(failed("read", &path))?;
        if position == 0 {
            return self.thrown_away(first);
        }
        write_again(&file, position).map_err(failed("write again", &path))?;
        let file = Some(file);
        Ok(Part::Missing { file, position })
    }

    /// The state before a segment that was verified when it got its name; `None`: it is another one's.
    fn staged_before(
        &self,
        number: usize,
        file: &Arc<dyn File>,
    ) -> Result<Option<StateDigest>, TransferError> {
        let segment = &self.manifest.segments[number];
        let path = names::staged(&self.staging.directory, segment.first_log_index);
        let size = file.size().map_err(failed("read", &path))?;
        match read_header(file, size) {
            Ok((header, _))
                if size == segment.bytes && header.first_log_index() == segment.first_log_index =>
            {
                Ok(Some(StateDigest::of(&header.checkpoint)))
            }
            Ok(_) | Err(Unfit::Content(_)) => Ok(None),
            Err(Unfit::Io(source)) => Err(failed("read", &path)(source)),
        }
    }

    fn thrown_away(&self, first: LogIndex) -> Result<Part, TransferError> {
        self.staging.remove_segment(first)?;
        Ok(Part::nothing())
    }

    /// What is being received.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The oldest segment that is not whole, and the position of the first byte of it that is missing. A position at its
    /// end: all bytes are there, [`Incoming::finish_segment`] is next. `None`: nothing is missing.
    #[must_use]
    pub fn missing(&self) -> Option<(ManifestSegment, Position)> {
        let mut parts = self.manifest.segments.iter().zip(&self.parts);
        parts.find_map(|(segment, part)| match part {
            Part::Missing { position, .. } => Some((*segment, Position(*position))),
            Part::Held | Part::Staged(_) => None,
        })
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn bytes_missing(&self) -> u64 {
        let parts = self.manifest.segments.iter().zip(&self.parts);
        let missing = parts.map(|(segment, part)| match part {
            Part::Missing { position, .. } => segment.bytes - position,
            Part::Held | Part::Staged(_) => 0,
        });
        missing.sum()
    }

    /// Takes the bytes that follow on those that are there. Durable after [`Incoming::finish_segment`].
    ///
    /// Blocking. Errors: `NotMissing` and `OutOfPlace` change nothing; after `Io` the segment begins anew.
    pub fn write(&mut self, first: LogIndex, position: Position, bytes: &[u8]) -> Result<(), TransferError> {
        let (number, expected) = self.missing_part(first)?;
        let end = position.get().saturating_add(bytes.len() as u64);
        let out_of_place = |given| TransferError::OutOfPlace {
            first,
            given: Position(given),
            expected: Position(expected),
        };
        if position.get() != expected {
            return Err(out_of_place(position.get()));
        }
        if end > self.manifest.segments[number].bytes {
            return Err(out_of_place(end));
        }
        let written = self.write_at(number, expected, bytes);
        if written.is_err() {
            self.begin_anew(number)?;
        }
        written
    }

    fn write_at(&mut self, number: usize, at: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let first = self.manifest.segments[number].first_log_index;
        let Part::Missing { file, position } = &mut self.parts[number] else {
            return Err(TransferError::NotMissing { first });
        };
        let opened = match file {
            Some(file) => file.clone(),
            None => self.staging.begin_segment(first)?,
        };
        *file = Some(opened.clone());
        let path = names::incoming(&self.staging.directory, first);
        opened
            .write_all_at(at, &mut [IoSlice::new(bytes)])
            .map_err(failed("write", &path))?;
        *position = at + bytes.len() as u64;
        Ok(())
    }

    /// Makes a segment durable whose bytes are all there, and reads it whole: it must have the manifest's checksum, be
    /// sound frame by frame, and fit between its neighbours.
    ///
    /// Blocking: one sync, and reads the segment. Errors: after `Unfit` and `Io` the segment begins anew.
    pub fn finish_segment(&mut self, first: LogIndex) -> Result<(), TransferError> {
        let (number, position) = self.missing_part(first)?;
        let bytes = self.manifest.segments[number].bytes;
        let Part::Missing { file: Some(file), .. } = &self.parts[number] else {
            return Err(out_of_place(first, bytes, position));
        };
        if position != bytes {
            return Err(out_of_place(first, bytes, position));
        }
        let file = file.clone();
        let path = names::incoming(&self.staging.directory, first);
        let finished = file
            .sync_data()
            .map_err(failed("sync", &path))
            .and_then(|()| self.verified(number, &file))
            .and_then(|ends| self.fits(number, ends))
            .and_then(|ends| self.staging.set_staged(first).map(|()| ends));
        match finished {
            Ok(ends) => {
                self.parts[number] = Part::Staged(ends);
                Ok(())
            }
            Err(error) => {
                self.begin_anew(number)?;
                Err(error)
            }
        }
    }

    /// Everything is there. Durable when it returns.
    ///
    /// Blocking: one sync. Errors: `OutOfPlace` says what is missing.
    pub fn complete(&mut self) -> Result<Staged, TransferError> {
        if let Some((segment, position)) = self.missing() {
            let (first, bytes) = (segment.first_log_index, segment.bytes);
            return Err(out_of_place(first, bytes, position.get()));
        }
        self.staging.sync_directory()?;
        let manifest = self.manifest.clone();
        Ok(Staged { manifest })
    }

    /// Each segment leads to the state that the next one begins with, the last to the manifest's; as far as its
    /// neighbours are there, and were verified since the transfer was taken up.
    fn fits(&self, number: usize, ends: Ends) -> Result<Ends, TransferError> {
        let unfit = |what: &str| TransferError::Unfit {
            first: self.manifest.segments[number].first_log_index,
            what: what.to_owned(),
        };
        let next = match self.parts.get(number + 1) {
            Some(Part::Staged(next)) => Some(next.before),
            // It is the manifest's by its checksum, and the log has it; or it is still to come.
            Some(Part::Held | Part::Missing { .. }) => None,
            None => Some(StateDigest::of(&self.manifest.checkpoint)),
        };
        if next.is_some_and(|next| ends.behind != Some(next)) {
            return Err(unfit("it does not lead to the state that follows on it"));
        }
        let previous = number.checked_sub(1).map(|previous| &self.parts[previous]);
        if let Some(Part::Staged(Ends {
            behind: Some(behind), ..
        })) = previous
            && *behind != ends.before
        {
            return Err(unfit(
                "the one before it does not lead to the state that it begins with",
            ));
        }
        Ok(ends)
    }

    /// Throws away all that was received.
    ///
    /// Blocking.
    pub fn discard(self) -> Result<(), TransferError> {
        self.staging.clear()
    }

    fn missing_part(&self, first: LogIndex) -> Result<(usize, u64), TransferError> {
        let segments = &self.manifest.segments;
        let number = segments.binary_search_by_key(&first, |segment| segment.first_log_index);
        match number.map(|number| (number, &self.parts[number])) {
            Ok((number, Part::Missing { position, .. })) => Ok((number, *position)),
            Ok((_, Part::Held | Part::Staged(_))) | Err(_) => Err(TransferError::NotMissing { first }),
        }
    }

    fn begin_anew(&mut self, number: usize) -> Result<(), TransferError> {
        self.parts[number] = Part::nothing();
        let first = self.manifest.segments[number].first_log_index;
        self.staging.remove_segment(first)
    }

    /// Whether the file is the manifest's segment, and a sound one.
    fn verified(&self, number: usize, file: &Arc<dyn File>) -> Result<Ends, TransferError> {
        let segment = &self.manifest.segments[number];
        let first = segment.first_log_index;
        let path = names::incoming(&self.staging.directory, first);
        let unfit = |what: String| TransferError::Unfit { first, what };
        let size = file.size().map_err(failed("read", &path))?;
        let crc = crc_of(file, size).map_err(failed("read", &path))?;
        if (size, crc) != (segment.bytes, segment.crc) {
            let says = format!(
                "it has {size} bytes with checksum {crc:08x}, the manifest says {} with {:08x}",
                segment.bytes, segment.crc
            );
            return Err(unfit(says));
        }
        let expected = Expected {
            cluster_id: self.manifest.cluster_id,
            first_log_index: first,
            first_offset: segment.first_offset,
        };
        let found = verify(file, &expected).map_err(|error| match error {
            Unfit::Content(what) => unfit(what),
            Unfit::Io(source) => failed("read", &path)(source),
        })?;
        let end = (found.behind.last_log_index().plus(1), found.behind.next_offset());
        let expected = self.manifest.end_of(number);
        if end != expected {
            return Err(unfit(format!(
                "it ends before entry {} and offset {}, the next begins with entry {} and offset {}",
                end.0, end.1, expected.0, expected.1
            )));
        }
        Ok(Ends {
            before: StateDigest::of(&found.before),
            behind: Some(StateDigest::of(&found.behind)),
        })
    }
}

impl Part {
    fn nothing() -> Self {
        Self::Missing {
            file: None,
            position: 0,
        }
    }
}

fn out_of_place(first: LogIndex, given: u64, expected: u64) -> TransferError {
    TransferError::OutOfPlace {
        first,
        given: Position(given),
        expected: Position(expected),
    }
}

/// Whether the log has the segment byte for byte. It is read whole only when its length is right.
pub(in crate::storage) fn is_held(view: &LogView, segment: &ManifestSegment) -> bool {
    let first = segment.first_log_index;
    let length = view.manifest_segment_if_known(first);
    let same_length = matches!(length, Ok(Some((bytes, _))) if bytes == segment.bytes);
    same_length && matches!(view.manifest_segment(first), Ok(Some(found)) if found == *segment)
}
