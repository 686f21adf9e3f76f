//! Producers with many requests under way on a stream.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use annals::proto::annals::v1::{ProduceRequest, ProduceResponse};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    DEADLINE,
    caller::{Call, Caller, Refused, acknowledged, out_of_patience},
    pace,
    produce::{Order, Orders},
};
use crate::support::log_checker::{Answer, AttemptId};

/// Requests of a stream that may be under way.
const WINDOW: usize = 64;
/// Requests that a stream sends at a time.
const BURST: usize = 8;

/// Makes streams different.
static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// Sends on one stream after the other, at another node when the one is no good.
pub(super) async fn stream(mut caller: Caller, producer: u64, stamped: bool) {
    let shared = caller.shared.clone();
    let mut orders = Orders::new(&shared, producer, stamped);
    let mut again = VecDeque::new();
    let mut pace = pace();
    while !shared.stop.is_cancelled() {
        pace.tick().await;
        let (requests, receiver) = mpsc::channel(BURST);
        let mut call = caller.call();
        let opened = call.client.produce_stream(ReceiverStream::new(receiver));
        // Its headers come at once, before any answer.
        match caller.ask("the beginning of ProduceStream", opened).await {
            Err(status) => {
                let refused = Refused::from(&status);
                shared.refused(&refused);
                caller.follow(&refused);
            }
            Ok(responses) => {
                let life = StreamLife {
                    caller: &mut caller,
                    call,
                    stamped,
                    heard: Instant::now(),
                    number: NEXT_STREAM.fetch_add(1, Ordering::Relaxed),
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
    caller: &'a mut Caller,
    call: Call,
    stamped: bool,
    /// When the last answer came, or the first request was sent since nothing was under way.
    heard: Instant,
    number: u64,
    /// `None` once nothing more is sent.
    requests: Option<mpsc::Sender<ProduceRequest>>,
    /// Sent and not answered, in order.
    under_way: VecDeque<(AttemptId, Order)>,
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
        let stop = self.caller.shared.stop.clone();
        let patience = self.caller.shared.kinds.patience;
        let mut pace = pace();
        loop {
            let may_send = self.requests.is_some() && self.under_way.len() < WINDOW;
            let is_idle = self.is_idle();
            tokio::select! {
                _ = pace.tick(), if may_send => {
                    for _ in 0..BURST {
                        self.send(orders, &mut backlog);
                    }
                }
                () = stop.cancelled(), if self.requests.is_some() => self.requests = None,
                () = sleep_until(self.heard + patience.unwrap_or(DEADLINE)), if !is_idle => {
                    let patience = patience.expect("an answer of ProduceStream takes too long");
                    self.broken(&out_of_patience(patience));
                    break;
                }
                response = responses.message(), if !is_idle => {
                    self.heard = Instant::now();
                    match response {
                        Ok(Some(response)) => self.answered(&response),
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
        let notes = &self.caller.notes;
        let attempt = notes.attempt(&self.call.node, &order.records, order.stamp, Some(self.number));
        room.send(order.request());
        if self.under_way.is_empty() {
            self.heard = Instant::now();
        }
        self.under_way.push_back((attempt, order));
    }

    fn answered(&mut self, response: &ProduceResponse) {
        let mut first_offset = response.first_offset;
        for _ in 0..response.requests {
            let (attempt, order) = self.under_way.pop_front().expect("one answer for each request");
            if let Some(failure) = &response.failure {
                self.refused(attempt, order, &Refused::from(failure));
                continue;
            }
            let answer = acknowledged(response, first_offset, order.records.len());
            self.caller.notes.answered(attempt, answer);
            first_offset += order.records.len() as u64;
        }
        if response.failure.is_none() {
            assert_eq!(
                first_offset, response.next_offset,
                "offsets for more or fewer records"
            );
            self.caller.heard(&self.call, response.header.as_ref());
            let requests = u64::from(response.requests);
            self.caller.shared.acknowledged(first_offset, requests);
        }
    }

    fn refused(&mut self, attempt: AttemptId, order: Order, refused: &Refused) {
        let answer = refused.answer();
        self.caller.notes.answered(attempt, answer);
        self.caller.shared.refused(refused);
        let has_elsewhere = refused.names_leader() || self.caller.shared.nodes.members().len() > 1;
        let goes_elsewhere = refused.moves_on() && has_elsewhere;
        if self.requests.is_some() && (self.stamped || goes_elsewhere) {
            // With a stamp, what follows would be out of order: first hear what became of it, then send all of it again.
            self.requests = None;
            self.caller.follow(refused);
        }
        if !refused.is_repeated() && (self.stamped || answer == Answer::Failed) {
            self.again.push_back(order);
        }
    }

    fn broken(&mut self, status: &Status) {
        let refused = Refused::from(status);
        // Requests that were never read are among them; a client cannot tell which.
        for (attempt, order) in std::mem::take(&mut self.under_way) {
            self.caller.shared.refused(&refused);
            self.caller.notes.answered(attempt, Answer::Unknown);
            if self.stamped {
                self.again.push_back(order);
            }
        }
        if self.requests.is_some() {
            self.caller.follow(&refused);
        }
    }
}
