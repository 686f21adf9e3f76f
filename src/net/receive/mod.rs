//! Messages that are being received (ACT-2): how much memory they may take, and for how long.
//!
//! The transport takes a message out of the HTTP/2 window piece by piece, and only a whole one reaches a service, where
//! [`super::admission`] begins. What is underway until then is bounded here, on the bodies of requests: a large message holds
//! its length of the node's [`ReceiveBudget`] from its prefix on. Every message must be whole in time. Small ones hold
//! nothing, so that they pass while large ones wait; what they can take is bounded by the streams of a connection.

mod body;
mod prefix;
mod whole;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tokio::{sync::Semaphore, time::Instant};
use tonic::body::Body;
use tower::{Layer, Service};

pub use self::whole::Whole;

use self::body::Received;
use super::{
    Options,
    deadline::{self, Arrived},
};

/// Messages up to this size need no room: half of the largest DATA frame, so that they take no more than what carries them.
const SMALL_BYTES_MAX: usize = 32 << 10;

/// Methods that take a stream of messages. Of any other a call has one message, and holds it until the call's handler runs.
const CLIENT_STREAMS: [&str; 4] = [
    "/annals.v1.LogService/ProduceStream",
    "/log.v1.Log/ProduceStream",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The node's budget for large messages that are being received. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct ReceiveBudget {
    permits: Arc<Semaphore>,
    bytes_max: usize,
    message_bytes_max: usize,
    /// How long a message may take to be whole.
    within: Duration,
}

impl ReceiveBudget {
    /// `receive_bytes`, or one message when that is more: every legal message must fit.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let bytes_max = options
            .receive_bytes
            .max(options.message_bytes_max)
            .min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            message_bytes_max: options.message_bytes_max,
            within: options.request_timeout,
        }
    }

    /// How many permits a message takes; none when it is larger than a message may be.
    fn permits_of(&self, bytes: usize) -> Option<u32> {
        if bytes > self.message_bytes_max {
            return None;
        }
        Some(u32::try_from(bytes.min(self.bytes_max)).unwrap_or(u32::MAX))
    }
}

/// How many messages a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// One. It is kept until the call's handler runs, which is when the body is dropped.
    Unary,
    /// Any number. One is out of the receiver's hands when the next one is asked for.
    Streaming,
}

impl Calls {
    fn of_path(path: &str) -> Self {
        if CLIENT_STREAMS.contains(&path) {
            Self::Streaming
        } else {
            Self::Unary
        }
    }
}

/// Puts the budget under a server's services.
#[derive(Clone, Debug)]
pub struct ReceiveLayer {
    budget: ReceiveBudget,
}

impl ReceiveLayer {
    /// All services under it share `budget`.
    #[must_use]
    pub fn new(budget: ReceiveBudget) -> Self {
        Self { budget }
    }
}

impl<S> Layer<S> for ReceiveLayer {
    type Service = ReceiveService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReceiveService {
            inner,
            budget: self.budget.clone(),
        }
    }
}

/// A service whose requests' bodies are bounded.
#[derive(Clone, Debug)]
pub struct ReceiveService<S> {
    inner: S,
    budget: ReceiveBudget,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for ReceiveService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let calls = Calls::of_path(request.uri().path());
        let mut budget = self.budget.clone();
        if calls == Calls::Unary {
            budget.within = deadline::of_message(request.headers(), budget.within);
        }
        request.extensions_mut().insert(Arrived(Instant::now()));
        self.inner
            .call(request.map(|body| Body::new(Received::new(body, calls, budget))))
    }
}
