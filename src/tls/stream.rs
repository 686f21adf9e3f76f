//! The bytes of a connection, encrypted or not.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::Handle,
};
use tokio_rustls::TlsStream;

use super::{TlsFailure, read_ahead::ReadAhead};

/// A connection whose bytes are encrypted, or not.
#[derive(Debug)]
pub enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// By TLS, whose handshake is over.
    Tls(Box<Encrypted>),
}

/// A connection whose bytes are encrypted.
#[derive(Debug)]
pub struct Encrypted {
    stream: TlsStream<Socket>,
    fate: Fate,
}

impl Drop for Encrypted {
    /// Says to the other side that this is the end, as far as the system takes it at once: whoever hears less cannot tell it from a
    /// connection that somebody has cut.
    fn drop(&mut self) {
        let (socket, mut session) = match &mut self.stream {
            TlsStream::Client(stream) => {
                let (socket, session) = stream.get_mut();
                (socket, Session::Client(session))
            }
            TlsStream::Server(stream) => {
                let (socket, session) = stream.get_mut();
                (socket, Session::Server(session))
            }
        };
        let Some(tcp) = &socket.tcp else { return };
        session.send_close_notify();
        while session.wants_write() {
            // A connection that is lost, or full, has heard all that it will.
            if !matches!(session.write_tls(&mut AtOnce(tcp)), Ok(1..)) {
                return;
            }
        }
    }
}

/// What the two kinds of sessions have in common, which the library does not say in a type.
enum Session<'a> {
    Client(&'a mut rustls::ClientConnection),
    Server(&'a mut rustls::ServerConnection),
}

impl Session<'_> {
    fn send_close_notify(&mut self) {
        match self {
            Self::Client(session) => session.send_close_notify(),
            Self::Server(session) => session.send_close_notify(),
        }
    }

    fn wants_write(&self) -> bool {
        match self {
            Self::Client(session) => session.wants_write(),
            Self::Server(session) => session.wants_write(),
        }
    }

    fn write_tls(&mut self, to: &mut dyn io::Write) -> io::Result<usize> {
        match self {
            Self::Client(session) => session.write_tls(to),
            Self::Server(session) => session.write_tls(to),
        }
    }
}

/// Writes what a socket takes without waiting.
struct AtOnce<'a>(&'a TcpStream);

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What ended an encrypted connection, if it was TLS that did: the other side may say only behind the handshake that it does not
/// take one's certificate. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<OnceLock<TlsFailure>>);

impl Fate {
    /// Why it ended; `None` while it lasts, and when TLS had nothing to do with it.
    #[must_use]
    pub fn get(&self) -> Option<&TlsFailure> {
        self.0.get()
    }

    fn learn(&self, error: &io::Error) {
        if let Some(failure) = TlsFailure::in_io(error) {
            self.0.get_or_init(|| failure);
        }
    }
}

/// A socket below TLS; it can be moved to another runtime.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: Option<TcpStream>,
    ahead: ReadAhead,
}

impl Stream {
    pub(super) fn encrypted(stream: TlsStream<Socket>) -> Self {
        Self::Tls(Box::new(Encrypted {
            stream,
            fate: Fate::default(),
        }))
    }

    /// The socket below; `None` after a move that failed.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(encrypted) => encrypted.stream.get_ref().0.tcp.as_ref(),
        }
    }

    /// What will have ended it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Plain(_) => Fate::default(),
            Self::Tls(encrypted) => encrypted.fate.clone(),
        }
    }

    /// The protocol that both sides agreed on; `None` where they did not, or nothing is encrypted.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(encrypted) => encrypted.stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The certificates that the other side has proved to have, its own first; none where nothing is encrypted.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(encrypted) => {
                let (_, session) = encrypted.stream.get_ref();
                session.peer_certificates().unwrap_or_default()
            }
        }
    }

    /// The same, woken by `runtime` from now on.
    ///
    /// Errors: the system does not allow it; the connection is lost then.
    pub fn moved_to(self, runtime: &Handle) -> io::Result<Self> {
        let again = |stream: TcpStream| {
            let _inside = runtime.enter();
            TcpStream::from_std(stream.into_std()?)
        };
        match self {
            Self::Plain(stream) => Ok(Self::Plain(again(stream)?)),
            Self::Tls(mut encrypted) => {
                let socket = match &mut encrypted.stream {
                    TlsStream::Client(stream) => stream.get_mut().0,
                    TlsStream::Server(stream) => stream.get_mut().0,
                };
                socket.tcp = socket.tcp.take().map(again).transpose()?;
                Ok(Self::Tls(encrypted))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(encrypted) => {
                let Encrypted { stream, fate } = &mut **encrypted;
                Pin::new(stream)
                    .poll_read(cx, buf)
                    .map_err(|error| told(error, fate))
            }
        }
    }
}

/// The error, of which note has been taken.
fn told(error: io::Error, fate: &Fate) -> io::Error {
    fate.learn(&error);
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // The library's own words are about its interface.
        return io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
    }
    error
}

/// Hands a call on to whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut *$self {
            Self::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Self::Tls(encrypted) => {
                let $stream = Pin::new(&mut encrypted.stream);
                $call
            }
        }
    };
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(encrypted) => encrypted.stream.is_write_vectored(),
        }
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            tcp: Some(stream),
            ahead: ReadAhead::default(),
        }
    }

    fn pinned(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.tcp.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(stream))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { tcp, ahead } = &mut *self;
        let tcp = tcp.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        ahead.poll_read(Pin::new(tcp), cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pinned()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.as_ref().is_some_and(TcpStream::is_write_vectored)
    }
}
