//! What all responses have in common.

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body::Body as _;
use tonic::body::Body;

use crate::{net::context::Context, types::Offset};

/// A value of JSON.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A value of JSON on each line.
pub const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// Server-sent events.
pub const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

const NODE: HeaderName = HeaderName::from_static("annals-node-id");
const TERM: HeaderName = HeaderName::from_static("annals-term");
const HIGH_WATERMARK: HeaderName = HeaderName::from_static("annals-high-watermark");
const NEXT_OFFSET: HeaderName = HeaderName::from_static("annals-next-offset");

/// A response that is there as a whole.
#[must_use]
pub fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Body> {
    response(status, content_type, axum::body::Body::from(body))
}

/// The same of a value of JSON, on a line.
#[must_use]
pub fn json(value: &serde_json::Value) -> Response<Body> {
    let mut text = value.to_string();
    text.push('\n');
    bytes(StatusCode::OK, JSON, text.into())
}

/// A response that is made piece by piece, as it is taken.
#[must_use]
pub fn pieces(
    content_type: HeaderValue,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Response<Body> {
    use futures::StreamExt;
    let pieces = pieces.map(Ok::<_, Infallible>);
    response(
        StatusCode::OK,
        content_type,
        axum::body::Body::from_stream(pieces),
    )
}

fn response(status: StatusCode, content_type: HeaderValue, body: axum::body::Body) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    // It is as it is now; and it is what it says, whatever a browser makes of its bytes.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The head of a response alone, as HEAD asks for it, with the length of the body that it would have.
///
/// Over HTTP/1.1 hyper leaves the body out by itself; over HTTP/2 it sends whatever it is given.
#[must_use]
pub fn head_of(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    Response::from_parts(head, Body::empty())
}

/// Says who answers, and what it knows.
pub fn say_who(headers: &mut HeaderMap, context: &Context) {
    let said = context.header();
    // Ids use all 64 bits, which a header keeps.
    headers.insert(NODE, HeaderValue::from(said.node_id));
    headers.insert(TERM, HeaderValue::from(said.term));
    headers.insert(HIGH_WATERMARK, HeaderValue::from(said.high_watermark));
}

/// Says where to go on.
pub fn say_next(headers: &mut HeaderMap, next_offset: Offset) {
    headers.insert(NEXT_OFFSET, HeaderValue::from(next_offset.get()));
}
