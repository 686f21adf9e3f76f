//! The bytes of a connection to a peer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

#[cfg(feature = "testing")]
pub(super) use super::faults::Cuts;
use crate::tls::{Guest, Stream};

/// Nothing cuts links outside tests.
#[cfg(not(feature = "testing"))]
#[derive(Debug)]
pub(super) struct Cuts;

#[cfg(not(feature = "testing"))]
impl Cuts {
    #[expect(clippy::unused_self, reason = "as its counterpart for tests")]
    fn poll_pass(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection that whoever keeps it can end: HTTP/2 would go on for as long as a call lasts, and parcels for ever.
#[derive(Debug)]
pub(super) struct PeerIo {
    stream: Stream,
    /// The peer, where it was asked who it is.
    _guest: Option<Guest>,
    kill: Pin<Box<WaitForCancellationFutureOwned>>,
    cuts: Cuts,
}

impl PeerIo {
    /// Reads fail when `kill` is cancelled.
    pub(super) fn new(stream: Stream, guest: Option<Guest>, kill: &CancellationToken, cuts: Cuts) -> Self {
        Self {
            stream,
            _guest: guest,
            kill: Box::pin(kill.clone().cancelled_owned()),
            cuts,
        }
    }
}

/// Goes on when bytes may move.
macro_rules! pass {
    ($self:ident, $cx:ident) => {
        ready!($self.cuts.poll_pass($cx))?
    };
}

impl AsyncRead for PeerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.kill.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        pass!(self, cx);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        pass!(self, cx);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pass!(self, cx);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
