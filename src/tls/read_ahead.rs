//! Reads of a socket below TLS, gathered. TLS asks for 4 KiB at a time, a quarter of a record of its own, and would make a system call
//! for each: 26 for a request of 100 KiB.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Read at once where much comes: some records of TLS.
const AHEAD_BYTES: usize = 64 << 10;

/// What was read and not asked for yet. It has memory only while more comes than is asked for: idle connections cost none.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    held: BytesMut,
    /// The last read found as much as it could take: there is likely more.
    expects_more: bool,
}

impl ReadAhead {
    /// As `AsyncRead::poll_read` of `inner`, whose bytes it hands on in order.
    ///
    /// Errors: those of `inner`; nothing that was read is lost by them.
    pub(super) fn poll_read(
        &mut self,
        inner: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            if !self.expects_more || buf.remaining() >= AHEAD_BYTES {
                return self.read_past(inner, cx, buf);
            }
            self.held.reserve(AHEAD_BYTES);
            let read = ready!(poll_read_buf(inner, cx, &mut self.held));
            self.expects_more = matches!(read, Ok(bytes) if bytes >= AHEAD_BYTES);
            if let Err(error) = read {
                self.held = BytesMut::new();
                return Poll::Ready(Err(error));
            }
        }
        let bytes = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..bytes]);
        self.held.advance(bytes);
        if self.held.is_empty() && !self.expects_more {
            self.held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Without a stop on the way.
    fn read_past(
        &mut self,
        inner: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(inner.poll_read(cx, buf))?;
        self.expects_more = buf.filled().len() > before && buf.remaining() == 0;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        task::{Poll, Waker},
    };

    use super::*;

    /// Has that many bytes, numbered, and notes what it is asked for.
    #[derive(Default)]
    struct Source {
        bytes: VecDeque<u8>,
        asked: Vec<usize>,
        is_over: bool,
    }

    impl Source {
        fn of(count: usize) -> Self {
            let bytes = numbered(0, count).into();
            Self {
                bytes,
                ..Self::default()
            }
        }
    }

    fn numbered(from: usize, to: usize) -> Vec<u8> {
        (from..to)
            .map(|number| u8::try_from(number % 251).unwrap_or(0))
            .collect()
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked.push(buf.remaining());
            if self.bytes.is_empty() && !self.is_over {
                return Poll::Pending;
            }
            let count = buf.remaining().min(self.bytes.len());
            let bytes: Vec<u8> = self.bytes.drain(..count).collect();
            buf.put_slice(&bytes);
            Poll::Ready(Ok(()))
        }
    }

    /// What one read of `count` bytes gives; `None` when there is nothing yet.
    fn read(ahead: &mut ReadAhead, source: &mut Source, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        match ahead.poll_read(Pin::new(source), &mut cx, &mut buf) {
            Poll::Ready(read) => {
                read.unwrap();
                Some(buf.filled().to_vec())
            }
            Poll::Pending => None,
        }
    }

    #[test]
    fn all_bytes_come_once_and_in_order_by_few_reads() {
        let mut source = Source::of(300_000);
        let mut ahead = ReadAhead::default();
        let mut got = Vec::new();
        while let Some(bytes) = read(&mut ahead, &mut source, 4096) {
            assert!(!bytes.is_empty());
            got.extend(bytes);
        }
        assert_eq!(got, numbered(0, 300_000));
        // The first, four whole ones and the rest, and the one that found nothing.
        assert_eq!(source.asked.len(), 1 + 4 + 1 + 1, "{:?}", source.asked);
        assert_eq!(ahead.held.capacity(), 0, "an idle connection holds no memory");
    }

    #[test]
    fn what_is_small_is_read_to_where_it_is_wanted() {
        let mut source = Source::of(100);
        let mut ahead = ReadAhead::default();
        assert_eq!(read(&mut ahead, &mut source, 4096), Some(numbered(0, 100)));
        assert_eq!(read(&mut ahead, &mut source, 4096), None);
        assert_eq!(source.asked, [4096, 4096]);
        assert_eq!(ahead.held.capacity(), 0);
    }

    #[test]
    fn the_end_is_the_end() {
        let mut source = Source::of(4096 + 10);
        source.is_over = true;
        let mut ahead = ReadAhead::default();
        assert_eq!(read(&mut ahead, &mut source, 4096), Some(numbered(0, 4096)));
        assert_eq!(read(&mut ahead, &mut source, 4), Some(numbered(4096, 4100)));
        assert_eq!(read(&mut ahead, &mut source, 4096), Some(numbered(4100, 4106)));
        assert_eq!(read(&mut ahead, &mut source, 4096), Some(Vec::new()));
    }
}
