//! A `LogService` in memory: the real sequencer over a list of batches.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use annals::{
    net::status::{CursorNotChanged, Refusal},
    proto::raw::annals::v1::{
        Batch, CommitCursorRequest, CommitCursorResponse, ConsumeRequest, ConsumeResponse, Cursor,
        DeleteCursorRequest, DeleteCursorResponse, DescribeLogRequest, DescribeLogResponse, Failure,
        GetCursorRequest, GetCursorResponse, ListCursorsRequest, ListCursorsResponse, ProduceRequest,
        ProduceResponse, ResponseHeader, Segment, TakeCursorRequest, TakeCursorResponse,
        cursor_service_server::{CursorService, CursorServiceServer},
        log_service_server::{LogService, LogServiceServer},
        start::Position,
    },
    record_set,
    storage::{
        Sequencer,
        cursors::{self, CursorCommand, CursorName},
        entry::{BatchStamp, Outcome, ProducerStamp, VoidReason},
    },
    types::{LogIndex, Offset, TimestampMs},
};
use futures::{Stream, StreamExt, stream};
use tokio::{runtime::Runtime, sync::watch};
use tonic::{Code, Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// The server and the runtime that it runs on.
pub struct Server {
    log: Arc<Log>,
    addr: SocketAddr,
    _runtime: Runtime,
}

struct Log {
    state: Mutex<State>,
    high_watermark: watch::Sender<u64>,
}

struct State {
    sequencer: Sequencer,
    batches: Vec<Batch>,
    /// Commands about cursors so far; each is a later entry than the last.
    cursor_commands: u64,
    /// What becomes of the next requests to produce; `None`: they are taken.
    refusals: VecDeque<Option<Failure>>,
    readers: usize,
    repeats: usize,
}

impl Server {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let log = Arc::new(Log {
            state: Mutex::new(State {
                sequencer: Sequencer::new(),
                batches: Vec::new(),
                cursor_commands: 0,
                refusals: VecDeque::new(),
                readers: 0,
                repeats: 0,
            }),
            high_watermark: watch::Sender::new(0),
        });
        let bind = async { TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))) };
        let incoming = runtime
            .block_on(bind)
            .expect("a free port")
            .with_nodelay(Some(true));
        let addr = incoming.local_addr().expect("it is bound");
        let service = LogServiceServer::new(Service(log.clone()));
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .add_service(CursorServiceServer::new(Service(log.clone())))
                .serve_with_incoming(incoming),
        );
        Self {
            log,
            addr,
            _runtime: runtime,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next requests are refused as this says; `None` takes one.
    pub fn refuse(&self, refusals: impl IntoIterator<Item = Option<Failure>>) {
        self.log.lock().refusals.extend(refusals);
    }

    /// Does something to a cursor, as another client would.
    pub fn change_cursor(&self, command: &CursorCommand) -> Cursor {
        let changed = self.log.change_cursor(command);
        changed.expect("it is not refused")
    }

    /// Where a cursor stands.
    pub fn cursor(&self, name: &str) -> Option<u64> {
        let name: CursorName = name.parse().expect("it is a name");
        let state = self.log.lock();
        state.sequencer.cursors().get(&name)?.offset.map(Offset::get)
    }

    /// Appends a record for each line, at this time.
    pub fn append(&self, lines: &[&str], timestamp_ms: u64) {
        let mut records = bytes::BytesMut::new();
        for line in lines {
            let record = annals::proto::annals::v1::Record {
                value: bytes::Bytes::copy_from_slice(line.as_bytes()),
                ..Default::default()
            };
            record_set::push(&mut records, &prost::Message::encode_to_vec(&record)).expect("it is a record");
        }
        let request = ProduceRequest {
            records: Some(records.freeze()),
            ..Default::default()
        };
        let response = self.log.append(request, timestamp_ms);
        assert_eq!(response.failure, None);
    }

    /// Refuses nothing any longer.
    pub fn take_all(&self) {
        self.log.lock().refusals.clear();
    }

    pub fn high_watermark(&self) -> u64 {
        *self.log.high_watermark.borrow()
    }

    /// How many consuming streams were begun.
    pub fn readers(&self) -> usize {
        self.log.lock().readers
    }

    /// How many requests were stored already.
    pub fn repeats(&self) -> usize {
        self.log.lock().repeats
    }

    /// All values, with a newline between each two.
    pub fn values(&self) -> Vec<u8> {
        let state = self.log.lock();
        let records = state
            .batches
            .iter()
            .flat_map(|batch| batch.records.iter().flat_map(record_set::records));
        let values: Vec<_> = records
            .map(|record| record_set::RecordParts::of(&record).value)
            .collect();
        values.join(&b'\n')
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn append(&self, request: ProduceRequest, timestamp_ms: u64) -> ProduceResponse {
        let mut state = self.lock();
        if let Some(failure) = state.refusals.pop_front().flatten() {
            return ProduceResponse {
                failure: Some(failure),
                requests: 1,
                ..Default::default()
            };
        }
        let records = request.records.unwrap_or_default();
        let record_count = record_set::check(&records).expect("the program sends records");
        let stamp = BatchStamp {
            producer: request.producer.map(|producer| ProducerStamp {
                id: producer.id,
                epoch: producer.epoch,
                sequence: producer.sequence,
            }),
            expected_offset: request.expected_offset.map(Offset),
            record_count,
        };
        let log_index = LogIndex(state.batches.len() as u64 + 1);
        let (first, repeated) = match state.sequencer.apply(log_index, &stamp) {
            Outcome::Stored { base_offset } => (base_offset.get(), false),
            Outcome::Void(VoidReason::Repeated { base_offset }) => (base_offset.get(), true),
            Outcome::Void(other) => return refused(Code::Aborted, &format!("{other:?}")),
        };
        state.repeats += usize::from(repeated);
        if !repeated {
            state.batches.push(Batch {
                base_offset: first,
                record_count,
                timestamp_ms,
                term: 1,
                records: Some(records),
            });
            self.high_watermark.send_replace(first + u64::from(record_count));
        }
        ProduceResponse {
            first_offset: first,
            next_offset: first + u64::from(record_count),
            requests: 1,
            repeated,
            ..Default::default()
        }
    }

    fn start(&self, request: &ConsumeRequest) -> u64 {
        let high_watermark = *self.high_watermark.borrow();
        match request.start.as_ref().and_then(|start| start.position.as_ref()) {
            None | Some(Position::Earliest(_)) => 0,
            Some(Position::Latest(_)) => high_watermark,
            Some(Position::Offset(offset)) => *offset,
            Some(Position::FromEnd(count)) => high_watermark.saturating_sub(*count),
            Some(Position::TimestampMs(time)) => {
                let state = self.lock();
                let first = state.batches.iter().find(|batch| batch.timestamp_ms >= *time);
                first.map_or(high_watermark, |batch| batch.base_offset)
            }
        }
    }

    fn change_cursor(&self, command: &CursorCommand) -> Result<Cursor, Status> {
        let mut state = self.lock();
        state.cursor_commands += 1;
        let log_index = LogIndex(1_000_000 + state.cursor_commands);
        let verdict = state
            .sequencer
            .apply_cursor(log_index, TimestampMs(1_700_000_000_000), command);
        match verdict {
            Ok(cursor) => Ok(cursor_to_proto(command.name(), &cursor)),
            Err(refusal) => Err(Refusal::from(CursorNotChanged::by_log(command, refusal)).into()),
        }
    }

    /// Up to ten batches from `offset` on.
    fn read(&self, offset: u64) -> Vec<Batch> {
        let state = self.lock();
        let is_before = |batch: &Batch| batch.base_offset + u64::from(batch.record_count) <= offset;
        let first = state.batches.partition_point(is_before);
        state.batches[first..].iter().take(10).cloned().collect()
    }
}

fn refused(code: Code, reason: &str) -> ProduceResponse {
    ProduceResponse {
        requests: 1,
        failure: Some(Failure {
            code: code as i32,
            reason: reason.to_owned(),
            message: "the test's server refuses it".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn cursor_to_proto(name: &CursorName, cursor: &cursors::Cursor) -> Cursor {
    // This server stands for a node of an earlier version.
    Cursor {
        behind: None,
        name: name.to_string(),
        epoch: cursor.epoch.get(),
        offset: cursor.offset.map(Offset::get),
        changed_ms: cursor.changed.0,
    }
}

/// What tonic calls.
struct Service(Arc<Log>);

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl LogService for Service {
    type ProduceStreamStream = ResponseStream<ProduceResponse>;
    type ConsumeStreamStream = ResponseStream<ConsumeResponse>;

    async fn produce(&self, request: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        Ok(Response::new(self.0.append(request.into_inner(), 1)))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let log = self.0.clone();
        let requests = request.into_inner();
        let responses = requests.map(move |request| Ok(log.append(request?, 1)));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn consume(&self, request: Request<ConsumeRequest>) -> Result<Response<ConsumeResponse>, Status> {
        let batches = self.0.read(self.0.start(request.get_ref()));
        Ok(Response::new(ConsumeResponse {
            batches,
            ..Default::default()
        }))
    }

    async fn consume_stream(
        &self,
        request: Request<ConsumeRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        let log = self.0.clone();
        let request = request.into_inner();
        let start = self.0.start(&request);
        self.0.lock().readers += 1;
        let responses = stream::unfold((log, start, request.follow), |(log, offset, follow)| async move {
            let mut high_watermark = log.high_watermark.subscribe();
            if follow {
                high_watermark
                    .wait_for(|high_watermark| *high_watermark > offset)
                    .await
                    .ok()?;
            }
            let batches = log.read(offset);
            let last = batches.last()?;
            let next_offset = last.base_offset + u64::from(last.record_count);
            let response = ConsumeResponse {
                batches,
                next_offset,
                header: None,
            };
            Some((Ok(response), (log, next_offset, follow)))
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn describe_log(
        &self,
        _: Request<DescribeLogRequest>,
    ) -> Result<Response<DescribeLogResponse>, Status> {
        let high_watermark = *self.0.high_watermark.borrow();
        Ok(Response::new(DescribeLogResponse {
            header: Some(ResponseHeader {
                cluster_id: "c0ffee".to_owned(),
                node_id: 0xabc,
                leader_id: 0xabc,
                term: 1,
                high_watermark,
            }),
            log: "default".to_owned(),
            high_watermark,
            tail: high_watermark,
            segments: vec![Segment {
                first_log_index: 1,
                active: true,
                ..Default::default()
            }],
            ..Default::default()
        }))
    }
}

fn named(name: &str) -> Result<CursorName, Status> {
    name.parse()
        .map_err(|_| Status::invalid_argument("that is no cursor's name"))
}

impl Service {
    fn header(&self) -> ResponseHeader {
        ResponseHeader {
            high_watermark: *self.0.high_watermark.borrow(),
            ..ResponseHeader::default()
        }
    }
}

#[tonic::async_trait]
impl CursorService for Service {
    async fn take(
        &self,
        request: Request<TakeCursorRequest>,
    ) -> Result<Response<TakeCursorResponse>, Status> {
        let name = named(&request.into_inner().name)?;
        let cursor = Some(self.0.change_cursor(&CursorCommand::Take { name })?);
        let header = Some(self.header());
        Ok(Response::new(TakeCursorResponse { header, cursor }))
    }

    async fn commit(
        &self,
        request: Request<CommitCursorRequest>,
    ) -> Result<Response<CommitCursorResponse>, Status> {
        let request = request.into_inner();
        let command = CursorCommand::Commit {
            name: named(&request.name)?,
            epoch: LogIndex(request.epoch),
            offset: Offset(request.offset),
        };
        let cursor = Some(self.0.change_cursor(&command)?);
        let header = Some(self.header());
        Ok(Response::new(CommitCursorResponse { header, cursor }))
    }

    async fn get(&self, request: Request<GetCursorRequest>) -> Result<Response<GetCursorResponse>, Status> {
        let name = named(&request.into_inner().name)?;
        let known = self.0.lock().sequencer.cursors().get(&name);
        let Some(known) = known else {
            let was_held = false;
            return Err(Refusal::from(CursorNotChanged::Unknown { name, was_held }).into());
        };
        let cursor = Some(cursor_to_proto(&name, &known));
        let header = Some(self.header());
        Ok(Response::new(GetCursorResponse { header, cursor }))
    }

    async fn list(&self, _: Request<ListCursorsRequest>) -> Result<Response<ListCursorsResponse>, Status> {
        let cursors = self.0.lock().sequencer.cursors().clone();
        let cursors = cursors.iter().map(|(name, cursor)| cursor_to_proto(name, cursor));
        Ok(Response::new(ListCursorsResponse {
            header: Some(self.header()),
            cursors: cursors.collect(),
        }))
    }

    async fn delete(
        &self,
        request: Request<DeleteCursorRequest>,
    ) -> Result<Response<DeleteCursorResponse>, Status> {
        let name = named(&request.into_inner().name)?;
        let cursor = Some(self.0.change_cursor(&CursorCommand::Delete { name })?);
        let header = Some(self.header());
        Ok(Response::new(DeleteCursorResponse { header, cursor }))
    }
}
