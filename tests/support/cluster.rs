//! The cluster of the kit, with clients at work on it and a judge of what they saw.
//!
//! A node that is started again listens elsewhere, as one that was moved does, unless it is told to come back where it was.
//! When a test fails, what each node logged is printed with it.

use std::{ops::Deref, sync::Arc, time::Duration};

pub(crate) use annals::testing::{Port, TIMING};
use annals::{
    actors::supervision::Ending,
    node::NodeOptions,
    testing::{LinkFaults, TestCluster},
};

use super::{
    load::{Answers, Kinds, Load, Nodes, read_all_running},
    log_checker::{Recorder, Summary},
    node::Place,
    tls::{CLUSTER, Credentials},
};

/// Enough requests and records to be sure that all clients are at work.
pub(crate) const AT_WORK: u64 = 150;

/// Nodes of one cluster, by number. Whoever looks at it looks at the kit's; whoever ends or starts a node does it here, where clients
/// are told.
pub(crate) struct Cluster {
    kit: TestCluster,
    pub(crate) faults: LinkFaults,
    pub(crate) nodes: Nodes,
    pub(crate) recorder: Recorder,
}

/// Half of what a leader that is asked for a read index may take; there may be more than one standstill in that time.
const LONG: Duration = Duration::from_millis(500);

/// A machine that does much else may not run a thread for a while; that is no election.
pub(crate) fn patient(options: &mut NodeOptions) {
    options.consensus.election_timeout = Duration::from_secs(5);
}

impl Deref for Cluster {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        &self.kit
    }
}

impl Cluster {
    /// A cluster of so many founders, none of which is started yet.
    pub(crate) fn of(count: usize) -> Self {
        Self::new(places(count), count, |_| ())
    }

    pub(crate) fn new(places: Vec<Place>, founders: usize, adjust: fn(&mut NodeOptions)) -> Self {
        let certificates = places.first().and_then(Place::certificates);
        let caller = certificates.map(|certificates| certificates.of_client("load"));
        // Of one name for all, unlike the kit's: tests here start nodes beside it that are to belong to it, or not to.
        let kit = TestCluster::at(places, founders, move |options| {
            CLUSTER.clone_into(&mut options.cluster.gossip.name);
            adjust(options);
        });
        Self {
            faults: kit.faults().clone(),
            nodes: Nodes::called_as(caller),
            recorder: Recorder::new(),
            kit,
        }
    }

    /// Founds a cluster of so many nodes, and waits until each of them serves.
    pub(crate) async fn found(count: usize) -> Self {
        Self::found_at(places(count), count).await
    }

    /// The same, where who leads goes on leading: for tests that nodes which take over are no part of.
    pub(crate) async fn found_steady(count: usize) -> Self {
        Self::found_with(count, patient).await
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

    /// The same of one that was made before.
    pub(crate) async fn founded(mut self) -> Self {
        self.begin_all().await;
        for number in self.running() {
            self.kit.until_ready(number).await;
        }
        self.until_led().await;
        self
    }

    /// Starts all founders, each of which knows those before it.
    pub(crate) async fn begin_all(&mut self) {
        self.kit.begin_all().await;
        for number in self.running() {
            self.tell_of(number);
        }
    }

    /// Sets clients to work, and waits until they are.
    pub(crate) async fn load(&self) -> Load {
        let load = Load::begin_on(&self.nodes, &self.recorder, Kinds::of_a_cluster());
        load.progresses(AT_WORK).await;
        load
    }

    /// The same with clients who wait for every answer.
    pub(crate) async fn patient_load(&self) -> Load {
        let load = Load::begin_on(&self.nodes, &self.recorder, Kinds::of_a_whole_cluster());
        load.progresses(AT_WORK).await;
        load
    }

    /// The same with clients who know one node only; they are not waited for.
    pub(crate) fn load_at(&self, number: usize, kinds: Kinds) -> Load {
        let node = self.nodes.only(self.name(number), self.address(number));
        Load::begin_on(&node, &self.recorder, kinds)
    }

    /// Why reads may have been refused though the same node led all the time: none were, but where the machine stood still for so long
    /// that a leader which is asked seemed to lead no more.
    pub(crate) fn refusals_of_a_standstill(&self) -> &'static [&'static str] {
        if self.stood_still() { &["NOT_LEADER"] } else { &[] }
    }

    /// Whether the machine stood still for so long that the nodes may have elected another leader.
    pub(crate) fn stood_still(&self) -> bool {
        let standstills = self.recorder.history().standstills;
        standstills.iter().any(|still| still.end - still.start >= LONG)
    }

    /// Starts a node that does not run, and waits until it listens.
    pub(crate) async fn begin(&mut self, number: usize, port: Port) {
        self.kit.begin(number, port).await;
        self.tell_of(number);
    }

    /// Starts a node that does not run, and waits until it serves.
    pub(crate) async fn start(&mut self, number: usize, port: Port) {
        self.begin(number, port).await;
        self.kit.until_ready(number).await;
    }

    /// Ends a node as a kill does; nobody is told.
    pub(crate) async fn kill(&mut self, number: usize) {
        self.kit.kill(number).await;
        self.nodes.ends(self.kit.name(number));
    }

    /// Puts an empty disk in the place of a node that does not run.
    pub(crate) fn wipe(&mut self, number: usize) {
        self.kit.wipe(number);
    }

    /// Gives a node that does not run a certificate from there.
    pub(crate) fn certify(&mut self, number: usize, credentials: &Arc<Credentials>) {
        self.kit.certify(number, credentials);
    }

    /// Asks a node to stop, and waits until it has.
    pub(crate) async fn shut_down(&mut self, number: usize) -> Ending {
        let ending = self.kit.shut_down(number).await;
        self.nodes.ends(self.kit.name(number));
        ending
    }

    /// Waits until a node has ended by itself.
    pub(crate) async fn ended(&mut self, number: usize) -> Ending {
        let ending = self.kit.ended(number).await;
        self.nodes.ends(self.kit.name(number));
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
    pub(crate) async fn stop(self) {
        self.kit.stop().await;
    }

    fn tell_of(&self, number: usize) {
        self.nodes.starts(self.kit.name(number), self.kit.address(number));
    }
}

/// So many places on the machine's disk.
pub(crate) fn places(count: usize) -> Vec<Place> {
    (0..count).map(|_| Place::real()).collect()
}
