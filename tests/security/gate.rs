//! The gate alone, with services behind it that answer everything.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use annals::{
    acl::{Acl, Model},
    certs::{Caller, Certificate},
    net::{
        authorization::{Authorization, AuthorizationLayer, AuthorizationService},
        connection::Ends,
        held::Held,
    },
};
use http::{Request, Response};
use http_body::Body as _;
use slog::Logger;
use tonic::{Code, Status, body::Body, transport::server::TcpConnectInfo};
use tower::{Layer, Service};

use crate::support::{
    certs::{Cluster, DAY},
    log_lines::LogLines,
};

/// Where all callers here come from.
pub const FROM: &str = "192.0.2.7:50000";

/// Services that answer everything with a stream that says nothing.
#[derive(Clone)]
struct Answering(Arc<AtomicUsize>);

impl Service<Request<Body>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new(Body::new(Silent))))
    }
}

/// A body that never comes.
struct Silent;

impl http_body::Body for Silent {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        Poll::Pending
    }
}

/// A gate, what is behind it, and what it writes down.
pub struct Gate {
    pub acl: Acl,
    pub lines: LogLines,
    service: AuthorizationService<Answering>,
    answered: Arc<AtomicUsize>,
}

impl Gate {
    /// By that policy.
    pub fn new(policy: &str, shadow: bool) -> Self {
        let lines = LogLines::new();
        let acl = Acl::new(Model::built_in(), "policy.csv", policy.as_bytes()).unwrap();
        let authorization = Authorization {
            acl: acl.clone(),
            shadow,
        };
        Self::with(Some(&authorization), acl, lines.clone(), &lines.logger())
    }

    fn with(authorization: Option<&Authorization>, acl: Acl, lines: LogLines, log: &Logger) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let layer = AuthorizationLayer::new(authorization, &Arc::default(), log);
        Self {
            service: layer.layer(Answering(Arc::clone(&answered))),
            acl,
            lines,
            answered,
        }
    }

    /// With nobody asked.
    pub fn open() -> Self {
        let gate = Self::new("p, nobody, log, consume", false);
        let (lines, log) = (gate.lines.clone(), gate.lines.logger());
        Self::with(None, gate.acl, lines, &log)
    }

    /// Calls a method. What the services behind answered, or the status with which the call was refused; a refusal must not have
    /// reached them.
    pub async fn call(&self, path: &str, caller: Option<&Caller>) -> Result<Body, Status> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(Ends {
            tcp: TcpConnectInfo {
                local_addr: None,
                remote_addr: Some(FROM.parse().unwrap()),
            },
            held: Held::new(None),
            caller: caller.cloned(),
        });
        let before = self.answered.load(Ordering::Relaxed);
        let response = self.service.clone().call(request).await.unwrap();
        let reached = self.answered.load(Ordering::Relaxed) - before;
        match Status::from_header_map(response.headers()) {
            Some(status) => {
                assert_eq!(reached, 0, "{path} was refused and done");
                assert!(response.body().is_end_stream());
                Err(status)
            }
            None => {
                assert_eq!(reached, 1, "{path}");
                Ok(response.into_body())
            }
        }
    }

    /// Whether the method may be called.
    pub async fn allows(&self, path: &str, caller: Option<&Caller>) -> bool {
        match self.call(path, caller).await {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied, "{path}: {status}");
                false
            }
        }
    }
}

/// Who has a certificate of that identity.
pub fn caller(identity: &str) -> Caller {
    let identity = annals::certs::Identity::from_uri(identity).unwrap();
    let cluster = Cluster::new(identity.cluster.as_str());
    let pair = cluster.sign(&identity.holder, DAY);
    let certificate = Certificate::from_pem(pair.certificate.as_bytes()).unwrap();
    Caller::of(&certificate, false).unwrap()
}
