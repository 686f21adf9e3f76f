//! Gossip's connections: memberlist believes the lengths that it reads, so that they are looked at before it does.
//!
//! Whoever reaches the port may connect and say anything, encrypted or not. A message that claims more than any exchange takes is
//! refused before memory is set aside for it, a connection lives for a while only, and there are not many at a time.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use memberlist::{
    agnostic::{RuntimeLite, tokio::TokioRuntime},
    net::stream_layer::{Listener, PromisedStream, StreamLayer},
    proto::{ProtoReader, ProtoWriter},
    transport::Connection,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::header::{HEADER_BYTES_MAX, Header};

/// Connections that are served at a time; one more is closed at once. A node has one with each peer now and then, for
/// milliseconds; memberlist lets go of a silent one after `connection_timeout`.
const ACCEPTED_MAX: usize = 128;
/// How long a connection lives, whatever happens on it: an exchange takes milliseconds, and memberlist gives up after
/// seconds.
const LIFETIME: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct GossipTcp {
    accepted: Arc<Semaphore>,
}

impl StreamLayer for GossipTcp {
    type Runtime = TokioRuntime;
    type Listener = GossipListener;
    type Stream = GossipStream;
    type Options = ();

    async fn new((): ()) -> io::Result<Self> {
        Ok(Self {
            accepted: Arc::new(Semaphore::new(ACCEPTED_MAX)),
        })
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<GossipStream> {
        GossipStream::new(TcpStream::connect(address).await?, None)
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<GossipListener> {
        let listener = TcpListener::bind(address).await?;
        Ok(GossipListener {
            address: listener.local_addr()?,
            listener,
            accepted: self.accepted.clone(),
        })
    }

    /// memberlist's own encryption is what secures it.
    fn is_secure() -> bool {
        false
    }
}

/// Accepts what is not too many.
#[derive(Debug)]
pub(super) struct GossipListener {
    listener: TcpListener,
    address: SocketAddr,
    accepted: Arc<Semaphore>,
}

impl Listener for GossipListener {
    type Stream = GossipStream;

    async fn accept(&self) -> io::Result<(GossipStream, SocketAddr)> {
        loop {
            let (stream, from) = self.listener.accept().await?;
            let Ok(place) = self.accepted.clone().try_acquire_owned() else {
                continue;
            };
            // Who has gone again is nobody, and no fault of the listener.
            if let Ok(stream) = GossipStream::new(stream, Some(place)) {
                return Ok((stream, from));
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    async fn shutdown(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct GossipStream {
    reader: GossipReader,
    writer: GossipWriter,
    ends: (SocketAddr, SocketAddr),
}

impl GossipStream {
    fn new(stream: TcpStream, place: Option<OwnedSemaphorePermit>) -> io::Result<Self> {
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let deadline = Instant::now() + LIFETIME;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader: GossipReader {
                half: reader,
                peeked: Vec::with_capacity(HEADER_BYTES_MAX),
                deadline,
                _place: place,
            },
            writer: GossipWriter {
                half: writer,
                deadline,
            },
            ends,
        })
    }
}

impl Connection for GossipStream {
    type Reader = GossipReader;
    type Writer = GossipWriter;

    fn split(self) -> (GossipReader, GossipWriter) {
        (self.reader, self.writer)
    }

    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf).await
    }

    async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(buf).await
    }

    async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.peek(buf).await
    }

    async fn peek_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.reader.peek_exact(buf).await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        self.writer.write_all(payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.writer.close().await
    }
}

impl PromisedStream for GossipStream {
    type Instant = <TokioRuntime as RuntimeLite>::Instant;

    fn local_addr(&self) -> SocketAddr {
        self.ends.0
    }

    fn peer_addr(&self) -> SocketAddr {
        self.ends.1
    }
}

/// What comes in.
#[derive(Debug)]
pub(super) struct GossipReader {
    half: OwnedReadHalf,
    /// Read, and not asked for yet.
    peeked: Vec<u8>,
    deadline: Instant,
    _place: Option<OwnedSemaphorePermit>,
}

impl GossipReader {
    /// Reads once, so that `peeked` has at most `bytes`; 0: nothing more comes.
    async fn read_ahead(&mut self, bytes: usize) -> io::Result<usize> {
        let missing = bytes.saturating_sub(self.peeked.len()) as u64;
        let mut half = (&mut self.half).take(missing);
        in_time(self.deadline, half.read_buf(&mut self.peeked)).await
    }

    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.peeked.len() < bytes {
            if self.read_ahead(bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads as much of a message as says how long it is.
    ///
    /// Errors: it claims to be too long.
    async fn check_header(&mut self) -> io::Result<()> {
        loop {
            match Header::read(&self.peeked) {
                Header::Fits => return Ok(()),
                Header::Needs(bytes) => self.fill(bytes).await?,
                Header::TooLong { claimed } => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("a message that claims {claimed} bytes, more than any exchange takes"),
                    ));
                }
            }
        }
    }

    fn take_peeked(&mut self, buf: &mut [u8]) -> usize {
        let count = self.peeked.len().min(buf.len());
        buf[..count].copy_from_slice(&self.peeked[..count]);
        self.peeked.drain(..count);
        count
    }
}

impl ProtoReader for GossipReader {
    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.take_peeked(buf) {
            0 => in_time(self.deadline, self.half.read(buf)).await,
            count => Ok(count),
        }
    }

    async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        let peeked = self.take_peeked(buf);
        let rest = &mut buf[peeked..];
        if !rest.is_empty() {
            in_time(self.deadline, self.half.read_exact(rest)).await?;
        }
        Ok(())
    }

    async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.peeked.len() < buf.len() {
            self.read_ahead(buf.len()).await?;
        }
        let count = self.peeked.len().min(buf.len());
        buf[..count].copy_from_slice(&self.peeked[..count]);
        Ok(count)
    }

    /// The first byte of a message is asked for by itself; that is where its header is looked at.
    async fn peek_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.fill(buf.len()).await?;
        if buf.len() == 1 {
            self.check_header().await?;
        }
        buf.copy_from_slice(&self.peeked[..buf.len()]);
        Ok(())
    }
}

/// What goes out.
#[derive(Debug)]
pub(super) struct GossipWriter {
    half: OwnedWriteHalf,
    deadline: Instant,
}

impl ProtoWriter for GossipWriter {
    async fn close(&mut self) -> io::Result<()> {
        in_time(self.deadline, self.half.shutdown()).await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        in_time(self.deadline, self.half.write_all(payload)).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        in_time(self.deadline, self.half.flush()).await
    }
}

async fn in_time<T>(deadline: Instant, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = timeout_at(deadline, io).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
