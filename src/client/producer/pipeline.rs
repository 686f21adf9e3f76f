//! Sends a producer's batches so that none is lost and none is stored twice, over connections that come and go.
//!
//! Each request carries the producer's id and the number of its first record. After a broken connection everything
//! that is not acknowledged is sent again, in order and unchanged; what the log already has is answered with the
//! original offsets.

use std::{
    collections::VecDeque,
    future::Future,
    num::NonZeroU64,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryFutureExt};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    client::{
        error::{Error, ErrorKind, ProtocolError, in_tenths},
        node::Node,
        refusal::{Reason, Refusal},
        router::{Need, Router},
        way::{Place, Way},
    },
    error::Disposition,
    proto::{annals::v1::ProduceResponse, raw::annals::v1 as raw},
};

use super::{batcher::Batcher, outgoing::Outgoing};

/// Bytes sent and not acknowledged: milliseconds of a fast disk, so the pipe does not run dry while the node syncs, and
/// half of what a node by default admits of one stream.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// Requests sent and not acknowledged. A node remembers where so many of a producer's last batches are, even when other
/// producers' lie between all of them (`RANGES_MAX` of the sequencer, a part of the format); one more could be a repeat
/// whose offsets nobody knows any longer.
const IN_FLIGHT_REQUESTS_MAX: usize = 16;

/// How often it is checked that answers still come, and who leads: well within the second or two that an election takes, which is what a
/// producer waits for at best.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Who the records are from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Not 0.
    pub(super) id: u64,
    pub(super) epoch: u32,
    /// Number of the first record to be sent.
    pub(super) sequence: u64,
    /// Whether the id was made up for this producer, so that another may take its place.
    pub(super) is_made_up: bool,
    /// Whether requests have nothing to do with each other: one that is not well-formed does not stop those behind it.
    pub(super) is_of_several: bool,
}

/// An id that nobody else has.
pub(crate) fn new_producer_id() -> u64 {
    rand::random::<NonZeroU64>().get()
}

/// A request that is not acknowledged.
#[derive(Debug)]
struct Pending {
    batch: Outgoing,
    sequence: u64,
}

/// How a stream ended without an error.
enum Ended {
    /// All is acknowledged, and nothing more comes.
    Done,
    /// This one leads, and nothing is under way on the stream, or it is silent: as a leader's is that was cut off from the others.
    Moves(Arc<Node>),
}

/// One producer and what it has in flight.
#[derive(Debug)]
pub(super) struct Pipeline {
    batcher: Arc<Batcher>,
    stamp: Stamp,
    /// The id as others see it.
    shown_id: Arc<AtomicU64>,
    way: Way,
    pending: VecDeque<Pending>,
    /// How many of `pending` were handed to the present connection.
    handed: usize,
    /// How many of `pending` were handed to an earlier connection: some of them may be stored.
    handed_before: usize,
    pending_bytes: usize,
    source_ended: bool,
    /// Whether some of what is sent was sent before.
    is_resent: bool,
    /// A leader that does not have the log as others have it.
    out_of_reach: u64,
    /// Everybody who waits was told.
    is_over: bool,
}

impl Drop for Pipeline {
    /// Nobody waits for what a runtime that has ended will not do.
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(&Error::new(ErrorKind::Ended));
        }
    }
}

impl Pipeline {
    /// Gives up when nothing is acknowledged for `within`.
    pub(super) fn new(
        router: Arc<Router>,
        batcher: Arc<Batcher>,
        stamp: Stamp,
        shown_id: Arc<AtomicU64>,
        within: Duration,
    ) -> Self {
        Self {
            batcher,
            stamp,
            shown_id,
            way: Way::new(router, within),
            pending: VecDeque::new(),
            handed: 0,
            handed_before: 0,
            pending_bytes: 0,
            source_ended: false,
            is_resent: false,
            out_of_reach: 0,
            is_over: false,
        }
    }

    /// Sends all that comes; ends when the producer is closed and all is acknowledged, or when it fails.
    pub(super) async fn run(mut self) {
        match self.drive().await {
            Ok(()) => self.is_over = true,
            Err(error) => self.fail(&error),
        }
    }

    async fn drive(&mut self) -> Result<(), Error> {
        if !self.has_more().await {
            return Ok(());
        }
        let mut place = self.way.enter(Need::Leader).await?;
        loop {
            match self.run_stream(&place).await {
                Ok(Ended::Done) => return Ok(()),
                Ok(Ended::Moves(leader)) => match self.way.enter_at(&leader).await {
                    Ok(next) => place = next,
                    Err(_) => self.out_of_reach = leader.id(),
                },
                Err(error) if self.is_forgotten(&error) => self.begin_anew(),
                Err(error) if self.is_of_first_alone(&error) => {
                    self.refuse_first(error);
                    self.begin_anew();
                }
                Err(error) => {
                    if self.pending.is_empty() && error.disposition() == Disposition::Retry {
                        // With nothing to send there is no hurry, and no reason to give up.
                        if !self.has_more().await {
                            return Ok(());
                        }
                        self.way.tries.backoff.progress();
                    }
                    place = self.way.again(Need::Leader, &place, error).await?;
                }
            }
        }
    }

    /// Waits until there is something to send; false: nothing more comes.
    async fn has_more(&mut self) -> bool {
        let batch = self.batcher.next(true).await;
        self.take(batch);
        !self.source_ended
    }

    /// Tells everybody who waits. Of what was handed to a connection, nobody knows.
    fn fail(&mut self, error: &Error) {
        // First, so that whoever is told here finds that nothing more is taken.
        self.batcher.fail(error);
        let handed = self.handed.max(self.handed_before);
        // A refusal in a stream is about its first request, of which nothing is stored then; the others may be.
        for (i, pending) in self.pending.drain(..).enumerate() {
            let is_refused = i == 0 && self.handed_before == 0 && error.refusal().is_some();
            let error = if i < handed {
                error.clone().in_doubt(!is_refused)
            } else {
                error.clone().without_effects()
            };
            self.batcher.settle(pending.batch, Err(error));
        }
        self.is_over = true;
    }

    /// Whether the node has forgotten this producer, and nothing of what it is to be sent can be stored already. A node
    /// remembers a number of producers, and who was silent for long makes room for those who come.
    fn is_forgotten(&self, error: &Error) -> bool {
        error.reason() == Some(Reason::UnknownProducer)
            && self.stamp.is_made_up
            && self.handed_before == 0
            // A producer that begins cannot be unknown.
            && self.pending.front().is_some_and(|pending| pending.sequence > 0)
    }

    /// Whether only the first request is to blame, and the others belong to somebody else. Nothing of it can be stored, nor of what was sent
    /// behind it, whose numbers follow on none that is.
    fn is_of_first_alone(&self, error: &Error) -> bool {
        let blames_it = error
            .refusal()
            .is_some_and(|refusal| refusal.code == Code::InvalidArgument);
        blames_it && self.stamp.is_of_several && self.stamp.is_made_up && self.handed_before == 0
    }

    fn refuse_first(&mut self, error: Error) {
        if let Some(Pending { batch, .. }) = self.pending.pop_front() {
            self.pending_bytes -= batch.records.len();
            self.batcher.settle(batch, Err(error));
        }
    }

    /// Refuses what is too large for the node: nothing of it was sent to any, and what is behind it takes its number.
    fn refuse_too_large(&mut self) {
        let mut at = self.handed_before;
        while let Some(pending) = self.pending.get(at) {
            let Err(error) = self.batcher.check_size(pending.batch.records.len()) else {
                at += 1;
                continue;
            };
            let Some(Pending { batch, .. }) = self.pending.remove(at) else {
                return;
            };
            self.pending_bytes -= batch.records.len();
            self.stamp.sequence -= batch.count;
            for behind in self.pending.range_mut(at..) {
                behind.sequence -= batch.count;
            }
            self.batcher.settle(batch, Err(error));
        }
    }

    /// Becomes a producer that has sent nothing yet. What was sent behind the refused request is refused as it was.
    fn begin_anew(&mut self) {
        self.stamp = Stamp {
            id: new_producer_id(),
            epoch: 0,
            sequence: 0,
            is_made_up: true,
            ..self.stamp
        };
        for pending in &mut self.pending {
            pending.sequence = self.stamp.sequence;
            self.stamp.sequence += pending.batch.count;
        }
        self.handed = 0;
        self.shown_id.store(self.stamp.id, Ordering::Relaxed);
    }

    /// One stream from its start to its end. Sends first what an earlier one left unacknowledged.
    async fn run_stream(&mut self, place: &Place) -> Result<Ended, Error> {
        self.rewind();
        self.batcher.learn(place.request_bytes_max());
        self.refuse_too_large();
        let (requests, queue) = mpsc::channel(IN_FLIGHT_REQUESTS_MAX);
        let responses = place
            .connection
            .produce_stream(ReceiverStream::new(queue))
            .map_ok(|responses| responses.map(|response| response.map_err(Error::from)))
            .try_flatten_stream();
        let mut responses = pin!(responses);
        let mut silence = pin!(place.connection.silence());
        let mut watch = time::interval(WATCH_INTERVAL);
        let mut move_to: Option<Arc<Node>> = None;
        let mut reaches: Option<Reaches> = None;
        // Since the last look, and before it.
        let (mut has_answered, mut is_silent) = (false, false);
        while !(self.source_ended && self.pending.is_empty()) {
            // What is under way there may yet be answered; what is not, is sent again, and stored once.
            if (self.handed == 0 || is_silent)
                && let Some(leader) = move_to.take()
            {
                return Ok(Ended::Moves(leader));
            }
            let batcher = Arc::clone(&self.batcher);
            tokio::select! {
                response = responses.next() => {
                    let ended = || Error::lost("the node ended the stream");
                    let response = response.ok_or_else(ended)?;
                    let response = response.map_err(|error| place.connection.explain(error))?;
                    self.way.heard(&place.node, response.header.as_ref())?;
                    self.acknowledge(response)?;
                    (has_answered, is_silent) = (true, false);
                    if reaches.is_none() {
                        reaches = self.look_for_leader(place);
                    }
                }
                permit = requests.reserve(), if self.handed < self.pending.len() && move_to.is_none() => {
                    let ended = |_| Error::lost("the node takes no more of the stream");
                    permit.map_err(ended)?.send(self.next_request());
                }
                batch = batcher.next(self.pending.is_empty()), if self.wants_more() => {
                    self.take(batch);
                }
                reached = reached(&mut reaches), if reaches.is_some() => {
                    reaches = None;
                    move_to = reached;
                }
                error = &mut silence => return Err(error),
                _ = watch.tick() => {
                    self.check_answers_come(place)?;
                    is_silent = self.handed > 0 && !std::mem::take(&mut has_answered);
                    if is_silent {
                        self.way.router().doubt();
                    }
                    self.out_of_reach = 0;
                    if reaches.is_none() {
                        reaches = self.look_for_leader(place);
                    }
                }
            }
        }
        Ok(Ended::Done)
    }

    /// Begins to reach for the leader, when that is another node than this one. Until it is reached, this one hands everything on
    /// to it.
    fn look_for_leader(&self, place: &Place) -> Option<Reaches> {
        let router = self.way.router();
        let leader = router.better_leader(place.node.id())?;
        if leader.id() == self.out_of_reach || Arc::ptr_eq(&leader, &place.node) {
            return None;
        }
        let settings = router.settings.clone();
        Some(Box::pin(async move {
            let reached = leader.connection(settings.tls.as_ref(), settings.connect_within);
            // One that is not reached is passed over from now on, until it is.
            reached.await.is_ok().then_some(leader)
        }))
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

    fn check_answers_come(&self, place: &Place) -> Result<(), Error> {
        let backoff = &self.way.tries.backoff;
        if !self.pending.is_empty() && backoff.is_over() {
            return Err(Error::new(ErrorKind::NoAnswer {
                address: place.node.address.to_string(),
                waited: in_tenths(backoff.waited()),
                reason: "it does not acknowledge".to_owned(),
            }));
        }
        Ok(())
    }

    fn take(&mut self, batch: Option<Outgoing>) {
        let Some(batch) = batch else {
            self.source_ended = true;
            return;
        };
        if let Err(error) = self.batcher.check_size(batch.records.len()) {
            self.batcher.settle(batch, Err(error));
            return;
        }
        if self.pending.is_empty() {
            // The time without an answer counts from the moment there is one to come.
            self.way.tries.backoff.progress();
        }
        let sequence = self.stamp.sequence;
        self.stamp.sequence += batch.count;
        self.pending_bytes += batch.records.len();
        self.pending.push_back(Pending { batch, sequence });
    }

    fn next_request(&mut self) -> raw::ProduceRequest {
        let pending = &self.pending[self.handed];
        self.handed += 1;
        raw::ProduceRequest {
            log: String::new(),
            records: Some(pending.batch.records.clone()),
            producer: Some(raw::Producer {
                id: self.stamp.id,
                epoch: self.stamp.epoch,
                sequence: pending.sequence,
            }),
            expected_offset: None,
        }
    }

    /// While something is sent again, the node may still be at work on what came over the broken connection. Then a
    /// request can overtake another, and to be out of order means to try once more.
    fn refused(&self, refusal: Refusal) -> Error {
        match refusal.reason() {
            Reason::OutOfOrder if self.is_resent => Error::lost(refusal.to_string()),
            _ => refusal.into(),
        }
    }

    fn acknowledge(&mut self, response: ProduceResponse) -> Result<(), Error> {
        if let Some(failure) = response.failure {
            return Err(self.refused(failure.into()));
        }
        let answered = response.requests.max(1) as usize;
        if answered > self.handed {
            return Err(ProtocolError::AnswerWithoutRequest.into());
        }
        let sent = self
            .pending
            .range(..answered)
            .map(|pending| pending.batch.count)
            .sum();
        let acknowledged = response.next_offset.saturating_sub(response.first_offset);
        if acknowledged != sent {
            return Err(ProtocolError::WrongCount { acknowledged, sent }.into());
        }
        let mut first_offset = response.first_offset;
        for Pending { batch, .. } in self.pending.drain(..answered) {
            self.pending_bytes -= batch.records.len();
            let next = first_offset + batch.count;
            self.batcher.settle(batch, Ok(first_offset));
            first_offset = next;
        }
        self.handed -= answered;
        self.handed_before = self.handed_before.saturating_sub(answered);
        self.way.reach(response.next_offset);
        self.way.tries.backoff.progress();
        Ok(())
    }
}

/// A node that is being connected to, beside what else is done.
type Reaches = Pin<Box<dyn Future<Output = Option<Arc<Node>>> + Send>>;

async fn reached(reaches: &mut Option<Reaches>) -> Option<Arc<Node>> {
    reaches.as_mut()?.await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;

    use super::*;
    use crate::{
        client::{
            producer::{batcher::Limits, ticket::Answer},
            settings::Settings,
        },
        proto::annals::v1::Failure,
        storage,
    };

    const LIMITS: Limits = Limits {
        batch_bytes_max: 1 << 20,
        unacknowledged_bytes_max: 1 << 20,
        linger: Duration::ZERO,
    };

    /// With batches of so many records, and what becomes of them.
    fn pipeline_with(counts: &[u64]) -> (Pipeline, Vec<Answer>) {
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        let router = Arc::new(Router::new(addresses, Settings::alone()));
        let batcher = Arc::new(Batcher::new(LIMITS, None));
        let stamp = Stamp {
            id: 7,
            epoch: 0,
            sequence: 0,
            is_made_up: true,
            is_of_several: false,
        };
        let second = Duration::from_secs(1);
        let mut pipeline = Pipeline::new(router, batcher.clone(), stamp, Arc::default(), second);
        let taken = counts.iter().map(|count| {
            let room = batcher.try_room(3).unwrap().unwrap();
            let answer = batcher.push_batch(Bytes::from_static(b"..."), *count, room);
            let batch = batcher.next(true).now_or_never().unwrap();
            pipeline.take(batch);
            answer.unwrap()
        });
        let answers = taken.collect();
        (pipeline, answers)
    }

    fn answer(first_offset: u64, next_offset: u64, requests: u32) -> ProduceResponse {
        ProduceResponse {
            first_offset,
            next_offset,
            requests,
            ..Default::default()
        }
    }

    fn refusal(reason: &str) -> ProduceResponse {
        ProduceResponse {
            failure: Some(Failure {
                reason: reason.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn first_offset(answer: &Answer) -> Option<u64> {
        answer.clone().now_or_never()?.unwrap().ok()
    }

    #[test]
    fn no_more_is_in_flight_than_the_log_remembers() {
        assert_eq!(IN_FLIGHT_REQUESTS_MAX, storage::RANGES_MAX);
    }

    #[test]
    fn one_answer_may_acknowledge_several_requests() {
        let (mut pipeline, answers) = pipeline_with(&[2, 3, 4]);
        let sequences: Vec<_> = (0..3)
            .filter_map(|_| pipeline.next_request().producer)
            .map(|producer| producer.sequence)
            .collect();
        assert_eq!(sequences, [0, 2, 5]);
        pipeline.acknowledge(answer(10, 15, 2)).unwrap();
        let told: Vec<_> = answers.iter().map(first_offset).collect();
        assert_eq!(told, [Some(10), Some(12), None]);
        pipeline.acknowledge(answer(20, 24, 1)).unwrap();
        assert_eq!(first_offset(&answers[2]), Some(20));
        let left = (pipeline.pending.len(), pipeline.handed, pipeline.pending_bytes);
        assert_eq!(left, (0, 0, 0));
    }

    #[test]
    fn out_of_order_is_tried_again_only_when_something_was_sent_twice() {
        let (mut pipeline, _) = pipeline_with(&[2, 2]);
        pipeline.next_request();
        let refused = |pipeline: &mut Pipeline| pipeline.acknowledge(refusal("OUT_OF_ORDER")).unwrap_err();
        assert_eq!(refused(&mut pipeline).disposition(), Disposition::Reject);
        pipeline.rewind();
        assert_eq!(refused(&mut pipeline).disposition(), Disposition::Retry);
    }

    #[test]
    fn a_forgotten_producer_begins_anew_unless_something_may_be_stored() {
        let (mut pipeline, _) = pipeline_with(&[2, 3, 4]);
        pipeline.next_request();
        pipeline.acknowledge(answer(0, 2, 1)).unwrap();
        pipeline.next_request();
        let error = pipeline.acknowledge(refusal("UNKNOWN_PRODUCER")).unwrap_err();
        assert!(pipeline.is_forgotten(&error));
        pipeline.begin_anew();
        let stamps: Vec<_> = (0..2).filter_map(|_| pipeline.next_request().producer).collect();
        assert_eq!((stamps[0].sequence, stamps[1].sequence), (0, 3));
        let own = pipeline.shown_id.load(Ordering::Relaxed);
        assert!(stamps.iter().all(|stamp| stamp.id == own && stamp.id != 7));
        assert!(
            !pipeline.is_forgotten(&error),
            "it begins, and so cannot be unknown"
        );
        pipeline.acknowledge(answer(9, 12, 1)).unwrap();
        assert!(pipeline.is_forgotten(&error));
        pipeline.rewind();
        assert!(!pipeline.is_forgotten(&error), "it may be stored already");
    }

    #[test]
    fn what_is_too_large_for_a_node_is_refused_before_it_is_sent_and_those_behind_it_take_its_number() {
        let (mut pipeline, answers) = pipeline_with(&[2, 3, 4]);
        pipeline.pending[1].batch.records = Bytes::from(vec![7; 11]);
        pipeline.pending_bytes += 8;
        pipeline.next_request();
        pipeline.rewind();
        // The first may be stored already.
        pipeline.pending[0].batch.records = Bytes::from(vec![7; 12]);
        pipeline.pending_bytes += 9;
        pipeline.batcher.learn(Some(10));
        pipeline.refuse_too_large();
        let refused = answers[1].clone().now_or_never().unwrap().unwrap().unwrap_err();
        let sizes = (11, 10);
        assert!(
            matches!(refused.kind(), ErrorKind::RecordTooLarge { bytes, bytes_max } if (*bytes, *bytes_max) == sizes),
            "{refused:?}"
        );
        assert!(refused.has_no_side_effects() && !refused.is_retryable());
        let sequences: Vec<_> = (0..2)
            .filter_map(|_| pipeline.next_request().producer)
            .map(|producer| producer.sequence)
            .collect();
        assert_eq!((sequences, pipeline.stamp.sequence), (vec![0, 2], 6));
        assert_eq!(pipeline.pending_bytes, 12 + 3);
    }

    #[test]
    fn an_answer_that_fits_no_request_is_not_believed() {
        let (mut pipeline, answers) = pipeline_with(&[2]);
        let early = pipeline.acknowledge(answer(0, 2, 1)).unwrap_err();
        assert!(matches!(
            early.kind(),
            ErrorKind::Protocol(ProtocolError::AnswerWithoutRequest)
        ));
        pipeline.next_request();
        let short = pipeline.acknowledge(answer(0, 1, 1)).unwrap_err();
        let wrong = ProtocolError::WrongCount {
            acknowledged: 1,
            sent: 2,
        };
        assert!(matches!(short.kind(), ErrorKind::Protocol(error) if *error == wrong));
        assert_eq!(first_offset(&answers[0]), None);
    }

    #[test]
    fn of_what_was_not_handed_over_it_is_known_that_it_is_not_stored() {
        let (mut pipeline, answers) = pipeline_with(&[1, 1, 1]);
        pipeline.next_request();
        pipeline.next_request();
        pipeline.fail(&Error::new(ErrorKind::WantsTls));
        let known = answers.iter().map(|answer| {
            let told = answer.clone().now_or_never().unwrap().unwrap();
            told.unwrap_err().has_no_side_effects()
        });
        assert_eq!(known.collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn a_pipeline_that_is_dropped_tells_all_who_wait_and_takes_nothing_more() {
        let (mut pipeline, answers) = pipeline_with(&[1, 1]);
        let batcher = Arc::clone(&pipeline.batcher);
        pipeline.next_request();
        drop(pipeline);
        for (answer, was_never_sent) in answers.iter().zip([false, true]) {
            let told = answer.clone().now_or_never().unwrap().unwrap().unwrap_err();
            assert!(matches!(told.kind(), ErrorKind::Ended), "{told:?}");
            assert_eq!(told.has_no_side_effects(), was_never_sent);
        }
        assert!(batcher.try_room(1).is_err());
    }
}
