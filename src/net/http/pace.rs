//! A connection whose client takes what is sent, or is let go.
//!
//! HTTP/2 asks a silent client for a sign of life. HTTP/1.1 has nothing of the kind: a client that is gone without a word, or that no
//! longer reads, would keep its place for as long as the system tries to send. Who comes back goes on where he was.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// See the module.
#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    /// How long nothing of what is to be sent may be taken.
    within: Duration,
    /// Since something waits to be sent.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// A connection of which something must be taken within that time.
    pub fn new(stream: S, within: Duration) -> Self {
        Self {
            stream,
            within,
            stalled: None,
        }
    }

    /// Looks at the time while something waits.
    fn paced<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let within = self.within;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.paced(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.paced(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.paced(closed, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.paced(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_let_go_and_who_takes_a_little_has_all_the_time_again() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut paced = Paced::new(near, Duration::from_secs(3600));
        paced.write_all(b"1234").await.unwrap();
        let (mut next, mut taken) = (Box::pin(paced.write_all(b"5678")), [0; 4]);
        assert!(futures::poll!(&mut next).is_pending(), "there is no room");
        far.read_exact(&mut taken).await.unwrap();
        next.await.unwrap();
        assert!(paced.stalled.is_none());

        paced.within = Duration::from_millis(20);
        let refused = paced.write_all(b"9").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
