//! A producer that loses nothing and stores nothing twice, over connections that come and go.
//!
//! Each request carries the producer's id and the number of its first record. After a broken connection everything
//! that is not acknowledged is sent again, in order and unchanged; what the node already has it answers with the
//! original offsets.

use std::{collections::VecDeque, num::NonZeroU64, pin::pin, time::Duration};

use futures::{StreamExt, TryFutureExt};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    error::Disposition,
    proto::{annals::v1::ProduceResponse, raw::annals::v1 as raw},
};

use super::{
    acknowledged::Acknowledged,
    addresses::Addresses,
    connect::Connection,
    contact::KnownLog,
    error::{CliError, ProtocolError},
    progress::Progress,
    reconnect::Backoff,
    record_lines::RecordBatch,
    refusal::Refusal,
};

/// Bytes sent and not acknowledged: milliseconds of a fast disk, so the pipe does not run dry while the node syncs, and
/// half of what a node by default admits of one stream.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// Requests sent and not acknowledged. A node remembers where so many of a producer's last batches are, even when other
/// producers' lie between all of them (`RANGES_MAX` of the sequencer, a part of the format); one more could be a repeat
/// whose offsets nobody knows any longer.
const IN_FLIGHT_REQUESTS_MAX: usize = 16;

/// How often it is checked that answers still come.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Who the records are from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Not 0.
    pub(super) id: u64,
    /// Number of the first record to be sent.
    pub(super) sequence: u64,
    /// Whether the id was made up for this run, so that another may take its place.
    pub(super) is_made_up: bool,
}

/// A request that is not acknowledged.
#[derive(Debug)]
struct Pending {
    batch: RecordBatch,
    sequence: u64,
}

/// An id that nobody else has.
pub(super) fn new_producer_id() -> u64 {
    rand::random::<NonZeroU64>().get()
}

/// One producer and what it has in flight.
#[derive(Debug)]
pub(super) struct Producer {
    stamp: Stamp,
    timeout: Duration,
    backoff: Backoff,
    log: KnownLog,
    progress: Progress,
    pending: VecDeque<Pending>,
    /// How many of `pending` were handed to the present connection.
    handed: usize,
    /// How many of `pending` were handed to an earlier connection: some of them may be stored.
    handed_before: usize,
    pending_bytes: usize,
    source_ended: bool,
    /// Whether some of what is sent was sent before.
    is_resent: bool,
    acknowledged: Acknowledged,
    /// Whether an earlier id is given up, and with it what would continue it.
    is_anew: bool,
}

impl Producer {
    /// Gives up when nothing is acknowledged for `timeout`.
    pub(super) fn new(addrs: Addresses, stamp: Stamp, timeout: Duration, progress: Progress) -> Self {
        Self {
            log: KnownLog::new(addrs),
            stamp,
            timeout,
            backoff: Backoff::new(Some(timeout)),
            progress,
            pending: VecDeque::new(),
            handed: 0,
            handed_before: 0,
            pending_bytes: 0,
            source_ended: false,
            is_resent: false,
            acknowledged: Acknowledged::default(),
            is_anew: false,
        }
    }

    /// What is acknowledged so far.
    pub(super) fn acknowledged(&self) -> Acknowledged {
        self.acknowledged
    }

    /// Whether another run can go on as this producer: its numbers are still those of the input's lines.
    pub(super) fn can_be_continued(&self) -> bool {
        !self.is_anew
    }

    /// The first connection, to the log that all the others have to lead to.
    ///
    /// Errors: those of `first_contact`. Cancel: safe.
    pub(super) async fn connect(&mut self) -> Result<Connection, CliError> {
        let (connection, _) = self.log.connect(self.timeout).await?;
        Ok(connection)
    }

    /// Produces all that the source gives; returns when it ended and all is acknowledged.
    ///
    /// Errors: those of the source; a refusal that does not pass; `NoAnswer`; `OtherLog`. Cancel: what is in flight may or may
    /// not be stored; `acknowledged` is.
    pub(super) async fn run(
        &mut self,
        mut connection: Connection,
        source: &mut mpsc::Receiver<Result<RecordBatch, CliError>>,
    ) -> Result<(), CliError> {
        loop {
            let Err(error) = self.run_stream(&connection, source).await else {
                return Ok(());
            };
            if self.is_forgotten(&error) {
                self.begin_anew();
            } else {
                connection = self.recover(error, source).await?;
            }
        }
    }

    /// Whether the node has forgotten this producer, and nothing of what it is to be sent can be stored already. A node
    /// remembers a number of producers, and who was silent for long makes room for those who come.
    fn is_forgotten(&self, error: &CliError) -> bool {
        let CliError::Refused(refusal) = error else {
            return false;
        };
        refusal.reason == "UNKNOWN_PRODUCER"
            && self.stamp.is_made_up
            && self.handed_before == 0
            // A producer that begins cannot be unknown.
            && self.pending.front().is_some_and(|pending| pending.sequence > 0)
    }

    /// Becomes a producer that has sent nothing yet. What was sent behind the refused request is refused as it was.
    fn begin_anew(&mut self) {
        self.stamp.id = new_producer_id();
        self.stamp.sequence = 0;
        for pending in &mut self.pending {
            pending.sequence = self.stamp.sequence;
            self.stamp.sequence += pending.batch.count;
        }
        self.handed = 0;
        self.is_anew = true;
    }

    /// Waits, and connects again, until that works or it is time to give up.
    async fn recover(
        &mut self,
        error: CliError,
        source: &mut mpsc::Receiver<Result<RecordBatch, CliError>>,
    ) -> Result<Connection, CliError> {
        if self.pending.is_empty() && error.disposition() == Disposition::Retry {
            // With nothing to send there is no hurry, and no reason to give up.
            self.take(source.recv().await)?;
            self.backoff.progress();
        }
        let returned = self.log.return_to(&mut self.backoff, self.timeout, error);
        let (connection, _) = returned.await?;
        Ok(connection)
    }

    /// One stream from its start to its end. Sends first what an earlier one left unacknowledged.
    async fn run_stream(
        &mut self,
        connection: &Connection,
        source: &mut mpsc::Receiver<Result<RecordBatch, CliError>>,
    ) -> Result<(), CliError> {
        self.rewind();
        let (requests, queue) = mpsc::channel(IN_FLIGHT_REQUESTS_MAX);
        let responses = connection
            .produce_stream(ReceiverStream::new(queue))
            .map_ok(|responses| responses.map(|response| response.map_err(CliError::from)))
            .try_flatten_stream();
        let mut responses = pin!(responses);
        let mut watch = time::interval(WATCH_INTERVAL);
        while !(self.source_ended && self.pending.is_empty()) {
            tokio::select! {
                response = responses.next() => {
                    let ended = || CliError::Lost { reason: "the node ended the stream".to_owned() };
                    self.acknowledge(response.ok_or_else(ended)??)?;
                }
                permit = requests.reserve(), if self.handed < self.pending.len() => {
                    let ended = |_| CliError::Lost { reason: "the node takes no more of the stream".to_owned() };
                    permit.map_err(ended)?.send(self.next_request());
                }
                batch = source.recv(), if self.wants_more() => {
                    self.take(batch)?;
                }
                _ = watch.tick(), if !self.pending.is_empty() => self.check_answers_come()?,
            }
        }
        Ok(())
    }

    fn rewind(&mut self) {
        self.is_resent |= self.handed > 0;
        self.handed_before = self.handed_before.max(self.handed);
        self.handed = 0;
    }

    fn wants_more(&self) -> bool {
        !self.source_ended
            && self.pending.len() < IN_FLIGHT_REQUESTS_MAX
            && self.pending_bytes < IN_FLIGHT_BYTES_MAX
    }

    fn check_answers_come(&self) -> Result<(), CliError> {
        if self.backoff.is_over() {
            return Err(self
                .backoff
                .no_answer(self.log.addrs().current(), "it does not acknowledge".to_owned()));
        }
        Ok(())
    }

    fn take(&mut self, batch: Option<Result<RecordBatch, CliError>>) -> Result<(), CliError> {
        let Some(batch) = batch.transpose()? else {
            self.source_ended = true;
            return Ok(());
        };
        if self.pending.is_empty() {
            // The time without an answer counts from the moment there is one to come.
            self.backoff.progress();
        }
        let sequence = self.stamp.sequence;
        self.stamp.sequence += batch.count;
        self.pending_bytes += batch.records.len();
        self.pending.push_back(Pending { batch, sequence });
        Ok(())
    }

    fn next_request(&mut self) -> raw::ProduceRequest {
        let pending = &self.pending[self.handed];
        self.handed += 1;
        raw::ProduceRequest {
            log: String::new(),
            records: Some(pending.batch.records.clone()),
            producer: Some(raw::Producer {
                id: self.stamp.id,
                epoch: 0,
                sequence: pending.sequence,
            }),
            expected_offset: None,
        }
    }

    /// While something is sent again, the node may still be at work on what came over the broken connection. Then a
    /// request can overtake another, and to be out of order means to try once more.
    fn refused(&self, refusal: Refusal) -> CliError {
        match refusal.reason.as_str() {
            "OUT_OF_ORDER" if self.is_resent => CliError::Lost {
                reason: refusal.to_string(),
            },
            _ => CliError::Refused(refusal),
        }
    }

    fn acknowledge(&mut self, response: ProduceResponse) -> Result<(), CliError> {
        if let Some(header) = &response.header {
            self.log.check_header(&header.cluster_id)?;
        }
        if let Some(failure) = response.failure {
            return Err(self.refused(failure.into()));
        }
        let answered = response.requests.max(1) as usize;
        if answered > self.handed {
            return Err(CliError::Protocol(ProtocolError::AnswerWithoutRequest));
        }
        let sent = self
            .pending
            .range(..answered)
            .map(|pending| pending.batch.count)
            .sum();
        let acknowledged = response.next_offset.saturating_sub(response.first_offset);
        if acknowledged != sent {
            return Err(CliError::Protocol(ProtocolError::WrongCount {
                acknowledged,
                sent,
            }));
        }
        for Pending { batch, .. } in self.pending.drain(..answered) {
            self.pending_bytes -= batch.records.len();
            self.progress.add(batch.input_bytes);
        }
        self.handed -= answered;
        self.handed_before = self.handed_before.saturating_sub(answered);
        self.acknowledged.add(response.first_offset, response.next_offset);
        self.log.reach(response.next_offset);
        self.backoff.progress();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::proto::annals::v1::Failure;

    use super::*;

    fn producer_with(counts: &[u64]) -> Producer {
        let addr = "127.0.0.1:1".parse().expect("it is an address");
        let stamp = Stamp {
            id: 7,
            sequence: 0,
            is_made_up: true,
        };
        let mut producer = Producer::new(addr, stamp, Duration::from_secs(1), Progress::hidden());
        for &count in counts {
            let batch = RecordBatch {
                records: Bytes::from_static(b"..."),
                count,
                input_bytes: 1,
            };
            producer.take(Some(Ok(batch))).expect("it is no error");
        }
        producer
    }

    fn answer(first_offset: u64, next_offset: u64, requests: u32) -> ProduceResponse {
        ProduceResponse {
            first_offset,
            next_offset,
            requests,
            ..Default::default()
        }
    }

    #[test]
    fn one_answer_may_acknowledge_several_requests() {
        let mut producer = producer_with(&[2, 3, 4]);
        let sequences: Vec<_> = (0..3)
            .filter_map(|_| producer.next_request().producer)
            .map(|p| p.sequence)
            .collect();
        assert_eq!(sequences, [0, 2, 5]);
        producer.acknowledge(answer(10, 15, 2)).expect("it is right");
        assert_eq!(producer.acknowledged().to_string(), "5 records at offsets 10..15");
        producer.acknowledge(answer(20, 24, 1)).expect("it is right");
        assert!(!producer.acknowledged().contiguous);
        assert_eq!(
            (producer.pending.len(), producer.handed, producer.pending_bytes),
            (0, 0, 0)
        );
    }

    #[test]
    fn out_of_order_is_tried_again_only_when_something_was_sent_twice() {
        let mut producer = producer_with(&[2, 2]);
        producer.next_request();
        let out_of_order = || ProduceResponse {
            failure: Some(Failure {
                reason: "OUT_OF_ORDER".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let refused = |producer: &mut Producer| {
            let error = producer.acknowledge(out_of_order()).expect_err("it is refused");
            error.disposition()
        };
        assert_eq!(refused(&mut producer), Disposition::Reject);
        producer.rewind();
        assert_eq!(refused(&mut producer), Disposition::Retry);
    }

    #[test]
    fn a_forgotten_producer_begins_anew_unless_something_may_be_stored() {
        let forgotten = || ProduceResponse {
            failure: Some(Failure {
                reason: "UNKNOWN_PRODUCER".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut producer = producer_with(&[2, 3, 4]);
        producer.next_request();
        producer.acknowledge(answer(0, 2, 1)).expect("it is right");
        producer.next_request();
        let error = producer.acknowledge(forgotten()).expect_err("it is refused");
        assert!(producer.is_forgotten(&error));
        producer.begin_anew();
        let stamps: Vec<_> = (0..2).filter_map(|_| producer.next_request().producer).collect();
        assert_eq!((stamps[0].sequence, stamps[1].sequence), (0, 3));
        assert!(
            stamps
                .iter()
                .all(|stamp| stamp.id == producer.stamp.id && stamp.id != 7)
        );
        assert!(
            !producer.is_forgotten(&error),
            "it begins, and so cannot be unknown"
        );
        producer.acknowledge(answer(9, 12, 1)).expect("it is right");
        assert!(producer.is_forgotten(&error));
        producer.rewind();
        assert!(!producer.is_forgotten(&error), "it may be stored already");
    }

    #[test]
    fn an_answer_that_fits_no_request_is_not_believed() {
        let mut producer = producer_with(&[2]);
        let early = producer.acknowledge(answer(0, 2, 1));
        assert!(matches!(
            early,
            Err(CliError::Protocol(ProtocolError::AnswerWithoutRequest))
        ));
        producer.next_request();
        let short = producer.acknowledge(answer(0, 1, 1));
        let wrong = ProtocolError::WrongCount {
            acknowledged: 1,
            sent: 2,
        };
        assert!(matches!(short, Err(CliError::Protocol(error)) if error == wrong));
        assert_eq!(producer.acknowledged(), Acknowledged::default());
    }
}
