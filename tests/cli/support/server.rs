//! A `LogService` in memory: the real sequencer over a list of batches.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use annals::{
    proto::raw::annals::v1::{
        Batch, ConsumeRequest, ConsumeResponse, DescribeLogRequest, DescribeLogResponse, Failure,
        ProduceRequest, ProduceResponse, ResponseHeader, Segment,
        log_service_server::{LogService, LogServiceServer},
        start::Position,
    },
    record_set,
    storage::{
        Sequencer,
        entry::{BatchStamp, Outcome, ProducerStamp, VoidReason},
    },
    types::{LogIndex, Offset},
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
