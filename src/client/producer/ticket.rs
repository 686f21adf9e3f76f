//! What is given for a record that a producer has taken: its offset, later.

use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, future::Shared};
use tokio::sync::oneshot;

use crate::{
    client::error::{Error, ErrorKind},
    types::Offset,
};

/// Keeps what was promised: the first offset of a batch.
pub(super) type Promise = oneshot::Sender<Result<u64, Error>>;

/// The first offset of a batch, when it is acknowledged; one for all its records.
pub(super) type Answer = Shared<oneshot::Receiver<Result<u64, Error>>>;

/// One of each.
pub(super) fn promise() -> (Promise, Answer) {
    let (promise, answer) = oneshot::channel();
    (promise, answer.shared())
}

/// What became of the batch.
pub(super) fn poll_answer(answer: &mut Answer, cx: &mut Context<'_>) -> Poll<Result<u64, Error>> {
    // A promise that nobody can keep any more: whoever had it went with its runtime.
    let lost = |_| Err(Error::new(ErrorKind::Ended));
    Poll::Ready(ready!(answer.poll_unpin(cx)).unwrap_or_else(lost))
}

/// The offset of a record, as soon as it is durable on a majority of nodes: await it.
///
/// A ticket that is dropped takes nothing back: the record is sent all the same.
///
/// Errors: why the record is not acknowledged; [`Error::has_no_side_effects`] says whether it may be stored. Cancel: safe; it can be
/// awaited by reference, and again.
#[derive(Clone, Debug)]
#[must_use = "only an awaited ticket tells whether the record is durable"]
pub struct Ticket {
    pub(super) answer: Answer,
    /// Which record of its batch.
    pub(super) index: u64,
}

impl Future for Ticket {
    type Output = Result<Offset, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.index;
        poll_answer(&mut self.answer, cx).map_ok(|first| Offset(first + index))
    }
}

/// The offsets of records that were sent together, as soon as they are durable on a majority of nodes: await it.
///
/// As for [`Ticket`] otherwise.
#[derive(Clone, Debug)]
#[must_use = "only an awaited ticket tells whether the records are durable"]
pub struct BatchTicket {
    pub(super) answer: Answer,
    /// How many records.
    pub(super) count: u64,
}

impl Future for BatchTicket {
    type Output = Result<Range<Offset>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let count = self.count;
        poll_answer(&mut self.answer, cx).map_ok(|first| Offset(first)..Offset(first + count))
    }
}
