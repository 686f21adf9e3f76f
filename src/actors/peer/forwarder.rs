//! Batches of this node's clients on their way to the leader.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tonic::Streaming;

use super::{ForwardError, PeerError, calls::call_failed, decode_propose_result};
use crate::{
    actors::{
        committer::{Committed, ProposeError},
        supervision::Reply,
    },
    consensus::{
        codec,
        links::{Lane, PeerLinks},
    },
    proto::peer,
    storage::entry::Batch,
    types::NodeId,
};

/// Batches that wait for room on the connection; more are given back. Their bytes are bounded by their clients' permits.
const WAITING_MAX: usize = 1024;
/// The leader takes the stream within this, or is not there.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// A stream of batches to one node, the leader as far as is known. They are proposed there in the order given.
///
/// When it breaks, what was sent and not answered is answered `OutcomeUnknown`, and what was not sent yet `Unavailable`.
/// Dropping it lets what was given be sent and answered.
#[derive(Debug)]
pub struct Forwarder {
    target: NodeId,
    waiting: mpsc::Sender<Forwarded>,
}

/// A batch, and where the answer goes.
pub type Forwarded = (Batch, Reply<Committed, ForwardError>);

/// Answers that are due, by the ids of their requests.
#[derive(Clone, Debug, Default)]
struct Due(Arc<Mutex<HashMap<u64, Reply<Committed, ForwardError>>>>);

impl Due {
    fn put(&self, id: u64, reply: Reply<Committed, ForwardError>) {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        due.insert(id, reply);
    }

    fn take(&self, id: u64) -> Option<Reply<Committed, ForwardError>> {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        due.remove(&id)
    }

    /// Drops them, which answers `OutcomeUnknown`.
    fn give_up(&self) {
        let dropped = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(dropped);
    }
}

impl Forwarder {
    /// Opens a stream to `target` over `links`; its answers are taken on `runtime`.
    ///
    /// Errors: the node cannot be reached. Cancel: safe.
    pub async fn open(links: &dyn PeerLinks, target: NodeId, runtime: &Handle) -> Result<Self, PeerError> {
        let mut client = links.channel(target, Lane::Bulk).await?.client()?;
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let (answers_wanted, unwanted) = oneshot::channel();
        let due = Due::default();
        let requests = Requests {
            queue,
            due: due.clone(),
            next_id: 0,
            unwanted,
        };
        let answers = match timeout(OPEN_WITHIN, client.propose(requests)).await {
            Ok(answers) => answers
                .map_err(|status| call_failed(target, status))?
                .into_inner(),
            Err(_) => return Err(PeerError::Deadline { target }),
        };
        runtime.spawn(answer_all(answers, due, answers_wanted));
        Ok(Self { target, waiting })
    }

    /// To whom.
    #[must_use]
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// Whether the stream is not known to be broken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.waiting.is_closed()
    }

    /// Waits until the stream is known to be broken; its link need not be used for that. Cancel: safe.
    pub async fn closed(&self) {
        self.waiting.closed().await;
    }

    /// Gives a batch to the stream; the answer goes to `reply`. Never waits.
    ///
    /// Errors: both come back, and nothing was sent: the stream is broken, or too much waits ([`Self::is_open`] tells).
    pub fn forward(&self, batch: Batch, reply: Reply<Committed, ForwardError>) -> Result<(), Box<Forwarded>> {
        let given = self.waiting.try_send((batch, reply));
        given.map_err(|refused| Box::new(refused.into_inner()))
    }
}

/// The requests as the transport takes them. A batch counts as sent once it has left here.
struct Requests {
    queue: mpsc::Receiver<Forwarded>,
    due: Due,
    next_id: u64,
    /// Resolves when nobody reads the answers any more.
    unwanted: oneshot::Receiver<()>,
}

impl Stream for Requests {
    type Item = peer::ProposeRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.unwanted.poll_unpin(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.queue.poll_recv(cx).map(|forwarded| {
            let (batch, reply) = forwarded?;
            let id = self.next_id;
            self.next_id += 1;
            self.due.put(id, reply);
            Some(peer::ProposeRequest {
                log: String::new(),
                id,
                batch: Some(codec::batch(batch)),
            })
        })
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.queue.close();
        while let Ok((_, reply)) = self.queue.try_recv() {
            reply.send(Err(ForwardError::Refused(ProposeError::Unavailable)));
        }
    }
}

/// Takes answers until the stream ends; then whatever is due is not going to be known.
async fn answer_all(
    mut answers: Streaming<peer::ProposeResponse>,
    due: Due,
    answers_wanted: oneshot::Sender<()>,
) {
    while let Some(Ok(response)) = answers.next().await {
        let id = response.id;
        let (Ok(result), Some(reply)) = (decode_propose_result(response), due.take(id)) else {
            // An answer to nothing, or that says nothing: the peer is not to be trusted with more.
            break;
        };
        reply.send(result);
    }
    drop(answers_wanted);
    due.give_up();
}
