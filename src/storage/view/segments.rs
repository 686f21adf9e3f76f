//! Sealed segments as whole files: what a transfer sends.

use bytes::Bytes;

use super::LogView;
use crate::{
    storage::{
        ReadEntriesError, ReadError, segment::SegmentReader, segment_header::SegmentHeader,
        transfer::ManifestSegment,
    },
    types::{LogIndex, Position},
};

impl LogView {
    /// The header of the segment that begins with the entry.
    pub(in crate::storage) fn header_of_segment(
        &self,
        first: LogIndex,
    ) -> Result<Option<SegmentHeader>, ReadEntriesError> {
        self.of_segment(first, |segment| segment.header())
    }

    /// Whether another node may begin where this log does.
    pub(in crate::storage) fn check_begins_rightly(&self) -> Result<(), ReadError> {
        let Some(first) = self.segments.first().filter(|_| !self.begins.rightly) else {
            return Ok(());
        };
        Err(ReadError::Corrupt {
            path: first.path().parent().unwrap_or(first.path()).to_owned(),
            position: Position::ZERO,
            what: format!(
                "nobody knows whether segments are missing before entry {}, since no trim that is committed reaches up to it",
                first.first_log_index()
            ),
        })
    }

    /// Whether the segment that begins with `first` reaches up to the next one there is.
    pub(in crate::storage) fn check_leads_to(
        &self,
        first: LogIndex,
        next: LogIndex,
    ) -> Result<(), ReadEntriesError> {
        let checked = self.of_segment(first, |segment| {
            let last = segment.sealed_last()?;
            if last.plus(1) == next {
                return Ok(());
            }
            Err(ReadError::Corrupt {
                path: segment.path().to_owned(),
                position: Position(segment.end()?),
                what: format!(
                    "it ends with entry {last}, and the next segment that is there begins with entry {next}"
                ),
            })
        });
        checked.map(|_| ())
    }

    /// The sealed segment that begins with the entry, as a manifest has it; `None` when there is none, or it is active.
    pub(in crate::storage) fn manifest_segment(
        &self,
        first: LogIndex,
    ) -> Result<Option<ManifestSegment>, ReadEntriesError> {
        let found = self.of_segment(first, |segment| {
            let Some(crc) = segment.crc()? else {
                return Ok(None);
            };
            Ok(Some(ManifestSegment {
                first_log_index: first,
                first_offset: segment.face()?.first_offset,
                bytes: segment.end()?,
                crc,
            }))
        })?;
        Ok(found.flatten())
    }

    /// Length, and checksum where that is known already, of the sealed segment that begins with the entry.
    pub(in crate::storage) fn manifest_segment_if_known(
        &self,
        first: LogIndex,
    ) -> Result<Option<(u64, Option<u32>)>, ReadEntriesError> {
        let found = self.of_segment(first, |segment| {
            let Some(crc) = segment.known_crc() else {
                return Ok(None);
            };
            Ok(Some((segment.end()?, crc.get().copied())))
        })?;
        Ok(found.flatten())
    }

    /// Bytes of that segment's store.
    pub(in crate::storage) fn raw_of_segment(
        &self,
        first: LogIndex,
        position: u64,
        bytes_max: usize,
    ) -> Result<Bytes, ReadEntriesError> {
        let raw = self.of_segment(first, |segment| segment.raw(position, bytes_max))?;
        Ok(raw.unwrap_or_default())
    }

    fn of_segment<T>(
        &self,
        first: LogIndex,
        read: impl FnOnce(&SegmentReader) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadEntriesError> {
        let Ok(number) = self
            .segments
            .binary_search_by_key(&first, |segment| segment.first_log_index())
        else {
            return Ok(None);
        };
        let segment = &self.segments[number];
        self.unless_trimmed(segment, first, read(segment)).map(Some)
    }
}
