//! Which protocol a client speaks: what it agreed on with TLS, or else what it says first.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::tls::{HTTP1_PROTOCOL, HTTP2_PROTOCOL, Stream};

/// With what every connection of HTTP/2 begins, as far as it has to be read: no method of HTTP/1.1 begins like this.
const HTTP2_BEGINS: [u8; 3] = *b"PRI";

/// A protocol of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or something that its server refuses.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What was read of a connection to find that out; whoever serves it reads it again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    bytes: [u8; HTTP2_BEGINS.len()],
    len: usize,
}

impl Said {
    /// The bytes, in their order.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Takes the first of them away.
    pub(super) fn advance(&mut self, count: usize) {
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }

    /// What can be told by now.
    fn protocol(&self) -> Option<Protocol> {
        match HTTP2_BEGINS.strip_prefix(self.bytes()) {
            None => Some(Protocol::Http1),
            Some([]) => Some(Protocol::Http2),
            Some(_) => None,
        }
    }
}

/// Which protocol the client of `stream` speaks, and what it has said.
///
/// Errors: it said too little within that time, or has gone. Cancel: what it said is lost.
pub(super) async fn spoken_on(stream: &mut Stream, within: Duration) -> io::Result<(Protocol, Said)> {
    let agreed = match stream.protocol() {
        Some(HTTP2_PROTOCOL) => Some(Protocol::Http2),
        Some(HTTP1_PROTOCOL) => Some(Protocol::Http1),
        _ => None,
    };
    match agreed {
        Some(protocol) => Ok((protocol, Said::default())),
        None => timeout(within, listen(stream)).await?,
    }
}

async fn listen(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Protocol, Said)> {
    let mut said = Said::default();
    loop {
        if let Some(protocol) = said.protocol() {
            return Ok((protocol, said));
        }
        let read = stream.read(&mut said.bytes[said.len..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        said.len += read;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::ReadBuf;

    use super::*;

    /// Gives so many bytes at a time.
    struct Pieces(&'static [u8], usize);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.1.min(self.0.len()).min(buf.remaining());
            let (piece, rest) = self.0.split_at(count);
            buf.put_slice(piece);
            self.0 = rest;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_first_bytes_tell_however_they_come() {
        for size in [1, 2, 3, 100] {
            for (words, protocol) in [
                (&b"PRI * HTTP/2.0\r\n"[..], Protocol::Http2),
                (b"POST / HTTP/1.1\r\n", Protocol::Http1),
                (b"PRO", Protocol::Http1),
                (b"GET / HTTP/1.1\r\n", Protocol::Http1),
                (b"\0", Protocol::Http1),
            ] {
                let mut reader = Pieces(words, size);
                let (spoken, said) = listen(&mut reader).await.unwrap();
                assert_eq!(spoken, protocol, "{words:?}");
                // Nothing is lost.
                assert_eq!([said.bytes(), reader.0].concat(), words);
            }
        }
        assert!(listen(&mut Pieces(b"PR", 1)).await.is_err());
    }
}
