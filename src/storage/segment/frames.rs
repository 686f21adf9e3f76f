//! Walks the frames of a store, reading the file in large pieces and handing payloads out without copying them.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::buffers::read_into;
use crate::{
    storage::{
        frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameFault, FrameHeader},
        fs::File,
    },
    types::Position,
};

/// The next frame cannot be had.
#[derive(Debug)]
pub(in crate::storage) enum FrameError {
    /// What lies there is no intact frame.
    Fault(FrameFault),
    /// The file cannot be read.
    Io(io::Error),
}

/// A frame as read.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Frame {
    pub(in crate::storage) position: Position,
    pub(in crate::storage) header: FrameHeader,
    /// Attributes and payload.
    pub(in crate::storage) payload: Bytes,
}

impl Frame {
    /// The payload behind the attributes.
    pub(in crate::storage) fn content(&self) -> Bytes {
        self.payload.slice(self.header.attributes_len()..)
    }
}

/// A walk over `[position, end)` of a store.
#[derive(Debug)]
pub(in crate::storage) struct Frames<'a> {
    file: &'a Arc<dyn File>,
    salt: u64,
    position: u64,
    end: u64,
    /// Bytes of the file from `window_start` on.
    window: Bytes,
    window_start: u64,
    window_len: usize,
}

impl<'a> Frames<'a> {
    /// `window_len` bytes are read at a time, more only for a frame that is longer.
    pub(in crate::storage) fn new(
        file: &'a Arc<dyn File>,
        salt: u64,
        position: u64,
        end: u64,
        window_len: usize,
    ) -> Self {
        Self {
            file,
            salt,
            position,
            end,
            window: Bytes::new(),
            window_start: position,
            window_len: window_len.max(FRAME_HEADER_LEN),
        }
    }

    /// Where the next frame begins.
    pub(in crate::storage) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at another position.
    pub(in crate::storage) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Whether the next frame's header can be had without reading the file.
    pub(in crate::storage) fn next_is_in_window(&mut self) -> bool {
        let Some(header) = self.in_window(FRAME_HEADER_LEN) else {
            return false;
        };
        let Ok(header) = FrameHeader::decode(&header, self.salt, Position(self.position)) else {
            return true;
        };
        self.in_window(FRAME_HEADER_LEN + header.payload_len as usize)
            .is_some()
    }

    /// The next frame, checked, and moves behind it; `None` at the end. After a fault the position stays.
    pub(in crate::storage) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let header = self.next_header()?;
        let len = FRAME_HEADER_LEN + header.payload_len as usize;
        let bytes = self.bytes(len).map_err(FrameError::Io)?;
        if bytes.len() < len {
            return Err(FrameError::Fault(FrameFault::Short));
        }
        let payload = bytes.slice(FRAME_HEADER_LEN..);
        header.check_payload(&payload).map_err(FrameError::Fault)?;
        let position = Position(self.position);
        self.position += header.frame_len();
        Ok(Some(Frame {
            position,
            header,
            payload,
        }))
    }

    /// The header at the position, without its payload and without moving on.
    pub(in crate::storage) fn next_header(&mut self) -> Result<FrameHeader, FrameError> {
        let bytes = self.bytes(FRAME_HEADER_LEN).map_err(FrameError::Io)?;
        FrameHeader::decode(&bytes, self.salt, Position(self.position)).map_err(FrameError::Fault)
    }

    /// The first intact header at or behind the position and before `look_to`, with where it lies. Moves there.
    pub(in crate::storage) fn next_intact_header(
        &mut self,
        look_to: u64,
    ) -> io::Result<Option<(u64, FrameHeader)>> {
        while self.position < look_to.min(self.end) {
            match self.next_header() {
                Ok(header) => return Ok(Some((self.position, header))),
                Err(FrameError::Io(error)) => return Err(error),
                Err(FrameError::Fault(_)) => self.position += self.surely_no_header(),
            }
        }
        Ok(None)
    }

    /// How far it is from the bad header at the position to the next place where an intact one may begin. An intact
    /// header is never all zeros, so that files with zeros written ahead are passed over quickly.
    fn surely_no_header(&self) -> u64 {
        let start =
            usize::try_from(self.position - self.window_start).expect("the position is in the window");
        let zeros = leading_zeros(&self.window[start..]) as u64;
        let past_zeros = zeros.saturating_sub(FRAME_HEADER_LEN as u64) / FRAME_ALIGN * FRAME_ALIGN;
        past_zeros + FRAME_ALIGN
    }

    /// Up to `len` bytes at the position; fewer only where the walk's range or the file ends.
    fn bytes(&mut self, len: usize) -> io::Result<Bytes> {
        if let Some(bytes) = self.in_window(len) {
            return Ok(bytes);
        }
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let window_len = self.window_len.max(len).min(left);
        self.window = read_into(window_len, |window| self.file.read_at(self.position, window))?;
        self.window_start = self.position;
        Ok(self.window.slice(..len.min(self.window.len())))
    }

    fn in_window(&self, len: usize) -> Option<Bytes> {
        let start = usize::try_from(self.position.checked_sub(self.window_start)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.window.len()).then(|| self.window.slice(start..end))
    }
}

/// Zero bytes at the front.
fn leading_zeros(bytes: &[u8]) -> usize {
    // Whole pieces by one comparison of all their bits, which the compiler turns into wide instructions.
    let piece = 512;
    let whole = bytes
        .chunks_exact(piece)
        .take_while(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0);
    let skipped = whole.count() * piece;
    skipped + bytes[skipped..].iter().take_while(|byte| **byte == 0).count()
}
