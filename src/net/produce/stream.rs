//! A stream of requests, pipelined: many batches in flight, answers in order.
//!
//! There is no task and no channel per stream or record. Whoever polls for answers (the HTTP/2 connection) also drives the
//! intake, so a client that does not read its answers is not read from either.
//!
//! 1. Requests that have arrived are checked and gathered ([`Gather`]), as long as there is room.
//! 2. When no more have arrived, what is gathered is proposed; but while `HOLD_BACK_FROM` batches are under
//!    way an answer will come soon, and until then the batch may grow.
//! 3. Answers come back in order; each answers all requests of its batch.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};

use super::{
    answers::Answered,
    gather::{Fit, Gather, Gathered, Item},
    in_flight::{InFlight, Proposed, Settled},
};
use crate::net::{admission::Room, context::Context, port::Undelivered, status::Refusal};

/// Batches in flight from which on an incomplete one waits for more. Enough to keep every stage (network, log, sync)
/// busy with one batch each; with more, batches get smaller and nothing gets faster.
const HOLD_BACK_FROM: usize = 4;

/// Requests and batches whose answers are outstanding; bounds a client that sends nothing but mistakes (ACT-2).
const PENDING_MAX: usize = 1024;

/// How soon a full mailbox is tried again, when no answer comes first: about the time of one sync.
const RETRY_FULL: Duration = Duration::from_millis(1);

/// Checks a request.
pub type CheckRequest<R> = fn(&Context, R) -> Result<Item, Refusal>;

/// What follows a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRefusal {
    /// The stream goes on with the next request.
    GoOn,
    /// Nothing more is taken from the client: the protocol has no way to say which request was refused.
    End,
}

/// See the module.
pub struct ProduceStream<S, R> {
    context: Arc<Context>,
    check: CheckRequest<R>,
    after_refusal: AfterRefusal,
    /// `None` once nothing more is taken from the client.
    requests: Option<S>,
    /// A checked request that has to wait for room, or for the batch before it.
    stalled: Option<Result<Item, Refusal>>,
    gather: Gather,
    room: Room,
    /// A sealed batch that the committer has not taken yet.
    unsent: Option<Unsent>,
    in_flight: InFlight,
    /// What the stream ends with after its last answer; a plain end when absent.
    end: Option<Status>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    stream_deadline: Option<Pin<Box<Sleep>>>,
}

struct Unsent {
    gathered: Gathered,
    permit: Option<OwnedSemaphorePermit>,
    deadline: Instant,
    retry: Option<Pin<Box<Sleep>>>,
}

impl<S, R> ProduceStream<S, R>
where
    S: Stream<Item = Result<R, Status>> + Unpin,
{
    /// Answers `requests` until they end, the node drains, or `deadline` has passed.
    pub fn new(
        context: Arc<Context>,
        requests: S,
        check: CheckRequest<R>,
        after_refusal: AfterRefusal,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            check,
            after_refusal,
            requests: Some(requests),
            stalled: None,
            gather: Gather::new(context.options.batch_bytes_max),
            room: Room::new(&context.admission),
            unsent: None,
            in_flight: InFlight::new(context.options.request_timeout),
            end: None,
            draining: Box::pin(context.draining.clone().cancelled_owned()),
            stream_deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
            context,
        }
    }

    /// What the answers' headers are made of.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The next answer, in the order of the requests; `None` after the last.
    ///
    /// An error is the end of the stream.
    pub fn poll_answered(&mut self, cx: &mut Task<'_>) -> Poll<Option<Result<Answered, Status>>> {
        if let Some(deadline) = &mut self.stream_deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(Refusal::StreamDeadline.into_status())));
        }
        self.take_in(cx);
        if let Some(answered) = ready!(self.poll_settled(cx)) {
            return Poll::Ready(Some(Ok(answered)));
        }
        if self.requests.is_some()
            || self.stalled.is_some()
            || self.unsent.is_some()
            || !self.gather.is_empty()
        {
            return Poll::Pending;
        }
        Poll::Ready(self.end.take().map(Err))
    }

    /// Reads, gathers and proposes as much as is there and has room.
    fn take_in(&mut self, cx: &mut Task<'_>) {
        if self.requests.is_some() && self.draining.as_mut().poll(cx).is_ready() {
            self.stop_intake(Some(Refusal::ShuttingDown.into_status()));
        }
        while self.send(cx) {
            let in_flight_bytes = self.in_flight.bytes() + self.gather.bytes();
            if self.in_flight.count() >= PENDING_MAX
                || in_flight_bytes >= self.context.options.stream_inflight_bytes
            {
                break;
            }
            let Some(request) = self.poll_request(cx) else {
                break;
            };
            if self.gather_or_stall(cx, request).is_pending() {
                return;
            }
        }
        if self.unsent.is_none() && (self.in_flight.batches() < HOLD_BACK_FROM || self.requests.is_none()) {
            self.seal();
            // When it is not taken at once, `send` has asked to be woken.
            let _taken = self.send(cx);
        }
        if self.gather.is_empty() {
            self.room.release();
        }
    }

    /// The next request, checked; `None` when none is there, or none will come.
    fn poll_request(&mut self, cx: &mut Task<'_>) -> Option<Result<Item, Refusal>> {
        if self.stalled.is_some() {
            return self.stalled.take();
        }
        match self.requests.as_mut()?.poll_next_unpin(cx) {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(request))) => Some((self.check)(&self.context, request)),
            Poll::Ready(Some(Err(status))) => {
                self.stop_intake(Some(of_transport(status)));
                None
            }
            Poll::Ready(None) => {
                self.stop_intake(None);
                None
            }
        }
    }

    /// Adds a request to what is gathered, or seals that and stalls the request until it is its turn.
    ///
    /// Pending: the request has to wait; the stream is woken when there is room, or an answer.
    fn gather_or_stall(&mut self, cx: &mut Task<'_>, request: Result<Item, Refusal>) -> Poll<()> {
        let item = match request {
            Ok(item) => item,
            Err(refusal) if self.gather.is_empty() => {
                self.refuse(refusal, 1);
                return Poll::Ready(());
            }
            Err(refusal) => {
                self.seal();
                self.stalled = Some(Err(refusal));
                return Poll::Ready(());
            }
        };
        let fit = self.gather.fit(&item);
        if fit == Fit::OnceProven && self.in_flight.batches() >= HOLD_BACK_FROM {
            // The answer that proves it is under way.
            self.stalled = Some(Ok(item));
            return Poll::Pending;
        }
        let fits = fit == Fit::Joins && self.room.try_hold(self.gather.bytes() + item.bytes());
        if !fits && !self.gather.is_empty() {
            // Either it must not share the batch, or the batch's room comes back only when it is answered.
            self.seal();
            self.stalled = Some(Ok(item));
            return Poll::Ready(());
        }
        if !fits && self.room.poll_hold(cx, item.bytes()).is_pending() {
            self.stalled = Some(Ok(item));
            return Poll::Pending;
        }
        if let Err(error) = self.gather.push(item) {
            self.stalled = Some(Err(error.into()));
        }
        Poll::Ready(())
    }

    fn refuse(&mut self, refusal: Refusal, requests: usize) {
        self.in_flight.refuse(refusal, requests);
        if self.after_refusal == AfterRefusal::End {
            // What is not proposed yet must not be stored behind a gap that the client does not know of.
            self.stop_intake(None);
            self.stalled = None;
            drop(self.gather.seal());
        }
    }

    fn stop_intake(&mut self, end: Option<Status>) {
        self.requests = None;
        if self.end.is_none() {
            self.end = end;
        }
    }

    /// Closes the batch that is gathered; `unsent` must be free.
    fn seal(&mut self) {
        if let Some(gathered) = self.gather.seal() {
            let deadline = Instant::now() + self.context.options.request_timeout;
            let permit = self.room.take(gathered.bytes);
            self.unsent = Some(Unsent {
                gathered,
                permit,
                deadline,
                retry: None,
            });
        }
    }

    /// Hands the sealed batch to the committer; false when it stays here, and the stream is woken to try again.
    fn send(&mut self, cx: &mut Task<'_>) -> bool {
        while let Some(mut unsent) = self.unsent.take() {
            // It is false only when the timer has been polled and is pending: else nothing would wake the stream.
            if let Some(retry) = &mut unsent.retry
                && retry.as_mut().poll(cx).is_pending()
            {
                self.unsent = Some(unsent);
                return false;
            }
            self.unsent = self.propose(unsent);
        }
        true
    }

    /// Proposes a batch; gives it back, with a timer, when the mailbox is full.
    fn propose(&mut self, unsent: Unsent) -> Option<Unsent> {
        let Unsent {
            gathered,
            permit,
            deadline,
            ..
        } = unsent;
        let Gathered {
            batch,
            requests,
            chain,
            bytes,
        } = gathered;
        match self.context.parts.committer.propose(batch, permit) {
            Ok(answer) => {
                self.in_flight.propose(Proposed {
                    answer,
                    deadline,
                    requests,
                    chain,
                    bytes,
                });
                None
            }
            Err(Undelivered::Full(back)) if Instant::now() < deadline => {
                let (batch, permit) = *back;
                let gathered = Gathered {
                    batch,
                    requests,
                    chain,
                    bytes,
                };
                Some(Unsent {
                    gathered,
                    permit,
                    deadline,
                    retry: Some(Box::pin(sleep(RETRY_FULL))),
                })
            }
            Err(undelivered) => {
                self.gather.not_stored();
                self.refuse(undelivered.into(), requests.len());
                None
            }
        }
    }

    /// The answer to the oldest requests; `None` when all are answered.
    fn poll_settled(&mut self, cx: &mut Task<'_>) -> Poll<Option<Answered>> {
        let Some(Settled { answered, chain }) = ready!(self.in_flight.poll_settled(cx)) else {
            return Poll::Ready(None);
        };
        match (&answered, chain) {
            (Answered::Stored { repeated: false, .. }, Some(chain)) => self.gather.stored(chain),
            (Answered::Refused { .. }, Some(_)) => self.gather.not_stored(),
            // An earlier try's answer proves nothing, and a refusal before the log says nothing about it.
            (Answered::Stored { .. }, _) | (Answered::Refused { .. }, None) => {}
        }
        Poll::Ready(Some(answered))
    }
}

/// The transport calls a message above its limit OUT_OF_RANGE, which here means an offset.
fn of_transport(status: Status) -> Status {
    if status.code() == Code::OutOfRange {
        return Refusal::MessageTooLarge {
            what: status.message().to_owned(),
        }
        .into_status();
    }
    status
}
