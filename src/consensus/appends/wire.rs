//! A connection as parcels: what is read is gathered into as few reads as the system allows, and what is said into as few writes.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{
    outbox::Outbox,
    parcel::{Parcel, ParcelError},
};
use crate::{
    consensus::links::{KEEPALIVE_WITHIN, MESSAGE_BYTES_MAX},
    error::Disposition,
};

/// Room for what is read: some rounds of small appends, which then lie close together for as long as the node keeps them in memory.
const READ_BYTES: usize = 64 << 10;
/// Room that is left of it when other room is made.
const READ_BYTES_MIN: usize = 4 << 10;
/// Pieces of one write: half of what the system takes (`IOV_MAX`) would be more than ever waits.
const PIECES_MAX: usize = 64;

/// A connection of appends has ended, or its other end says what makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// It was closed within a parcel, or before its time.
    #[error("the peer closed the connection {before}")]
    Closed {
        /// Before what.
        before: &'static str,
    },
    /// Not a word, not even when asked.
    #[error("the peer gave no sign of life for {KEEPALIVE_WITHIN:?}")]
    Silent,
    /// Bytes that are no parcel.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// A parcel that has no place here.
    #[error("the peer says what has no place here: {what}")]
    Unexpected {
        /// What it is.
        what: &'static str,
    },
}

impl WireError {
    /// What is to be done about it: connect again.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Io(_) | Self::Closed { .. } | Self::Silent | Self::Parcel(_) | Self::Unexpected { .. } => {
                Disposition::Retry
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Wire<I> {
    io: I,
    unread: BytesMut,
    parcel_bytes_max: usize,
    pub(super) out: Outbox,
    is_flushed: bool,
    /// Something came since this was last taken back.
    pub(super) heard: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Wire<I> {
    /// Over `io`. Until somebody is known to be at the other end, parcels have at most `parcel_bytes_max` bytes.
    #[must_use]
    pub fn new(io: I, parcel_bytes_max: usize) -> Self {
        Self {
            io,
            unread: BytesMut::new(),
            parcel_bytes_max,
            out: Outbox::default(),
            is_flushed: true,
            heard: true,
        }
    }

    /// The other end is a node of this cluster: it may send what nodes send.
    pub(super) fn trust(&mut self) {
        self.parcel_bytes_max = MESSAGE_BYTES_MAX;
    }

    /// The bytes below.
    pub fn io(&self) -> &I {
        &self.io
    }

    /// The next parcel; `None` when the other end has closed the connection.
    ///
    /// Errors: it broke, or what comes is no parcel.
    pub(super) fn poll_parcel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Parcel>, WireError>> {
        loop {
            if let Some(parcel) = Parcel::split(&mut self.unread, self.parcel_bytes_max)? {
                return Poll::Ready(Ok(Some(parcel)));
            }
            if self.unread.capacity() - self.unread.len() < READ_BYTES_MIN {
                self.unread.reserve(READ_BYTES);
            }
            // Dropped unfinished it has read nothing.
            let read = ready!(pin!(self.io.read_buf(&mut self.unread)).poll(cx))?;
            if read == 0 {
                return Poll::Ready(match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(WireError::Closed {
                        before: "in the middle of a parcel",
                    }),
                });
            }
            self.heard = true;
        }
    }

    /// Puts a parcel behind what is to be written.
    pub(super) fn say(&mut self, parcel: &Parcel) {
        parcel.put(self.out.tail());
    }

    /// Ready when all is written. Errors: it broke.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        while self.out.bytes() > 0 {
            let mut room = [IoSlice::new(&[]); PIECES_MAX];
            let pieces = self.out.pieces(&mut room);
            let written = Pin::new(&mut self.io).poll_write_vectored(cx, &room[..pieces]);
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.is_flushed = false;
            self.out.written(written);
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}
