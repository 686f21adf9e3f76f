//! The answers of a call that goes on only for as long as its caller may.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::{Status, body::Body};

/// Asks, whenever something changes, whether the call may go on, also while there is nothing to send; where it may not, it ends with
/// that, and what feeds it is dropped.
pub(super) struct Guarded<T, C> {
    body: Body,
    /// Whether it may go on; its last words, where it may not.
    check: C,
    changes: watch::Receiver<T>,
    /// Wakes the call at the next change; made when there is nothing to send.
    woken: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T, C: FnMut() -> Result<(), Frame<Bytes>>> Guarded<T, C> {
    /// `changes` has seen what the call was let in by.
    pub(super) fn new(body: Body, changes: watch::Receiver<T>, check: C) -> Self {
        Self {
            body,
            check,
            changes,
            woken: None,
        }
    }

    /// Asks again if there is a change.
    fn goes_on(&mut self) -> Result<(), Frame<Bytes>> {
        // Who is asked holds the other end.
        if !self.changes.has_changed().unwrap_or(false) {
            return Ok(());
        }
        self.changes.mark_unchanged();
        (self.check)()
    }

    /// It is over. What feeds it is dropped: it reads and writes no more.
    fn end(&mut self) {
        drop(mem::take(&mut self.body));
        self.woken = None;
    }
}

/// The last words of a call by gRPC.
pub(super) fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // It is made of our own texts; were it refused, the stream would end without a word.
    drop(status.add_header(&mut trailers));
    Frame::trailers(trailers)
}

async fn changed<T>(mut changes: watch::Receiver<T>) {
    if changes.changed().await.is_err() {
        std::future::pending().await
    }
}

impl<T, C> http_body::Body for Guarded<T, C>
where
    T: Send + Sync + 'static,
    C: FnMut() -> Result<(), Frame<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Err(last) = self.goes_on() {
                self.end();
                return Poll::Ready(Some(Ok(last)));
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
