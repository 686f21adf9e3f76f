//! A connection, from when it is accepted to its end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::{connections::Slot, held::Held, protocol::Said};
use crate::{
    certs::Caller,
    tls::{Guest, Stream},
};

/// How long a client may take for its greeting: the longest round trips have less than a second, and lost packets are sent again.
pub const GREETING_WITHIN: Duration = Duration::from_secs(10);

/// The ends of a connection that is lost already.
const NOWHERE: TcpConnectInfo = TcpConnectInfo {
    local_addr: None,
    remote_addr: None,
};

/// A client's connection: holds its place among `connections_max`, and can be closed from outside.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// What was read of it before it came here.
    said: Said,
    /// Who is at the other end, where that was asked; they are let go when nobody vouches for them any more.
    guest: Option<Guest>,
    kill: Pin<Box<WaitForCancellationFutureOwned>>,
    killed: CancellationToken,
    /// `None` once it is over.
    greeting: Option<AwaitedGreeting>,
    held: Held,
    _slot: Slot,
}

/// What a client must say, and by when, before its connection is worth its place.
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    bytes: usize,
    within: Duration,
}

impl Greeting {
    /// The preface of HTTP/2, whatever was read of it before. Once it is here, the server asks silent clients for a sign of life.
    pub const HTTP2: Self = Self {
        bytes: 24,
        within: GREETING_WITHIN,
    };
    /// Anything.
    pub const HTTP: Self = Self {
        bytes: 1,
        within: GREETING_WITHIN,
    };

    /// The same, of a connection that has used up `spent` of its time already.
    #[must_use]
    pub fn after(self, spent: Duration) -> Self {
        Self {
            within: self.within.saturating_sub(spent),
            ..self
        }
    }
}

#[derive(Debug)]
struct AwaitedGreeting {
    bytes_left: usize,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    /// Of `stream`, which has just been accepted, with `guest` at its other end. Reads fail when `kill` is cancelled, and when no
    /// greeting came in time.
    #[must_use]
    pub fn new(
        stream: Stream,
        guest: Option<Guest>,
        slot: Slot,
        kill: &CancellationToken,
        greeting: Greeting,
    ) -> Self {
        Self {
            held: Held::new(stream.tcp().and_then(|stream| stream.peer_addr().ok())),
            stream,
            guest,
            greeting: Some(AwaitedGreeting {
                bytes_left: greeting.bytes,
                timer: Box::pin(sleep(greeting.within)),
            }),
            kill: Box::pin(kill.clone().cancelled_owned()),
            killed: kill.clone(),
            said: Said::default(),
            _slot: slot,
        }
    }

    /// The same, of which that much was read already.
    #[must_use]
    pub fn having_said(mut self, said: Said) -> Self {
        self.said = said;
        self
    }

    /// Cancelled when it is closed from outside.
    #[must_use]
    pub fn killed(&self) -> CancellationToken {
        self.killed.clone()
    }
}

/// Between whom a connection is; an extension of every request that comes on it.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The addresses.
    pub tcp: TcpConnectInfo,
    /// The peer's process.
    pub held: Held,
    /// Who called, by the certificate that it proved to have; `None` where nobody was asked for one.
    pub caller: Option<Caller>,
}

impl Connected for Connection {
    type ConnectInfo = Ends;

    fn connect_info(&self) -> Ends {
        Ends {
            tcp: self.stream.tcp().map_or(NOWHERE, TcpStream::connect_info),
            held: self.held.clone(),
            caller: self.guest.as_ref().map(|guest| guest.caller().clone()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Calls that have not ended yet share it.
        self.held.close();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.kill.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = match self.said.bytes() {
            [] => Pin::new(&mut self.stream).poll_read(cx, buf),
            said => {
                let count = said.len().min(buf.remaining());
                buf.put_slice(&said[..count]);
                self.said.advance(count);
                Poll::Ready(Ok(()))
            }
        };
        if let Some(greeting) = &mut self.greeting {
            greeting.bytes_left = greeting.bytes_left.saturating_sub(buf.filled().len() - before);
            if greeting.bytes_left == 0 {
                self.greeting = None;
            } else if read.is_pending() && greeting.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::Semaphore,
    };

    use super::*;

    const SOON: Greeting = Greeting {
        bytes: 24,
        within: Duration::from_millis(50),
    };

    /// Both ends of a connection.
    async fn connected(slots: &Arc<Semaphore>) -> (TcpStream, Connection) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let slot = Arc::clone(slots).try_acquire_owned().unwrap();
        let connection = Connection::new(
            Stream::Plain(accepted.unwrap().0),
            None,
            slot.into(),
            &CancellationToken::new(),
            SOON,
        );
        (client.unwrap(), connection)
    }

    #[tokio::test]
    async fn a_connection_whose_client_says_nothing_ends() {
        // The story: silent connections, as many as may be open, locked everybody out for ever.
        let slots = Arc::new(Semaphore::new(1));
        for said in [0, 23] {
            let (mut client, mut connection) = connected(&slots).await;
            client.write_all(&vec![b'x'; said]).await.unwrap();
            let mut heard = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(10), connection.read_to_end(&mut heard));
            assert_eq!(end.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(heard.len(), said);
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_greeted_may_be_silent() {
        let (mut client, mut connection) = connected(&Arc::new(Semaphore::new(1))).await;
        client.write_all(&[b'x'; 24]).await.unwrap();
        connection.read_exact(&mut [0; 24]).await.unwrap();
        let mut more = [0];
        let silence = tokio::time::timeout(Duration::from_millis(150), connection.read(&mut more));
        assert!(silence.await.is_err(), "nothing came and nothing ended");
    }
}
