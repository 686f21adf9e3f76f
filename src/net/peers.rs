//! The server of peers: who may call, and within which limits. It shares the port with the clients' server, and neither its
//! budgets nor its timeouts: replication must go on when clients fill everything that is theirs.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use slog::{Logger, error, warn};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Server,
};
use tower::util::MapRequestLayer;

use super::{
    acquaintance::{Acquaintance, Asked, Impostor, with_asked},
    appends,
    connection::{Connection, Ends},
    context::Context,
    members_only::MembersOnly,
    refusals::PeerRefusal,
    services::peer::PeerV1,
    strangers::Strangers,
};
use crate::{
    actors::{
        peer::{HandlerSlot, Incarnation, PeerIdentity, Rival},
        raft::ClusterState,
        replicator::Replicators,
    },
    certs, clock,
    consensus::links::{
        CLUSTER_ID_HEADER, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, FROM_INCARNATION_HEADER,
        FROM_NODE_HEADER, KEEPALIVE_EVERY, KEEPALIVE_WITHIN, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES,
        TO_NODE_HEADER,
    },
    proto::peer::peer_service_server::PeerServiceServer,
    types::{ClusterId, NodeId},
};

/// Calls on one connection of a peer. It has a stream of appends, one of proposals, and a few others at a time.
const CALLS_MAX: u32 = 256;

/// What answering peers takes; outlives the gateway's restarts.
#[derive(Clone, Debug)]
pub struct PeerServing {
    /// Who this node is.
    pub identity: PeerIdentity,
    /// Whoever answers.
    pub handlers: HandlerSlot,
    /// Told when a peer greets: then it can be reached too.
    pub replicators: Replicators,
    /// Told of those who are refused.
    pub refusal: PeerRefusal,
    /// Where peers' connections are driven: where consensus runs, so that what comes wakes no other thread.
    pub runtime: Handle,
}

/// Connections of peers that come: those for calls, and those for appends.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) calls: mpsc::Receiver<io::Result<Connection>>,
    pub(super) appends: mpsc::Receiver<io::Result<Connection>>,
}

/// Serves peers on the connections that come, until `kill`.
pub(super) async fn serve(
    serving: PeerServing,
    context: Arc<Context>,
    incoming: Incoming,
    kill: CancellationToken,
    log: Logger,
) {
    let gate = Gate {
        identity: serving.identity.clone(),
        context: Arc::clone(&context),
        strangers: Arc::default(),
        log: log.clone(),
    };
    let appends = appends::serve(
        serving.clone(),
        Arc::clone(&context),
        gate.clone(),
        incoming.appends,
    );
    let calls = serve_calls(serving, context, gate, incoming.calls, kill.clone(), log);
    // Connections for appends end with this.
    tokio::join!(calls, kill.run_until_cancelled(appends));
}

async fn serve_calls(
    serving: PeerServing,
    context: Arc<Context>,
    gate: Gate,
    incoming: mpsc::Receiver<io::Result<Connection>>,
    kill: CancellationToken,
    log: Logger,
) {
    let calls = PeerServiceServer::new(PeerV1::new(serving, context))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    let served = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CALLS_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        .layer(MapRequestLayer::new(with_asked))
        .add_service(InterceptedService::new(
            MembersOnly::new(calls, gate.clone()),
            gate,
        ))
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), kill.cancelled_owned())
        .await;
    if let Err(error) = served {
        warn!(log, "the server of peers ended"; "error" => %error);
    }
}

/// Who calls: a node of this cluster. Set by the gate on every call that it lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller(pub(super) NodeId);

/// Who calls whom, as the caller says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// As 32 hex digits.
    pub(super) cluster: String,
    pub(super) from: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) to: NodeId,
}

impl Said {
    /// What is said with each call.
    fn with_call(metadata: &MetadataMap) -> Option<Self> {
        let said = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let number = |name| said(name).and_then(|text| text.parse().ok());
        Some(Self {
            cluster: said(CLUSTER_ID_HEADER)?.chars().take(64).collect(),
            from: NodeId(number(FROM_NODE_HEADER)?),
            incarnation: Incarnation(number(FROM_INCARNATION_HEADER)?),
            to: NodeId(number(TO_NODE_HEADER)?),
        })
    }
}

/// Lets pass who is of this cluster, is the node that it says, and means this node; the one place where that is checked.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    identity: PeerIdentity,
    context: Arc<Context>,
    strangers: Arc<Mutex<Strangers>>,
    log: Logger,
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let said = Said::with_call(request.metadata());
        let ends = request.extensions().get::<Ends>();
        let asked = request.extensions().get();
        let asked = asked.map_or(Acquaintance::Member, |Asked(asked)| *asked);
        let caller = self.admit(said.as_ref(), ends, asked)?;
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

impl Gate {
    /// Who calls, at the other end of `ends`, for what is for those whom this node knows as `asked`.
    ///
    /// Errors: it has no business here, which is told of.
    pub(super) fn admit(
        &self,
        said: Option<&Said>,
        ends: Option<&Ends>,
        asked: Acquaintance,
    ) -> Result<Caller, Status> {
        let own = self.identity.cluster_id();
        let own = own.ok_or_else(|| Status::unavailable("this node belongs to no cluster yet"))?;
        let checked = said.zip(ends).ok_or(Stranger::Nobody).and_then(|(said, ends)| {
            self.check(own, said)?;
            self.recognize(ends, said, asked)?;
            Ok(Caller(said.from))
        });
        match checked {
            Ok(_) if self.identity.contest().is_on() => Err(Status::unavailable(
                "peers take another process for this node, so this one answers nobody",
            )),
            Ok(caller) => Ok(caller),
            Err(stranger) => {
                let text = stranger.to_string();
                self.tell(&stranger, &text);
                Err(Status::new(stranger.code(), text))
            }
        }
    }

    fn check(&self, own: ClusterId, said: &Said) -> Result<(), Stranger> {
        let (from, to) = (said.from, said.to);
        let node_id = self.identity.node_id();
        if said.cluster != own.to_string() {
            let theirs = said.cluster.clone();
            return Err(Stranger::OtherCluster {
                own,
                node_id,
                theirs,
                from,
            });
        }
        if to != node_id {
            return Err(Stranger::OtherNode { node_id, to, from });
        }
        if from == node_id {
            return Err(Stranger::Oneself { node_id });
        }
        Ok(())
    }

    /// Whether it is the node that calls, and that process of it.
    fn recognize(&self, ends: &Ends, said: &Said, asked: Acquaintance) -> Result<(), Stranger> {
        let node = said.from;
        let acquaintance = self.acquaintance(ends, node)?;
        if acquaintance < asked {
            if self.knows_nobody() {
                return Err(Stranger::Early);
            }
            let subject = ends.caller.as_ref().map(certs::Caller::subject);
            return Err(Stranger::NoMember {
                node,
                subject: subject.unwrap_or_default().to_owned(),
            });
        }
        if acquaintance == Acquaintance::Stranger {
            // Whoever holds an id is its node, which cannot be told of one that nobody knows.
            return Ok(());
        }
        let recognized = ends.held.called_by(self.identity.peers(), node, said.incarnation);
        recognized.map_err(Stranger::OtherProcess)
    }

    /// What the caller is to this node. Where nobody is asked for a certificate, whoever is of this cluster is believed.
    fn acquaintance(&self, ends: &Ends, node: NodeId) -> Result<Acquaintance, Stranger> {
        match (&ends.caller, &self.context.parts.tls) {
            (Some(caller), _) => {
                let cluster = self.context.parts.cluster.as_ref();
                Acquaintance::of(caller, node, cluster).map_err(Stranger::Impostor)
            }
            (None, None) => Ok(Acquaintance::Member),
            (None, Some(_)) => Err(Stranger::Nobody),
        }
    }

    /// Changes whenever who belongs may have changed; `None` where nobody is asked who he is.
    pub(super) fn memberships(&self) -> Option<watch::Receiver<ClusterState>> {
        let parts = &self.context.parts;
        let cluster = parts.cluster.as_ref().filter(|_| parts.tls.is_some());
        cluster.map(|cluster| cluster.board.subscribe())
    }

    /// Whether a caller that was let in as a member is one still.
    ///
    /// Errors: it is not.
    pub(super) fn is_still_member(&self, ends: &Ends, node: NodeId) -> Result<(), Status> {
        match self.acquaintance(ends, node) {
            Ok(Acquaintance::Member) => Ok(()),
            Ok(Acquaintance::Known | Acquaintance::Stranger) | Err(_) => {
                let subject = ends.caller.as_ref().map(certs::Caller::subject);
                let stranger = Stranger::NoMember {
                    node,
                    subject: subject.unwrap_or_default().to_owned(),
                };
                Err(Status::new(stranger.code(), stranger.to_string()))
            }
        }
    }

    /// Whether the membership is not read yet.
    fn knows_nobody(&self) -> bool {
        let cluster = self.context.parts.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.board.state().members.is_empty())
    }

    /// Loudly, once for each that is different.
    fn tell(&self, stranger: &Stranger, text: &str) {
        if *stranger == Stranger::Early {
            return;
        }
        let key = stranger.key().unwrap_or_else(|| text.to_owned());
        // The process that is seen to be the node may have ended a moment ago, its connections not yet.
        let may_pass = matches!(stranger, Stranger::OtherProcess(_));
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.is_news(key, may_pass, clock::now()) {
            error!(self.log, "refused a peer; nothing is exchanged"; "why" => text);
        }
    }
}

/// Somebody who has no business here.
#[derive(Debug, PartialEq, Eq)]
enum Stranger {
    Nobody,
    /// Who it is will be known.
    Early,
    OtherCluster {
        own: ClusterId,
        node_id: NodeId,
        theirs: String,
        from: NodeId,
    },
    OtherNode {
        node_id: NodeId,
        to: NodeId,
        from: NodeId,
    },
    OtherProcess(Rival),
    /// It claims to be this very node.
    Oneself {
        node_id: NodeId,
    },
    Impostor(Impostor),
    /// It asks for what is not for everybody with a certificate.
    NoMember {
        node: NodeId,
        subject: String,
    },
}

impl Stranger {
    /// Callers read this, and not the text.
    fn code(&self) -> Code {
        match self {
            Self::Nobody | Self::OtherCluster { .. } | Self::OtherNode { .. } | Self::Oneself { .. } => {
                Code::FailedPrecondition
            }
            Self::Early => Code::Unavailable,
            Self::OtherProcess(_) => Code::AlreadyExists,
            Self::Impostor(_) | Self::NoMember { .. } => Code::PermissionDenied,
        }
    }

    /// What makes it the same one again, where that is not all that is said of it: every connection has another port.
    fn key(&self) -> Option<String> {
        match self {
            Self::OtherProcess(rival) => {
                let host = rival.refused.rsplit_once(':').map_or("", |(host, _)| host);
                Some(format!("{} {} {host}", rival.node, rival.connected))
            }
            // Under any id.
            Self::NoMember { subject, .. } => Some(format!("no member {subject}")),
            Self::Nobody
            | Self::Early
            | Self::OtherCluster { .. }
            | Self::OtherNode { .. }
            | Self::Oneself { .. }
            | Self::Impostor(_) => None,
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProcess(rival) => rival.fmt(f),
            Self::Impostor(impostor) => impostor.fmt(f),
            Self::Early => f.write_str("this node does not know yet who its peers are"),
            Self::Oneself { node_id } => {
                write!(
                    f,
                    "this is node {node_id}, and the call says that it comes from node {node_id}"
                )
            }
            Self::NoMember { node, subject } => write!(
                f,
                "node {node}, as which {subject} calls, is no member as far as this node knows, and what it asks for is not \
                 for others"
            ),
            Self::Nobody => f.write_str("the call does not say whose it is, of which cluster, and for whom"),
            Self::OtherCluster {
                own,
                node_id,
                theirs,
                from,
            } => write!(
                f,
                "this is node {node_id} of cluster {own}, and node {from}, which calls, is of cluster {theirs}: one of \
                 them has the address of the other by mistake"
            ),
            Self::OtherNode { node_id, to, from } => write!(
                f,
                "this is node {node_id}, and node {from}, which calls, means node {to}: that one has moved, or was wiped"
            ),
        }
    }
}
