//! `log.v1.Log`: the small API. Clients of the book work against it unchanged.

use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
    vec,
};

use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    net::{
        cluster,
        connection::Ends,
        consume::{
            cursor::{Cursor, Portion, out_of_range},
            portion::{Limits, Room},
            start::{Freshness, resolve},
        },
        context::Context,
        deadline,
        produce::{
            answers::Answered,
            check,
            stream::{AfterRefusal, ProduceStream},
            unary,
        },
        status::Refusal,
    },
    proto::raw::{annals::v1::start::Position, log::v1},
    record_set::{self, RecordParts, Records},
    storage::StoredBatch,
    types::Offset,
};

/// The service.
#[derive(Clone, Debug)]
pub struct LogV1 {
    context: Arc<Context>,
}

impl LogV1 {
    /// On `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

/// The record at an offset, as every record acknowledged before shows it.
///
/// Errors: `OutOfRange`, `ReadDeadline`, and what the committer says. Cancel: safe.
pub(in crate::net) async fn record_at(
    context: &Arc<Context>,
    offset: Offset,
    deadline: Instant,
) -> Result<v1::Record, Refusal> {
    Freshness::LINEARIZABLE.reach(context, deadline).await?;
    timeout_at(deadline, read_one(context, offset))
        .await
        .map_err(|_| Refusal::ReadDeadline { offset })?
}

async fn read_one(context: &Arc<Context>, offset: Offset) -> Result<v1::Record, Refusal> {
    let limits = Limits {
        records_left: Some(1),
        ..Limits::default()
    };
    let start = resolve(context, Some(Position::Offset(offset.get())), false).await?;
    let mut cursor = Cursor::new(Arc::clone(context), start, limits, false);
    let batches = cursor
        .next(&mut Room::new(context.options.consume_chunk_bytes))
        .await?
        .unwrap_or_default();
    let record = batches.into_iter().flat_map(BatchRecords::of).next();
    record.ok_or_else(|| out_of_range(context, offset))
}

#[tonic::async_trait]
impl v1::log_server::Log for LogV1 {
    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let deadline = deadline::of_request(&request, self.context.options.request_timeout);
        let item = check::log_v1(&self.context, request.into_inner())?;
        let produced = unary::produce(&self.context, item, deadline).await?;
        Ok(Response::new(v1::ProduceResponse {
            offset: produced.offsets.start,
        }))
    }

    async fn consume(
        &self,
        request: Request<v1::ConsumeRequest>,
    ) -> Result<Response<v1::ConsumeResponse>, Status> {
        let deadline = deadline::of_request(&request, self.context.options.request_timeout);
        let offset = Offset(request.into_inner().offset);
        let record = record_at(&self.context, offset, deadline).await?;
        Ok(Response::new(v1::ConsumeResponse { record: Some(record) }))
    }

    type ConsumeStreamStream = RecordStream;

    async fn consume_stream(
        &self,
        request: Request<v1::ConsumeRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        let place = self.context.admit_consumer()?;
        let deadline = deadline::of_stream(&request);
        let offset = request.into_inner().offset;
        let start = resolve(&self.context, Some(Position::Offset(offset)), true).await?;
        let cursor = Cursor::new(Arc::clone(&self.context), start, Limits::default(), true);
        Ok(Response::new(RecordStream::new(
            cursor.into_stream(deadline, place).map_err(Status::from).boxed(),
        )))
    }

    type ProduceStreamStream = OffsetStream;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let deadline = deadline::of_stream(&request);
        let context = Arc::clone(&self.context);
        let answers = ProduceStream::new(
            context,
            request.into_inner(),
            check::log_v1,
            AfterRefusal::End,
            deadline,
        );
        Ok(Response::new(OffsetStream {
            answers,
            offsets: 0..0,
            ended: false,
        }))
    }

    async fn get_servers(
        &self,
        request: Request<v1::GetServersRequest>,
    ) -> Result<Response<v1::GetServersResponse>, Status> {
        let ends = request.extensions().get::<Ends>();
        let reached_at = ends.and_then(|ends| ends.tcp.local_addr());
        let members = cluster::members(&self.context, reached_at);
        let servers = members.into_iter().map(|(id, rpc_addr, is_leader)| v1::Server {
            id,
            rpc_addr,
            is_leader,
        });
        Ok(Response::new(v1::GetServersResponse {
            servers: servers.collect(),
        }))
    }
}

/// One offset for each produced record, out of the ranges that whole batches got.
pub struct OffsetStream {
    answers: ProduceStream<Streaming<v1::ProduceRequest>, v1::ProduceRequest>,
    /// Not yet told.
    offsets: Range<u64>,
    ended: bool,
}

impl Stream for OffsetStream {
    type Item = Result<v1::ProduceResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(offset) = this.offsets.next() {
                return Poll::Ready(Some(Ok(v1::ProduceResponse { offset })));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let error = match ready!(this.answers.poll_answered(cx)) {
                Some(Ok(Answered::Stored { offsets, .. })) => {
                    this.offsets = offsets;
                    continue;
                }
                Some(Ok(Answered::Refused { refusal, .. })) => Some(refusal.into_status()),
                Some(Err(status)) => Some(status),
                None => None,
            };
            this.ended = true;
            return Poll::Ready(error.map(Err));
        }
    }
}

/// The records of a batch, as log.v1 shows them.
struct BatchRecords {
    records: Records,
    offset: u64,
    term: u64,
}

impl BatchRecords {
    fn of(batch: StoredBatch) -> Self {
        Self {
            records: record_set::records(&batch.records),
            offset: batch.base_offset.get(),
            term: batch.term.get(),
        }
    }
}

impl Iterator for BatchRecords {
    type Item = v1::Record;

    fn next(&mut self) -> Option<v1::Record> {
        let RecordParts { value, kind } = RecordParts::of(&self.records.next()?);
        let offset = self.offset;
        self.offset += 1;
        Some(v1::Record {
            value,
            offset,
            term: self.term,
            r#type: kind,
        })
    }
}

/// One response for each record, out of portions that hold many.
pub struct RecordStream {
    portions: BoxStream<'static, Result<Portion, Status>>,
    batches: vec::IntoIter<StoredBatch>,
    records: Option<BatchRecords>,
}

impl RecordStream {
    fn new(portions: BoxStream<'static, Result<Portion, Status>>) -> Self {
        Self {
            portions,
            batches: Vec::new().into_iter(),
            records: None,
        }
    }
}

impl Stream for RecordStream {
    type Item = Result<v1::ConsumeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(record) = this.records.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(Ok(v1::ConsumeResponse { record: Some(record) })));
            }
            this.records = this.batches.next().map(BatchRecords::of);
            if this.records.is_some() {
                continue;
            }
            match ready!(this.portions.poll_next_unpin(cx)) {
                Some(Ok(portion)) => this.batches = portion.batches.into_iter(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}
