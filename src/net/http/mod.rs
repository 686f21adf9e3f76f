//! JSON over HTTP, on the port of clients: for curl, for browsers behind a proxy, for whatever has no gRPC.
//!
//! [`Http`] answers a request, whichever version of HTTP it came by. `conversation` serves connections of HTTP/1.1; `fork` takes what is
//! not gRPC out of those of HTTP/2. What is asked for is found in `routes`, let in by the gate of every call (SEC-1), and done by the
//! same paths as gRPC's: `produce`, `consume`, `cluster`. Nothing of a body is read before.

pub mod encoded;
pub mod error;
pub mod number;
pub mod pieces;
pub mod query;
pub mod record;
pub mod respond;
pub mod routes;

mod book;
mod cluster;
mod json;
mod openapi;
mod produce;
mod read;
mod tail;
mod wrong_json;

pub mod conversation;
pub mod fork;
mod pace;
mod rest;

#[cfg(feature = "fuzzing")]
pub mod door;

use std::sync::Arc;

use http::{
    HeaderMap, Method as Verb, Request, Response, Version,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, ORIGIN},
    request::Parts,
};
use http_body::Body as _;
use tokio::time::Instant;
use tonic::body::Body;

use self::{
    error::HttpError,
    query::Query,
    rest::Rest,
    routes::{Ask, Route, find},
};
use super::{
    authorization::{Admitted, Farewell, RouteGate},
    connection::Ends,
    context::Context,
    echo::beginning,
    hosts::Hosts,
    receive::{ReceiveBudget, Whole},
    status::Refusal,
};

/// What who sends no body is told.
const NO_BODY: &str =
    "the request has no body, which should be the records; an empty record is a body of content-length 0";

/// Answers requests. One for all connections.
#[derive(Debug)]
pub struct Http {
    context: Arc<Context>,
    gate: RouteGate,
    budget: ReceiveBudget,
    hosts: Hosts,
}

impl Http {
    /// On `context`, behind `gate`, with room for bodies in `budget`.
    #[must_use]
    pub fn new(context: Arc<Context>, gate: RouteGate, budget: ReceiveBudget) -> Self {
        let options = &context.options;
        let hosts = Hosts::of(
            options.rpc_address.ip(),
            context.parts.tls.is_some(),
            options.rpc_address_advertised.as_deref(),
        );
        Self {
            context,
            gate,
            budget,
            hosts,
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
        let (head, mut body) = request.into_parts();
        let answered = self.try_answer(&head, &mut body).await;
        let mut response = answered.unwrap_or_else(HttpError::into_response);
        let is_http2 = head.version == Version::HTTP_2;
        if is_http2 && head.method == Verb::HEAD {
            response = respond::head_of(response);
        }
        if is_http2 && !body.is_end_stream() {
            let mut rest = Rest::new(body);
            // Who asks whether to send waits for the answer.
            let waits = head.headers.contains_key(EXPECT);
            if waits || !rest.is_over(rest::BEFORE).await {
                // Not for long, and not more of them than streams: one that is not over counts among those of its connection.
                tokio::spawn(rest.outlast(rest::BEHIND));
            }
        }
        response
    }

    async fn try_answer(&self, head: &Parts, body: &mut Body) -> Result<Response<Body>, HttpError> {
        self.hosts.check(head.version, &head.uri, &head.headers)?;
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
        let answer = self.ask(route, head, body);
        let response = match route.method.stream {
            true => admitted.while_allowed(answer).await??,
            // A batch that is being appended is not taken back: who hears that he may not has stored nothing.
            false => answer.await?,
        };
        Ok(guarded(route, response, admitted))
    }

    /// The body of a request, whole.
    ///
    /// Errors: it is coded, so that its bytes are not those that are meant; or it does not come.
    async fn receive(&self, head: &Parts, body: &mut Body) -> Result<Whole, HttpError> {
        if let Some(found) = coding(&head.headers) {
            return Err(HttpError::ContentEncoding { found });
        }
        Ok(self.budget.receive(body).await?)
    }

    async fn ask(&self, route: &Route, head: &Parts, body: &mut Body) -> Result<Response<Body>, HttpError> {
        let context = &self.context;
        let deadline = Instant::now() + context.options.request_timeout;
        let query = Query::parse(head.uri.query(), route)?;
        match route.ask {
            Ask::ProduceRecord => {
                let body = self.receive(head, body).await?;
                book::produce(context, body, deadline).await
            }
            Ask::ConsumeRecord => {
                let body = self.receive(head, body).await?;
                let offset = book::offset_of(&query, &body.bytes)?;
                book::consume(context, offset, deadline).await
            }
            Ask::Produce => {
                // A forgotten one would be an empty record for ever.
                if body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH) {
                    return Err(Refusal::invalid(NO_BODY).into());
                }
                context.check_log(query.log())?;
                let wanted = produce::Wanted::of(&head.headers, &query)?;
                let body = self.receive(head, body).await?;
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

/// How the bytes of a body are coded, where they are.
fn coding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let said = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let coded = |said: &str| {
        let mut codings = said.split(',').map(str::trim);
        codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
    };
    let found = said.into_iter().find(|said| coded(said))?;
    Some(beginning(&found).to_owned())
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_body_is_coded_when_any_of_its_codings_is_one() {
        for (said, is_coded) in [
            (&[][..], false),
            (&["identity"], false),
            (&["Identity, identity", ""], false),
            (&["gzip"], true),
            (&["identity, br"], true),
            (&["identity", "zstd"], true),
        ] {
            let mut headers = HeaderMap::new();
            for coding in said {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(coding(&headers).is_some(), is_coded, "{said:?}");
        }
    }
}
