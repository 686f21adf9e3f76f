//! `GET /v1/records`: what is there, and for who waits, what comes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Response, header::ACCEPT};
use tokio::time::{Instant, timeout};
use tonic::body::Body;

use super::{
    error::HttpError,
    pieces::{Frame, Pieces},
    query::Query,
    record::Encoding,
    respond,
};
use crate::{
    net::{
        consume::{
            cursor::{Cursor, Portion},
            portion::{Limits, response_bytes_max},
            start::{Freshness, resolve},
        },
        context::Context,
        status::Refusal,
    },
    proto::raw::annals::v1::{ReadLevel, start::Position},
    types::Offset,
};

/// What is asked for.
#[derive(Debug)]
pub struct Wanted {
    freshness: Freshness,
    position: Option<Position>,
    limits: Limits,
    wait: Option<Duration>,
    encoding: Encoding,
    lines: bool,
}

impl Wanted {
    /// What a head asks for.
    ///
    /// Errors: what is wrong with it.
    pub fn of(headers: &HeaderMap, query: &Query, context: &Context) -> Result<Self, Refusal> {
        context.check_log(query.log())?;
        let options = &context.options;
        // One response, whatever the client would like.
        let bytes = query.number("bytes")?.filter(|bytes| *bytes > 0);
        let bytes = bytes.map_or(options.consume_chunk_bytes, |bytes| {
            usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .min(options.batch_bytes_max)
        });
        Ok(Self {
            freshness: Freshness {
                level: query.level(ReadLevel::Linearizable)?,
                min_offset: query.min_offset()?,
            },
            position: query.position()?,
            limits: Limits {
                records_left: query.number("count")?.filter(|count| *count > 0),
                bytes_left: Some(bytes as u64),
                end_offset: query.number("end_offset")?.map(Offset),
                started: false,
            },
            wait: query.wait()?,
            encoding: query.encoding()?,
            lines: wants_lines(headers),
        })
    }
}

/// Whether a client would rather have lines than one value.
fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).map(|kind| {
        let essence = kind.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    });
    // The first that is known counts: nobody weighs the two against each other by numbers.
    let known = types.find_map(|kind| match kind.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/jsonlines" => {
            Some(true)
        }
        "application/json" => Some(false),
        _ => None,
    });
    known.unwrap_or(false)
}

/// Reads, and answers.
///
/// Errors: as `Consume` of gRPC; with `wait` also `TooManyConsumers` and `ShuttingDown`. Cancel: safe.
pub async fn consume(
    context: &Arc<Context>,
    wanted: Wanted,
    deadline: Instant,
) -> Result<Response<Body>, HttpError> {
    wanted.freshness.reach(context, deadline).await?;
    let start = resolve(context, wanted.position, wanted.wait.is_some()).await?;
    let mut portion = read(context, start, wanted.limits, deadline).await?;
    if let Some(wait) = wanted.wait
        && portion.batches.is_empty()
        && !wanted.limits.is_reached(start)
        && comes(context, start, wait).await?
    {
        let deadline = Instant::now() + context.options.request_timeout;
        portion = read(context, start, wanted.limits, deadline).await?;
    }
    Ok(respond(context, portion, wanted.encoding, wanted.lines))
}

async fn read(
    context: &Arc<Context>,
    start: Offset,
    limits: Limits,
    deadline: Instant,
) -> Result<Portion, Refusal> {
    let mut cursor = Cursor::new(Arc::clone(context), start, limits, false);
    cursor
        .read_once(response_bytes_max(context.options.message_bytes_max), deadline)
        .await
}

/// Waits until there is something at `start`; whether there is. Takes the place of a consumer meanwhile.
async fn comes(context: &Context, start: Offset, wait: Duration) -> Result<bool, Refusal> {
    let _place = context.admit_consumer()?;
    tokio::select! {
        reached = timeout(wait, context.parts.read_path.wait_above(start)) => match reached {
            Ok(Some(_)) => Ok(true),
            Ok(None) => Err(Refusal::ShuttingDown),
            Err(_) => Ok(false),
        },
        () = context.draining.cancelled() => Err(Refusal::ShuttingDown),
    }
}

fn respond(context: &Context, portion: Portion, encoding: Encoding, lines: bool) -> Response<Body> {
    let Portion { batches, next_offset } = portion;
    let mut response = if lines {
        let pieces = Pieces::new(batches, Frame::Lines, encoding);
        respond::pieces(respond::NDJSON, stream::iter(pieces))
    } else {
        let pieces = Pieces::new(batches, Frame::List, encoding);
        let high_watermark = context.parts.read_path.high_watermark();
        let end = format!("],\"next_offset\":{next_offset},\"high_watermark\":{high_watermark}}}\n");
        let begin = Bytes::from_static(b"{\"records\":[");
        let all = std::iter::once(begin)
            .chain(pieces)
            .chain(std::iter::once(Bytes::from(end)));
        respond::pieces(respond::JSON, stream::iter(all))
    };
    respond::say_who(response.headers_mut(), context);
    respond::say_next(response.headers_mut(), next_offset);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_to_who_asks_for_them_first() {
        for (accept, lines) in [
            ("application/x-ndjson", true),
            ("text/html, application/x-ndjson;q=0.9, application/json", true),
            ("application/json, application/x-ndjson", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_lines(&headers), lines, "{accept}");
        }
        assert!(!wants_lines(&HeaderMap::new()));
    }
}
