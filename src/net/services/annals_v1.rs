//! `annals.v1.LogService`: the full client API. The comments of its proto are its law.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    net::{
        consume::{
            cursor::{Cursor, Portion, blocking_read},
            portion::{Limits, response_bytes_max},
            start::{Freshness, level_or, resolve},
        },
        context::{Context, DEFAULT_LOG},
        deadline,
        produce::{
            check,
            stream::{AfterRefusal, ProduceStream},
            unary,
        },
        services::acks::Acks,
        status::Refusal,
        vitals::Readiness,
    },
    proto::raw::annals::v1,
    storage::{LogView, SegmentDescription, StoredBatch},
    types::Offset,
};

/// The service.
#[derive(Clone, Debug)]
pub struct AnnalsV1 {
    context: Arc<Context>,
}

impl AnnalsV1 {
    /// On `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn cursor(
        &self,
        request: v1::ConsumeRequest,
        default_level: v1::ReadLevel,
        deadline: Instant,
    ) -> Result<Cursor, Refusal> {
        let context = &self.context;
        context.check_log(&request.log)?;
        let level = level_or(request.read_level, default_level)?;
        Freshness {
            level,
            min_offset: Offset(request.min_offset),
        }
        .reach(context, deadline)
        .await?;
        let position = request.start.and_then(|start| start.position);
        let start = resolve(context, position, request.follow).await?;
        let limits = Limits {
            records_left: (request.records_max > 0).then_some(request.records_max),
            bytes_left: (request.bytes_max > 0).then_some(request.bytes_max),
            end_offset: request.end_offset.map(Offset),
            started: false,
        };
        Ok(Cursor::new(Arc::clone(context), start, limits, request.follow))
    }
}

#[tonic::async_trait]
impl v1::log_service_server::LogService for AnnalsV1 {
    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let deadline = deadline::of_request(&request, self.context.options.request_timeout);
        let item = check::annals_v1(&self.context, request.into_inner())?;
        let produced = unary::produce(&self.context, item, deadline).await?;
        Ok(Response::new(v1::ProduceResponse {
            header: Some(self.context.header()),
            first_offset: produced.offsets.start,
            next_offset: produced.offsets.end,
            requests: 1,
            repeated: produced.repeated,
            failure: None,
        }))
    }

    type ProduceStreamStream = AckStream;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let deadline = deadline::of_stream(&request);
        let context = Arc::clone(&self.context);
        let answers = ProduceStream::new(
            context,
            request.into_inner(),
            check::annals_v1,
            AfterRefusal::GoOn,
            deadline,
        );
        Ok(Response::new(AckStream { answers, acks: None }))
    }

    async fn consume(
        &self,
        request: Request<v1::ConsumeRequest>,
    ) -> Result<Response<v1::ConsumeResponse>, Status> {
        let options = &self.context.options;
        let deadline = deadline::of_request(&request, options.request_timeout);
        let mut request = request.into_inner();
        if request.follow {
            return Err(Refusal::invalid("Consume does not follow; use ConsumeStream").into());
        }
        // One response is one message, whatever the client would like.
        let bytes_max = if request.bytes_max == 0 {
            options.consume_chunk_bytes
        } else {
            usize::try_from(request.bytes_max)
                .unwrap_or(usize::MAX)
                .min(options.batch_bytes_max)
        };
        request.bytes_max = bytes_max as u64;
        let mut cursor = self
            .cursor(request, v1::ReadLevel::Linearizable, deadline)
            .await?;
        let portion = cursor
            .read_once(response_bytes_max(options.message_bytes_max), deadline)
            .await?;
        Ok(Response::new(respond(&self.context, portion)))
    }

    type ConsumeStreamStream = BoxStream<'static, Result<v1::ConsumeResponse, Status>>;

    async fn consume_stream(
        &self,
        request: Request<v1::ConsumeRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        let place = self.context.admit_consumer()?;
        let stream_deadline = deadline::of_stream(&request);
        let start_deadline = deadline::of_request(&request, self.context.options.request_timeout);
        let cursor = self
            .cursor(request.into_inner(), v1::ReadLevel::Local, start_deadline)
            .await?;
        let context = Arc::clone(&self.context);
        let responses = cursor
            .into_stream(stream_deadline, place)
            .map_ok(move |portion| respond(&context, portion))
            .map_err(Status::from);
        Ok(Response::new(responses.boxed()))
    }

    async fn describe_log(
        &self,
        request: Request<v1::DescribeLogRequest>,
    ) -> Result<Response<v1::DescribeLogResponse>, Status> {
        let context = &self.context;
        context.check_log(&request.into_inner().log)?;
        let segments = blocking_read(context, LogView::describe).await?;
        let failsafe = match &*context.parts.readiness.borrow() {
            Readiness::Failsafe { cause } => cause.clone(),
            Readiness::Starting
            | Readiness::NoCluster { .. }
            | Readiness::Removed { .. }
            | Readiness::NoLeader
            | Readiness::CatchingUp
            | Readiness::Ready => String::new(),
        };
        Ok(Response::new(v1::DescribeLogResponse {
            header: Some(context.header()),
            log: DEFAULT_LOG.to_owned(),
            earliest: context.parts.read_path.view().earliest().get(),
            high_watermark: context.parts.read_path.high_watermark().get(),
            tail: context.parts.vitals.tail().get(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments: segments.into_iter().map(segment_to_proto).collect(),
            failsafe,
            batch_bytes_max: context.options.batch_bytes_max as u64,
            storage_full: context.parts.vitals.storage_full().unwrap_or_default(),
        }))
    }
}

fn respond(context: &Context, portion: Portion) -> v1::ConsumeResponse {
    v1::ConsumeResponse {
        header: Some(context.header()),
        batches: portion.batches.into_iter().map(to_proto).collect(),
        next_offset: portion.next_offset.get(),
    }
}

fn to_proto(batch: StoredBatch) -> v1::Batch {
    v1::Batch {
        base_offset: batch.base_offset.get(),
        record_count: batch.record_count,
        timestamp_ms: batch.timestamp.0,
        term: batch.term.get(),
        records: Some(batch.records),
    }
}

fn segment_to_proto(segment: SegmentDescription) -> v1::Segment {
    v1::Segment {
        first_log_index: segment.first_log_index.get(),
        first_offset: segment.first_offset.get(),
        bytes: segment.bytes,
        active: segment.active,
        created_ms: segment.created.0,
    }
}

/// One response for each batch, where all its requests have the same answer.
pub struct AckStream {
    answers: ProduceStream<Streaming<v1::ProduceRequest>, v1::ProduceRequest>,
    /// Of the oldest batch that is answered, what was not sent yet.
    acks: Option<Acks>,
}

impl Stream for AckStream {
    type Item = Result<v1::ProduceResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(response) = self.acks.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(Ok(response)));
            }
            match ready!(self.answers.poll_answered(cx)) {
                Some(Ok(answered)) => {
                    let header = self.answers.context().header();
                    self.acks = Some(Acks::new(header, answered));
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}
