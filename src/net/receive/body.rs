//! A request's body, as long as its messages are not whole.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::sync::PollSemaphore;
use tonic::Status;

use super::{
    Calls, ReceiveBudget, SMALL_BYTES_MAX,
    prefix::{Prefixes, Walked},
};
use crate::net::{deadline::poll_until, status::Refusal};

/// How long a stream waits for room. Messages that come at a usual pace give theirs back within milliseconds.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// Hands the frames of `inner` on, the first of a large message only when there is room for all of it.
///
/// A frame is cut where a large message begins, so that the room of one message is given back before the next one asks: who
/// holds and waits may wait for himself.
#[derive(Debug)]
pub struct Received<B> {
    inner: B,
    calls: Calls,
    budget: ReceiveBudget,
    waiter: PollSemaphore,
    prefixes: Prefixes,
    /// Begins with a large message that waits for its turn or for room.
    held: Option<Bytes>,
    /// What that message needs; `None` when it needs nothing more.
    needed: Option<u32>,
    permit: Option<OwnedSemaphorePermit>,
    /// How long room is waited for, while it is.
    wait: Option<Pin<Box<Sleep>>>,
    patience: Patience,
}

impl<B> Received<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    /// The body of a call that began now.
    pub fn new(inner: B, calls: Calls, budget: ReceiveBudget) -> Self {
        Self {
            inner,
            calls,
            waiter: PollSemaphore::new(Arc::clone(&budget.permits)),
            prefixes: Prefixes::default(),
            held: None,
            needed: None,
            permit: None,
            wait: None,
            patience: Patience::new(calls, budget.within),
            budget,
        }
    }

    /// Takes the room that is needed. A stream waits for it, but not long: what waits is not read, and so fills the window of its
    /// connection, through which the rest of those messages must come that have the room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let Some(needed) = self.needed else {
            return Poll::Ready(Ok(()));
        };
        let permit = match self.calls {
            Calls::Unary => Arc::clone(&self.budget.permits)
                .try_acquire_many_owned(needed)
                .ok(),
            Calls::Streaming => match self.waiter.poll_acquire_many(cx, needed) {
                Poll::Ready(permit) => permit,
                Poll::Pending => {
                    let wait = || Box::pin(sleep(ROOM_WITHIN));
                    ready!(self.wait.get_or_insert_with(wait).as_mut().poll(cx));
                    None
                }
            },
        };
        self.wait = None;
        self.needed = None;
        self.permit = permit;
        if self.permit.is_none() {
            return Poll::Ready(Err(Refusal::Overloaded));
        }
        self.patience.begin_message();
        Poll::Ready(Ok(()))
    }

    /// The next bytes: what is held, or what has come.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => {
                ready!(self.patience.poll_over(cx));
                let within = self.budget.within;
                Poll::Ready(Some(Err(Refusal::ReceiveDeadline { within }.into_status())))
            }
        }
    }

    /// What of `data` may be handed on now; the rest is held, and its room asked for next.
    fn cut(&mut self, mut data: Bytes) -> Result<Bytes, Refusal> {
        let begun = self.prefixes.begun();
        let walked = self.prefixes.walk(&data, SMALL_BYTES_MAX);
        self.patience
            .take_note(self.prefixes.is_whole(), self.prefixes.begun() != begun);
        if let Walked::Large { at, bytes } = walked {
            if self.calls == Calls::Unary && self.permit.is_some() {
                return Err(Refusal::invalid("a call of this method takes one message"));
            }
            // The transport would refuse it too, but with a code that means "past the end" here, and without a reason.
            let Some(needed) = self.budget.permits_of(bytes) else {
                return Err(Refusal::MessageTooLarge {
                    what: format!(
                        "it has {bytes} bytes, the most is {}",
                        self.budget.message_bytes_max
                    ),
                });
            };
            let before = data.split_to(at);
            self.held = Some(data);
            self.needed = Some(needed);
            return Ok(before);
        }
        Ok(data)
    }
}

impl<B> Body for Received<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        this.patience.resume();
        // Who asks for more has taken the messages that were whole: they are accounted for elsewhere now, or gone.
        let taken = this.needed.is_some() || !this.prefixes.is_in_large();
        if this.calls == Calls::Streaming && taken {
            this.permit = None;
        }
        loop {
            if let Err(refusal) = ready!(this.poll_room(cx)) {
                return Poll::Ready(Some(Err(refusal.into_status())));
            }
            let data = match ready!(this.poll_bytes(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            };
            match this.cut(data) {
                // A large message begins with the frame.
                Ok(before) if before.is_empty() && this.held.is_some() => {}
                Ok(data) => {
                    this.patience.pause();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(refusal) => return Poll::Ready(Some(Err(refusal.into_status()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }
}

/// How long a client is waited for. The time in which nobody asks for its bytes is not the client's.
#[derive(Debug)]
struct Patience {
    calls: Calls,
    within: Duration,
    /// When the message that is underway must be whole; of a unary call, when its body must have ended.
    deadline: Option<Instant>,
    /// Since when nobody has asked for more.
    paused: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(calls: Calls, within: Duration) -> Self {
        let deadline = match calls {
            Calls::Unary => Some(Instant::now() + within),
            Calls::Streaming => None,
        };
        Self {
            calls,
            within,
            deadline,
            paused: None,
            timer: None,
        }
    }

    /// Bytes have come: whether they end with a message, and whether one began in them.
    fn take_note(&mut self, whole: bool, begun: bool) {
        if self.calls == Calls::Unary {
            return;
        }
        if whole {
            self.deadline = None;
        } else if begun || self.deadline.is_none() {
            self.begin_message();
        }
    }

    /// A message begins now.
    fn begin_message(&mut self) {
        if self.calls == Calls::Streaming {
            self.deadline = Some(Instant::now() + self.within);
        }
    }

    fn pause(&mut self) {
        if self.calls == Calls::Streaming && self.deadline.is_some() {
            self.paused = Some(Instant::now());
        }
    }

    fn resume(&mut self) {
        if let (Some(paused), Some(deadline)) = (self.paused.take(), &mut self.deadline) {
            *deadline += paused.elapsed();
        }
    }

    /// Ready when it is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        poll_until(timer, deadline, cx)
    }
}
