//! TLS at the entrance: who is pending, for how long, and what is said about those who are refused.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, copy, sink},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{farewell, refusals::Refusals};
use crate::tls::{NodeTls, Proven};

/// Handshakes of clients at a time. Each has some tens of KiB, and takes a fraction of a millisecond of one core: what is beyond
/// this would only wait.
const CLIENTS_PENDING_MAX: usize = 256;
/// The same of those who say that they are peers. A node has three connections to each other one.
const PEERS_PENDING_MAX: usize = 64;
/// How long one that says it is a peer may take: peers are near each other, and who is none should not hold a place for long.
pub(super) const PEER_WITHIN: Duration = Duration::from_secs(5);
/// For how long it is waited that a client without TLS says what it speaks instead.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// After its first call, for how long others of the same moment may follow: much longer than a client takes to send what it has.
const FIRST_CALLS: Duration = Duration::from_millis(50);
/// The most that is read of them.
const CALLS_BYTES_MAX: u64 = 64 << 10;

/// The first byte of TLS: a record of the handshake.
pub(super) const TLS_FIRST_BYTE: u8 = 0x16;

/// What a client hears that speaks HTTP/2 without TLS: no settings, and that it is to go, since that is not secure enough
/// (`INADEQUATE_SECURITY`, RFC 9113, section 7).
const HTTP2_REFUSAL: &[u8] =
    b"\0\0\0\x04\0\0\0\0\0\0\0\x1b\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0cthis node wants TLS";
/// The same in HTTP/1.1.
const HTTP1_REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 53\r\n\r\nthis node wants TLS: use https, and show who you are\n";

/// Shakes hands with those who come. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    pub(super) tls: NodeTls,
    clients: Arc<Semaphore>,
    peers: Arc<Semaphore>,
    refused: Arc<Refusals>,
}

impl Handshakes {
    pub(super) fn new(tls: NodeTls, refused: Arc<Refusals>) -> Self {
        Self {
            tls,
            clients: Arc::new(Semaphore::new(CLIENTS_PENDING_MAX)),
            peers: Arc::new(Semaphore::new(PEERS_PENDING_MAX)),
            refused,
        }
    }

    /// Shakes hands with a client; `None` when it is not let in, which it has been told.
    pub(super) async fn client(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        within: Duration,
    ) -> Option<Proven> {
        let Ok(_pending) = self.clients.try_acquire() else {
            self.refused.client(from, &"too many handshakes at a time");
            return None;
        };
        let shaken = self.tls.accept_client(stream, within).await;
        shaken.map_err(|failure| self.refused.client(from, &failure)).ok()
    }

    /// Shakes hands with one that says it is a peer; `None` when it is none of this cluster's, which it has been told.
    pub(super) async fn peer(&self, stream: TcpStream, from: SocketAddr) -> Option<Proven> {
        let Ok(_pending) = self.peers.try_acquire() else {
            self.refused
                .crowding_peer(from, &"too many handshakes of peers at a time");
            return None;
        };
        let shaken = self.tls.accept_peer(stream, PEER_WITHIN).await;
        shaken.map_err(|failure| self.refused.peer(from, &failure)).ok()
    }

    /// Tells a client without TLS, so that it understands, that the node wants it.
    pub(super) async fn refuse_plain(&self, mut stream: TcpStream, from: SocketAddr) {
        let Ok(_pending) = self.clients.try_acquire() else {
            return;
        };
        self.refused.client(from, &"it speaks without TLS");
        let mut said = [0; 3];
        let Ok(Ok(count)) = timeout(FIRST_WORDS, stream.peek(&mut said)).await else {
            return;
        };
        let refusal = if said[..count] == *b"PRI" {
            // Said before a call is under way, it would be told to no call: the next one would find a connection that is lost. Who does not
            // call is told all the same.
            if let Ok(Ok(())) = timeout(FIRST_WORDS, hear_call(&mut stream)).await {
                // A client may begin with several calls at once.
                let mut others = (&mut stream).take(CALLS_BYTES_MAX);
                drop(timeout(FIRST_CALLS, copy(&mut others, &mut sink())).await);
            }
            HTTP2_REFUSAL
        } else {
            HTTP1_REFUSAL
        };
        farewell::say(stream, refusal).await;
    }
}

/// Reads from a client of HTTP/2 until its first call has begun, or it has said more than any says before that.
///
/// Cancel: what was read is gone.
async fn hear_call(stream: &mut TcpStream) -> io::Result<()> {
    const PREFACE_BYTES: u64 = 24;
    /// The type of a frame that begins a call (RFC 9113, section 6.2).
    const HEADERS: u8 = 1;
    let mut heard = stream.take(CALLS_BYTES_MAX);
    let mut skipped = PREFACE_BYTES;
    loop {
        copy(&mut (&mut heard).take(skipped), &mut sink()).await?;
        let mut head = [0; 9];
        heard.read_exact(&mut head).await?;
        if head[3] == HEADERS {
            return Ok(());
        }
        skipped = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths in the answers are those of what follows.
    #[test]
    fn what_a_client_without_tls_hears_is_well_formed() {
        let go_away = &HTTP2_REFUSAL[9..];
        let length = usize::from(go_away[2]);
        assert_eq!(go_away[..2], [0, 0]);
        assert_eq!(go_away[9..].len(), length);
        let text = std::str::from_utf8(HTTP1_REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{text}"
        );
    }
}
