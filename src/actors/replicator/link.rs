//! A peer's link as others see it: what its ReplicatorActor publishes, and how to ask it. Outlives the actor.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Nudge, Open, Place, ReplicatorActor, ReplicatorSetup, ReplicatorsActor, Settle};
use crate::{
    actors::supervision::{ActorRef, PostError, Reply, Unanswered},
    consensus::links::{Contact, Lane, LinkError, PeerChannel, PeerLinks},
    types::NodeId,
};

/// How a link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Every lane is open.
    pub connected: bool,
    /// Tries that failed in a row, of the lane that fares worst.
    pub failures: u32,
    /// Where the peer was last found.
    pub address: Option<String>,
    /// What the last failure was, until every lane is open again.
    pub problem: Option<String>,
    /// The same, if it is that one of the two nodes does not want to have to do with the other.
    pub refusal: Option<String>,
}

/// A peer's link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) target: NodeId,
    pub(super) actor: ActorRef<ReplicatorActor>,
    pub(super) contact: Arc<Contact>,
    pub(super) status: watch::Sender<LinkStatus>,
    lanes: [ArcSwapOption<PeerChannel>; Lane::ALL.len()],
}

impl Link {
    pub(super) fn new(target: NodeId) -> Self {
        Self {
            target,
            actor: ActorRef::new(),
            contact: Arc::new(Contact::new()),
            status: watch::channel(LinkStatus::default()).0,
            lanes: Lane::ALL.map(|_| ArcSwapOption::empty()),
        }
    }

    pub(super) fn publish(&self, lane: Lane, channel: Arc<PeerChannel>) {
        self.lanes[lane as usize].store(Some(channel));
    }

    /// No longer publishes `channel`; another one stays, as it is of a later instance of the actor.
    pub(super) fn withdraw(&self, lane: Lane, channel: &Arc<PeerChannel>) {
        self.lanes[lane as usize].compare_and_swap(channel, None);
    }

    fn open(&self, lane: Lane) -> Option<PeerChannel> {
        let channel = self.lanes[lane as usize].load();
        channel.as_deref().filter(|channel| channel.is_open()).cloned()
    }

    async fn channel(&self, lane: Lane) -> Result<PeerChannel, LinkError> {
        if let Some(channel) = self.open(lane) {
            return Ok(channel);
        }
        let (reply, opened) = Reply::channel();
        match self.actor.post(Open { lane, reply }) {
            Ok(()) => opened.await,
            Err(PostError::Full(_)) => Err(LinkError::Overloaded { target: self.target }),
            Err(PostError::Gone(_)) => Err(LinkError::Gone),
        }
    }
}

impl From<Unanswered> for LinkError {
    fn from(_: Unanswered) -> Self {
        Self::Gone
    }
}

/// All links of a node. They outlive whoever keeps them.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkTable {
    links: Arc<ArcSwap<HashMap<NodeId, Arc<Link>>>>,
    /// Held by who changes the table.
    changing: Arc<Mutex<()>>,
}

impl LinkTable {
    pub(super) fn get(&self, target: NodeId) -> Option<Arc<Link>> {
        self.links.load().get(&target).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        let mut links: Vec<_> = self.links.load().values().cloned().collect();
        links.sort_by_key(|link| link.target);
        links
    }

    fn add(&self, target: NodeId) {
        self.change(|links| {
            links.entry(target).or_insert_with(|| Arc::new(Link::new(target)));
        });
    }

    fn keep(&self, peers: &BTreeSet<NodeId>) {
        self.change(|links| {
            links.retain(|target, _| peers.contains(target));
            for target in peers {
                links
                    .entry(*target)
                    .or_insert_with(|| Arc::new(Link::new(*target)));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<NodeId, Arc<Link>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut links = HashMap::clone(&self.links.load());
        change(&mut links);
        self.links.store(Arc::new(links));
    }
}

/// The way to the replicators, for everybody else. A message is sent only where a connection is not open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replicators {
    setup: Arc<ReplicatorSetup>,
    table: LinkTable,
    set: ActorRef<ReplicatorsActor>,
}

impl Replicators {
    pub(super) fn new(
        setup: Arc<ReplicatorSetup>,
        table: LinkTable,
        set: ActorRef<ReplicatorsActor>,
    ) -> Self {
        Self { setup, table, set }
    }

    /// Whether `peer` answers at `place`, as who it is: by a connection of its own, which is closed then.
    ///
    /// Errors: it does not. Cancel: safe.
    pub async fn prove(&self, peer: NodeId, place: Place) -> Result<(), LinkError> {
        let dialer = self.setup.dialer();
        let dialled = async move {
            dialer
                .dial_at(peer, place, Lane::Control, Arc::new(Contact::new()))
                .await
        };
        let task = AbortOnDropHandle::new(self.setup.runtime.spawn(dialled));
        // A panic says nothing of the peer, and is told of by itself.
        task.await
            .map_or(Err(LinkError::Gone), |dialled| dialled.map(drop))
    }

    /// Where `peer` answers at present, as who it is; `None` while the link to it is not open.
    #[must_use]
    pub fn found_at(&self, peer: NodeId) -> Option<String> {
        let link = self.table.get(peer)?;
        let status = link.status.borrow();
        status.address.clone().filter(|_| status.connected)
    }

    /// Keeps links to exactly these peers from now on: new ones are opened, those of others closed. Whoever is called all
    /// the same gets a link by that.
    pub fn keep(&self, peers: impl IntoIterator<Item = NodeId>) {
        self.table.keep(&peers.into_iter().collect());
        let (reply, _) = Reply::channel();
        // When the set is being restarted it will look at the table by itself, and a full mailbox has such a message in it.
        drop(self.set.post(Settle { reply }));
    }

    /// There is reason to believe that `peer` can be reached, or has moved: a rest after a failure ends now.
    pub fn nudge(&self, peer: NodeId) {
        if let Some(link) = self.table.get(peer) {
            // A full mailbox has a nudge in it already; without an actor there is no rest.
            drop(link.actor.post(Nudge));
        }
    }

    /// How every link stands, and how long ago each peer was heard of.
    #[must_use]
    pub fn status(&self) -> Vec<(NodeId, LinkStatus, Option<Duration>)> {
        let links = self.table.all();
        let status = |link: &Arc<Link>| {
            (
                link.target,
                link.status.borrow().clone(),
                link.contact.silent_for(),
            )
        };
        links.iter().map(status).collect()
    }

    /// Why `peer` and this node have nothing to do with each other, if that is so.
    #[must_use]
    pub fn refusal(&self, peer: NodeId) -> Option<String> {
        self.table.get(peer)?.status.borrow().refusal.clone()
    }

    /// What the last failure of the link to `peer` was, while it is not open.
    #[must_use]
    pub fn problem(&self, peer: NodeId) -> Option<String> {
        self.table.get(peer)?.status.borrow().problem.clone()
    }

    /// How long ago `peer` was heard of; `None` when never, or when there is no link to it.
    #[must_use]
    pub fn silent_for(&self, peer: NodeId) -> Option<Duration> {
        self.table.get(peer)?.contact.silent_for()
    }

    /// `peer` called this node.
    pub fn heard(&self, peer: NodeId) {
        if let Some(link) = self.table.get(peer) {
            link.contact.heard();
        }
    }

    /// Whether the link to `peer` is open.
    #[must_use]
    pub fn is_connected(&self, peer: NodeId) -> bool {
        let link = self.table.get(peer);
        link.is_some_and(|link| link.status.borrow().connected)
    }

    /// How the link to `peer` stands, now and later; `None` when there is none.
    #[must_use]
    pub fn watch(&self, peer: NodeId) -> Option<watch::Receiver<LinkStatus>> {
        self.table.get(peer).map(|link| link.status.subscribe())
    }

    /// The actor of the link to `peer`; for tests and tools.
    #[must_use]
    pub fn actor(&self, peer: NodeId) -> Option<ActorRef<ReplicatorActor>> {
        self.table.get(peer).map(|link| link.actor.clone())
    }

    /// The link to `target`, made when there is none.
    async fn link(&self, target: NodeId) -> Result<Arc<Link>, LinkError> {
        if let Some(link) = self.table.get(target) {
            return Ok(link);
        }
        self.table.add(target);
        self.settle(target).await?;
        self.table.get(target).ok_or(LinkError::Gone)
    }

    /// Waits until every link in the table has its actor.
    async fn settle(&self, target: NodeId) -> Result<(), LinkError> {
        let (reply, settled) = Reply::channel();
        match self.set.post(Settle { reply }) {
            Ok(()) => settled.await,
            Err(PostError::Full(_)) => Err(LinkError::Overloaded { target }),
            Err(PostError::Gone(_)) => Err(LinkError::Gone),
        }
    }
}

#[async_trait]
impl PeerLinks for Replicators {
    async fn channel(&self, target: NodeId, lane: Lane) -> Result<PeerChannel, LinkError> {
        let link = self.link(target).await?;
        match link.channel(lane).await {
            // Others have put it into the table just now, and its actor is about to be started.
            Err(LinkError::Gone) => {
                self.settle(target).await?;
                link.channel(lane).await
            }
            channel => channel,
        }
    }
}
