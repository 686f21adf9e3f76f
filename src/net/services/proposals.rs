//! Batches that a follower forwards: proposed in the order they come, answered in the order they are committed.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tonic::{Status, Streaming};

use super::peer::{check_log, unusable};
use crate::{
    actors::{
        committer::Committed,
        peer::{ForwardError, PeerHandler, propose_result},
    },
    consensus::codec::{self, CodecError},
    proto::peer,
    types::NodeId,
};

/// Batches of one stream that wait for their commit; while there are more, it is not read from.
const DUE_MAX: usize = 1024;
/// The same for their bytes. As much as the log gathers in a sync.
const DUE_BYTES_MAX: usize = 32 << 20;

/// The answers to a stream of proposals, which also takes the proposals.
pub(super) struct Proposals {
    messages: Streaming<peer::ProposeRequest>,
    handler: Arc<dyn PeerHandler>,
    from: NodeId,
    due: FuturesUnordered<BoxFuture<'static, Due>>,
    due_bytes: usize,
    /// Set when there will be no further message; with the reason when that is not the sender's wish.
    ended: Option<Result<(), Status>>,
}

struct Due {
    id: u64,
    bytes: usize,
    result: Result<Committed, ForwardError>,
}

impl Proposals {
    pub(super) fn new(
        messages: Streaming<peer::ProposeRequest>,
        handler: Arc<dyn PeerHandler>,
        from: NodeId,
    ) -> Self {
        Self {
            messages,
            handler,
            from,
            due: FuturesUnordered::new(),
            due_bytes: 0,
            ended: None,
        }
    }

    fn has_room(&self) -> bool {
        self.ended.is_none() && self.due.len() < DUE_MAX && self.due_bytes < DUE_BYTES_MAX
    }

    fn propose(&mut self, message: peer::ProposeRequest) -> Result<(), Status> {
        check_log(&message.log)?;
        let id = message.id;
        let field = "propose.batch";
        let batch = message.batch.ok_or(CodecError::Missing { field });
        let batch = batch.and_then(codec::decode_batch).map_err(unusable)?;
        let bytes = batch.records.len();
        self.due_bytes += bytes;
        let proposed = self.handler.propose(self.from, batch);
        self.due
            .push(proposed.map(move |result| Due { id, bytes, result }).boxed());
        Ok(())
    }

    /// Takes what has come, as far as there is room.
    fn take_messages(&mut self, cx: &mut Context<'_>) {
        while self.has_room() {
            let Poll::Ready(message) = self.messages.poll_next_unpin(cx) else {
                return;
            };
            let proposed = match message {
                None => {
                    self.ended = Some(Ok(()));
                    return;
                }
                Some(message) => message.and_then(|message| self.propose(message)),
            };
            if let Err(status) = proposed {
                self.ended = Some(Err(status));
            }
        }
    }
}

impl Stream for Proposals {
    type Item = Result<peer::ProposeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.take_messages(cx);
        match ready!(self.due.poll_next_unpin(cx)) {
            Some(Due { id, bytes, result }) => {
                self.due_bytes -= bytes;
                Poll::Ready(Some(Ok(propose_result(id, result))))
            }
            None => match &mut self.ended {
                // Nothing is due: the next message wakes.
                None => Poll::Pending,
                Some(why) => {
                    let why = std::mem::replace(why, Ok(()));
                    Poll::Ready(why.err().map(Err))
                }
            },
        }
    }
}

impl fmt::Debug for Proposals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposals")
            .field("from", &self.from)
            .field("due", &self.due.len())
            .finish_non_exhaustive()
    }
}
