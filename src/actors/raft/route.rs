//! The way to a leader that is another node: batches and questions of clients who are connected to this one.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    actors::{
        committer::{Propose, ProposeError},
        peer::{ForwardError, Forwarder, PeerCalls, PeerError},
        supervision::{PostError, Reply},
    },
    consensus::links::PeerLinks,
    types::{LogIndex, NodeId},
};

/// Batches that wait for the stream to the leader. Their bytes are bounded by the permits they carry.
const WAITING_MAX: usize = 16 << 10;
/// A read index is asked for within this; the leader needs a round trip to a majority.
const READ_INDEX_WITHIN: Duration = Duration::from_secs(5);

/// Forwards to the leader. Batches to one leader arrive in the order given; answers come in any order.
pub trait LeaderRoute: Send + Sync + fmt::Debug + 'static {
    /// Takes a batch for `leader`; its reply answers when it is committed there.
    ///
    /// Errors: the batch comes back, and nothing has happened.
    fn propose(&self, leader: NodeId, propose: Propose) -> Result<(), PostError<Propose>>;

    /// Asks `leader` for its read index.
    fn read_index(&self, leader: NodeId) -> BoxFuture<'static, Result<LogIndex, ProposeError>>;

    /// Where clients reach a node.
    fn address_of(&self, node: NodeId) -> Option<String>;
}

/// Knows where nodes are.
pub type AddressOf = Arc<dyn Fn(NodeId) -> Option<String> + Send + Sync>;

/// The route over the links that the replicators keep.
#[derive(Clone)]
pub struct PeerRoute {
    links: Arc<dyn PeerLinks>,
    calls: PeerCalls,
    addresses: AddressOf,
    runtime: Handle,
    /// The stream to whoever was the leader last.
    lane: Arc<Mutex<Option<Lane>>>,
}

struct Lane {
    leader: NodeId,
    waiting: mpsc::Sender<Propose>,
}

impl fmt::Debug for PeerRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRoute").finish_non_exhaustive()
    }
}

impl PeerRoute {
    /// Forwards over `links`, with tasks on `runtime`.
    #[must_use]
    pub fn new(links: Arc<dyn PeerLinks>, addresses: AddressOf, runtime: Handle) -> Self {
        Self {
            calls: PeerCalls::new(links.clone()),
            links,
            addresses,
            runtime,
            lane: Arc::default(),
        }
    }

    /// The queue to `leader`; a new one where the leader is another, or the last one is broken.
    fn queue(&self, leader: NodeId) -> mpsc::Sender<Propose> {
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = lane
            .as_ref()
            .filter(|lane| lane.leader == leader && !lane.waiting.is_closed())
        {
            return open.waiting.clone();
        }
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        self.runtime.spawn(forward_all(self.clone(), leader, queue));
        *lane = Some(Lane {
            leader,
            waiting: waiting.clone(),
        });
        waiting
    }

    fn not_leader(&self, leader: Option<NodeId>) -> ProposeError {
        match leader {
            Some(leader) => ProposeError::NotLeader {
                leader,
                address: self.address_of(leader).unwrap_or_default(),
            },
            None => ProposeError::NoLeader,
        }
    }
}

impl LeaderRoute for PeerRoute {
    fn propose(&self, leader: NodeId, propose: Propose) -> Result<(), PostError<Propose>> {
        match self.queue(leader).try_send(propose) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(propose)) => Err(PostError::Full(propose)),
            Err(mpsc::error::TrySendError::Closed(propose)) => {
                propose.reply.send(Err(self.not_leader(Some(leader))));
                Ok(())
            }
        }
    }

    fn read_index(&self, leader: NodeId) -> BoxFuture<'static, Result<LogIndex, ProposeError>> {
        let route = self.clone();
        Box::pin(async move {
            let answer = route.calls.read_index(leader, READ_INDEX_WITHIN).await;
            answer.map_err(|error| match error {
                PeerError::NotLeader { leader } => route.not_leader(leader),
                // A read changes nothing: whatever it was, it may be tried again.
                _ => route.not_leader(Some(leader)),
            })
        })
    }

    fn address_of(&self, node: NodeId) -> Option<String> {
        (self.addresses)(node)
    }
}

/// Forwards what comes to one leader, over one stream, until that breaks: then what waits is refused, and whoever comes
/// next begins anew.
async fn forward_all(route: PeerRoute, leader: NodeId, mut queue: mpsc::Receiver<Propose>) {
    let opened = Forwarder::open(&*route.links, leader, &route.runtime).await;
    if let Ok(stream) = opened {
        while let Some(propose) = queue.recv().await {
            if let Some(refused) = forward(&route, &stream, propose) {
                refused.reply.send(Err(route.not_leader(Some(leader))));
                break;
            }
        }
    }
    queue.close();
    while let Ok(propose) = queue.try_recv() {
        propose.reply.send(Err(route.not_leader(Some(leader))));
    }
}

/// Gives a batch to the stream; its answer goes to whoever proposed it. `Some`: the stream does not take it.
fn forward(route: &PeerRoute, stream: &Forwarder, propose: Propose) -> Option<Propose> {
    let Propose { batch, permit, reply } = propose;
    let (forward_reply, answer) = Reply::<_, ForwardError>::channel();
    match stream.forward(batch, forward_reply) {
        Ok(()) => {
            let route_back = route.clone();
            route.runtime.spawn(async move {
                let result = answer.await.map_err(|error| match error {
                    ForwardError::NotLeader { leader } => route_back.not_leader(leader),
                    ForwardError::Refused(error) => error,
                });
                reply.send(result);
                drop(permit);
            });
            None
        }
        Err(refused) => {
            let (batch, _) = *refused;
            Some(Propose { batch, permit, reply })
        }
    }
}
