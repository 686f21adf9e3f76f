//! Looks for damage before a reader meets it.

use super::LogView;
use crate::{
    storage::{ReadEntriesError, ReadError, checkpoint::Checkpoint, segment::SegmentReader},
    types::{LogIndex, Position},
};

impl LogView {
    /// Reads every frame of every segment and checks it, and that each segment follows on the one before it. The
    /// callback is told how many bytes were read, segment by segment.
    ///
    /// Blocking: reads the whole log. Errors: the first damage.
    pub fn scrub(&self, mut progress: impl FnMut(u64)) -> Result<(), ReadError> {
        let mut expected = self.first_log_index().unwrap_or(LogIndex(1));
        for segment in &self.segments {
            let header = segment.header()?;
            if segment.first_log_index() != expected {
                return Err(ReadError::Corrupt {
                    path: segment.path().to_owned(),
                    position: Position::ZERO,
                    what: format!("entries from {expected} on are missing before this segment"),
                });
            }
            let behind = check_frames(segment, header.checkpoint, |_| ())?;
            expected = behind.last_log_index().plus(1);
            progress(segment.end()?);
        }
        Ok(())
    }

    /// The same of one sealed segment, the one that begins with the entry `first`: every frame is sound, is what those
    /// before it lead to, and the last leads to what the next segment begins with. Says whether there is such a segment.
    ///
    /// `pace` is told of each piece of bytes that was read, and may take its time: that is the limit of the rate.
    ///
    /// Blocking: reads the segment. Errors: `Trimmed` when it goes away meanwhile; `Read` names the damage.
    pub fn scrub_segment(&self, first: LogIndex, pace: impl FnMut(u64)) -> Result<bool, ReadEntriesError> {
        let found = self
            .segments
            .binary_search_by_key(&first, |segment| segment.first_log_index());
        let pair = found.map(|number| (&self.segments[number], self.segments.get(number + 1)));
        let Ok((segment, Some(next))) = pair else {
            return Ok(false);
        };
        let checked = segment
            .header()
            .and_then(|header| check_frames(segment, header.checkpoint, pace));
        let behind = self.unless_trimmed(segment, first, checked)?;
        let leads_on = match next.header() {
            Ok(header) => header.checkpoint == behind,
            // The next one's damage is its own; its name is what is left of it.
            Err(_) => next.first_log_index() == behind.last_log_index().plus(1),
        };
        if leads_on {
            return Ok(true);
        }
        let what = format!(
            "it ends with entry {} and does not lead to what the next segment begins with",
            behind.last_log_index()
        );
        Err(ReadEntriesError::Read(ReadError::Corrupt {
            path: segment.path().to_owned(),
            position: Position(segment.end()?),
            what,
        }))
    }
}

/// What the segment's frames lead to from the state before it; each is checked. `pace` is told of the bytes read.
pub(in crate::storage) fn check_frames(
    segment: &SegmentReader,
    before: Checkpoint,
    mut pace: impl FnMut(u64),
) -> Result<Checkpoint, ReadError> {
    /// Told at once: often enough that a pause for it is short.
    const PIECE_BYTES: u64 = 256 << 10;
    let mut behind = before;
    let (mut fault, mut read) = (None, 0);
    segment.walk(|frame| {
        if fault.is_none()
            && let Err(error) = behind.replay(&frame.header, &frame.payload)
        {
            fault = Some(ReadError::Corrupt {
                path: segment.path().to_owned(),
                position: frame.position,
                what: error.to_string(),
            });
        }
        read += frame.header.frame_len();
        if read >= PIECE_BYTES {
            pace(std::mem::take(&mut read));
        }
    })?;
    pace(read);
    match fault {
        Some(fault) => Err(fault),
        None => Ok(behind),
    }
}
