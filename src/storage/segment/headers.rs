//! Finds frames by their headers alone: which entry is where, of what term, and what offset follows.
//!
//! A header has a checksum of its own, so payloads, which may be large, are not read for this.

use std::sync::Arc;

use super::{
    FrameError, Frames, SegmentReader,
    reader::{Kind, chunk_window},
};
use crate::{
    storage::{
        ReadError,
        checkpoint::trimmed_below,
        frame::{FrameHeader, FrameKind},
        fs::File,
        index::Target,
    },
    types::{LogIndex, Offset},
};

/// Read at a time where many headers are looked at and payloads of records are passed over.
const HEADERS_WINDOW: usize = 64 << 10;

impl SegmentReader {
    /// The header of an entry's frame; `None` when the segment ends before it.
    ///
    /// Blocking: reads about a page and a half, once the index is known.
    pub(in crate::storage) fn header_of(
        &self,
        log_index: LogIndex,
    ) -> Result<Option<FrameHeader>, ReadError> {
        let mut found = None;
        self.walk_headers(Target::LogIndex(log_index), |header| {
            found = Some(*header);
            header.log_index < log_index
        })?;
        match found {
            Some(header) if header.log_index > log_index => {
                Err(self.corrupt(0, &format!("entry {log_index} is missing from this segment")))
            }
            Some(header) if header.log_index == log_index => Ok(Some(header)),
            Some(_) | None => Ok(None),
        }
    }

    /// The header of the last entry's frame that can be read; `None` when the segment holds none.
    ///
    /// Blocking: as [`SegmentReader::header_of`].
    pub(in crate::storage) fn last_header(&self) -> Result<Option<FrameHeader>, ReadError> {
        let mut last = None;
        self.walk_headers(Target::LogIndex(LogIndex(u64::MAX)), |header| {
            last = Some(*header);
            true
        })?;
        Ok(last)
    }

    /// The last entry of a sealed segment; the one before it where it holds none.
    ///
    /// Blocking: as [`SegmentReader::header_of`], once.
    pub(in crate::storage) fn sealed_last(&self) -> Result<LogIndex, ReadError> {
        let known = match &self.kind {
            Kind::Sealed { last, .. } => last.get().copied(),
            Kind::Active { .. } => None,
        };
        if let Some(last) = known {
            return Ok(last);
        }
        let before = LogIndex(self.first_log_index().get().saturating_sub(1));
        let found = self.last_header()?.map_or(before, |header| header.log_index);
        if let Kind::Sealed { last, .. } = &self.kind {
            last.get_or_init(|| found);
        }
        Ok(found)
    }

    /// Below which offset control entries up to `last` trim, in this segment.
    ///
    /// Blocking: reads the segment's headers, up to that entry.
    pub(in crate::storage) fn trimmed_below(&self, last: LogIndex) -> Result<Offset, ReadError> {
        let mut below = Offset::ZERO;
        self.walk_up_to(last, |header, control| {
            if let Some(control) = control {
                below = below.max(trimmed_below(control, header.base_offset));
            }
        })?;
        Ok(below)
    }

    /// Shows the frames of entries up to `last`, oldest first, and of control entries what they carry.
    ///
    /// Blocking: reads the segment's headers, up to that entry.
    pub(in crate::storage) fn walk_up_to(
        &self,
        last: LogIndex,
        mut see: impl FnMut(&FrameHeader, Option<&[u8]>),
    ) -> Result<(), ReadError> {
        let file: Arc<dyn File> = self.file()?;
        let mut frames = self.frames_at(&file, self.face()?.header_len(), HEADERS_WINDOW)?;
        let end = self.end()?;
        while frames.position() < end {
            let header = self.next_header(&mut frames)?;
            if header.log_index > last {
                break;
            }
            if header.kind == FrameKind::Control {
                if let Some(frame) = self.next_frame(&mut frames)? {
                    see(&header, Some(&frame.payload));
                }
            } else {
                see(&header, None);
                frames.seek(frames.position() + header.frame_len());
            }
        }
        Ok(())
    }

    /// Shows the headers of entries from about the target on, until `see` says that it has seen enough.
    fn walk_headers(
        &self,
        target: Target,
        mut see: impl FnMut(&FrameHeader) -> bool,
    ) -> Result<(), ReadError> {
        let file: Arc<dyn File> = self.file()?;
        let mut frames = self.frames_from(&file, target, chunk_window(0))?;
        let end = self.end()?;
        while frames.position() < end {
            let header = self.next_header(&mut frames)?;
            frames.seek(frames.position() + header.frame_len());
            if header.kind != FrameKind::Mark && !see(&header) {
                break;
            }
        }
        Ok(())
    }

    fn next_header(&self, frames: &mut Frames<'_>) -> Result<FrameHeader, ReadError> {
        frames.next_header().map_err(|error| match error {
            FrameError::Fault(fault) => self.fault(frames.position(), fault),
            FrameError::Io(error) => self.io(error),
        })
    }
}
