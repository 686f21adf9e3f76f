//! TLS at the entrance: who is pending, for how long, and what is said about those who are refused.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slog::{Logger, error, warn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::tls::{NodeTls, Proven, TlsFailure};

/// Handshakes of clients at a time. Each has some tens of KiB, and takes a fraction of a millisecond of one core: what is beyond
/// this would only wait.
const CLIENTS_PENDING_MAX: usize = 256;
/// The same of those who say that they are peers. A node has three connections to each other one.
const PEERS_PENDING_MAX: usize = 64;
/// How long one that says it is a peer may take: peers are near each other, and who is none should not hold a place for long.
pub(super) const PEER_WITHIN: Duration = Duration::from_secs(5);
/// Kinds of refusal that are counted apart; more than that is an attack, and counted as one.
const KINDS_MAX: usize = 256;
/// For how long it is waited that a client without TLS hears why it is refused.
const FAREWELL: Duration = Duration::from_secs(1);
/// The most that is read from it meanwhile.
const FAREWELL_BYTES: u64 = 64 << 10;

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
    refused: Arc<Refused>,
}

impl Handshakes {
    pub(super) fn new(tls: NodeTls, log: Logger) -> Self {
        Self {
            tls,
            clients: Arc::new(Semaphore::new(CLIENTS_PENDING_MAX)),
            peers: Arc::new(Semaphore::new(PEERS_PENDING_MAX)),
            refused: Arc::new(Refused {
                counts: Mutex::default(),
                log,
            }),
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
                .client(from, &"too many handshakes of peers at a time");
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
        let farewell = async {
            let mut said = [0; 3];
            let count = stream.peek(&mut said).await?;
            let refusal = if said[..count] == *b"PRI" {
                HTTP2_REFUSAL
            } else {
                HTTP1_REFUSAL
            };
            stream.write_all(refusal).await?;
            stream.shutdown().await?;
            // What arrives at a closed connection would take back what was sent on it.
            tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
        };
        // Whatever comes of it, the connection is over.
        drop(timeout(FAREWELL, farewell).await);
    }
}

/// What is told of those who are refused: the 1st, 2nd, 4th, 8th time of each kind, since under attack there would be a line for
/// each connection.
#[derive(Debug)]
struct Refused {
    counts: Mutex<HashMap<(IpAddr, String), u64>>,
    log: Logger,
}

impl Refused {
    fn client(&self, from: SocketAddr, why: &dyn std::fmt::Display) {
        if let Some(times) = self.count(from, why) {
            warn!(self.log, "refused a client"; "from" => %from, "why" => %why, "times" => times);
        }
    }

    /// Loudly where it is about who is who: somebody poses as a node, or a node cannot come back.
    fn peer(&self, from: SocketAddr, failure: &TlsFailure) {
        let Some(times) = self.count(from, failure) else {
            return;
        };
        if failure.is_refusal() {
            error!(self.log, "refused a peer; nothing is exchanged";
                "from" => %from, "why" => %failure, "times" => times);
        } else {
            warn!(self.log, "no handshake with a peer"; "from" => %from, "why" => %failure, "times" => times);
        }
    }

    /// How often that was so, when it is to be told.
    fn count(&self, from: SocketAddr, why: &dyn std::fmt::Display) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (from.ip(), why.to_string());
        if !counts.contains_key(&kind) && counts.len() >= KINDS_MAX {
            // What was told is told again rather than that new things are not.
            counts.clear();
        }
        let count = counts.entry(kind).or_default();
        *count += 1;
        Some(*count).filter(|count| count.is_power_of_two())
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
