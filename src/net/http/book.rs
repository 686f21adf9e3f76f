//! `POST /` and `GET /`: one record at a time, as the first chapter of the book "Distributed Services with Go" has them, byte for byte.
//!
//! Its clients say no content type, or curl's usual one, so none is asked for; and they read by a GET that has a body.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Response;
use prost::Message;
use serde::Deserialize;
use serde_json::json as value;
use tokio::time::Instant;
use tonic::body::Body;

use super::{
    error::HttpError,
    json::{self, Object},
    number::Number,
    query::Query,
    record::ReadRecord,
    respond,
};
use crate::{
    net::{
        context::Context,
        produce::{check, unary},
        receive::Whole,
        services::log_v1::record_at,
        status::Refusal,
    },
    proto::{annals::v1::Record, raw::log::v1},
    types::Offset,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProduceBody {
    record: ReadRecord,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsumeBody {
    offset: Number,
}

/// Appends the record of the body, and answers its offset.
///
/// Errors: as `Produce` of gRPC. Cancel: it may be stored all the same.
pub async fn produce(context: &Context, body: Whole, deadline: Instant) -> Result<Response<Body>, HttpError> {
    let record = Bytes::from(produced(&body.bytes)?.encode_to_vec());
    drop(body);
    let item = check::log_v1(context, v1::ProduceRequest { record: Some(record) })?;
    let produced = unary::produce(context, item, deadline).await?;
    let mut response = respond::json(&value!({ "offset": produced.offsets.start }));
    respond::say_who(response.headers_mut(), context);
    Ok(response)
}

/// The record that a body has.
///
/// Errors: `Invalid`.
pub fn produced(body: &[u8]) -> Result<Record, Refusal> {
    let Object(ProduceBody {
        record: ReadRecord(record),
    }) = json::of_body(body)?;
    Ok(record)
}

/// The offset that a request asks for, by its query or its body.
///
/// Errors: `Invalid`.
pub fn offset_of(query: &Query, body: &[u8]) -> Result<Offset, Refusal> {
    let in_query = query.number("offset")?.map(Offset);
    match in_query {
        Some(offset) if body.is_empty() => Ok(offset),
        Some(_) => Err(Refusal::invalid(
            "the offset is in the query, and there is a body; leave one out",
        )),
        None if body.is_empty() => Err(Refusal::invalid(
            r#"no offset is asked for: say ?offset=N, or {"offset": N} in the body; GET /v1/records reads without one"#,
        )),
        None => Ok(Offset(json::of_body::<Object<ConsumeBody>>(body)?.0.offset.0)),
    }
}

/// The record at that offset.
///
/// Errors: as `Consume` of gRPC, but that an offset out of range is not found. Cancel: safe.
pub async fn consume(
    context: &Arc<Context>,
    offset: Offset,
    deadline: Instant,
) -> Result<Response<Body>, HttpError> {
    let record = record_at(context, offset, deadline)
        .await
        .map_err(HttpError::OfTheBook)?;
    // The book's order, which its readers see.
    let value = BASE64_STANDARD.encode(&record.value);
    let text = format!(
        "{{\"record\":{{\"value\":\"{value}\",\"offset\":{}}}}}\n",
        record.offset
    );
    let mut response = respond::bytes(http::StatusCode::OK, respond::JSON, text.into());
    respond::say_who(response.headers_mut(), context);
    Ok(response)
}
