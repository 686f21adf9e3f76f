//! `GET /v1/tail`: the log from some place on, and what comes, as server-sent events.
//!
//! The id of an event is the offset of its record. Who comes back says the last one that he saw in `Last-Event-ID`, which browsers and
//! libraries do by themselves, and goes on behind it, at whichever node. While nothing comes a comment is sent now and then, so that
//! nobody between here and the client takes the connection for dead.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;

use super::{
    error::{HttpError, told},
    pieces::{Frame, Pieces},
    query::Query,
    record::Encoding,
    respond,
};
use crate::{
    net::{
        consume::{
            cursor::{Cursor, Portion},
            portion::Limits,
            start::{Freshness, resolve},
        },
        context::Context,
        echo::beginning,
        status::Refusal,
    },
    proto::raw::annals::v1::{ReadLevel, start::Position},
    types::Offset,
};

const LAST_EVENT_ID: &str = "last-event-id";
/// The id of who has seen nothing yet and begins at offset 0.
const NOTHING_SEEN: &str = "-1";
/// After which a client comes back whose connection has ended: a leader is elected in about as long.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);
/// Asks a proxy (nginx has it) not to gather what is sent.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What is asked for.
#[derive(Debug)]
pub struct Wanted {
    freshness: Freshness,
    position: Position,
    encoding: Encoding,
}

impl Wanted {
    /// What a head asks for.
    ///
    /// Errors: what is wrong with it.
    pub fn of(headers: &HeaderMap, query: &Query, context: &Context) -> Result<Self, Refusal> {
        context.check_log(query.log())?;
        let by_query = query.position()?;
        Ok(Self {
            freshness: Freshness {
                level: query.level(ReadLevel::Local)?,
                min_offset: query.min_offset()?,
            },
            // Who comes back asks by the same address as before, which says where he began.
            position: last_event(headers)?
                .or(by_query)
                .unwrap_or(Position::Latest(true)),
            encoding: query.encoding()?,
        })
    }
}

/// Where who was here goes on.
///
/// Errors: `Invalid`.
pub fn last_event(headers: &HeaderMap) -> Result<Option<Position>, Refusal> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid(format!(
                "the header {LAST_EVENT_ID} is there twice; who comes back has seen one event last"
            )));
        }
    };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(NOTHING_SEEN) => Ok(Some(Position::Offset(0))),
        Ok(text) if let Some(next) = text.parse().ok().and_then(|seen: u64| seen.checked_add(1)) => {
            Ok(Some(Position::Offset(next)))
        }
        _ => Err(Refusal::invalid(format!(
            "the header {LAST_EVENT_ID} is {:?}, and should be the id of an event, which is an offset",
            beginning(&String::from_utf8_lossy(value.as_bytes()))
        ))),
    }
}

/// Begins to follow.
///
/// Errors: as `ConsumeStream` of gRPC; later ones are the last event. Cancel: safe.
pub async fn follow(
    context: &Arc<Context>,
    wanted: Wanted,
    deadline: Instant,
) -> Result<Response<Body>, HttpError> {
    let place = context.admit_consumer()?;
    wanted.freshness.reach(context, deadline).await?;
    let start = resolve(context, Some(wanted.position), true).await?;
    let cursor = Cursor::new(Arc::clone(context), start, Limits::default(), true);
    let events = Events {
        first: Some(hello(start, context.parts.read_path.high_watermark())),
        pieces: None,
        portions: Some(cursor.into_stream(None, place).boxed()),
        encoding: wanted.encoding,
        // Well within what a connection may be silent elsewhere here; proxies give up after a minute.
        beat_every: context.options.keepalive_interval / 2,
        beat: None,
    };
    let mut response = respond::pieces(respond::EVENTS, events);
    let headers = response.headers_mut();
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    respond::say_who(headers, context);
    Ok(response)
}

/// What is sent at once: after which to come back, and from where on, should the connection end before the first record. Where that is behind
/// the end of the log, as of somebody who was at another one, a comment says so: it is waited for, as by gRPC.
fn hello(start: Offset, end: Offset) -> Bytes {
    let seen = start.get().checked_sub(1);
    let seen = seen.map_or_else(|| NOTHING_SEEN.to_owned(), |seen| seen.to_string());
    let comment = if start > end {
        format!(": the log ends at {end}; waiting for offset {start}\n")
    } else {
        String::new()
    };
    Bytes::from(format!(
        "{comment}retry: {}\nid: {seen}\n\n",
        COME_BACK_AFTER.as_millis()
    ))
}

/// The last event of those that cannot go on.
#[must_use]
pub fn farewell(refusal: Refusal) -> Bytes {
    // A line of JSON; a second newline ends the event.
    Bytes::from([b"event: failure\ndata: ", &told(refusal)[..], b"\n"].concat())
}

/// The events of a stream, made as they are taken.
struct Events {
    first: Option<Bytes>,
    /// Of the portion that was read last.
    pieces: Option<Pieces>,
    /// `None` when nothing more comes.
    portions: Option<BoxStream<'static, Result<Portion, Refusal>>>,
    encoding: Encoding,
    beat_every: Duration,
    /// While nothing comes, when the next comment is due.
    beat: Option<Pin<Box<Sleep>>>,
}

impl Events {
    fn poll_portion(&mut self, cx: &mut Task<'_>) -> Poll<Option<Result<Portion, Refusal>>> {
        match &mut self.portions {
            Some(portions) => portions.poll_next_unpin(cx),
            None => Poll::Ready(None),
        }
    }

    fn poll_beat(&mut self, cx: &mut Task<'_>) -> Poll<Option<Bytes>> {
        let every = self.beat_every;
        let beat = self.beat.get_or_insert_with(|| Box::pin(sleep(every)));
        if beat.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        self.beat = None;
        Poll::Ready(Some(Bytes::from_static(b": nothing new\n\n")))
    }
}

impl Stream for Events {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            if let Some(piece) = this.pieces.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(piece));
            }
            match this.poll_portion(cx) {
                Poll::Pending => return this.poll_beat(cx),
                Poll::Ready(Some(Ok(portion))) => {
                    this.beat = None;
                    this.pieces = Some(Pieces::new(portion.batches, Frame::Events, this.encoding));
                }
                Poll::Ready(Some(Err(refusal))) => {
                    this.portions = None;
                    this.pieces = None;
                    return Poll::Ready(Some(farewell(refusal)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(id: &'static str) -> Result<Option<Position>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static(id));
        last_event(&headers)
    }

    #[test]
    fn who_comes_back_goes_on_behind_what_was_seen() {
        assert_eq!(last_event(&HeaderMap::new()).unwrap(), None);
        assert_eq!(after("").unwrap(), None);
        assert_eq!(after("-1").unwrap(), Some(Position::Offset(0)));
        assert_eq!(after("41").unwrap(), Some(Position::Offset(42)));
        for id in ["x", "-2", "18446744073709551615", "1.0"] {
            assert!(after(id).is_err(), "{id}");
        }
        let mut twice = HeaderMap::new();
        for id in ["41", "7"] {
            twice.append(LAST_EVENT_ID, HeaderValue::from_static(id));
        }
        assert!(last_event(&twice).is_err());
    }

    #[test]
    fn the_first_words_say_where_to_go_on_also_when_no_record_comes() {
        for start in [0, 42] {
            let hello = String::from_utf8(hello(Offset(start), Offset(start)).to_vec()).unwrap();
            let id = hello.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, id.parse().unwrap());
            assert_eq!(last_event(&headers).unwrap(), Some(Position::Offset(start)));
        }
    }

    #[test]
    fn the_last_words_are_one_event() {
        let farewell = String::from_utf8(farewell(Refusal::ShuttingDown).to_vec()).unwrap();
        assert!(
            farewell.starts_with("event: failure\ndata: {\"error\":{"),
            "{farewell}"
        );
        assert!(
            farewell.ends_with("}\n\n") && farewell.matches('\n').count() == 3,
            "{farewell}"
        );
    }
}
