//! Has faults happen one after the other while clients are at work, each until they have got over it and until it is over, and in the end
//! has the log checker judge what they saw.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use annals::clock;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::interval;

use crate::{
    clients::Clients,
    contents::read_all,
    faults::{Fault, Schedule},
    nodes::{COUNT, Leadership, Nodes},
    pauses::Pauses,
    pulse::Kind,
    support::{
        log_checker::Recorder,
        node::{in_time, until},
    },
};

/// So much comes back to each client before what was done to the nodes is undone, and before the next thing is done to them: a
/// tenth of a second to a second or two.
const PROGRESS: Range<usize> = 5..40;

/// Faults that every run has: a death and a cut.
const FAULTS_MIN: usize = 2;

/// How often nodes and clients are looked at: to ask is a connection each time, and those of the last minute are all remembered by the
/// system, and looked through at each door.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// As the table of pauses says it.
const NOTHING: &str = "nothing";

/// Who plays the part of fate.
pub(crate) struct Director {
    chance: StdRng,
    nodes: Nodes,
    clients: Clients,
    recorder: Recorder,
    pauses: Pauses,
    played: BTreeMap<Fault, u32>,
    began: Instant,
    first_term: u64,
}

impl Director {
    /// Founds a cluster, and sets clients to work on it, as they are without options but for `look_every`.
    pub(crate) async fn begin(seed: u64, look_every: Option<Duration>) -> Self {
        let recorder = Recorder::new();
        let nodes = Nodes::found().await;
        until("the nodes to serve", async || nodes.are_ready()).await;
        until("a leader", async || nodes.leadership().is_some()).await;
        let first_term = nodes.leadership().unwrap().term;
        let clients = Clients::begin(nodes.doors.addresses[0], look_every, &recorder);
        let mut director = Self {
            chance: StdRng::seed_from_u64(seed),
            nodes,
            clients,
            recorder,
            pauses: Pauses::default(),
            played: BTreeMap::new(),
            began: clock::now(),
            first_term,
        };
        director
            .progress(&[Kind::Producer, Kind::Consumer, Kind::Reader])
            .await;
        director
    }

    /// One fault after the other, for so long, but at least the first two; each is played to its end.
    pub(crate) async fn play(&mut self, how_long: Duration) {
        let notes = self.recorder.client("director");
        let mut schedule = Schedule::new();
        while self.played.len() < FAULTS_MIN || self.began.elapsed() < how_long {
            let began = notes.now();
            self.progress(&[Kind::Producer, Kind::Consumer, Kind::Reader])
                .await;
            let pulses = || self.clients.pulses.iter().map(|pulse| &**pulse);
            self.pauses.add(NOTHING, began, notes.now(), pulses());

            let fault = schedule.next(&mut self.chance);
            let before = self.leadership().await;
            let began = notes.now();
            self.happen(fault, before).await;
            self.recover().await;
            let ended = notes.now();
            self.pauses.add(
                fault.name(),
                began,
                ended,
                self.clients.pulses.iter().map(|pulse| &**pulse),
            );
            *self.played.entry(fault).or_default() += 1;
            let after = self.leadership().await;
            assert!(
                !fault.ends_a_term() || after.term > before.term,
                "it has not happened: {fault:?} under {before:?}, and then {after:?}"
            );
            println!(
                "{:>5.1} s: {}: {:.1} s, from node-{} to node-{}",
                self.began.elapsed().as_secs_f64(),
                fault.name(),
                ended.since(began).as_secs_f32(),
                before.node,
                after.node
            );
        }
    }

    /// What clients saw, judged.
    pub(crate) async fn finish(mut self) {
        let count = self.clients.finish().await;
        for node in 0..COUNT {
            let held = read_all(node, &self.nodes.rpc(node), &self.recorder).await;
            assert_eq!(held, count, "node-{node} has more or less than was acknowledged");
        }
        self.nodes.assert_no_panics();
        let terms = self.leadership().await.term - self.first_term;
        let interruptions = self.clients.interruptions();
        let reconnects: u64 = interruptions.values().sum();
        let (restarts, held_back) = (self.nodes.restarts, self.nodes.doors.held_back());
        assert!(
            terms > 0 && restarts > 0 && reconnects > 0 && held_back > 0,
            "nothing happened: {terms} terms, {restarts} restarts, {reconnects} reconnects, {held_back} held back"
        );
        let summary = self.recorder.history().assert_kept();
        assert!(summary.failed == 0 && summary.unknown == 0, "{summary:?}");
        self.pauses.print();
        println!("faults: {:?}", self.played);
        println!(
            "{terms} terms, {restarts} restarts, {held_back} messages between nodes held back, {reconnects} times a consumer went on elsewhere:"
        );
        for (why, times) in &interruptions {
            println!("{times:>6} x {why}");
        }
        println!(
            "{count} records, each once and in order on all {COUNT} nodes; no error for anybody; {summary:?}"
        );
    }

    async fn happen(&mut self, fault: Fault, led: Leadership) {
        let leader = led.node;
        let follower = (leader + self.chance.random_range(1..COUNT)) % COUNT;
        match fault {
            Fault::KillLeader => self.kill(leader, Some(led)).await,
            Fault::KillFollower => self.kill(follower, None).await,
            Fault::KillTwo => {
                self.nodes.kill(leader);
                self.nodes.kill(follower);
                self.nodes.start(follower);
                self.progress(&[Kind::Producer, Kind::Consumer]).await;
                self.nodes.start(leader);
            }
            Fault::RollingRestart => {
                for node in 0..COUNT {
                    self.nodes.stop(node);
                    self.nodes.start(node);
                    self.serve().await;
                }
            }
            Fault::CutLeaderOff => self.cut_off(leader, Some(led)).await,
            Fault::CutFollowerOff => self.cut_off(follower, None).await,
            Fault::FreezeLeader => self.freeze(leader, Some(led)).await,
            Fault::FreezeFollower => self.freeze(follower, None).await,
            Fault::KillLeaderWhileOneIsCutOff => {
                self.nodes.doors.cut_off(Some(follower));
                self.nodes.kill(leader);
                self.nodes.start(leader);
                self.progress(&[Kind::Producer]).await;
                self.nodes.doors.cut_off(None);
            }
        }
    }

    async fn kill(&mut self, node: usize, led: Option<Leadership>) {
        self.nodes.kill(node);
        self.others_go_on(led).await;
        self.nodes.start(node);
    }

    async fn cut_off(&mut self, node: usize, led: Option<Leadership>) {
        self.nodes.doors.cut_off(Some(node));
        self.others_go_on(led).await;
        self.nodes.doors.cut_off(None);
    }

    async fn freeze(&mut self, node: usize, led: Option<Leadership>) {
        self.nodes.freeze(node);
        self.others_go_on(led).await;
        self.nodes.thaw();
    }

    /// Until another one leads, where the leader is gone, and all clients have got over it.
    async fn others_go_on(&mut self, led: Option<Leadership>) {
        if let Some(led) = led {
            self.until("another leader", |nodes, _| {
                nodes
                    .leadership()
                    .is_some_and(|now| now.term > led.term && now.node != led.node)
            })
            .await;
        }
        self.progress(&[Kind::Producer, Kind::Consumer, Kind::Reader])
            .await;
    }

    /// Until all nodes serve under one leader and all clients go on.
    async fn recover(&mut self) {
        self.serve().await;
        self.progress(&[Kind::Producer, Kind::Consumer, Kind::Reader])
            .await;
    }

    async fn serve(&self) {
        self.until("all nodes to serve", |nodes, _| nodes.are_ready())
            .await;
        self.until("a leader", |nodes, _| nodes.leadership().is_some())
            .await;
    }

    async fn leadership(&self) -> Leadership {
        self.until("a leader", |nodes, _| nodes.leadership().is_some())
            .await;
        self.nodes
            .leadership()
            .expect("nothing happens to the nodes meanwhile")
    }

    /// Until so much has come back to each client of these kinds as chance says.
    async fn progress(&mut self, kinds: &[Kind]) {
        let more = self.chance.random_range(PROGRESS);
        let of_these = |clients: &Clients| -> Vec<usize> {
            let pulses = clients.pulses.iter().filter(|pulse| kinds.contains(&pulse.kind));
            pulses.map(|pulse| pulse.count()).collect()
        };
        let before = of_these(&self.clients);
        self.until("clients to go on", |_, clients| {
            let now = of_these(clients);
            now.iter().zip(&before).all(|(now, before)| *now >= before + more)
        })
        .await;
    }

    /// Panics at once when an error reaches a user.
    async fn until(&self, what: &str, holds: impl Fn(&Nodes, &Clients) -> bool) {
        let look = async || {
            self.clients.assert_untroubled();
            holds(&self.nodes, &self.clients)
        };
        let mut looks = interval(LOOK_EVERY);
        in_time(what, async {
            while !look().await {
                looks.tick().await;
            }
        })
        .await;
    }
}
