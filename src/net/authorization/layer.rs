//! The gate, in front of the services of clients.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use slog::Logger;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    Authorization,
    audit::AuditCounts,
    farewell::Farewell,
    gate::{Call, Gate, Moment},
    named::Named,
    routes::{Admitted, RouteGate},
};

/// Puts the gate in front of a server's services.
#[derive(Clone, Debug)]
pub struct AuthorizationLayer {
    /// `None` where nobody is asked.
    gate: Option<Arc<Gate>>,
}

impl AuthorizationLayer {
    /// By `authorization`, where there is some; `log` gets the audit trail, and `counts` how much is in it.
    #[must_use]
    pub fn new(authorization: Option<&Authorization>, counts: &Arc<AuditCounts>, log: &Logger) -> Self {
        let gate = |authorization| Arc::new(Gate::new(authorization, Arc::clone(counts), log.clone()));
        Self {
            gate: authorization.map(gate),
        }
    }

    /// The same gate, with the same audit trail, for what is asked by HTTP.
    #[must_use]
    pub fn routes(&self) -> RouteGate {
        RouteGate(self.gate.clone())
    }
}

impl<S> Layer<S> for AuthorizationLayer {
    type Service = AuthorizationService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthorizationService {
            inner,
            gate: self.gate.clone(),
        }
    }
}

/// Services behind the gate.
#[derive(Clone, Debug)]
pub struct AuthorizationService<S> {
    inner: S,
    gate: Option<Arc<Gate>>,
}

/// A call that may go on for long, boxed: there are few of them.
type LongCall<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for AuthorizationService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, Either<S::Future, LongCall<S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(gate) = &self.gate else {
            return Either::Right(Either::Left(self.inner.call(request)));
        };
        let call = Call::of(&request);
        // Before the question: a policy that comes in between is noticed.
        let changes = call.is_stream().then(|| gate.changes());
        if let Err(refusal) = gate.admit(&call, Moment::Begin) {
            return Either::Left(ready(Ok(Status::from(refusal).into_http())));
        }
        if call.names_an_object() {
            request
                .extensions_mut()
                .insert(Named::new(Arc::clone(gate), call.clone()));
        }
        let answered = self.inner.call(request);
        Either::Right(match changes {
            None => Either::Left(answered),
            Some(changes) => {
                let admitted = Admitted::new(Arc::clone(gate), call, changes);
                Either::Right(Box::pin(go_on(answered, admitted)))
            }
        })
    }
}

/// A stream, for as long as its caller may.
async fn go_on<E>(
    answered: impl Future<Output = Result<Response<Body>, E>>,
    mut admitted: Admitted,
) -> Result<Response<Body>, E> {
    // It may wait for long before it has anything to say.
    match admitted.while_allowed(answered).await {
        Err(refusal) => Ok(Status::from(refusal).into_http()),
        Ok(response) => Ok(response?.map(|body| admitted.guard(body, Farewell::Trailers))),
    }
}
