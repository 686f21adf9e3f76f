//! The way to other nodes, as consensus sees it: connections that somebody else keeps.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tonic::body::Body;
use tower::Service;

use super::appends::AppendChannel;
use crate::{
    clock,
    error::Disposition,
    proto::peer::peer_service_client::PeerServiceClient,
    types::{ClusterId, NodeId},
};

/// Entries of one append, encoded, are gathered up to this; the last one may go beyond it. Far above what fills a
/// connection, and small enough that two of them do not hurt.
pub const APPEND_BYTES_MAX: usize = 8 << 20;

/// The largest message between nodes: an append with a last batch of the largest size that may be configured (8 MiB), and
/// what wraps it.
pub const MESSAGE_BYTES_MAX: usize = APPEND_BYTES_MAX + (8 << 20) + (1 << 20);

/// The first byte of a connection between nodes: clients share the port, and none of their protocols begins with it.
pub const FIRST_BYTE: u8 = 0x01;
/// The same of a connection for appends, which does not speak gRPC. A node that does not know it takes it for a client's, and ends it.
pub const APPENDS_FIRST_BYTE: u8 = 0x02;

/// What a node takes in of one stream before it is read, or, of appends, answered: some appends, so that a follower that syncs holds nobody up. One
/// stream's rate is this by round trip: 8 GB/s at 1 ms, 160 MB/s at 50 ms.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// The same for all streams of a connection. Twice a stream's: one that stands still does not stop the others.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// HTTP/2 frames. An append is some of them, and not hundreds, as with the default of 16 KiB.
pub const FRAME_BYTES_MAX: u32 = 1 << 20;
/// A connection on which nothing came for this long is asked for a sign of life, from both sides.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
/// Without one for this long it is given up. Longer than any stall of a busy machine, and not much longer than an election
/// takes: by then it is to be known who can be reached.
pub const KEEPALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Metadata of every call: the caller's cluster, as 32 hex digits.
pub const CLUSTER_ID_HEADER: &str = "annals-cluster-id";
/// Metadata of every call: the caller, as a decimal number.
pub const FROM_NODE_HEADER: &str = "annals-from-node";
/// Metadata of every call: which process of that node calls, as a decimal number.
pub const FROM_INCARNATION_HEADER: &str = "annals-from-incarnation";
/// Metadata of every call: whom the caller means, as a decimal number.
pub const TO_NODE_HEADER: &str = "annals-to-node";

/// The call with which a connection begins, before it is known who is at its other end.
const GREETING: &str = "/annals.v1.PeerService/Greet";

/// Requests need a scheme and a host, which mean nothing here: the connection is there already.
const ORIGIN: &str = "http://peer";

/// Which of a peer's connections. They share nothing, so that what is small and urgent never waits behind bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Forwarded batches, segments, entries for repairs.
    Bulk,
    /// Heartbeats, votes, read indexes.
    Control,
    /// Entries as they are made, in parcels of our own instead of gRPC.
    Appends,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bulk, Self::Control, Self::Appends];
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bulk => "bulk",
            Self::Control => "control",
            Self::Appends => "appends",
        })
    }
}

/// There is no connection to a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Neither gossip nor the membership knows where it is.
    #[error("nobody knows the address of node {target}")]
    NoAddress {
        /// The peer.
        target: NodeId,
    },
    /// It could not be reached lately; it is tried again after a while.
    #[error("node {target} cannot be reached at {address}: {cause}")]
    Down {
        /// The peer.
        target: NodeId,
        /// Where it was tried.
        address: String,
        /// What the last try met with.
        cause: String,
    },
    /// The node at that address does not want to talk: it is another one, or of another cluster.
    #[error("{address}, where node {target} should be, refuses: {cause}")]
    Refused {
        /// The peer.
        target: NodeId,
        /// Where it should be.
        address: String,
        /// What that node says.
        cause: String,
    },
    /// By its certificate, one of the two nodes has no business with the other.
    #[error("{address}, where node {target} should be, and this node do not trust each other: {cause}")]
    Untrusted {
        /// The peer.
        target: NodeId,
        /// Where it should be.
        address: String,
        /// Who does not trust whom, and why.
        cause: String,
    },
    /// Peers take another process for this node: it takes no part until they do not.
    #[error("{address}, where node {target} is, takes another process for this node: {cause}")]
    Contested {
        /// The peer.
        target: NodeId,
        /// Where it is; empty when it was not asked, since another peer says so.
        address: String,
        /// What it says.
        cause: String,
    },
    /// This node is not part of a cluster yet, so it has nothing to say to others.
    #[error("this node belongs to no cluster yet")]
    NoCluster,
    /// Too many wait for the connection.
    #[error("too much waits for the connection to node {target}")]
    Overloaded {
        /// The peer.
        target: NodeId,
    },
    /// Whoever keeps the connections is being restarted, or the node is stopping.
    #[error("nobody keeps connections at the moment")]
    Gone,
}

impl LinkError {
    /// Whether one of the two nodes does not want to have to do with the other, so that somebody should look at why.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Untrusted { .. } | Self::Contested { .. } => true,
            Self::NoAddress { .. }
            | Self::Down { .. }
            | Self::NoCluster
            | Self::Overloaded { .. }
            | Self::Gone => false,
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoAddress { .. }
            | Self::Down { .. }
            | Self::Refused { .. }
            | Self::Untrusted { .. }
            | Self::Contested { .. }
            | Self::NoCluster
            | Self::Overloaded { .. }
            | Self::Gone => Disposition::Retry,
        }
    }
}

/// Whoever keeps the connections to peers: the replicators.
#[async_trait]
pub trait PeerLinks: fmt::Debug + Send + Sync + 'static {
    /// The connection to `target` on `lane`. At once where it is open. Where one is being opened, that is waited for; while
    /// the peer is given a rest after a failure, the answer is that failure.
    ///
    /// Errors: see [`LinkError`]. Cancel: safe.
    async fn channel(&self, target: NodeId, lane: Lane) -> Result<PeerChannel, LinkError>;
}

/// An open connection to a peer, for any number of whatever its lane is for. Cheap to clone.
#[derive(Clone, Debug)]
pub enum PeerChannel {
    /// Of [`Lane::Bulk`] and [`Lane::Control`].
    Calls(CallChannel),
    /// Of [`Lane::Appends`].
    Appends(AppendChannel),
}

impl PeerChannel {
    /// Whether it can still be used, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Calls(channel) => channel.is_open(),
            Self::Appends(channel) => channel.is_open(),
        }
    }

    /// The calls of the proto service over this connection.
    ///
    /// Errors: it is not of a lane for calls.
    pub fn client(&self) -> Result<PeerServiceClient<CallChannel>, LinkError> {
        match self {
            Self::Calls(channel) => Ok(channel.client()),
            Self::Appends(_) => Err(LinkError::Gone),
        }
    }

    /// The way of appends.
    ///
    /// Errors: it is not of their lane.
    pub fn appends(self) -> Result<AppendChannel, LinkError> {
        match self {
            Self::Appends(channel) => Ok(channel),
            Self::Calls(_) => Err(LinkError::Gone),
        }
    }
}

/// When a peer was last heard of; shared by all its connections.
#[derive(Debug)]
pub struct Contact {
    since: Instant,
    /// Milliseconds after `since`, plus one; 0 before the first time.
    heard_ms: AtomicU64,
}

impl Contact {
    /// Never heard of.
    #[must_use]
    pub fn new() -> Self {
        Self {
            since: clock::now(),
            heard_ms: AtomicU64::new(0),
        }
    }

    /// It was heard of now.
    pub fn heard(&self) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.heard_ms.store(ms + 1, Ordering::Relaxed);
    }

    /// How long ago it was heard of; `None` when never.
    #[must_use]
    pub fn silent_for(&self) -> Option<Duration> {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed).checked_sub(1)?);
        Some(self.since.elapsed().saturating_sub(heard))
    }
}

impl Default for Contact {
    fn default() -> Self {
        Self::new()
    }
}

/// Who calls whom, ready to be put on every call.
#[derive(Clone, Debug)]
pub struct CallStamp([(HeaderName, HeaderValue); 4]);

impl CallStamp {
    /// Of calls from the process `incarnation` of node `from` to node `to` within `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterId, from: NodeId, incarnation: u64, to: NodeId) -> Self {
        let digits = |text: String| HeaderValue::try_from(text).expect("digits may stand in a header");
        Self([
            (
                HeaderName::from_static(CLUSTER_ID_HEADER),
                digits(cluster.to_string()),
            ),
            (
                HeaderName::from_static(FROM_NODE_HEADER),
                digits(from.to_string()),
            ),
            (
                HeaderName::from_static(FROM_INCARNATION_HEADER),
                digits(incarnation.to_string()),
            ),
            (HeaderName::from_static(TO_NODE_HEADER), digits(to.to_string())),
        ])
    }
}

/// An open connection to a peer, for any number of calls at a time. Cheap to clone. Calls fail when it is lost; it never
/// connects by itself, so that whoever keeps it knows of every loss.
#[derive(Clone)]
pub struct CallChannel {
    requests: SendRequest<Body>,
    stamp: Arc<CallStamp>,
    contact: Arc<Contact>,
}

impl CallChannel {
    /// Calls over `requests`, each with `stamp` on it.
    #[must_use]
    pub fn new(requests: SendRequest<Body>, stamp: Arc<CallStamp>, contact: Arc<Contact>) -> Self {
        Self {
            requests,
            stamp,
            contact,
        }
    }

    /// Whether it can still be used, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    /// The peer has answered something.
    pub fn heard(&self) {
        self.contact.heard();
    }

    /// The calls of the proto service over this connection.
    #[must_use]
    pub fn client(&self) -> PeerServiceClient<Self> {
        PeerServiceClient::with_origin(self.clone(), Uri::from_static(ORIGIN))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(usize::MAX)
    }
}

impl fmt::Debug for CallChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallChannel")
            .field("open", &self.is_open())
            .finish()
    }
}

/// Whether a call was answered with an error and nothing else: its status is among the headers then.
fn is_refusal(response: &Response<Incoming>) -> bool {
    response.headers().contains_key("grpc-status")
}

impl Service<Request<Body>> for CallChannel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        for (name, value) in &self.stamp.0 {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let contact = Arc::clone(&self.contact);
        let is_greeting = request.uri().path() == GREETING;
        let response = self.requests.send_request(request);
        Box::pin(async move {
            let response = response.await?;
            // A greeting is answered by the peer itself, and refused by whoever has its address now.
            if !(is_greeting && is_refusal(&response)) {
                contact.heard();
            }
            Ok(response)
        })
    }
}
