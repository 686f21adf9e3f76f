//! JSON over HTTP, on the port of clients: for curl, for browsers behind a proxy, for whatever has no gRPC.
//!
//! [`Http`] answers a request, whichever version of HTTP it came by. `conversation` serves connections of HTTP/1.1; `fork` takes what is
//! not gRPC out of those of HTTP/2. What is asked for is found in `routes`, let in by the gate of every call (SEC-1), and done by the
//! same paths as gRPC's: `produce`, `consume`, `cluster`. Nothing of a body is read before.

pub mod error;
pub mod number;
pub mod pieces;
pub mod query;
pub mod record;
pub mod respond;
pub mod routes;

mod book;
mod cluster;
mod openapi;
mod produce;
mod read;
mod tail;
mod wrong_json;

pub mod conversation;
pub mod fork;
mod pace;

use std::sync::Arc;

use http::{
    HeaderValue, Request, Response,
    header::{CONNECTION, ORIGIN, TRANSFER_ENCODING},
    request::Parts,
};
use tokio::time::Instant;
use tonic::body::Body;

use self::{
    error::HttpError,
    query::Query,
    routes::{Ask, Route, find},
};
use super::{
    authorization::{Admitted, Farewell, RouteGate},
    connection::Ends,
    context::Context,
    receive::ReceiveBudget,
    status::Refusal,
};

/// Answers requests. One for all connections.
#[derive(Debug)]
pub struct Http {
    context: Arc<Context>,
    gate: RouteGate,
    budget: ReceiveBudget,
}

impl Http {
    /// On `context`, behind `gate`, with room for bodies in `budget`.
    #[must_use]
    pub fn new(context: Arc<Context>, gate: RouteGate, budget: ReceiveBudget) -> Self {
        Self {
            context,
            gate,
            budget,
        }
    }

    /// What everything here stands on.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Answers a request.
    ///
    /// Cancel: a batch that was being appended may be stored all the same.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        // One that had a length too was to be taken for two requests somewhere; nothing behind it is believed (RFC 9112, 6.3).
        let is_last = request.headers().contains_key(TRANSFER_ENCODING);
        let answered = self.try_answer(request).await;
        let mut response = answered.unwrap_or_else(HttpError::into_response);
        if is_last {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn try_answer(&self, request: Request<Body>) -> Result<Response<Body>, HttpError> {
        let (head, body) = request.into_parts();
        if let Some(origin) = head.headers.get(ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes())
                .chars()
                .take(80)
                .collect();
            return Err(HttpError::Page { origin });
        }
        let path = head.uri.path();
        let route = find(&head.method, path).map_err(|problem| HttpError::no_route(problem, path))?;
        let mut admitted = self.gate.admit(head.extensions.get::<Ends>(), &route.method)?;
        let answer = self.ask(route, &head, body);
        let response = match route.method.stream {
            true => admitted.while_allowed(answer).await??,
            // A batch that is being appended is not taken back: who hears that he may not has stored nothing.
            false => answer.await?,
        };
        Ok(guarded(route, response, admitted))
    }

    async fn ask(&self, route: &Route, head: &Parts, body: Body) -> Result<Response<Body>, HttpError> {
        let context = &self.context;
        let deadline = Instant::now() + context.options.request_timeout;
        let query = Query::parse(head.uri.query(), route)?;
        match route.ask {
            Ask::ProduceRecord => {
                let body = self.budget.receive(body).await?;
                book::produce(context, body, deadline).await
            }
            Ask::ConsumeRecord => {
                let body = self.budget.receive(body).await?;
                let offset = book::offset_of(&query, &body.bytes)?;
                book::consume(context, offset, deadline).await
            }
            Ask::Produce => {
                let wanted = produce::Wanted::of(&head.headers, &query, context)?;
                let body = self.budget.receive(body).await?;
                produce::produce(context, wanted, body, deadline).await
            }
            Ask::Consume => {
                let wanted = read::Wanted::of(&head.headers, &query, context)?;
                read::consume(context, wanted, deadline).await
            }
            Ask::Tail => {
                let wanted = tail::Wanted::of(&head.headers, &query, context)?;
                tail::follow(context, wanted, deadline).await
            }
            Ask::DescribeCluster => cluster::describe(context, query.flag("local")?).await,
            Ask::DescribeApi => Ok(openapi::describe()),
        }
    }
}

/// A stream, for as long as its caller may have it.
fn guarded(route: &Route, response: Response<Body>, admitted: Admitted) -> Response<Body> {
    match route.ask {
        Ask::Tail => {
            let farewell: fn(Refusal) -> bytes::Bytes = tail::farewell;
            response.map(|body| admitted.guard(body, Farewell::Piece(farewell)))
        }
        Ask::ProduceRecord
        | Ask::ConsumeRecord
        | Ask::Produce
        | Ask::Consume
        | Ask::DescribeCluster
        | Ask::DescribeApi => response,
    }
}
