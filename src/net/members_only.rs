//! Calls of peers that are for members alone, and end when their caller is one no more: a node that was removed neither reads on nor
//! forwards on what it has open (SEC-1).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::{
    acquaintance::{Acquaintance, Asked},
    connection::Ends,
    guard::{Guarded, trailers},
    peers::{Caller, Gate},
};

/// The call by which a member ends its membership: its answer is for one that is a member no more.
const LEAVE: &str = "/annals.v1.PeerService/Leave";

/// A service of peers behind the gate, which has let the call in.
#[derive(Clone, Debug)]
pub(super) struct MembersOnly<S> {
    inner: S,
    gate: Gate,
}

impl<S> MembersOnly<S> {
    pub(super) fn new(inner: S, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

impl<S: NamedService> NamedService for MembersOnly<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for MembersOnly<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let extensions = request.extensions();
        let asks_for_more =
            matches!(extensions.get(), Some(Asked(Acquaintance::Member))) && request.uri().path() != LEAVE;
        let whose = extensions
            .get::<Caller>()
            .copied()
            .zip(extensions.get::<Ends>().cloned());
        // Before the call is made: a change that comes in between is noticed. The gate has looked before that, so it looks once more.
        let changes = self.gate.memberships().filter(|_| asks_for_more);
        let gate = self.gate.clone();
        let answered = self.inner.call(request);
        Box::pin(async move {
            let response = answered.await?;
            let (Some((Caller(node), ends)), Some(mut changes)) = (whose, changes) else {
                return Ok(response);
            };
            changes.mark_changed();
            let check = move || {
                gate.is_still_member(&ends, node)
                    .map_err(|status| trailers(&status))
            };
            Ok(response.map(|body| Body::new(Guarded::new(body, changes, check))))
        })
    }
}
