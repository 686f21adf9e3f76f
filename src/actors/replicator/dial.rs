//! Opening a connection to a peer: TCP, the first byte, TLS, HTTP/2 or parcels, and the greeting that tells whether it is the right node.

use std::{error::Error, fmt, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tonic::{Code, Response, Status, body::Body};

#[cfg(feature = "testing")]
use super::faults::LinkFaults;
use super::io::{Cuts, PeerIo};
use crate::{
    actors::peer::{Contest, Hold, Incarnation, PeerIdentity, Rival},
    consensus::{
        appends::{Asking, Wire, WireError, greeting},
        links::{
            APPENDS_FIRST_BYTE, CONNECTION_WINDOW_BYTES, CallChannel, CallStamp, Contact, FIRST_BYTE,
            FRAME_BYTES_MAX, KEEPALIVE_EVERY, KEEPALIVE_WITHIN, Lane, LinkError, PeerChannel,
            STREAM_WINDOW_BYTES,
        },
    },
    error::causes,
    proto::peer::{AppendsHello, GreetRequest, GreetResponse},
    tls::{Fate, NodeTls, Stream, TlsFailure, Usage},
    types::{ClusterId, NodeId},
};

/// Why a node keeps no connection while there is a contest.
const CONTESTED: &str = "peers take another process for this node";

/// Where a peer may be, and as whom it would answer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `host:port`.
    pub address: String,
    /// What it is called, which its certificate must say; `None`: it may be any node of the cluster.
    pub name: Option<String>,
}

/// Where a peer may be at present, by its id: asked before each try, so that a node that moved is found.
#[derive(Clone)]
pub struct Directory {
    places: Arc<dyn Fn(NodeId) -> Vec<Place> + Send + Sync>,
}

impl Directory {
    /// Asks `find`, which must not block, for `host:port`.
    #[must_use]
    pub fn new(find: impl Fn(NodeId) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::of_places(move |node| {
            let place = find(node).map(|address| Place { address, name: None });
            place.into_iter().collect()
        })
    }

    /// Asks `places`, which must not block: the likeliest first. All are tried, so that whoever can make one of them up keeps nobody from being found.
    #[must_use]
    pub fn of_places(places: impl Fn(NodeId) -> Vec<Place> + Send + Sync + 'static) -> Self {
        Self {
            places: Arc::new(places),
        }
    }

    /// Where `node` most likely is.
    #[must_use]
    pub fn find(&self, node: NodeId) -> Option<String> {
        let likeliest = self.places(node).into_iter().next();
        likeliest.map(|place| place.address)
    }

    /// Where `node` may be, the likeliest first.
    #[must_use]
    pub fn places(&self, node: NodeId) -> Vec<Place> {
        (self.places)(node)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory")
    }
}

/// What it takes to open connections.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) identity: PeerIdentity,
    pub(super) directory: Directory,
    pub(super) connect_within: Duration,
    pub(super) tls: Option<NodeTls>,
    #[cfg(feature = "testing")]
    pub(super) faults: LinkFaults,
}

/// A connection that is open. Dropping it ends it, whatever calls are on it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) channel: PeerChannel,
    pub(super) address: String,
    pub(super) connection: Connection,
}

/// The task that moves a connection's bytes.
#[derive(Debug)]
pub(super) struct Connection {
    task: AbortOnDropHandle<Result<(), Box<dyn Error + Send + Sync>>>,
    kill: DropGuard,
    /// Whom it is with; `None` before the greeting.
    hold: Option<Hold>,
    contest: Contest,
}

impl Connection {
    /// Waits for the connection's end, and ends it when peers take another process for this node; why it ended.
    pub(super) async fn ended(self) -> String {
        let Self {
            task,
            kill: _kill,
            hold: _hold,
            contest,
        } = self;
        let ended = tokio::select! {
            ended = task => ended,
            () = contest.begins() => return CONTESTED.to_owned(),
        };
        match ended {
            Ok(Ok(())) => "the peer closed the connection, or gave no sign of life".to_owned(),
            Ok(Err(error)) => causes(&*error),
            Err(error) => causes(&error),
        }
    }
}

/// A try that failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no TLS")]
    Tls(#[source] TlsFailure),
    #[error("{0}")]
    Unwelcome(TlsFailure),
    #[error("cannot speak HTTP/2")]
    Handshake(#[source] hyper::Error),
    #[error("no greeting")]
    Appends(#[source] WireError),
    #[error("{}", .0.message())]
    Refused(Status),
    #[error("no answer to the greeting: {}", .0.message())]
    Greeting(Status),
    #[error("node {node_id} of cluster {cluster_id} answers there")]
    Stranger { node_id: NodeId, cluster_id: String },
    #[error("{}", .0.message())]
    Distrusted(Status),
    #[error("{}", .0.message())]
    Contested(Status),
    #[error(transparent)]
    OtherProcess(#[from] Rival),
    #[error("nothing came of it within {0:?}")]
    Deadline(Duration),
}

impl DialError {
    fn of_greeting(status: Status) -> Self {
        match status.code() {
            Code::FailedPrecondition => Self::Refused(status),
            Code::PermissionDenied => Self::Distrusted(status),
            Code::AlreadyExists => Self::Contested(status),
            _ => Self::Greeting(status),
        }
    }

    fn of_tls(failure: TlsFailure) -> Self {
        if failure.is_refusal() {
            Self::Unwelcome(failure)
        } else {
            Self::Tls(failure)
        }
    }
}

/// Whom a connection is to be with.
#[derive(Clone, Copy)]
struct Call<'a> {
    address: &'a str,
    name: Option<&'a str>,
    target: NodeId,
    cluster_id: ClusterId,
}

impl Dialer {
    /// Opens the connection to `target` for a lane, at the first place where it answers. To be run on the runtime that is to move its bytes.
    ///
    /// Errors: it answers nowhere; what was met with at the likeliest place.
    pub(super) async fn dial(
        &self,
        target: NodeId,
        lane: Lane,
        contact: &Arc<Contact>,
    ) -> Result<Opened, LinkError> {
        // Nowhere to try, where this node has nothing to say to anybody, is no matter of addresses.
        self.identity.cluster_id().ok_or(LinkError::NoCluster)?;
        let mut met = None;
        for place in self.directory.places(target) {
            match self.dial_at(target, place, lane, Arc::clone(contact)).await {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    met.get_or_insert(error);
                }
            }
        }
        Err(met.unwrap_or(LinkError::NoAddress { target }))
    }

    /// The same at one place.
    pub(super) async fn dial_at(
        &self,
        target: NodeId,
        Place { address, name }: Place,
        lane: Lane,
        contact: Arc<Contact>,
    ) -> Result<Opened, LinkError> {
        let cluster_id = self.identity.cluster_id().ok_or(LinkError::NoCluster)?;
        let contest = self.identity.contest();
        if !contest.may_ask(target) {
            return Err(LinkError::Contested {
                target,
                address: String::new(),
                cause: CONTESTED.to_owned(),
            });
        }
        let opened = async {
            let call = Call {
                address: &address,
                name: name.as_deref(),
                target,
                cluster_id,
            };
            match lane {
                Lane::Bulk | Lane::Control => self.dial_for_calls(call, contact).await,
                Lane::Appends => self.dial_for_appends(call, contact).await,
            }
        };
        let opened = timeout(self.connect_within, opened)
            .await
            .unwrap_or(Err(DialError::Deadline(self.connect_within)));
        match opened {
            Ok((channel, connection)) => {
                contest.accepted_by(target);
                Ok(Opened {
                    channel,
                    address,
                    connection,
                })
            }
            Err(DialError::Unwelcome(failure)) => Err(LinkError::Untrusted {
                target,
                address,
                cause: failure.to_string(),
            }),
            Err(error @ DialError::Distrusted(_)) => Err(LinkError::Untrusted {
                target,
                address,
                cause: causes(&error),
            }),
            Err(error @ DialError::Contested(_)) => {
                contest.refused_by(target);
                Err(LinkError::Contested {
                    target,
                    address,
                    cause: causes(&error),
                })
            }
            Err(
                error @ (DialError::Refused(_) | DialError::Stranger { .. } | DialError::OtherProcess(_)),
            ) => Err(LinkError::Refused {
                target,
                address,
                cause: causes(&error),
            }),
            Err(error) => Err(LinkError::Down {
                target,
                address,
                cause: causes(&error),
            }),
        }
    }

    async fn dial_for_calls(
        &self,
        call: Call<'_>,
        contact: Arc<Contact>,
    ) -> Result<(PeerChannel, Connection), DialError> {
        let kill = CancellationToken::new();
        let (io, fate) = self.connect(call, FIRST_BYTE, &kill).await?;
        let (requests, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_WITHIN)
            .keep_alive_while_idle(true)
            .handshake::<_, Body>(TokioIo::new(io))
            .await
            .map_err(|error| told(&fate, DialError::Handshake(error)))?;
        let mut connection = self.connection(driver, kill);
        let (own, incarnation) = (self.identity.node_id(), self.identity.incarnation());
        let stamp = Arc::new(CallStamp::new(call.cluster_id, own, incarnation.0, call.target));
        let channel = CallChannel::new(requests, stamp, contact);
        let greeted = channel.client().greet(GreetRequest {}).await;
        let greeted = greeted.map(Response::into_inner).map_err(DialError::of_greeting);
        let welcome = greeted.map_err(|error| told(&fate, error))?;
        connection.hold = Some(self.hold(call, &welcome)?);
        Ok((PeerChannel::Calls(channel), connection))
    }

    async fn dial_for_appends(
        &self,
        call: Call<'_>,
        contact: Arc<Contact>,
    ) -> Result<(PeerChannel, Connection), DialError> {
        let kill = CancellationToken::new();
        let (io, fate) = self.connect(call, APPENDS_FIRST_BYTE, &kill).await?;
        let mut wire = Wire::new(io, greeting::GREETING_BYTES_MAX);
        let hello = AppendsHello {
            cluster_id: bytes_of(call.cluster_id),
            from_node: self.identity.node_id().get(),
            from_incarnation: self.identity.incarnation().0,
            to_node: call.target.get(),
        };
        let greeted = match greeting::say(&mut wire, hello).await {
            Ok(greeted) => greeted.map_err(DialError::of_greeting),
            Err(error) => Err(DialError::Appends(error)),
        };
        let welcome = greeted.map_err(|error| told(&fate, error))?;
        let hold = self.hold(call, &welcome)?;
        contact.heard();
        let (channel, asking) = Asking::new(wire, contact);
        let mut connection = self.connection(asking, kill);
        connection.hold = Some(hold);
        Ok((PeerChannel::Appends(channel), connection))
    }

    /// The connection that `driver` drives.
    fn connection<E>(
        &self,
        driver: impl Future<Output = Result<(), E>> + Send + 'static,
        kill: CancellationToken,
    ) -> Connection
    where
        E: Error + Send + Sync + 'static,
    {
        let driver = async { driver.await.map_err(Into::into) };
        Connection {
            task: AbortOnDropHandle::new(tokio::spawn(driver)),
            kill: kill.drop_guard(),
            hold: None,
            contest: self.identity.contest().clone(),
        }
    }

    /// Whether both sides mean the same: the peer has checked who calls, and its answer tells who it is. What holds it to be that process.
    fn hold(&self, call: Call<'_>, peer: &GreetResponse) -> Result<Hold, DialError> {
        if peer.node_id != call.target.get() || peer.cluster_id != bytes_of(call.cluster_id) {
            return Err(DialError::Stranger {
                node_id: NodeId(peer.node_id),
                cluster_id: peer.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            });
        }
        let incarnation = Incarnation(peer.incarnation);
        let hold = self
            .identity
            .peers()
            .hold(call.target, incarnation, call.address)?;
        hold.reached_at(call.address);
        Ok(hold)
    }

    /// Connects, says the first byte, and shakes hands where there is TLS.
    async fn connect(
        &self,
        call: Call<'_>,
        first: u8,
        kill: &CancellationToken,
    ) -> Result<(PeerIo, Fate), DialError> {
        let cuts = self.cuts(call.target).await.map_err(DialError::Connect)?;
        let stream = TcpStream::connect(call.address).await;
        let mut stream = stream.map_err(DialError::Connect)?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        stream.write_all(&[first]).await.map_err(DialError::Connect)?;
        let Some(tls) = &self.tls else {
            return Ok((
                PeerIo::new(Stream::Plain(stream), None, kill, cuts),
                Fate::default(),
            ));
        };
        let proven = tls.call_peer(stream, call.name.map(str::to_owned)).await;
        let proven = proven.map_err(DialError::of_tls)?;
        let guest = tls.watch(&proven, Usage::Server, kill.clone());
        let fate = proven.stream.fate();
        Ok((PeerIo::new(proven.stream, Some(guest), kill, cuts), fate))
    }

    #[cfg(feature = "testing")]
    async fn cuts(&self, target: NodeId) -> io::Result<Cuts> {
        let mut cuts = Cuts::new(self.faults.of(self.identity.node_id(), target));
        std::future::poll_fn(|cx| cuts.poll_pass(cx)).await?;
        Ok(cuts)
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_async, reason = "as its counterpart for tests")]
    async fn cuts(&self, _: NodeId) -> io::Result<Cuts> {
        Ok(Cuts)
    }
}

/// The error, or what the peer says only now: that it does not take this node's certificate.
fn told(fate: &Fate, error: DialError) -> DialError {
    fate.get()
        .map_or(error, |failure| DialError::of_tls(failure.clone()))
}

fn bytes_of(cluster_id: ClusterId) -> Bytes {
    cluster_id.0.to_be_bytes().to_vec().into()
}
