//! What a client of a cluster may meet instead of the leader.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use annals::{
    net::status::DOMAIN,
    proto::raw::annals::v1::{
        ConsumeRequest, ConsumeResponse, DescribeLogRequest, DescribeLogResponse, Failure, ProduceRequest,
        ProduceResponse,
        log_service_server::{LogService, LogServiceServer},
    },
};
use futures::{Stream, StreamExt};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Code, Request, Response, Status, Streaming, transport::server::TcpIncoming};
use tonic_types::{ErrorDetails, StatusExt};

/// A port of this machine.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A node that does not lead, and says who does.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) address: SocketAddr,
    leader: Arc<Mutex<Option<SocketAddr>>>,
    serves: JoinHandle<()>,
}

impl Follower {
    /// One that knows no leader yet.
    pub(crate) fn start() -> Self {
        let incoming = TcpIncoming::bind(ANY).expect("a free port");
        let address = incoming.local_addr().expect("it is bound");
        let leader = Arc::default();
        let service = LogServiceServer::new(Service(Arc::clone(&leader)));
        let server = tonic::transport::Server::builder().add_service(service);
        let serves = tokio::spawn(async move {
            server.serve_with_incoming(incoming).await.expect("it serves");
        });
        Self {
            address,
            leader,
            serves,
        }
    }

    /// From now on it names this leader.
    pub(crate) fn hears_of(&self, leader: SocketAddr) {
        *self.leader.lock().expect("no call panics while it has the lock") = Some(leader);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

/// A node that takes connections and never says a word.
#[derive(Debug)]
pub(crate) struct Mute {
    pub(crate) address: SocketAddr,
    listens: JoinHandle<()>,
}

impl Mute {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(ANY).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let listens = tokio::spawn(async move {
            let mut connections = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.push(connection);
            }
        });
        Self { address, listens }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.expect("a free port");
    listener.local_addr().expect("it is bound")
}

#[derive(Clone)]
struct Service(Arc<Mutex<Option<SocketAddr>>>);

impl Service {
    fn refusal(&self) -> (&'static str, HashMap<String, String>) {
        let leader = *self.0.lock().expect("no call panics while it has the lock");
        let metadata = leader.map(|leader| ("leader_address".to_owned(), leader.to_string()));
        let reason = if leader.is_some() {
            "NOT_LEADER"
        } else {
            "NO_LEADER"
        };
        (reason, metadata.into_iter().collect())
    }

    fn status(&self) -> Status {
        let (reason, metadata) = self.refusal();
        let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        Status::with_error_details(Code::Unavailable, "this node does not lead", details)
    }

    fn failure(&self) -> Failure {
        let (reason, metadata) = self.refusal();
        Failure {
            code: Code::Unavailable.into(),
            reason: reason.to_owned(),
            metadata,
            ..Failure::default()
        }
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl LogService for Service {
    type ProduceStreamStream = Responses<ProduceResponse>;
    type ConsumeStreamStream = Responses<ConsumeResponse>;

    async fn produce(&self, _: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        Err(self.status())
    }

    async fn produce_stream(
        &self,
        requests: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let service = self.clone();
        let responses = requests.into_inner().map(move |request| {
            request.map(|_| ProduceResponse {
                requests: 1,
                failure: Some(service.failure()),
                ..ProduceResponse::default()
            })
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn consume(&self, _: Request<ConsumeRequest>) -> Result<Response<ConsumeResponse>, Status> {
        Err(self.status())
    }

    async fn consume_stream(
        &self,
        _: Request<ConsumeRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        Err(self.status())
    }

    async fn describe_log(
        &self,
        _: Request<DescribeLogRequest>,
    ) -> Result<Response<DescribeLogResponse>, Status> {
        Err(self.status())
    }
}
