//! What is missing where a segment is damaged, or is not there: which entries, between which states of the log.

use std::sync::Arc;

use super::LogState;
use crate::{
    storage::{
        ReadError, RepairError,
        checkpoint::Checkpoint,
        frame,
        fs::{File, OpenMode},
        segment::Frames,
        segment_header::{SegmentFace, SegmentHeader},
        view::check_frames,
    },
    types::LogIndex,
};

/// What is missing where a segment is damaged.
#[derive(Clone, Debug)]
pub struct Gap {
    pub(super) first: LogIndex,
    pub(super) last: Last,
    /// The state of the log before it.
    pub(super) before: Checkpoint,
    /// That behind it, where another segment follows that can tell.
    pub(super) behind: Option<Checkpoint>,
}

/// Up to where entries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// To this one: another segment follows.
    Exactly(LogIndex),
    /// To this one at least, which was seen behind the damage: the segment was the last. There may have been more, of which
    /// nothing is left; so entries up to the leader's last one are to be had before this node votes again.
    AtLeast(LogIndex),
}

impl Gap {
    /// The first entry that is missing.
    #[must_use]
    pub fn first(&self) -> LogIndex {
        self.first
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Last {
        self.last
    }
}

/// A damaged store of which the head is left.
type Damaged = (Arc<dyn File>, SegmentFace);

impl LogState {
    /// What is to be fetched in order to repair the sealed segment that begins with the entry.
    ///
    /// Blocking: reads headers; where the segment's own is lost, the whole segment before it; of a last segment all that
    /// lies behind the damage. Errors: `NoSegment`, `StartUnknown`.
    pub fn gap(&self, first: LogIndex) -> Result<Gap, RepairError> {
        let number = self
            .sealed_number(first)
            .map_err(|_| RepairError::NoSegment { first })?;
        let next = self.segments.get(number + 1);
        let own = self.damaged_header(first)?;
        let last = match next {
            Some(next) => Last::Exactly(LogIndex(next.first_log_index().get() - 1)),
            None => {
                let seen = self.last_seen(first)?;
                Last::AtLeast(seen.max(self.checkpoint.last_log_index()))
            }
        };
        let before = match own {
            Some(header) => header.checkpoint,
            None => self.before(number)?.ok_or(RepairError::StartUnknown { first })?,
        };
        Ok(Gap {
            first,
            last,
            before,
            behind: next
                .and_then(|next| next.header().ok())
                .map(|header| header.checkpoint),
        })
    }

    /// The state before a segment whose own header is lost.
    fn before(&self, number: usize) -> Result<Option<Checkpoint>, RepairError> {
        let first = self.segments[number].first_log_index();
        if first == LogIndex(1) {
            return Ok(Some(Checkpoint::new()));
        }
        if self.beginning.first() == Some(first) {
            return Ok(self.beginning.before().cloned());
        }
        let Some(previous) = number.checked_sub(1).map(|number| &self.segments[number]) else {
            return Ok(None);
        };
        let checked = previous
            .header()
            .and_then(|header| check_frames(previous, header.checkpoint, |_| ()));
        match checked {
            Ok(behind) if behind.last_log_index().plus(1) == self.segments[number].first_log_index() => {
                Ok(Some(behind))
            }
            Ok(_) | Err(ReadError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(RepairError::Read(error)),
        }
    }

    /// The damaged segment's header, if that is whole.
    fn damaged_header(&self, first: LogIndex) -> Result<Option<SegmentHeader>, RepairError> {
        let Some((file, face)) = self.damaged_face(first)? else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(face.header_len()).unwrap_or(usize::MAX)];
        let read = self.read_damaged(first, &file, &mut bytes)?;
        let header = SegmentHeader::decode(&bytes[..read]).ok();
        Ok(header.filter(|header| header.first_log_index() == first))
    }

    fn damaged_face(&self, first: LogIndex) -> Result<Option<Damaged>, RepairError> {
        let path = self.damaged_store(first);
        let opened = self.context.file_system.open(&path, OpenMode::Read);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RepairError::Read(ReadError::Io { path, source })),
        };
        let mut bytes = [0; SegmentFace::LEN];
        let read = self.read_damaged(first, &file, &mut bytes)?;
        let face = SegmentFace::decode(&bytes[..read]).ok();
        let own =
            |face: &SegmentFace| face.first_log_index == first && face.cluster_id == self.options.cluster_id;
        Ok(face.filter(own).map(|face| (file, face)))
    }

    fn read_damaged(
        &self,
        first: LogIndex,
        file: &Arc<dyn File>,
        into: &mut [u8],
    ) -> Result<usize, RepairError> {
        let read = file.read_at(0, into);
        read.map_err(|source| {
            let path = self.damaged_store(first);
            RepairError::Read(ReadError::Io { path, source })
        })
    }

    /// The highest entry of which an intact header is left in a damaged segment; 0: none.
    fn last_seen(&self, first: LogIndex) -> Result<LogIndex, RepairError> {
        let Some((file, face)) = self.damaged_face(first)? else {
            return Ok(LogIndex::ZERO);
        };
        let in_store = |source| {
            let path = self.damaged_store(first);
            RepairError::Read(ReadError::Io { path, source })
        };
        let size = file.size().map_err(in_store)?;
        let mut frames = Frames::new(&file, face.salt, face.header_len(), size, 1 << 20);
        let mut seen = LogIndex::ZERO;
        while let Some((position, header)) = frames.next_intact_header(size).map_err(in_store)? {
            seen = seen.max(header.log_index);
            frames.seek(position + frame::FRAME_HEADER_LEN as u64);
        }
        Ok(seen)
    }
}
