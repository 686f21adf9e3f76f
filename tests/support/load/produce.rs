//! Producers.

use std::{collections::VecDeque, sync::Arc};

use annals::proto::annals::v1::{ProduceRequest, ProduceResponse, Producer, Record, RecordSet};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Shared, in_time, pace, reason_of};
use crate::support::log_checker::{Answer, AttemptId, Stamp, Tick};

/// Requests of a stream that may be under way.
const WINDOW: usize = 64;
/// Requests that a stream sends at a time.
const BURST: usize = 8;

/// What one request asks for.
#[derive(Clone, Debug)]
struct Order {
    records: Vec<Bytes>,
    stamp: Option<Stamp>,
}

impl Order {
    fn request(&self) -> ProduceRequest {
        let record = |value: &Bytes| Record {
            value: value.clone(),
            ..Record::default()
        };
        ProduceRequest {
            records: Some(RecordSet {
                records: self.records.iter().map(record).collect(),
            }),
            producer: self.stamp.map(|stamp| Producer {
                id: stamp.id,
                epoch: stamp.epoch,
                sequence: stamp.sequence,
            }),
            ..ProduceRequest::default()
        }
    }
}

/// Makes one producer's orders.
struct Orders {
    shared: Arc<Shared>,
    producer: u64,
    stamped: bool,
    next: u64,
}

impl Orders {
    fn new(shared: &Arc<Shared>, producer: u64, stamped: bool) -> Self {
        Self {
            shared: shared.clone(),
            producer,
            stamped,
            next: 0,
        }
    }

    /// One to three records.
    fn next(&mut self) -> Order {
        let first = self.next;
        self.next += 1 + first % 3;
        let record = |number| self.shared.record(self.producer, number);
        Order {
            records: (first..self.next).map(record).collect(),
            stamp: self.stamped.then_some(Stamp {
                id: self.producer,
                epoch: 0,
                sequence: first,
            }),
        }
    }
}

/// One request at a time. With a stamp each is tried until it is acknowledged; without, until its outcome is unknown.
pub(super) async fn unary(shared: Arc<Shared>, producer: u64, stamped: bool) {
    let mut client = shared.client();
    let mut orders = Orders::new(&shared, producer, stamped);
    let mut pace = pace();
    let mut order = orders.next();
    while !shared.stop.is_cancelled() {
        let attempt = shared.recorder.attempt(order.records.clone(), order.stamp);
        let began = shared.recorder.now();
        match in_time("an answer to Produce", client.produce(order.request())).await {
            Ok(response) => {
                let response = response.into_inner();
                let first_offset = response.first_offset;
                shared
                    .recorder
                    .answered(attempt, Answer::Acknowledged { first_offset });
                shared.watermark(began, response.header);
                shared.acknowledged(response.next_offset, 1);
                order = orders.next();
            }
            Err(status) => {
                let answer = shared.refused(&reason_of(&status));
                shared.recorder.answered(attempt, answer);
                if answer == Answer::Unknown && !stamped {
                    order = orders.next();
                }
                pace.tick().await;
            }
        }
    }
}

/// Many requests under way on a stream, and a new stream whenever one ends.
pub(super) async fn stream(shared: Arc<Shared>, producer: u64, stamped: bool) {
    let mut orders = Orders::new(&shared, producer, stamped);
    let mut again = VecDeque::new();
    let mut pace = pace();
    while !shared.stop.is_cancelled() {
        pace.tick().await;
        let (requests, receiver) = mpsc::channel(BURST);
        let mut client = shared.client();
        let opened = client.produce_stream(ReceiverStream::new(receiver));
        // Its headers come at once, before any answer.
        match in_time("the beginning of ProduceStream", opened).await {
            Err(status) => {
                shared.refused(&reason_of(&status));
            }
            Ok(responses) => {
                let life = StreamLife {
                    shared: &shared,
                    stamped,
                    requests: Some(requests),
                    under_way: VecDeque::new(),
                    again: VecDeque::new(),
                };
                again = life.run(responses.into_inner(), &mut orders, again).await;
            }
        }
    }
}

/// One stream, from its beginning to its end.
struct StreamLife<'a> {
    shared: &'a Shared,
    stamped: bool,
    /// `None` once nothing more is sent.
    requests: Option<mpsc::Sender<ProduceRequest>>,
    /// Sent and not answered, in order.
    under_way: VecDeque<(AttemptId, Tick, Order)>,
    /// To be sent again on the next stream, in order.
    again: VecDeque<Order>,
}

impl StreamLife<'_> {
    /// What must be sent again.
    async fn run(
        mut self,
        mut responses: Streaming<ProduceResponse>,
        orders: &mut Orders,
        mut backlog: VecDeque<Order>,
    ) -> VecDeque<Order> {
        let mut pace = pace();
        loop {
            let may_send = self.requests.is_some() && self.under_way.len() < WINDOW;
            tokio::select! {
                _ = pace.tick(), if may_send => {
                    for _ in 0..BURST {
                        self.send(orders, &mut backlog);
                    }
                }
                () = self.shared.stop.cancelled(), if self.requests.is_some() => self.requests = None,
                response = in_time("an answer of ProduceStream", responses.message()), if !self.is_idle() => {
                    match response {
                        Ok(Some(response)) => self.answered(response),
                        Ok(None) => {
                            assert!(self.under_way.is_empty(), "a stream ended with requests unanswered");
                            break;
                        }
                        Err(status) => {
                            self.broken(&status);
                            break;
                        }
                    }
                }
            }
        }
        self.again.extend(backlog);
        self.again
    }

    /// Nothing is under way, and something may be sent: the answer that is awaited next may take any time.
    fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.requests.is_some()
    }

    fn send(&mut self, orders: &mut Orders, backlog: &mut VecDeque<Order>) {
        let Some(requests) = &self.requests else { return };
        // When there is no room the server does not read; then the order waits for the next turn.
        let Ok(room) = requests.try_reserve() else { return };
        let order = backlog.pop_front().unwrap_or_else(|| orders.next());
        let attempt = self.shared.recorder.attempt(order.records.clone(), order.stamp);
        let began = self.shared.recorder.now();
        room.send(order.request());
        self.under_way.push_back((attempt, began, order));
    }

    fn answered(&mut self, mut response: ProduceResponse) {
        let mut first_offset = response.first_offset;
        for _ in 0..response.requests {
            let (attempt, began, order) = self.under_way.pop_front().expect("one answer for each request");
            if let Some(failure) = &response.failure {
                self.refused(attempt, order, &failure.reason.clone());
                continue;
            }
            self.shared
                .recorder
                .answered(attempt, Answer::Acknowledged { first_offset });
            first_offset += order.records.len() as u64;
            if first_offset == response.next_offset {
                // The answer was made after the last of its requests had come.
                self.shared.watermark(began, response.header.take());
                self.shared
                    .acknowledged(first_offset, u64::from(response.requests));
            }
        }
        let stored = response.failure.is_none();
        assert!(
            !stored || first_offset == response.next_offset,
            "offsets for more or fewer records"
        );
    }

    fn refused(&mut self, attempt: AttemptId, order: Order, reason: &str) {
        let answer = self.shared.refused(reason);
        self.shared.recorder.answered(attempt, answer);
        if self.stamped {
            // What follows would be out of order: first hear what became of it, then send all of it again.
            self.requests = None;
        }
        if self.stamped || answer == Answer::Failed {
            self.again.push_back(order);
        }
    }

    fn broken(&mut self, status: &Status) {
        let reason = reason_of(status);
        for (attempt, _, order) in std::mem::take(&mut self.under_way) {
            // Requests that were never read are among them; a client cannot tell which.
            self.shared.refused(&reason);
            self.shared.recorder.answered(attempt, Answer::Unknown);
            if self.stamped {
                self.again.push_back(order);
            }
        }
    }
}
