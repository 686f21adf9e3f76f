//! Which node a call goes to: what is known of the cluster, and the choice.
//!
//! Writes go to the leader, reads to followers that have what is asked for: of two chosen at random, the one with less under way. What
//! is not reached is passed over until it answers again. What is known comes from the headers of all answers and from
//! [`scout`](super::scout); when nothing is known, any node will do, since each hands a write on to the leader.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rand::Rng;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::proto::annals::v1::{GetClusterResponse, Presence, ResponseHeader, Role};

use super::{
    address::Address,
    error::{Error, ErrorKind, LogChange},
    node::Node,
    refusal::Reason,
    scout,
    settings::Settings,
};

/// A way that was given and has failed so often in a row may lead to its node no longer: the node's own word counts then.
const GIVEN_WAY_TRIES: u32 = 4;

/// A node that was behind in so many looks in a row is left for one that is not. The scout makes them 0.3 s apart at most, once there is a
/// reason, so less than a second passes between the first and the last.
pub(super) const LOOKS_BEHIND: u32 = 3;

/// And that for so long, however often a client looks: after an election each node hears of its leader in its own time.
const BEHIND_FOR: Duration = Duration::from_millis(500);

/// Nodes that are known beside those that were given; a cluster has a handful.
const NODES_MAX: usize = 64;

/// What a call needs of the node that it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It leads.
    Leader,
    /// It has every record below this offset; 0: it is not far behind.
    Below(u64),
    /// It is there.
    Any,
}

/// What a client knows of its cluster. Shared by all that belongs to the client.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) settings: Settings,
    nodes: ArcSwap<Vec<Arc<Node>>>,
    leadership: Mutex<Leadership>,
    /// Empty until an answer names it.
    cluster_id: Mutex<String>,
    /// All offsets below it were heard of.
    reached: AtomicU64,
    /// What a request's records may have, by the word of the node that was asked last; 0: none has said so.
    request_bytes_max: AtomicUsize,
    /// Where in the list of those given the next try begins.
    turn: AtomicUsize,
    /// Calls were made since the scout looked last.
    used: AtomicBool,
    /// The scout is to look at once.
    look: Arc<Notify>,
    /// Changes when the scout has looked.
    looked: watch::Sender<()>,
    scout: Mutex<Option<JoinHandle<()>>>,
}

/// Who leads, by the newest term heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Leadership {
    term: u64,
    /// 0: nobody is known to.
    leader: u64,
}

impl Router {
    pub(super) fn new(addresses: Vec<Address>, settings: Settings) -> Self {
        let given = addresses.into_iter().map(|address| Node::new(address, true));
        Self {
            settings,
            nodes: ArcSwap::from_pointee(given.map(Arc::new).collect()),
            leadership: Mutex::default(),
            cluster_id: Mutex::default(),
            reached: AtomicU64::new(0),
            request_bytes_max: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            look: Arc::default(),
            looked: watch::Sender::default(),
            scout: Mutex::new(None),
        }
    }

    /// All nodes that are known, those that were given first.
    pub(crate) fn nodes(&self) -> Arc<Vec<Arc<Node>>> {
        self.nodes.load_full()
    }

    /// The offset that everything below of was heard to be there.
    pub(super) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// What a request's records may have; `None`: no node has said so.
    pub(super) fn request_bytes_max(&self) -> Option<usize> {
        Some(self.request_bytes_max.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// A node has said what it takes.
    pub(super) fn set_request_bytes_max(&self, bytes: usize) {
        self.request_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Whether calls were made since this was asked last.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Somebody makes a call: whoever looks after what is known does so from now on.
    ///
    /// Panics: outside a runtime.
    pub(crate) fn begin(self: &Arc<Self>) {
        self.used.store(true, Ordering::Relaxed);
        if !self.settings.discovers {
            return;
        }
        let mut scout = self.scout.lock().unwrap_or_else(PoisonError::into_inner);
        // The runtime that it ran on may have ended.
        if scout.as_ref().is_none_or(JoinHandle::is_finished) {
            let router: Weak<Self> = Arc::downgrade(self);
            *scout = Some(tokio::spawn(scout::run(router, Arc::clone(&self.look))));
        }
    }

    /// What is known may be wrong: it is looked at soon, and once more a moment later.
    pub(super) fn doubt(&self) {
        self.look.notify_one();
    }

    /// The nodes were looked at.
    pub(super) fn set_looked(&self) {
        self.looked.send_replace(());
    }

    /// A node has answered. Remembers what it says.
    ///
    /// Errors: `OtherLog`, when it belongs to another cluster than the one before.
    pub(crate) fn heard(&self, node: &Node, header: Option<&ResponseHeader>) -> Result<(), Error> {
        node.answered();
        let Some(header) = header else {
            return Ok(());
        };
        self.check_cluster(&node.address, &header.cluster_id)?;
        node.heard(header);
        self.reached.fetch_max(header.high_watermark, Ordering::Relaxed);
        let heard = Leadership {
            term: header.term,
            leader: header.leader_id,
        };
        let mut known = self.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.term > known.term || (heard.term == known.term && heard.leader != 0) {
            let is_new = *known != heard && heard.leader != 0;
            *known = heard;
            drop(known);
            if is_new && self.node_of(heard.leader).is_none() {
                self.doubt();
            }
        }
        Ok(())
    }

    fn check_cluster(&self, address: &Address, cluster_id: &str) -> Result<(), Error> {
        let mut known = self.cluster_id.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            cluster_id.clone_into(&mut known);
        }
        if cluster_id.is_empty() || cluster_id == *known {
            return Ok(());
        }
        Err(Error::new(ErrorKind::OtherLog {
            address: address.to_string(),
            change: LogChange::Cluster {
                before: known.clone(),
                now: cluster_id.to_owned(),
            },
        }))
    }

    /// Whether an answer has said which cluster it is.
    pub(super) fn knows_cluster(&self) -> bool {
        !self
            .cluster_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// The id of the leader; 0: nobody is known to lead.
    pub(crate) fn leader_id(&self) -> u64 {
        self.leadership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .leader
    }

    /// Whether any node is known beside those that were given.
    pub(super) fn knows_others(&self) -> bool {
        self.nodes().iter().any(|node| !node.is_given)
    }

    /// A node says who belongs to the cluster, and where they are.
    pub(super) fn learn(&self, cluster: &GetClusterResponse) {
        // Who belongs to no cluster, or to none any more, knows what was.
        if !self.settings.discovers || !cluster.waiting.is_empty() || cluster.removed_at.is_some() {
            return;
        }
        let known = self.nodes();
        let mut nodes: Vec<Arc<Node>> = known.iter().filter(|node| node.is_given).cloned().collect();
        let members = cluster.servers.iter().filter(|server| {
            server.role() != Role::Outsider
                && server.role() != Role::Unspecified
                && server.presence() != Presence::Left
        });
        for server in members.take(NODES_MAX) {
            let Ok(address) = server.address.parse::<Address>() else {
                continue;
            };
            if nodes.iter().any(|node| node.address == address) {
                continue;
            }
            let before = known.iter().find(|node| node.address == address).cloned();
            let node = before.unwrap_or_else(|| Arc::new(Node::new(address, false)));
            node.set_id(server.node_id);
            nodes.push(node);
        }
        let is_same = known.len() == nodes.len()
            && known
                .iter()
                .zip(&nodes)
                .all(|(known, node)| Arc::ptr_eq(known, node));
        if !is_same {
            self.nodes.store(Arc::new(nodes));
            // Of those that are new nothing is known yet.
            self.doubt();
        }
    }

    /// The ways to go, one for each node: that which was given goes before that which the node itself tells, since it was
    /// seen to lead there.
    pub(super) fn ways(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes();
        let mut ways: Vec<Arc<Node>> = Vec::with_capacity(nodes.len());
        for node in nodes.iter() {
            let is_reached_otherwise = |way: &Arc<Node>| {
                node.id() != 0 && way.id() == node.id() && way.times_down() < GIVEN_WAY_TRIES
            };
            if !ways.iter().any(is_reached_otherwise) {
                ways.push(Arc::clone(node));
            }
        }
        ways
    }

    fn node_of(&self, id: u64) -> Option<Arc<Node>> {
        self.ways().into_iter().find(|node| id != 0 && node.id() == id)
    }

    /// The node at that address, though it may be none that is known.
    pub(super) fn at(&self, address: &Address) -> Arc<Node> {
        let nodes = self.nodes();
        let known = nodes.iter().find(|node| node.address == *address);
        known.map_or_else(|| Arc::new(Node::new(address.clone(), false)), Arc::clone)
    }

    /// From now on the next of those that were given goes first.
    pub(super) fn turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// How many ways there are.
    pub(super) fn count(&self) -> usize {
        self.ways().len()
    }

    /// The node to try next, apart from those that were `passed`; `None` when that is all of them.
    pub(crate) fn pick(&self, need: Need, passed: &[Address]) -> Option<Arc<Node>> {
        let mut ways = self.ways();
        if !self.settings.discovers {
            let turn = self.turn.load(Ordering::Relaxed) % ways.len().max(1);
            ways.rotate_left(turn);
            return ways.into_iter().find(|node| !passed.contains(&node.address));
        }
        ways.retain(|node| !passed.contains(&node.address));
        self.chosen(need, &ways).map(Arc::clone)
    }

    fn chosen<'a>(&self, need: Need, ways: &'a [Arc<Node>]) -> Option<&'a Arc<Node>> {
        let leader_id = self.leader_id();
        let is_leader = |node: &Node| leader_id != 0 && node.id() == leader_id;
        let leader = ways.iter().find(|node| is_leader(node) && !node.is_down());
        let follows = |node: &Node| node.id() != 0 && !is_leader(node) && !node.is_down();
        let first = match need {
            Need::Leader => leader,
            Need::Below(offset) => {
                let has = |node: &Node| follows(node) && node.keeps_up() && node.has(offset);
                least_used(ways.iter().filter(|node| has(node)).collect()).or(leader)
            }
            Need::Any => None,
        };
        let up = || least_used(ways.iter().filter(|node| !node.is_down()).collect());
        // When none is up, any of them may be again.
        first.or_else(up).or_else(|| least_used(ways.iter().collect()))
    }

    /// Why none of them is reached: each with what was the matter.
    pub(super) fn all_down(&self) -> Vec<super::error::Tried> {
        self.ways().iter().filter_map(|node| node.tried()).collect()
    }

    /// What to say of a read that wants everything below `min_offset`: where nodes are there and lack that, the time went by for it.
    pub(super) fn explained(&self, error: Error, min_offset: u64) -> Error {
        let may_have_waited = match error.kind() {
            ErrorKind::NoNode { .. } | ErrorKind::NoAnswer { .. } => true,
            _ => error.reason() == Some(Reason::DeadlineExceeded),
        };
        let ways = self.ways().into_iter();
        let reached = ways.filter(|node| node.id() != 0 && !node.is_down());
        match reached.max_by_key(|node| node.high_watermark()) {
            Some(best) if may_have_waited && !best.has(min_offset) => Error::new(ErrorKind::AheadOfAll {
                min_offset,
                high_watermark: best.high_watermark(),
                address: best.address.to_string(),
            }),
            _ => error,
        }
    }

    /// The node that leads, where it is known, is reached, and is not the one of that id.
    pub(crate) fn better_leader(&self, than: u64) -> Option<Arc<Node>> {
        let leader = self.leader_id();
        if !self.settings.discovers || leader == than {
            return None;
        }
        self.node_of(leader).filter(|node| !node.is_down())
    }

    /// Waits until a reader of that node is better served by another one. Cancel: safe.
    pub(crate) async fn left_behind(&self, node: &Node) {
        let mut looked = self.looked.subscribe();
        while !self.is_left_behind(node) {
            // The sender is in `self`.
            drop(looked.changed().await);
        }
    }

    fn is_left_behind(&self, node: &Node) -> bool {
        let keeps_up = |other: &Arc<Node>| other.id() != node.id() && !other.is_down() && other.keeps_up();
        let (looks, lasting) = self.at(&node.address).looks_behind();
        let is_behind = looks >= LOOKS_BEHIND && lasting >= BEHIND_FOR;
        self.settings.discovers && is_behind && self.ways().iter().any(keeps_up)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let scout = self.scout.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(scout) = scout.take() {
            scout.abort();
        }
    }
}

/// Of two chosen at random, the one with less under way: nearly as even as asking all, and those who choose at the same time do
/// not all choose the same.
fn least_used(among: Vec<&Arc<Node>>) -> Option<&Arc<Node>> {
    let mut rng = rand::rng();
    let one = *among.get(rng.random_range(0..among.len().max(1)))?;
    let other = *among.get(rng.random_range(0..among.len().max(1)))?;
    Some(if other.in_flight() < one.in_flight() {
        other
    } else {
        one
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::node::Use, clock, proto::annals::v1::Server};

    fn header(node_id: u64, leader_id: u64, term: u64, high_watermark: u64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: "a".to_owned(),
            node_id,
            leader_id,
            term,
            high_watermark,
        }
    }

    /// Knows three nodes, of which 1 leads: two given ones and one that it was told of.
    fn router() -> Router {
        let given = ["127.0.0.1:1", "127.0.0.1:2"];
        let settings = Settings {
            discovers: true,
            ..Settings::alone()
        };
        let router = Router::new(given.map(|text| text.parse().unwrap()).to_vec(), settings);
        let server = |node_id, address: &str, role: Role| Server {
            node_id,
            address: address.to_owned(),
            role: role.into(),
            ..Default::default()
        };
        for (node, id) in router.nodes().iter().zip(1..) {
            router.heard(node, Some(&header(id, 1, 5, 10))).unwrap();
        }
        router.learn(&GetClusterResponse {
            servers: vec![
                server(1, "host-1:1", Role::Leader),
                server(2, "host-2:1", Role::Follower),
                server(3, "host-3:1", Role::Follower),
                server(4, "host-4:1", Role::Outsider),
            ],
            ..Default::default()
        });
        for node in router.nodes().iter() {
            node.set_keeps_up(true);
        }
        router
    }

    fn node(router: &Router, id: u64) -> Arc<Node> {
        router.node_of(id).unwrap()
    }

    fn ids(router: &Router, need: Need) -> Vec<u64> {
        let mut ids: Vec<_> = (0..200)
            .filter_map(|_| router.pick(need, &[]))
            .map(|node| node.id())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn lose(node: &Node) {
        node.set_down(&Error::lost("it is gone"));
    }

    #[test]
    fn a_node_is_reached_by_the_way_that_was_given_unless_that_fails_again_and_again() {
        let router = router();
        let addresses = |router: &Router| {
            let ways = router.ways().into_iter();
            ways.map(|node| node.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(addresses(&router), ["127.0.0.1:1", "127.0.0.1:2", "host-3:1"]);
        let given = Arc::clone(&router.nodes()[1]);
        for _ in 0..GIVEN_WAY_TRIES {
            assert_eq!(addresses(&router).len(), 3);
            lose(&given);
        }
        assert_eq!(
            addresses(&router),
            ["127.0.0.1:1", "127.0.0.1:2", "host-2:1", "host-3:1"]
        );
    }

    #[test]
    fn writes_go_to_the_leader_and_reads_to_followers_that_have_what_is_asked_for() {
        let router = router();
        node(&router, 3).heard(&header(3, 1, 5, 8));
        assert_eq!(ids(&router, Need::Leader), [1]);
        assert_eq!(ids(&router, Need::Below(0)), [2, 3]);
        assert_eq!(ids(&router, Need::Below(9)), [2]);
        assert_eq!(ids(&router, Need::Below(11)), [1], "the leader has it, or nobody");
        node(&router, 2).set_keeps_up(false);
        assert_eq!(ids(&router, Need::Below(0)), [3]);
    }

    #[test]
    fn the_newest_term_says_who_leads() {
        let router = router();
        let (one, two) = (node(&router, 1), node(&router, 2));
        router.heard(&two, Some(&header(2, 2, 6, 10))).unwrap();
        assert_eq!(ids(&router, Need::Leader), [2]);
        router.heard(&one, Some(&header(1, 1, 5, 10))).unwrap();
        assert_eq!(router.leader_id(), 2, "it has not heard of it yet");
        router.heard(&one, Some(&header(1, 0, 7, 10))).unwrap();
        assert_eq!(router.leader_id(), 0, "an election is under way");
        assert_eq!(ids(&router, Need::Leader), [1, 2, 3]);
    }

    #[test]
    fn a_node_that_is_not_reached_is_passed_over_while_another_one_is() {
        let router = router();
        lose(&node(&router, 2));
        assert_eq!(ids(&router, Need::Below(0)), [3]);
        lose(&node(&router, 1));
        assert_eq!(ids(&router, Need::Leader), [3], "it hands writes on");
        assert!(router.better_leader(3).is_none());
        lose(&node(&router, 3));
        assert_eq!(ids(&router, Need::Any), [1, 2, 3]);
        assert_eq!(router.all_down().len(), 3);
        node(&router, 2).answered();
        assert_eq!(ids(&router, Need::Any), [2]);
    }

    #[test]
    fn a_node_is_left_once_it_was_behind_in_some_looks_in_a_row_and_another_one_is_not() {
        let router = router();
        let (two, three) = (node(&router, 2), node(&router, 3));
        let look = |(keeps_up, for_long)| {
            two.set_keeps_up(keeps_up);
            if for_long {
                two.was_behind_since(clock::now() - BEHIND_FOR);
            }
            router.is_left_behind(&two)
        };
        let looks = [false, false, true, false, false, false].map(|keeps_up| (keeps_up, true));
        assert_eq!(looks.map(look), [false, false, false, false, false, true]);
        let too_soon = [true, false, false, false, false].map(|keeps_up| (keeps_up, false));
        assert_eq!(too_soon.map(look), [false; 5]);
        assert!(look((false, true)));
        for other in [1, 3] {
            node(&router, other).set_keeps_up(false);
        }
        assert!(!router.is_left_behind(&two), "nobody is better");
        three.set_keeps_up(true);
        assert!(router.is_left_behind(&two));
        lose(&three);
        assert!(!router.is_left_behind(&two));
    }

    #[test]
    fn who_has_less_under_way_is_chosen_more_often() {
        let router = router();
        let busy = node(&router, 2);
        let uses: Vec<Use> = (0..5).map(|_| busy.begin_use()).collect();
        let picks = (0..1000).filter_map(|_| router.pick(Need::Below(0), &[]));
        let of_the_busy = picks.filter(|node| node.id() == 2).count();
        // Only when both choices fall on it: a quarter of the time.
        assert!((100..400).contains(&of_the_busy), "{of_the_busy}");
        drop(uses);
        assert_eq!(busy.in_flight(), 0);
    }

    #[test]
    fn the_answer_of_another_cluster_is_an_error() {
        let router = router();
        let other = ResponseHeader {
            cluster_id: "b".to_owned(),
            ..header(2, 2, 9, 99)
        };
        let error = router.heard(&node(&router, 2), Some(&other)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OtherLog { .. }), "{error}");
        assert_eq!((router.leader_id(), router.reached()), (1, 10));
    }
}
