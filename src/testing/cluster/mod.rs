//! Several real nodes in one process that are one cluster: each in a System on a thread of its own, at ports of its own,
//! with links that tests cut.

mod lives;
mod looks;
mod network;
mod records;

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, thread};

pub use records::StoredRecord;

use super::{
    LinkFaults,
    held_port::HeldPort,
    log_lines::LogLines,
    node::TestNode,
    pace::{self, TIMING},
    place::Place,
    waiting::until,
};
use crate::{
    actors::membership::{ClusterOptions, GossipRing},
    node::{ClusterSetup, NodeOptions},
    types::NodeId,
};

/// A cluster of nodes, which are known by their numbers, from 0.
///
/// Dropping it ends its nodes as a kill does, and removes their directories; ten seconds a node at most, some hundredths commonly. In
/// a test that fails it prints first what the nodes logged.
pub struct TestCluster {
    /// Tells its nodes from those of other clusters, whose ports they may come to have.
    name: String,
    faults: LinkFaults,
    /// Told to each node.
    founders: Vec<String>,
    spots: Vec<Spot>,
    /// Other options than the usual ones.
    adjust: Arc<dyn Fn(&mut NodeOptions) + Send + Sync>,
}

/// Where a node is, whether it runs or not.
#[derive(Debug)]
struct Spot {
    name: String,
    // Before the place: a node ends, and then its directory goes.
    node: Option<TestNode>,
    place: Place,
    /// One for all its lives.
    lines: LogLines,
    id: Option<NodeId>,
    /// Where its clients found it last.
    rpc: Option<SocketAddr>,
    /// What keeps others from there while it is away.
    port: Option<HeldPort>,
}

/// Where a node that is started listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// At a port that the system chooses, as one that was moved does.
    Other,
    /// At the port where its clients found it last.
    Same,
}

impl TestCluster {
    /// Founds a cluster of so many nodes, and waits until each of them serves and all agree who leads.
    ///
    /// Panics: the machine has no room or no threads for it.
    pub async fn start(count: usize) -> Self {
        Self::start_with(count, |_| ()).await
    }

    /// The same with other options, which `adjust` sets for each start of each node.
    ///
    /// Panics: as [`TestCluster::start`], or the options make no node that serves.
    pub async fn start_with(count: usize, adjust: impl Fn(&mut NodeOptions) + Send + Sync + 'static) -> Self {
        let places = (0..count).map(|_| Place::real()).collect();
        Self::start_at(places, count, adjust).await
    }

    /// The same at these places; the first `founders` of them found it, the others are not started yet.
    ///
    /// Panics: as [`TestCluster::start_with`].
    pub async fn start_at(
        places: Vec<Place>,
        founders: usize,
        adjust: impl Fn(&mut NodeOptions) + Send + Sync + 'static,
    ) -> Self {
        let mut cluster = Self::at(places, founders, adjust);
        cluster.begin_all().await;
        for number in 0..founders {
            cluster.until_ready(number).await;
        }
        cluster.until_led().await;
        cluster
    }

    /// A cluster at these places, none of which is started yet; the first `founders` of them are to found it.
    #[must_use]
    pub fn at(
        places: Vec<Place>,
        founders: usize,
        adjust: impl Fn(&mut NodeOptions) + Send + Sync + 'static,
    ) -> Self {
        let spots: Vec<_> = places
            .into_iter()
            .enumerate()
            .map(|(number, place)| Spot::new(number, place))
            .collect();
        let first = spots.first().and_then(|spot| spot.place.directory().file_name());
        Self {
            name: first.map_or_else(|| "annals".to_owned(), |name| name.to_string_lossy().into_owned()),
            faults: LinkFaults::new(),
            founders: spots
                .iter()
                .take(founders)
                .map(|spot| spot.name.clone())
                .collect(),
            spots,
            adjust: Arc::new(adjust),
        }
    }

    /// Ends all nodes that run as SIGTERM does, one after the other.
    ///
    /// Panics: one of them ends with an error.
    pub async fn stop(mut self) {
        for number in self.running() {
            let ending = self.shut_down(number).await;
            assert_eq!(ending.exit_code, 0, "{}: {ending:?}", self.name(number));
        }
    }

    /// What makes a node one of this cluster.
    fn set_up(&self, options: &mut NodeOptions) {
        options.consensus = TIMING;
        options.cluster = ClusterSetup {
            gossip: ClusterOptions {
                name: self.name.clone(),
                seeds: self.gossip_addresses(),
                gossip_keys: GossipRing::new(None),
                advertise: None,
            },
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            gossip_timing: pace::gossip(),
            initial_members: self.founders.clone(),
            alone: false,
            voters: pace::VOTERS,
            faults: self.faults.clone(),
        };
    }

    /// Where those that run gossip.
    fn gossip_addresses(&self) -> Vec<String> {
        let running = self.spots.iter().filter_map(|spot| spot.node.as_ref());
        let addresses = running.filter_map(|node| node.refs.gossip.as_ref()?.get());
        addresses.map(|address| address.to_string()).collect()
    }

    /// All that the nodes have logged, in the order of time.
    fn print_lines(&self) {
        let lines = self.spots.iter().flat_map(|spot| {
            let lines = spot.lines.timed().into_iter();
            lines.map(|(time, line)| (time, &spot.name, line))
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort_by_key(|(time, ..)| *time);
        let first = lines.first().map_or(0, |(time, ..)| time.0);
        let mut told = HashMap::new();
        for (time, name, line) in lines {
            // Once and for all, what a node says again and again.
            let last = told.insert(name, line.clone());
            if last.as_ref() != Some(&line) {
                eprintln!("{:>8} ms {name}: {line}", time.0 - first);
            }
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.print_lines();
        }
        // All at the same time; each is waited for when its spot is dropped.
        for node in self.spots.iter_mut().filter_map(|spot| spot.node.as_mut()) {
            node.strike();
        }
    }
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCluster")
            .field("name", &self.name)
            .field("spots", &self.spots)
            .finish_non_exhaustive()
    }
}

impl Spot {
    fn new(number: usize, place: Place) -> Self {
        let name = format!("node-{number}");
        Self {
            node: None,
            place: place.among_others(&name),
            name,
            lines: LogLines::new(),
            id: None,
            rpc: None,
            port: None,
        }
    }

    fn running(&mut self) -> &mut TestNode {
        let name = &self.name;
        self.node
            .as_mut()
            .unwrap_or_else(|| panic!("{name} does not run"))
    }
}
