//! The way to a leader that is another node: batches and questions of clients who are connected to this one.

use std::{
    fmt,
    ops::ControlFlow,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{
        committer::{Leadership, Propose, ProposeError},
        peer::{ForwardError, Forwarder, PeerCalls, PeerError},
        supervision::{PostError, Reply},
    },
    consensus::links::PeerLinks,
    storage::cursors::{CursorCommand, CursorVerdict},
    types::{LogIndex, NodeId},
};

/// Batches that wait for the stream to the leader. Their bytes are bounded by the permits they carry.
const WAITING_MAX: usize = 16 << 10;
/// A read index is asked for within this; the leader needs a round trip to a majority. Whoever asks gives up sooner.
const READ_INDEX_WITHIN: Duration = Duration::from_secs(5);
/// What is done to a cursor is waited for this long, where the leader leads on and says nothing; clients rarely wait longer.
const CURSOR_WITHIN: Duration = Duration::from_secs(30);
/// How long answers are waited for from who leads no more. It says at once what became of a batch, unless its disk hangs, which may
/// last as long as it likes.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Forwards to the leader. Batches to one leader arrive in the order given; answers come in any order.
pub trait LeaderRoute: Send + Sync + fmt::Debug + 'static {
    /// Takes a batch for `leader`; its reply answers when it is committed there.
    ///
    /// Errors: the batch comes back, and nothing has happened.
    fn propose(&self, leader: NodeId, propose: Propose) -> Result<(), PostError<Propose>>;

    /// Asks `leader` for its read index.
    fn read_index(&self, leader: NodeId) -> BoxFuture<'static, Result<LogIndex, ProposeError>>;

    /// Has `leader` do something to a cursor.
    fn change_cursor(
        &self,
        leader: NodeId,
        command: CursorCommand,
    ) -> BoxFuture<'static, Result<CursorVerdict, ProposeError>>;

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
    leadership: watch::Receiver<Leadership>,
    runtime: Handle,
    /// The queue to whoever was the leader last.
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
    /// Forwards over `links`, with tasks on `runtime`; `leadership` is what this node knows of it.
    #[must_use]
    pub fn new(
        links: Arc<dyn PeerLinks>,
        addresses: AddressOf,
        leadership: watch::Receiver<Leadership>,
        runtime: Handle,
    ) -> Self {
        Self {
            calls: PeerCalls::new(links.clone()),
            links,
            addresses,
            leadership,
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

    fn change_cursor(
        &self,
        leader: NodeId,
        command: CursorCommand,
    ) -> BoxFuture<'static, Result<CursorVerdict, ProposeError>> {
        let route = self.clone();
        Box::pin(async move {
            let asked = route.calls.change_cursor(leader, &command, CURSOR_WITHIN);
            let answer = tokio::select! {
                answer = asked => answer,
                () = no_more_answers(route.leadership.clone(), leader) => return Err(ProposeError::OutcomeUnknown),
            };
            match answer {
                Ok(Ok(verdict)) => Ok(verdict),
                Ok(Err(ForwardError::NotLeader { leader })) => Err(route.not_leader(leader)),
                Ok(Err(ForwardError::Refused(error))) => Err(error),
                // It was never sent.
                Err(PeerError::Link(_)) => Err(route.not_leader(Some(leader))),
                Err(_) => Err(ProposeError::OutcomeUnknown),
            }
        })
    }

    fn address_of(&self, node: NodeId) -> Option<String> {
        (self.addresses)(node)
    }
}

/// Waits until another node than `leader` is known to lead.
async fn superseded(mut leadership: watch::Receiver<Leadership>, leader: NodeId) {
    let by_another = |now: &Leadership| now.leader.is_some_and(|other| other != leader);
    // An error means that the node is ending.
    drop(leadership.wait_for(by_another).await);
}

/// Waits until `leader` leads no more, and has had the time to say what became of what it was sent.
async fn no_more_answers(leadership: watch::Receiver<Leadership>, leader: NodeId) {
    superseded(leadership, leader).await;
    tokio::time::sleep(LAST_ANSWERS_WITHIN).await;
}

/// What each batch that was sent holds while it waits for its answer.
#[derive(Clone)]
struct Outstanding {
    /// Nobody waits any longer.
    given_up: CancellationToken,
    /// Closed when the last one has its answer.
    counted: mpsc::Sender<()>,
    /// How many were sent of which nobody has heard what became of them.
    untold: Arc<AtomicUsize>,
}

impl Outstanding {
    /// Whether it is known of each batch that was sent what became of it.
    fn is_all_told(&self) -> bool {
        self.untold.load(Ordering::Acquire) == 0
    }
}

/// Forwards what comes to one leader, over one stream after another, until one breaks with what it was sent or another node
/// leads: then what waits is refused, and whoever comes next begins anew. What was sent is answered, unless its node leads no more
/// and says nothing.
///
/// A stream that breaks when all it was sent is answered has lost nothing, so what comes next goes over a new one.
async fn forward_all(route: PeerRoute, leader: NodeId, mut queue: mpsc::Receiver<Propose>) {
    let given_up = CancellationToken::new();
    let (counted, mut all_answered) = mpsc::channel(1);
    let outstanding = Outstanding {
        given_up: given_up.clone(),
        counted,
        untold: Arc::default(),
    };
    let superseded_by_another = superseded(route.leadership.clone(), leader);
    tokio::pin!(superseded_by_another);
    let mut refused = None;
    loop {
        let first = match refused.take() {
            Some(refused) => Some(refused),
            None => tokio::select! {
                propose = queue.recv() => propose,
                () = &mut superseded_by_another => break,
            },
        };
        let Some(first) = first else { break };
        let Ok(stream) = Forwarder::open(&*route.links, leader, &route.runtime).await else {
            first.reply.send(Err(route.not_leader(Some(leader))));
            break;
        };
        let superseded = superseded_by_another.as_mut();
        match forward_over(&route, stream, &outstanding, first, &mut queue, superseded).await {
            ControlFlow::Continue(next) => refused = next,
            ControlFlow::Break(()) => break,
        }
    }
    drop(outstanding);
    queue.close();
    let known = route.leadership.borrow().leader.or(Some(leader));
    while let Ok(propose) = queue.try_recv() {
        propose.reply.send(Err(route.not_leader(known)));
    }
    tokio::select! {
        // Nothing is ever sent: it is closed.
        _ = all_answered.recv() => {}
        () = no_more_answers(route.leadership.clone(), leader) => given_up.cancel(),
    }
}

/// Forwards `first`, and what comes after it, over `stream` until that breaks or the leader is superseded. `Continue`: the stream
/// broke and has lost nothing, so there may be another, and with it what came too late for this one.
///
/// Cancel: safe, once `first` is handed over; it waits with no batch in hand.
async fn forward_over(
    route: &PeerRoute,
    stream: Forwarder,
    outstanding: &Outstanding,
    first: Propose,
    queue: &mut mpsc::Receiver<Propose>,
    mut superseded: Pin<&mut impl Future<Output = ()>>,
) -> ControlFlow<(), Option<Propose>> {
    let leader = stream.target();
    let mut refused = forward(route, &stream, outstanding, first);
    let mut is_new = true;
    while refused.is_none() {
        is_new = false;
        let propose = tokio::select! {
            propose = queue.recv() => propose,
            () = stream.closed() => break,
            () = superseded.as_mut() => return ControlFlow::Break(()),
        };
        let Some(propose) = propose else {
            return ControlFlow::Break(());
        };
        refused = forward(route, &stream, outstanding, propose);
    }
    // What not even a new stream takes is not tried for ever.
    if !is_new && !stream.is_open() && outstanding.is_all_told() {
        return ControlFlow::Continue(refused);
    }
    if let Some(refused) = refused {
        refused.reply.send(Err(route.not_leader(Some(leader))));
    }
    ControlFlow::Break(())
}

/// Gives a batch to the stream; its answer goes to whoever proposed it, who hears that the outcome is unknown when it is given
/// up before. `Some`: the stream does not take it.
fn forward(
    route: &PeerRoute,
    stream: &Forwarder,
    outstanding: &Outstanding,
    propose: Propose,
) -> Option<Propose> {
    let Propose { batch, permit, reply } = propose;
    let (forward_reply, answer) = Reply::<_, ForwardError>::channel();
    match stream.forward(batch, forward_reply) {
        Ok(()) => {
            let route_back = route.clone();
            let Outstanding {
                given_up,
                counted,
                untold,
            } = outstanding.clone();
            untold.fetch_add(1, Ordering::AcqRel);
            route.runtime.spawn(async move {
                let result = match given_up.run_until_cancelled(answer).await {
                    Some(Err(ForwardError::NotLeader { leader })) => Err(route_back.not_leader(leader)),
                    Some(Err(ForwardError::Refused(error))) => Err(error),
                    Some(Ok(committed)) => Ok(committed),
                    None => Err(ProposeError::OutcomeUnknown),
                };
                // Both are also what is said of batches that went down with their stream.
                let lost = [ProposeError::OutcomeUnknown, ProposeError::Unavailable];
                if !matches!(&result, Err(error) if lost.contains(error)) {
                    untold.fetch_sub(1, Ordering::AcqRel);
                }
                reply.send(result);
                drop((permit, counted));
            });
            None
        }
        Err(refused) => {
            let (batch, _) = *refused;
            Some(Propose { batch, permit, reply })
        }
    }
}
