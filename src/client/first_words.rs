//! What the other side of a connection says first. A server of HTTP/2 begins with its settings (RFC 9113, 3.4): whoever begins with something
//! else is no node, and will be none by being asked again.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is listened to: the first line of HTTP/1.1, or what another program greets with.
const WORDS_BYTES_MAX: usize = 64;

/// The largest frame that may come before the settings of this side are known there (RFC 9113, 4.2).
const FIRST_FRAME_BYTES_MAX: usize = 16 << 10;
/// The types of frames that a connection may begin with: settings, or that it is over.
const FIRST_FRAMES: [u8; 2] = [0x04, 0x07];

/// With what a message of TLS begins, as far as it has to be read: an alert, or a handshake, of version 3.
const TLS_BEGINS: [[u8; 2]; 2] = [[0x15, 3], [0x16, 3]];

/// Of the connection that is open at present. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstWords(Arc<Mutex<Vec<u8>>>);

impl FirstWords {
    /// Listens to that stream from now on, which is a new connection.
    pub(super) fn listen<S>(&self, stream: S) -> Listening<S> {
        self.with(Vec::clear);
        Listening {
            stream,
            words: Some(self.clone()),
        }
    }

    /// Whether nothing was said.
    pub(super) fn are_none(&self) -> bool {
        self.with(|words| words.is_empty())
    }

    /// What a node never says, in a few words; `None`: it may be a node, or one may answer there soon.
    pub(super) fn strange(&self) -> Option<String> {
        self.with(|words| strange(words))
    }

    /// A panic cannot leave it half changed, so poison says nothing.
    fn with<T>(&self, look: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is certain of who says this.
fn strange(words: &[u8]) -> Option<String> {
    let [high, middle, low, kind, ..] = *words else {
        return None;
    };
    if words.starts_with(b"HTTP/1.") {
        return strange_http(words);
    }
    let bytes = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if FIRST_FRAMES.contains(&kind) && bytes <= FIRST_FRAME_BYTES_MAX {
        return None;
    }
    if TLS_BEGINS.iter().any(|begins| words.starts_with(begins)) {
        return Some("it speaks TLS".to_owned());
    }
    Some(says(words).unwrap_or_else(|| "it does not speak HTTP/2".to_owned()))
}

/// A server of HTTP/1.1 that knows no HTTP/2 says that what was asked is no request. Whoever stands before a node that is about to come
/// back says so by another status.
fn strange_http(words: &[u8]) -> Option<String> {
    let status = std::str::from_utf8(words.get(9..12)?).ok()?;
    let passes = match status.parse::<u16>().ok()? {
        501 | 505 => false,
        408 | 425 | 429 | 500.. => true,
        _ => false,
    };
    if passes { None } else { says(words) }
}

/// The first line, where it is one.
fn says(words: &[u8]) -> Option<String> {
    let line = words.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let text = std::str::from_utf8(line).ok()?.trim();
    let is_line = !text.is_empty() && !text.chars().any(char::is_control);
    is_line.then(|| format!("it says {text:?}"))
}

/// A stream of which the first bytes that are read are remembered.
#[derive(Debug)]
pub(super) struct Listening<S> {
    stream: S,
    /// `None`: enough was heard.
    words: Option<FirstWords>,
}

impl<S> Listening<S> {
    fn hear(&mut self, read: &[u8]) {
        let Some(words) = self.words.as_ref().filter(|_| !read.is_empty()) else {
            return;
        };
        let is_enough = words.with(|words| {
            let left = WORDS_BYTES_MAX - words.len();
            words.extend_from_slice(&read[..read.len().min(left)]);
            words.len() == WORDS_BYTES_MAX
        });
        if is_enough {
            self.words = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.hear(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn only_what_no_node_and_nobody_before_one_ever_says_is_strange() {
        let not_http2 = Some("it does not speak HTTP/2");
        type Case<'a> = (&'a [u8], Option<&'a str>);
        let table: [Case<'_>; 18] = [
            (b"", None),
            // Too little to tell.
            (b"HTT", None),
            (b"HTTP/1.1 4", None),
            (b"HTTP/1.1 no", None),
            // The settings of a node, and what one says that wants TLS.
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03", None),
            (b"\0\0\0\x04\0\0\0\0\0\0\0\x1b\x07\0\0\0\0\0", None),
            (b"\0\0\x08\x07\0\0\0\0\0", None),
            // Who stands before a node that is away.
            (b"HTTP/1.1 502 Bad Gateway\r\n", None),
            (b"HTTP/1.0 503 Service Unavailable\r\n", None),
            (b"HTTP/1.1 429 Too Many Requests\r\n", None),
            (
                b"HTTP/1.1 400 Bad Request\r\nserver: nginx\r\n",
                Some("it says \"HTTP/1.1 400 Bad Request\""),
            ),
            (
                b"HTTP/1.1 404 Not Found\r\n",
                Some("it says \"HTTP/1.1 404 Not Found\""),
            ),
            (
                b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
                Some("it says \"HTTP/1.1 505 HTTP Version Not Supported\""),
            ),
            (
                b"SSH-2.0-OpenSSH_9.6\r\n",
                Some("it says \"SSH-2.0-OpenSSH_9.6\""),
            ),
            (b"\x15\x03\x01\0\x02\x02\x46", Some("it speaks TLS")),
            // A frame that none begins with, one that is too large, and noise.
            (b"\0\0\0\x00\0\0\0\0\x01", not_http2),
            (b"\x01\0\0\x04\0\0\0\0\0", not_http2),
            (b"\xff\xfe\xfd\xfc", not_http2),
        ];
        for (words, wanted) in table {
            let found = strange(words);
            assert_eq!(found.as_deref(), wanted, "{:?}", String::from_utf8_lossy(words));
        }
    }

    #[tokio::test]
    async fn the_first_bytes_are_heard_whole_however_they_come_and_each_connection_begins_anew() {
        let words = FirstWords::default();
        for greeting in [&b"SSH-2.0-one\r\n"[..], b"SSH-2.0-other\r\n"] {
            let (near, mut far) = tokio::io::duplex(1 << 10);
            let mut near = words.listen(near);
            assert!(words.are_none(), "nothing of it was said");
            for byte in greeting {
                far.write_all(&[*byte]).await.unwrap();
                assert_eq!(near.read_u8().await.unwrap(), *byte);
            }
            let line = String::from_utf8_lossy(greeting);
            assert_eq!(words.strange(), Some(format!("it says {:?}", line.trim())));
            // What comes behind is passed on, and not remembered.
            far.write_all(&[b'x'; 500]).await.unwrap();
            let mut more = [0; 500];
            near.read_exact(&mut more).await.unwrap();
            assert_eq!(more, [b'x'; 500]);
            assert_eq!(words.with(|words| words.len()), WORDS_BYTES_MAX);
            assert!(near.words.is_none());
        }
    }
}
