//! Whether a file is a whole sealed segment with a given place in the log. Nothing that comes from elsewhere becomes part
//! of the log before this has been asked.

use std::{io, sync::Arc};

use super::{FrameError, Frames, reader::WALK_WINDOW};
use crate::{
    storage::{
        checkpoint::Checkpoint,
        fs::File,
        segment_header::{SegmentFace, SegmentHeader},
    },
    types::{ClusterId, LogIndex, Offset},
};

/// What a segment should be.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct Expected {
    pub(in crate::storage) cluster_id: ClusterId,
    pub(in crate::storage) first_log_index: LogIndex,
    pub(in crate::storage) first_offset: Offset,
}

/// A segment that was read whole and is sound.
#[derive(Debug)]
pub(in crate::storage) struct Verified {
    /// The state of the log before it.
    pub(in crate::storage) before: Checkpoint,
    /// The state behind it.
    pub(in crate::storage) behind: Checkpoint,
}

/// Why a file is not the segment it should be.
#[derive(Debug)]
pub(in crate::storage) enum Unfit {
    /// Its content is wrong.
    Content(String),
    /// It cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the file whole: header, place, every frame by its checksums, and that each frame is what those before it lead to.
///
/// Blocking.
pub(in crate::storage) fn verify(file: &Arc<dyn File>, expected: &Expected) -> Result<Verified, Unfit> {
    let size = file.size()?;
    let (header, header_len) = read_header(file, size)?;
    let found = Expected {
        cluster_id: header.cluster_id,
        first_log_index: header.first_log_index(),
        first_offset: header.first_offset(),
    };
    let same = (found.cluster_id, found.first_log_index, found.first_offset)
        == (
            expected.cluster_id,
            expected.first_log_index,
            expected.first_offset,
        );
    if !same {
        return Err(Unfit::Content(format!(
            "it is {found:?} where {expected:?} belongs"
        )));
    }
    let before = header.checkpoint;
    let mut behind = before.clone();
    let mut frames = Frames::new(file, header.salt, header_len, size, WALK_WINDOW);
    loop {
        let position = frames.position();
        let at = |what: String| Unfit::Content(format!("at position {position}: {what}"));
        match frames.next() {
            Ok(None) => break,
            Ok(Some(frame)) => behind
                .replay(&frame.header, &frame.payload)
                .map_err(|error| at(error.to_string()))?,
            Err(FrameError::Fault(fault)) => return Err(at(fault.to_string())),
            Err(FrameError::Io(error)) => return Err(Unfit::Io(error)),
        }
    }
    Ok(Verified { before, behind })
}

/// How far the first `size` bytes of a file are a segment that is whole so far: the end of its last intact frame, or 0.
///
/// Blocking.
pub(in crate::storage) fn intact_prefix(file: &Arc<dyn File>, size: u64) -> io::Result<u64> {
    let (header, header_len) = match read_header(file, size) {
        Ok(found) => found,
        Err(Unfit::Content(_)) => return Ok(0),
        Err(Unfit::Io(error)) => return Err(error),
    };
    let mut frames = Frames::new(file, header.salt, header_len, size, WALK_WINDOW);
    loop {
        match frames.next() {
            Ok(Some(_)) => {}
            Ok(None) | Err(FrameError::Fault(_)) => return Ok(frames.position().min(size)),
            Err(FrameError::Io(error)) => return Err(error),
        }
    }
}

/// The header, and where the first frame begins.
///
/// Blocking.
pub(in crate::storage) fn read_header(
    file: &Arc<dyn File>,
    size: u64,
) -> Result<(SegmentHeader, u64), Unfit> {
    let mut fixed = [0; SegmentFace::LEN];
    let content = |error: &dyn std::error::Error| Unfit::Content(crate::error::causes(error));
    let read = file.read_at(0, &mut fixed)?;
    let face = SegmentFace::decode(&fixed[..read]).map_err(|error| content(&error))?;
    let header_len = face.header_len();
    if header_len > size {
        return Err(Unfit::Content(format!(
            "it has {size} bytes, its header alone {header_len}"
        )));
    }
    let mut bytes = vec![0; usize::try_from(header_len).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut bytes)?;
    let header = SegmentHeader::decode(&bytes[..read]).map_err(|error| content(&error))?;
    Ok((header, header_len))
}
