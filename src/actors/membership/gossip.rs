//! A running memberlist, and all that is known about how to use it (0.8.5).
//!
//! It runs on the multi-thread runtime: its tasks run where it is made, and every call goes there too.

use std::{
    collections::BTreeSet,
    error::Error,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{StreamExt, stream};
use memberlist::{
    Memberlist, Options,
    delegate::Delegate,
    net::{NetTransportOptions, TokioNetTransport, error::NetTransportError},
    proto::{EncryptionAlgorithm, MaybeResolvedAddress},
    tokio::TokioSocketAddrResolver,
};
use tokio::{
    runtime::Handle,
    sync::{OnceCell, watch},
    time::{sleep, timeout},
};

use crate::types::GossipKeys;

use super::{
    GossipTiming, MembershipSetup, OwnTags, Tags,
    ears::{Ears, Id, ears},
    inbox::{Inbox, Stranger},
    joining::{Outcome, Target},
    known::Seen,
    ring,
    wire::GossipTcp,
};

/// Reading its state needs its lock. One that does not answer for so long is broken.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Looking up a seed's name.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);
/// Addresses tried of one seed: a name may stand for many nodes, and one that answers knows the others.
const ADDRESSES_OF_SEED_MAX: usize = 8;
/// Seeds tried at a time.
const JOINS_AT_A_TIME: usize = 8;
/// Waiting until news of this node have been spread.
const SPREAD_WITHIN: Duration = Duration::from_secs(1);
/// How long the sockets of an instance before this one may take to be closed.
const BIND_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to bind.
const BIND_EVERY: Duration = Duration::from_millis(20);
/// Dead nodes are never dropped from memberlist's list: dropping one leaves the places of others wrong, so that it reads
/// past the end of the list and its task panics (0.8.5, `reset_nodes`). A dead node costs some bytes in an exchange, and a
/// packet of news now and then, which is how it hears at once that it is missed.
const KEEP_DEAD_NODES: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

type Transport = TokioNetTransport<Id, TokioSocketAddrResolver, GossipTcp>;
type List = Memberlist<Transport, Ears>;

/// Where to listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    /// Whether an instance before this one may not have let go of it yet.
    pub(super) is_again: bool,
}

/// Gossip does not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum GossipError {
    /// It could not begin.
    #[error("cannot gossip at {listen}")]
    Start {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What memberlist said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It does not answer.
    #[error("memberlist does not answer")]
    Silent,
    /// It panicked.
    #[error("memberlist panicked")]
    Panicked,
}

/// A running memberlist. Clones are the same.
#[derive(Clone)]
pub(super) struct Gossip {
    running: Arc<Running>,
}

struct Running {
    list: List,
    inbox: Arc<Inbox>,
    runtime: Handle,
    closed: OnceCell<()>,
}

/// Everything that gossip shows.
#[derive(Debug)]
pub(super) struct View {
    /// All nodes but this one, whether they are alive or not.
    pub(super) seen: Vec<Seen>,
    /// All nodes that are not let in.
    pub(super) strangers: Vec<(String, Stranger)>,
    /// The address that others hold for this node, if it is not its own.
    pub(super) mistaken_for: Option<SocketAddr>,
}

impl Gossip {
    /// Begins to gossip at `listen`.
    ///
    /// Errors: the address cannot be listened on.
    pub(super) async fn start(
        setup: &MembershipSetup,
        own: OwnTags,
        listen: Listen,
    ) -> Result<Self, GossipError> {
        let (setup, runtime) = (setup.clone(), setup.runtime.clone());
        let started = runtime.spawn(async move {
            let inbox = Arc::new(Inbox::default());
            let keys = setup.cluster.gossip_keys.subscribe();
            let list = Box::pin(start_list(&setup, &own, &inbox, listen)).await?;
            inbox.is_at(*list.advertise_address());
            let running = Arc::new(Running {
                list,
                inbox,
                runtime: setup.runtime,
                closed: OnceCell::new(),
            });
            tokio::spawn(follow_keys(keys, Arc::downgrade(&running)));
            Ok(Self { running })
        });
        started.await.unwrap_or(Err(GossipError::Panicked))
    }

    /// Where others reach it.
    pub(super) fn address(&self) -> SocketAddr {
        *self.running.list.advertise_address()
    }

    /// Makes the next [`Gossip::next_view`] ready.
    pub(super) fn wake(&self) {
        self.running.inbox.wake();
    }

    /// Waits until something changed, and answers all there is.
    ///
    /// Errors: memberlist is broken. Cancel: a change may be missed.
    pub(super) async fn next_view(&self) -> Result<View, GossipError> {
        self.running.inbox.changed().await;
        let read = |running: Arc<Running>| async move { timeout(READ_WITHIN, running.view()).await };
        self.on_runtime(read).await?.map_err(|_| GossipError::Silent)
    }

    /// Tries to join each of `targets`; those at an address of `reachable` are met already, unless `insist`. Answers what
    /// came of it, and the address that others hold for this node, if it is not its own.
    pub(super) async fn join(
        &self,
        targets: Vec<Target>,
        reachable: BTreeSet<SocketAddr>,
        insist: bool,
    ) -> Result<(Vec<(Target, Outcome)>, Option<SocketAddr>), GossipError> {
        let known = Arc::new(if insist { BTreeSet::new() } else { reachable });
        let join = |running: Arc<Running>| async move {
            let joins = targets.into_iter().map(|target| {
                let (running, known) = (Arc::clone(&running), Arc::clone(&known));
                async move {
                    let outcome = running.join(&target, &known).await;
                    (target, outcome)
                }
            });
            let outcomes = stream::iter(joins)
                .buffer_unordered(JOINS_AT_A_TIME)
                .collect()
                .await;
            (outcomes, running.inbox.take_mistake())
        };
        self.on_runtime(join).await
    }

    /// Spreads the node's tags as they are now.
    pub(super) async fn spread(&self) -> Result<(), GossipError> {
        // Not heard in time, or nobody to hear: the news stay in the queue, and are in every exchange.
        let spread =
            |running: Arc<Running>| async move { drop(running.list.update_node(SPREAD_WITHIN).await) };
        self.on_runtime(spread).await
    }

    /// Tells `peers` that this node goes for good, and goes. Its tags must say so.
    pub(super) async fn leave(&self, peers: Vec<SocketAddr>) -> Result<(), GossipError> {
        let leave = |running: Arc<Running>| async move {
            drop(running.list.update_node(SPREAD_WITHIN).await);
            // Packets may be lost or overtake each other, and without the tag this would look like a failure. So every
            // peer is told by a connection, before the word that this node is gone.
            let told = peers.into_iter().map(|peer| {
                let running = Arc::clone(&running);
                async move { running.exchange(peer).await }
            });
            stream::iter(told)
                .buffer_unordered(JOINS_AT_A_TIME)
                .collect::<Vec<_>>()
                .await;
            drop(running.list.leave(SPREAD_WITHIN).await);
        };
        self.on_runtime(leave).await?;
        self.close().await;
        Ok(())
    }

    /// Stops without a word, and waits until the sockets are closed. More than once is as once.
    ///
    /// Cancel: it goes on in the background.
    pub(super) async fn close(&self) {
        let close = |running: Arc<Running>| async move { running.close().await };
        // A panic in it leaves nothing to be done.
        drop(self.on_runtime(close).await);
    }

    /// Stops without a word, in the background.
    pub(super) fn close_later(&self) {
        let running = Arc::clone(&self.running);
        self.running.runtime.spawn(async move { running.close().await });
    }

    async fn on_runtime<T, F>(&self, call: impl FnOnce(Arc<Running>) -> F) -> Result<T, GossipError>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let task = self
            .running
            .runtime
            .spawn(Box::pin(call(Arc::clone(&self.running))));
        task.await.map_err(|_| GossipError::Panicked)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its tasks hold it, so that it does not end by being dropped: a start that was given up would keep the port.
        if !self.closed.initialized() {
            let list = self.list.clone();
            self.runtime.spawn(async move { drop(list.shutdown().await) });
        }
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl Running {
    async fn view(&self) -> View {
        // A node that comes between the two questions is told again.
        let all = self.list.members().await;
        let alive: BTreeSet<Id> = self
            .list
            .online_members()
            .await
            .iter()
            .map(|node| node.id().clone())
            .collect();
        let seen = all
            .iter()
            .filter(|node| node.id() != self.list.local_id())
            .filter_map(|node| {
                // It was looked at when it was let in.
                let tags = Tags::decode(node.id(), node.meta().as_bytes()).ok()?;
                Some(Seen {
                    tags,
                    address: *node.address(),
                    is_alive: alive.contains(node.id()),
                })
            });
        let strangers = self.inbox.strangers();
        View {
            seen: seen
                .filter(|node| !strangers.contains_key(&node.tags.node_id.to_string()))
                .collect(),
            strangers: strangers.into_iter().collect(),
            mistaken_for: self.inbox.take_mistake(),
        }
    }

    async fn join(&self, target: &Target, known: &BTreeSet<SocketAddr>) -> Outcome {
        let addresses = match target {
            Target::Peer(address) => vec![*address],
            Target::Seed(seed) => match timeout(LOOK_UP_WITHIN, tokio::net::lookup_host(seed)).await {
                Ok(Ok(addresses)) => addresses.take(ADDRESSES_OF_SEED_MAX).collect(),
                Ok(Err(error)) => return Outcome::Failed(error.to_string()),
                Err(_) => return Outcome::Failed("its name was not looked up in time".to_owned()),
            },
        };
        let own = self.list.advertise_address();
        if addresses
            .iter()
            .any(|address| address == own || known.contains(address))
        {
            return Outcome::Met;
        }
        let mut outcome = Outcome::Failed("its name has no address".to_owned());
        for address in addresses {
            match self.exchange(address).await {
                Ok(()) => return Outcome::Joined,
                Err(error) => outcome = Outcome::Failed(error),
            }
        }
        outcome
    }

    /// Exchanges all that is known with whoever is at that address.
    async fn exchange(&self, address: SocketAddr) -> Result<(), String> {
        let joined = Box::pin(self.list.join(MaybeResolvedAddress::resolved(address))).await;
        joined.map(drop).map_err(|error| error.to_string())
    }

    async fn close(&self) {
        let shut_down = || async { drop(self.list.shutdown().await) };
        self.closed.get_or_init(shut_down).await;
    }
}

/// Makes a memberlist on this runtime. The sockets of an instance before it may need a moment to be closed.
async fn start_list(
    setup: &MembershipSetup,
    own: &OwnTags,
    inbox: &Arc<Inbox>,
    listen: Listen,
) -> Result<List, GossipError> {
    let mut waited = Duration::ZERO;
    loop {
        let ears = ears(own, inbox);
        let mut transport = NetTransportOptions::<Id, TokioSocketAddrResolver, GossipTcp>::new(own.id());
        transport.add_bind_address(listen.address);
        if let Some(advertise) = setup.cluster.advertise {
            transport = transport.with_advertise_address(advertise);
        }
        let options = options(&setup.timing, setup.cluster.gossip_keys.keys().as_ref());
        let error = match Box::pin(List::with_delegate(ears, transport, options)).await {
            Ok(list) => return Ok(list),
            Err(error) => error,
        };
        // A port that the system chose is free for TCP, but maybe not for UDP.
        let may_pass = listen.is_again || listen.address.port() == 0;
        let is_in_use = bind_error(&error) == Some(io::ErrorKind::AddrInUse);
        if !is_in_use || !may_pass || waited >= BIND_WITHIN {
            return Err(GossipError::Start {
                listen: listen.address,
                source: Box::new(error),
            });
        }
        sleep(BIND_EVERY).await;
        waited += BIND_EVERY;
    }
}

/// Why the sockets could not be opened, if that is what went wrong.
fn bind_error<D: Delegate>(error: &memberlist::error::Error<Transport, D>) -> Option<io::ErrorKind> {
    match error {
        memberlist::error::Error::Transport(
            NetTransportError::ListenPacket(_, source) | NetTransportError::ListenPromised(_, source),
        ) => Some(source.kind()),
        _ => None,
    }
}

/// Gives memberlist each new set of keys, for as long as it runs.
async fn follow_keys(mut keys: watch::Receiver<Option<GossipKeys>>, running: Weak<Running>) {
    // Those that memberlist began with are looked at again: they may have changed while it began.
    keys.mark_changed();
    while keys.changed().await.is_ok() {
        let Some(running) = running.upgrade() else { return };
        let keys = keys.borrow_and_update().clone();
        if let (Some(keys), Some(ring)) = (keys, running.list.keyring()) {
            ring::turn(ring, &keys);
        }
    }
}

fn options(timing: &GossipTiming, keys: Option<&GossipKeys>) -> Options {
    let options = Options::lan()
        .with_probe_interval(timing.probe_interval)
        .with_probe_timeout(timing.probe_timeout)
        .with_gossip_interval(timing.gossip_interval)
        .with_push_pull_interval(timing.exchange_interval)
        .with_timeout(timing.connection_timeout)
        .with_dead_node_reclaim_time(timing.reclaim_after)
        .with_gossip_to_the_dead_time(KEEP_DEAD_NODES)
        // Dead nodes count as nodes that could confirm a suspicion, and never do; without a bound a second failure among
        // five would be found out after 12 s.
        .with_suspicion_max_timeout_mult(2)
        .with_gossip_verify_incoming(keys.is_some())
        .with_gossip_verify_outgoing(keys.is_some());
    match keys {
        None => options,
        // The others follow at once.
        Some(keys) => options
            .with_primary_key(ring::secret(keys.first()))
            .with_encryption_algo(EncryptionAlgorithm::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::GossipKey;

    /// It dropped a dead node after 30 s, and in half of all cases the place of another one was wrong then: the task that
    /// reads packets went past the end of the list, panicked, and the node heard no news any more.
    #[test]
    fn memberlist_never_drops_a_dead_node() {
        let year = Duration::from_secs(365 * 24 * 3600);
        assert!(options(&GossipTiming::default(), None).gossip_to_the_dead_time() > 10 * year);
    }

    #[test]
    fn with_a_key_nothing_is_said_or_heard_without_it() {
        let key = GossipKeys::from(GossipKey::Aes256([7; 32]));
        for key in [None, Some(&key)] {
            let options = options(&GossipTiming::default(), key);
            assert_eq!(options.primary_key().is_some(), key.is_some());
            assert_eq!(options.gossip_verify_incoming(), key.is_some());
            assert_eq!(options.gossip_verify_outgoing(), key.is_some());
        }
    }
}
