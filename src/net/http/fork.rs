//! Connections of HTTP/2: what is gRPC goes to its services, all else to the routes.
//!
//! A call costs one look at one header here, nothing is boxed for it, and its messages pass without one (ADR 0019).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use tonic::body::Body;
use tower::{Layer, Service};

use super::Http;

/// Puts the routes beside a server's services.
#[derive(Clone, Debug)]
pub struct ForkLayer(Arc<Http>);

impl ForkLayer {
    /// With those routes.
    #[must_use]
    pub fn new(http: Arc<Http>) -> Self {
        Self(http)
    }
}

impl<S> Layer<S> for ForkLayer {
    type Service = Fork<S>;

    fn layer(&self, inner: S) -> Fork<S> {
        Fork {
            inner,
            http: Arc::clone(&self.0),
        }
    }
}

/// Services with routes beside them.
#[derive(Clone, Debug)]
pub struct Fork<S> {
    inner: S,
    http: Arc<Http>,
}

/// What the routes answer.
type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Fork<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Answering<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_grpc(request.headers()) {
            return Either::Left(self.inner.call(request));
        }
        let http = Arc::clone(&self.http);
        Either::Right(Box::pin(async move { Ok(http.answer(request).await) }))
    }
}

/// gRPC, in any of its codings. It is not asked for its host: no browser speaks HTTP/2 without TLS.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
