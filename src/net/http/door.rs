//! For fuzz targets: what strangers send by HTTP, read as far as it can be without a node.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;

use super::{
    book,
    error::HttpError,
    produce::Wanted,
    query::Query,
    routes::{Ask, ROUTES, Route},
    tail,
};
use crate::proto::{annals::v1::Record, raw::annals::v1::start::Position};

/// What is asked for by a `POST /v1/records`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The `RecordSet`.
    pub records: Bytes,
    /// Id, epoch and sequence.
    pub producer: Option<(u64, u32, u64)>,
    /// The offset that the first of them must get.
    pub expected_offset: Option<u64>,
}

/// How a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The length of the body.
    pub bytes: u64,
}

impl Refused {
    fn by(error: impl Into<HttpError>) -> Self {
        let response = error.into().into_response();
        Self {
            status: response.status().as_u16(),
            bytes: response.body().size_hint().exact().unwrap_or(u64::MAX),
        }
    }
}

/// The batch of a body.
///
/// Errors: as it is refused.
pub fn batch(headers: &[(&'static str, &[u8])], query: &str, body: &Bytes) -> Result<Batch, Refused> {
    let headers = header_map(headers);
    let query = parsed(query, Ask::Produce)?;
    let wanted = Wanted::of(&headers, &query).map_err(Refused::by)?;
    let request = wanted.request(body).map_err(Refused::by)?;
    Ok(Batch {
        records: request.records.unwrap_or_default(),
        producer: request
            .producer
            .map(|producer| (producer.id, producer.epoch, producer.sequence)),
        expected_offset: request.expected_offset,
    })
}

/// The record that is produced as the book does.
///
/// Errors: as it is refused.
pub fn produced(body: &[u8]) -> Result<Record, Refused> {
    book::produced(body).map_err(Refused::by)
}

/// The offset that is asked for as the book does.
///
/// Errors: as it is refused.
pub fn consumed(query: &str, body: &[u8]) -> Result<u64, Refused> {
    let query = parsed(query, Ask::ConsumeRecord)?;
    let offset = book::offset_of(&query, body).map_err(Refused::by)?;
    Ok(offset.get())
}

/// The offset at which who comes back with that `Last-Event-ID` goes on; `None` where it says nothing.
///
/// Errors: as it is refused.
pub fn comes_back(id: &[u8]) -> Result<Option<u64>, Refused> {
    let position = tail::last_event(&header_map(&[("last-event-id", id)])).map_err(Refused::by)?;
    Ok(position.map(|position| match position {
        Position::Offset(offset) => offset,
        other => panic!("nobody comes back to {other:?}"),
    }))
}

/// The parameters of a request for `ask`, each of which was read.
///
/// Errors: as it is refused.
pub fn parameters(query: &str, ask: Ask) -> Result<Query, Refused> {
    let query = parsed(query, ask)?;
    let read = || {
        query.position()?;
        query.level(crate::proto::raw::annals::v1::ReadLevel::Local)?;
        query.min_offset()?;
        query.encoding()?;
        query.wait()?;
        query.flag("local")?;
        for name in ["count", "bytes", "end_offset", "timestamp_ms"] {
            query.number(name)?;
        }
        Ok::<_, crate::net::status::Refusal>(())
    };
    read().map_err(Refused::by)?;
    Ok(query)
}

fn parsed(query: &str, ask: Ask) -> Result<Query, Refused> {
    Query::parse(Some(query), route(ask)).map_err(Refused::by)
}

fn route(ask: Ask) -> &'static Route {
    let route = ROUTES.iter().find(|route| route.ask == ask);
    route.expect("whatever can be asked has a route")
}

/// Those of the headers that are some.
fn header_map(headers: &[(&'static str, &[u8])]) -> HeaderMap {
    let valid = headers.iter().filter_map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).ok()?;
        Some((HeaderName::from_static(name), value))
    });
    valid.collect()
}
