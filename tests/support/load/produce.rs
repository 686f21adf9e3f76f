//! Producers, one request at a time, and what all producers send.

use std::sync::Arc;

use annals::proto::annals::v1::{ProduceRequest, Producer, Record, RecordSet};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Shared,
    caller::{Caller, Refused, acknowledged},
    pace,
};
use crate::support::log_checker::{Answer, Stamp};

/// What one request asks for.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) records: Vec<Bytes>,
    pub(super) stamp: Option<Stamp>,
}

impl Order {
    pub(super) fn request(&self) -> ProduceRequest {
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
pub(super) struct Orders {
    shared: Arc<Shared>,
    producer: u64,
    stamped: bool,
    epoch: u32,
    /// Number of the next record, in all epochs.
    next: u64,
    /// The same in this epoch.
    sequence: u64,
}

impl Orders {
    pub(super) fn new(shared: &Arc<Shared>, producer: u64, stamped: bool) -> Self {
        Self {
            shared: shared.clone(),
            producer,
            stamped,
            epoch: 0,
            next: 0,
            sequence: 0,
        }
    }

    /// One to three records.
    pub(super) fn next(&mut self) -> Order {
        let count = 1 + self.next % 3;
        let record = |number| self.shared.record(self.producer, number);
        let order = Order {
            records: (self.next..self.next + count).map(record).collect(),
            stamp: self.stamped.then_some(Stamp {
                id: self.producer,
                epoch: self.epoch,
                sequence: self.sequence,
            }),
        };
        self.next += count;
        self.sequence += count;
        order
    }

    /// Begins another epoch: nobody knows what became of the last one's end, and there what follows is out of order.
    fn give_up(&mut self) {
        self.epoch += 1;
        self.sequence = 0;
    }
}

/// With a stamp each batch is tried until it is acknowledged or its time is up; without, until its outcome is unknown.
pub(super) async fn unary(mut caller: Caller, producer: u64, stamped: bool) {
    let shared = caller.shared.clone();
    let mut orders = Orders::new(&shared, producer, stamped);
    let mut pace = pace();
    let mut order = orders.next();
    let mut give_up = Instant::now() + shared.kinds.batch_deadline;
    while !shared.stop.is_cancelled() {
        let mut call = caller.call();
        let attempt = caller
            .notes
            .attempt(&call.node, &order.records, order.stamp, None);
        let answer = caller.ask("an answer to Produce", call.client.produce(order.request()));
        let is_done = match answer.await {
            Ok(response) => {
                let response = response.into_inner();
                let answer = acknowledged(&response, response.first_offset, order.records.len());
                caller.notes.answered(attempt, answer);
                let stored = response.next_offset.checked_sub(response.first_offset);
                assert_eq!(
                    stored,
                    Some(order.records.len() as u64),
                    "offsets for more or fewer records"
                );
                caller.heard(&call, response.header.as_ref());
                shared.acknowledged(response.next_offset, 1);
                true
            }
            Err(status) => {
                let refused = Refused::from(&status);
                let answer = refused.answer();
                caller.notes.answered(attempt, answer);
                shared.refused(&refused);
                caller.follow(&refused);
                pace.tick().await;
                refused.is_repeated() || (answer == Answer::Unknown && !stamped)
            }
        };
        let is_late = Instant::now() >= give_up;
        if is_late && !is_done {
            orders.give_up();
        }
        if is_late || is_done {
            order = orders.next();
            give_up = Instant::now() + shared.kinds.batch_deadline;
        }
    }
}
