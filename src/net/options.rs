//! What the network side can be told.

use std::{net::SocketAddr, time::Duration};

/// Addresses, limits and times of the gateway. Bytes and counts are upper bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where clients and peers connect. Port 0: the system chooses; the choice is kept across restarts.
    pub rpc_address: SocketAddr,
    /// Where `/livez` and its neighbours are served, by plain HTTP.
    pub admin_address: SocketAddr,
    /// What clients are told to connect to (`GetServers`); the bound rpc address when absent.
    pub rpc_address_advertised: Option<String>,
    /// Open connections on the rpc address; one more is closed at once and counted.
    pub connections_max: usize,
    /// The same of one address, or one /64 of IPv6.
    pub connections_per_address_max: usize,
    /// Open streams, or unary requests in flight, on one connection.
    pub streams_per_connection_max: u32,
    /// One message, either way. Must be above `batch_bytes_max`, since a message wraps a batch.
    pub message_bytes_max: usize,
    /// Records of one request, encoded.
    pub batch_bytes_max: usize,
    /// Bytes of all large messages that are being received, on the whole node; at least one message.
    pub receive_bytes: usize,
    /// Bytes of all requests that wait for their commit, on the whole node.
    pub admission_bytes: usize,
    /// Bytes of one producing stream that wait for their commit.
    pub stream_inflight_bytes: usize,
    /// Bytes that a consumer is given at a time; at most one such chunk per consumer is in memory.
    pub consume_chunk_bytes: usize,
    /// Consuming streams that are open at the same time, on the whole node; one more is refused.
    pub consumers_max: usize,
    /// Reads of files that run at the same time.
    pub reads_max: usize,
    /// How long a request may take when the client does not say, and how long its message may take to arrive whole.
    pub request_timeout: Duration,
    /// How long a drain waits for streams to end before it closes their connections.
    pub drain_timeout: Duration,
    /// A connection silent for this long is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// How long the sign of life may take before the connection is closed.
    pub keepalive_timeout: Duration,
    /// HTTP/2 window of a stream: what a producer may send ahead of what is taken from it.
    pub stream_window_bytes: u32,
    /// HTTP/2 window of a connection: bounds what all its streams together hold in memory unread.
    pub connection_window_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rpc_address: SocketAddr::from(([127, 0, 0, 1], 8400)),
            admin_address: SocketAddr::from(([127, 0, 0, 1], 8402)),
            rpc_address_advertised: None,
            // Each may hold a connection window of memory: 1024 * 2 MiB is the worst case, reached only by attack.
            connections_max: 1024,
            connections_per_address_max: 256,
            // hyper's own default (200) is below what one pooled client connection of a busy service needs.
            streams_per_connection_max: 1024,
            // Well above a batch, so that one which is too large is refused by us, with a reason, and not by the transport.
            message_bytes_max: 4 << 20,
            batch_bytes_max: 1 << 20,
            // Some dozen large messages at a time: at 1 GB/s each is here within 4 ms.
            receive_bytes: 64 << 20,
            admission_bytes: 128 << 20,
            stream_inflight_bytes: 8 << 20,
            consume_chunk_bytes: 256 << 10,
            // A client that does not read leaves what is encoded and waits to be sent: 100 to 390 KiB of each, with its connection, by
            // the window that it asks for (ADR 0028).
            consumers_max: 512,
            // The disk gains nothing from more; the runtime's blocking pool has 512 threads, which others need too.
            reads_max: 64,
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(8),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            // One stream's rate is window / round trip: 1 GB/s at 1 ms, 20 MB/s at 50 ms.
            stream_window_bytes: 1 << 20,
            // Twice a stream's, so that one stalled stream does not stop its connection.
            connection_window_bytes: 2 << 20,
        }
    }
}
