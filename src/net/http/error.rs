//! The one mapping from what went wrong to what is answered by HTTP.
//!
//! Reason, message and metadata are those that gRPC has ([`super::super::status`]); the status is chosen by code and reason. Some things can
//! only go wrong here.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, ALLOW, RETRY_AFTER},
};
use serde_json::{Map, Value};
use tonic::{Code, body::Body};

use super::{
    respond::{self, JSON},
    routes::{NoRoute, ROUTES, allowed},
};
use crate::{
    error::Disposition,
    net::{hosts::HostProblem, status::Refusal},
    proto::raw::annals::v1::Failure,
};

/// Why a request is not answered with a value.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// As any call is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The same, of the routes of the book, which say that a record is not found where others say that an offset is out of range.
    #[error(transparent)]
    OfTheBook(Refusal),
    /// It is for another host, or does not say for which.
    #[error(transparent)]
    Host(#[from] HostProblem),
    /// There is nothing of that path.
    #[error("there is nothing at {path}; \"routes\" has what there is")]
    NoPath {
        /// The path.
        path: String,
    },
    /// There is something of that path, by other methods.
    #[error("{path} answers to {allow}")]
    NoVerb {
        /// The path.
        path: String,
        /// The methods.
        allow: String,
    },
    /// Nobody knows what the body is.
    #[error(
        "content-type {found:?} is not taken: say application/json for {{\"records\": [..]}}, application/x-ndjson for a record a \
         line, or application/octet-stream or text/plain for the bytes of one record"
    )]
    MediaType {
        /// What the header says; empty when it is not there.
        found: String,
    },
    /// The body is coded, as compressed ones are.
    #[error(
        "a body of content-encoding {found:?} is not taken, since it would be stored as it is coded: send what is in it, without the \
         header; or, if these very bytes are the record, leave the header out"
    )]
    ContentEncoding {
        /// What the header says.
        found: String,
    },
    /// A browser's page asks.
    #[error(
        "the page of {origin} may not ask: browsers let any page send requests to this address, so none with an Origin are taken; \
         ask by a server of yours, or by a proxy that takes the header away"
    )]
    Page {
        /// Where the page is from.
        origin: String,
    },
}

impl HttpError {
    /// Of a request that fits no route.
    #[must_use]
    pub fn no_route(problem: NoRoute, path: &str) -> Self {
        let path = shown(path);
        match problem {
            NoRoute::Path => Self::NoPath { path },
            NoRoute::Verb => Self::NoVerb {
                allow: allowed(&path),
                path,
            },
        }
    }

    /// What is to be done about it, by the client where it is the client's.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Refused(refusal) | Self::OfTheBook(refusal) => refusal.disposition(),
            Self::Host(_)
            | Self::NoPath { .. }
            | Self::NoVerb { .. }
            | Self::MediaType { .. }
            | Self::ContentEncoding { .. }
            | Self::Page { .. } => Disposition::Reject,
        }
    }

    /// As it is answered.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let message = self.to_string();
        match self {
            Self::Refused(refusal) => refused(refusal, StatusCode::RANGE_NOT_SATISFIABLE),
            Self::OfTheBook(refusal) => refused(refusal, StatusCode::NOT_FOUND),
            Self::Host(HostProblem::Other { host }) => {
                let fields = [("host", host.into())];
                own(StatusCode::MISDIRECTED_REQUEST, "WRONG_HOST", message, fields)
            }
            Self::Host(HostProblem::Missing | HostProblem::Several | HostProblem::Malformed { .. }) => {
                own(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message, [])
            }
            Self::NoPath { path } => {
                let fields = [("path", path.into()), ("routes", routes())];
                own(StatusCode::NOT_FOUND, "NO_SUCH_ROUTE", message, fields)
            }
            Self::NoVerb { path, allow } => {
                let header = HeaderValue::from_str(&allow);
                let fields = [("path", path.into()), ("allow", allow.into())];
                let mut response = own(StatusCode::METHOD_NOT_ALLOWED, "WRONG_METHOD", message, fields);
                if let Ok(header) = header {
                    response.headers_mut().insert(ALLOW, header);
                }
                response
            }
            Self::MediaType { .. } => unsupported("UNKNOWN_CONTENT_TYPE", message, (ACCEPT, TAKEN_TYPES)),
            Self::ContentEncoding { .. } => {
                unsupported("CONTENT_IS_ENCODED", message, (ACCEPT_ENCODING, TAKEN_CODINGS))
            }
            Self::Page { origin } => {
                let fields = [("origin", origin.into())];
                own(StatusCode::FORBIDDEN, "PAGE_REFUSED", message, fields)
            }
        }
    }
}

/// Metadata that are numbers, which they are in JSON too. Ids stay text, as everywhere: they use all 64 bits.
const NUMBERS: [&str; 15] = [
    "base_offset",
    "bytes",
    "bytes_max",
    "consumers_max",
    "current_epoch",
    "denied_by_line",
    "earliest",
    "expected_sequence",
    "floor_bytes",
    "free_bytes",
    "high_watermark",
    "log_index",
    "next_offset",
    "offset",
    "position",
];

/// What a body may be.
const TAKEN_TYPES: HeaderValue =
    HeaderValue::from_static("application/json, application/x-ndjson, application/octet-stream, text/plain");
/// How its bytes may be coded.
const TAKEN_CODINGS: HeaderValue = HeaderValue::from_static("identity");

/// Of what comes from outside, so much is said back.
const SHOWN_CHARS_MAX: usize = 80;

/// Printable, and not too long.
fn shown(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
    printable.take(SHOWN_CHARS_MAX).collect()
}

fn routes() -> Value {
    let lines = ROUTES
        .iter()
        .map(|route| format!("{} {}  {}", route.verb, route.path, route.purpose));
    Value::from(lines.collect::<Vec<_>>())
}

/// What would be taken is in a header, for programs (RFC 9110, 15.5.16).
fn unsupported(reason: &str, message: String, (name, taken): (HeaderName, HeaderValue)) -> Response<Body> {
    let mut response = own(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason, message, []);
    response.headers_mut().insert(name, taken);
    response
}

fn own<const N: usize>(
    status: StatusCode,
    reason: &str,
    message: String,
    fields: [(&str, Value); N],
) -> Response<Body> {
    let mut error = Map::new();
    error.insert("reason".to_owned(), reason.into());
    error.insert("message".to_owned(), message.into());
    error.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    respond::bytes(status, JSON, line(error))
}

fn refused(refusal: Refusal, out_of_range: StatusCode) -> Response<Body> {
    let is_slow = matches!(refusal, Refusal::ReceiveDeadline { .. });
    let failure = refusal.into_failure();
    let status = match is_slow {
        true => StatusCode::REQUEST_TIMEOUT,
        false => status_of(&failure, out_of_range),
    };
    let retry_after = (failure.retry_after_ms > 0).then(|| Duration::from_millis(failure.retry_after_ms));
    let mut response = respond::bytes(status, JSON, line(described(failure)));
    if let Some(after) = retry_after {
        // In whole seconds, of which there is at least one.
        let seconds = after.as_millis().div_ceil(1000);
        let value = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// A refusal as JSON, as answers and the last event of a stream have it: `{"error": {..}}` and a newline.
#[must_use]
pub fn told(refusal: Refusal) -> Bytes {
    line(described(refusal.into_failure()))
}

fn described(failure: Failure) -> Map<String, Value> {
    let mut error = Map::new();
    error.insert("reason".to_owned(), failure.reason.into());
    error.insert("message".to_owned(), failure.message.into());
    for (name, text) in failure.metadata {
        let number = NUMBERS.contains(&name.as_str()).then(|| text.parse::<u64>());
        let value = match number {
            Some(Ok(number)) => Value::from(number),
            Some(Err(_)) | None => Value::from(text),
        };
        error.insert(name, value);
    }
    if failure.retry_after_ms > 0 {
        error.insert("retry_after_ms".to_owned(), failure.retry_after_ms.into());
    }
    error
}

fn line(error: Map<String, Value>) -> Bytes {
    let mut text = serde_json::json!({ "error": error }).to_string();
    text.push('\n');
    Bytes::from(text)
}

fn status_of(failure: &Failure, out_of_range: StatusCode) -> StatusCode {
    match (Code::from_i32(failure.code), failure.reason.as_str()) {
        (_, "RECORD_TOO_LARGE") => StatusCode::PAYLOAD_TOO_LARGE,
        (_, "OVERLOADED") => StatusCode::TOO_MANY_REQUESTS,
        // Nothing that this client sent, or could send in another way, changes it.
        (_, "STORAGE_FULL" | "REMOVED") => StatusCode::SERVICE_UNAVAILABLE,
        (_, "OUTCOME_UNKNOWN") => StatusCode::GATEWAY_TIMEOUT,
        (Code::InvalidArgument, _) => StatusCode::BAD_REQUEST,
        (Code::NotFound, _) => StatusCode::NOT_FOUND,
        (Code::OutOfRange, _) => out_of_range,
        (Code::PermissionDenied, _) => StatusCode::FORBIDDEN,
        (Code::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition, _) => StatusCode::CONFLICT,
        (Code::ResourceExhausted, _) => StatusCode::TOO_MANY_REQUESTS,
        (Code::Unavailable | Code::Cancelled, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Code::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        (Code::Unimplemented, _) => StatusCode::NOT_IMPLEMENTED,
        (Code::DataLoss | Code::Internal | Code::Unknown | Code::Ok, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
