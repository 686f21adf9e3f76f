//! A stream that goes on only for as long as its caller may.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::{Status, body::Body};

use super::gate::{Call, Gate, Moment};
use crate::net::status::Refusal;

/// How a stream ends whose caller may not go on.
#[derive(Clone, Copy, Debug)]
pub enum Farewell {
    /// By the trailers of gRPC.
    Trailers,
    /// By a last piece of its body.
    Piece(fn(Refusal) -> Bytes),
}

impl Farewell {
    fn frame(self, refusal: Refusal) -> Frame<Bytes> {
        match self {
            Self::Trailers => {
                let mut trailers = HeaderMap::new();
                // It is made of our own texts; were it refused, the stream would end without a word.
                drop(Status::from(refusal).add_header(&mut trailers));
                Frame::trailers(trailers)
            }
            Self::Piece(told) => Frame::data(told(refusal)),
        }
    }
}

/// The answers of a stream. Under each policy that comes into force the call is asked about again, also while there is nothing to
/// send; where it may not go on, the stream ends with that, and what feeds it is dropped.
pub(super) struct Guarded {
    body: Body,
    gate: Arc<Gate>,
    call: Call,
    changes: watch::Receiver<u64>,
    farewell: Farewell,
    /// Wakes the stream when another policy comes into force; made when there is nothing to send.
    woken: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Guarded {
    /// `changes` has seen the policy that let the call in.
    pub(super) fn new(
        body: Body,
        gate: Arc<Gate>,
        call: Call,
        changes: watch::Receiver<u64>,
        farewell: Farewell,
    ) -> Self {
        Self {
            body,
            gate,
            call,
            changes,
            farewell,
            woken: None,
        }
    }

    /// Asks again if there is another policy.
    fn goes_on(&mut self) -> Result<(), Refusal> {
        // The gate holds the other end.
        if !self.changes.has_changed().unwrap_or(false) {
            return Ok(());
        }
        self.changes.mark_unchanged();
        self.gate.admit(&self.call, Moment::OtherPolicy)
    }

    /// The last of the stream. What feeds it is dropped: it reads and writes no more.
    fn end(&mut self, refusal: Refusal) -> Frame<Bytes> {
        drop(mem::take(&mut self.body));
        self.woken = None;
        self.farewell.frame(refusal)
    }
}

async fn changed(mut changes: watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending().await
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Err(refusal) = self.goes_on() {
                return Poll::Ready(Some(Ok(self.end(refusal))));
            }
            if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            let changes = self.changes.clone();
            let woken = self.woken.get_or_insert_with(|| Box::pin(changed(changes)));
            if woken.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.woken = None;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
