//! Several real nodes in one process that are one cluster: each in a System on a thread of its own, at ports of its own,
//! with links that tests cut.
//!
//! A node that is started again listens elsewhere, as one that was moved does, unless it is told to come back where it was.
//! When a test fails, what each node logged is printed with it.

mod founding;
mod looks;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, thread, time::Duration};

use annals::{
    actors::{
        membership::{ClusterOptions, GossipRing, GossipTiming},
        raft::VoterRules,
        replicator::faults::{Cut, LinkFaults},
        supervision::Ending,
    },
    consensus::Timing,
    node::{ClusterSetup, NodeOptions},
    types::NodeId,
};

use super::{
    load::{Answers, Kinds, Load, Nodes, read_all_running},
    log_checker::{Recorder, Summary},
    log_lines::LogLines,
    node::{Place, TestNode},
    tls::{CLUSTER, Credentials},
};

/// The times of consensus here: a second or less may pass on two cores with much else to do.
pub(crate) const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_timeout: Duration::from_millis(900),
};

/// Enough requests and records to be sure that all clients are at work.
pub(crate) const AT_WORK: u64 = 150;

/// How long a learner must have been well before it votes.
const STABLE_FOR: Duration = Duration::from_millis(300);

/// Nodes of one cluster, by number.
pub(crate) struct Cluster {
    pub(crate) faults: LinkFaults,
    pub(crate) nodes: Nodes,
    pub(crate) recorder: Recorder,
    /// Told to each node.
    founders: Vec<String>,
    spots: Vec<Spot>,
    /// Other options than the usual ones.
    adjust: fn(&mut NodeOptions),
}

/// Where a node is, whether it runs or not.
struct Spot {
    name: String,
    place: Place,
    /// One for all its lives.
    lines: LogLines,
    id: Option<NodeId>,
    node: Option<TestNode>,
    /// Where its clients found it last.
    rpc: Option<SocketAddr>,
}

/// Where a node that is started listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// At a port that the system chooses.
    Other,
    /// At the port where its clients found it last.
    Same,
}

impl Cluster {
    /// A cluster of so many founders, none of which is started yet.
    pub(crate) fn of(count: usize) -> Self {
        Self::new(places(count), count, |_| ())
    }

    /// Founds a cluster of so many nodes, and waits until each of them serves.
    pub(crate) async fn found(count: usize) -> Self {
        Self::found_at(places(count), count).await
    }

    /// The same with other options.
    pub(crate) async fn found_with(count: usize, adjust: fn(&mut NodeOptions)) -> Self {
        Self::found_at_with(places(count), count, adjust).await
    }

    /// The same, where everything is encrypted and everybody is asked who they are.
    pub(crate) async fn found_secured(count: usize) -> Self {
        Self::found_secured_by(&Arc::new(Credentials::of(CLUSTER)), count, |_| ()).await
    }

    /// The same with certificates from there, and other options.
    pub(crate) async fn found_secured_by(
        credentials: &Arc<Credentials>,
        count: usize,
        adjust: fn(&mut NodeOptions),
    ) -> Self {
        let places = places(count).into_iter();
        let places = places.map(|place| place.secured(credentials)).collect();
        Self::found_at_with(places, count, adjust).await
    }

    /// The same at these places; the first `founders` of them found it, the others are not started yet.
    pub(crate) async fn found_at(places: Vec<Place>, founders: usize) -> Self {
        Self::found_at_with(places, founders, |_| ()).await
    }

    /// Both.
    pub(crate) async fn found_at_with(
        places: Vec<Place>,
        founders: usize,
        adjust: fn(&mut NodeOptions),
    ) -> Self {
        Self::new(places, founders, adjust).founded().await
    }

    /// Where a node keeps its data.
    pub(crate) fn place(&self, number: usize) -> &Place {
        &self.spots[number].place
    }

    /// Cuts all links of a node, in both directions.
    pub(crate) fn isolate(&self, number: usize, how: Cut) {
        for other in self.others(number) {
            self.faults.part(self.id(number), self.id(other), how);
        }
    }

    /// Sets clients to work, and waits until they are.
    pub(crate) async fn load(&self) -> Load {
        let load = Load::begin_on(&self.nodes, &self.recorder, Kinds::of_a_cluster());
        load.progresses(AT_WORK).await;
        load
    }

    /// The same with clients who know one node only; they are not waited for.
    pub(crate) fn load_at(&self, number: usize, kinds: Kinds) -> Load {
        let node = self
            .nodes
            .only(self.name(number), self.node(number).addresses.rpc);
        Load::begin_on(&node, &self.recorder, kinds)
    }

    /// Starts a node that does not run, and waits until it listens.
    pub(crate) async fn begin(&mut self, number: usize, port: Port) {
        let seeds = self.gossip_addresses();
        let (founders, faults, adjust) = (self.founders.clone(), self.faults.clone(), self.adjust);
        let spot = &mut self.spots[number];
        assert!(spot.node.is_none(), "{} runs already", spot.name);
        let same = spot.rpc.filter(|_| port == Port::Same);
        let begins = TestNode::begin_with(&spot.place, spot.lines.clone(), move |options| {
            set_up(options, seeds, founders, faults);
            options.net.rpc_address = same.unwrap_or(options.net.rpc_address);
            adjust(options);
        });
        let node = begins.await;
        (spot.id, spot.rpc) = (Some(node.id), Some(node.addresses.rpc));
        self.nodes.starts(&spot.name, node.addresses.rpc);
        spot.node = Some(node);
    }

    /// Starts a node whose data lies elsewhere, and waits until it listens. It is none of those that are counted here.
    pub(crate) async fn begin_at(&self, place: &Place) -> TestNode {
        let seeds = self.gossip_addresses();
        let (founders, faults, adjust) = (self.founders.clone(), self.faults.clone(), self.adjust);
        TestNode::begin_with(place, LogLines::new(), move |options| {
            set_up(options, seeds, founders, faults);
            adjust(options);
        })
        .await
    }

    /// Starts a node that does not run, and waits until it serves.
    pub(crate) async fn start(&mut self, number: usize, port: Port) {
        self.begin(number, port).await;
        self.spots[number].running().until_ready().await;
    }

    /// Ends a node as a kill does; nobody is told.
    pub(crate) async fn kill(&mut self, number: usize) {
        let spot = &mut self.spots[number];
        spot.node.take().expect("it runs").kill().await;
        self.nodes.ends(&spot.name);
    }

    /// Puts an empty disk in the place of a node that does not run.
    pub(crate) fn wipe(&mut self, number: usize) {
        let spot = &mut self.spots[number];
        assert!(spot.node.is_none(), "{} runs", spot.name);
        let place = Place::real().among_others(&spot.name);
        spot.place = match spot.place.credentials() {
            Some(credentials) => place.secured(credentials),
            None => place,
        };
    }

    /// Gives a node that does not run a certificate from there.
    pub(crate) fn certify(&mut self, number: usize, credentials: &Arc<Credentials>) {
        let spot = &mut self.spots[number];
        assert!(spot.node.is_none(), "{} runs", spot.name);
        let place = std::mem::replace(&mut spot.place, Place::real());
        spot.place = place.secured(credentials);
    }

    /// Asks a node to stop, and waits until it has.
    pub(crate) async fn shut_down(&mut self, number: usize) -> Ending {
        let spot = &mut self.spots[number];
        let ending = spot.node.take().expect("it runs").shut_down().await;
        self.nodes.ends(&spot.name);
        ending
    }

    /// Waits until a node has ended by itself.
    pub(crate) async fn ended(&mut self, number: usize) -> Ending {
        let spot = &mut self.spots[number];
        let ending = spot.node.take().expect("it runs").ended().await;
        self.nodes.ends(&spot.name);
        ending
    }

    /// Ends the load, reads all that each node that runs has, and judges everything.
    pub(crate) async fn judge(&self, load: Load) -> (Answers, Summary) {
        let answers = load.finish().await;
        (answers, self.judge_all().await)
    }

    /// The same when nobody is at work.
    pub(crate) async fn judge_all(&self) -> Summary {
        read_all_running(&self.nodes, &self.recorder).await;
        self.recorder.history().assert_kept()
    }

    /// Stops all nodes that run.
    pub(crate) async fn stop(mut self) {
        for number in self.running() {
            let ending = self.shut_down(number).await;
            assert_eq!(ending.exit_code, 0, "{ending:?}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
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

impl Spot {
    fn running(&mut self) -> &mut TestNode {
        let name = &self.name;
        self.node
            .as_mut()
            .unwrap_or_else(|| panic!("{name} does not run"))
    }
}

/// So many places on the machine's disk.
pub(crate) fn places(count: usize) -> Vec<Place> {
    (0..count).map(|_| Place::real()).collect()
}

/// What makes a node one of this cluster.
fn set_up(options: &mut NodeOptions, seeds: Vec<String>, founders: Vec<String>, faults: LinkFaults) {
    options.consensus = TIMING;
    options.cluster = ClusterSetup {
        gossip: ClusterOptions {
            name: "annals".to_owned(),
            seeds,
            gossip_keys: GossipRing::new(None),
            advertise: None,
        },
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        gossip_timing: gossip_timing(),
        initial_members: founders,
        alone: false,
        voters: VoterRules {
            voters_max: 5,
            stable_for: STABLE_FOR,
        },
        faults,
    };
}

/// Fast enough for a test, and slow enough for a machine that does much else.
fn gossip_timing() -> GossipTiming {
    GossipTiming {
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(100),
        gossip_interval: Duration::from_millis(20),
        exchange_interval: Duration::from_millis(500),
        connection_timeout: Duration::from_secs(1),
        reclaim_after: Duration::from_millis(50),
        join_wait_min: Duration::from_millis(50),
        join_wait_max: Duration::from_millis(400),
    }
}
