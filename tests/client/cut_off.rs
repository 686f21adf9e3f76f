//! Consumers whose node its peers do not hear any more leave it soon, and in an election they stay where they are.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use annals::{
    actors::replicator::faults::Cut,
    client::{Client, Consumer, Interruption},
    clock,
};
use futures::future::join_all;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::support::{
    cluster::{Cluster, Port},
    node::{in_time, until},
    standstills::Standstills,
};

/// Enough that each follower has some, mostly.
const CONSUMERS: usize = 8;

/// How often something is appended.
const PACE: Duration = Duration::from_millis(20);

/// As long as an election takes at worst, and longer than it takes to leave a node.
const ELECTION: Duration = Duration::from_millis(2500);

/// A consumer that follows, of a client of its own with the usual settings, and what interrupted it.
struct Follower {
    consumer: Consumer,
    told: Arc<Mutex<Vec<Interruption>>>,
}

impl Follower {
    /// Behind what is there; it reads at a follower that keeps up.
    async fn begin(cluster: &Cluster, leader: usize, look_every: Option<Duration>) -> Self {
        let builder = Client::builder().addresses(cluster.addresses());
        let builder = look_every
            .into_iter()
            .fold(builder, |builder, every| builder.look_every(every));
        let client = builder.build().unwrap();
        until("a follower to be known to keep up", async || {
            client.read(..).await.unwrap().node_id != cluster.id(leader).get()
        })
        .await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&told);
        let consumer = client
            .consumer()
            .follow()
            .on_interruption(move |interruption| into.lock().unwrap().push(interruption.clone()));
        let mut consumer = consumer.build();
        in_time("a first record", consumer.next()).await.unwrap().unwrap();
        Self { consumer, told }
    }

    /// As many as there are here, and more until one reads at that node: each goes to either by chance.
    async fn begin_some(
        cluster: &Cluster,
        leader: usize,
        some_at: usize,
        look_every: Option<Duration>,
    ) -> Vec<Self> {
        let at_it = &cluster.node(some_at).refs.read_path;
        let mut followers = Vec::new();
        let begin = async {
            while followers.len() < CONSUMERS || !at_it.is_waited_on() {
                followers.push(Self::begin(cluster, leader, look_every).await);
            }
        };
        in_time("some to read at that node", begin).await;
        followers
    }

    fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().map(Interruption::to_string).collect()
    }

    /// Reads on until a record comes that was appended after `since`, as its value says.
    async fn reads_what_came_after(&mut self, since: Instant, began: Instant) {
        loop {
            let record = self.consumer.next().await.unwrap().unwrap();
            let text = String::from_utf8(record.value().to_vec()).unwrap();
            if began + Duration::from_micros(text.parse().unwrap()) > since {
                return;
            }
        }
    }
}

/// Appends the time, in microseconds since `began`, until it is told to stop.
async fn append_times(client: Client, began: Instant, stop: CancellationToken) {
    let mut pace = interval(PACE);
    while !stop.is_cancelled() {
        pace.tick().await;
        let now = (clock::now() - began).as_micros().to_string();
        client.append([now]).await.unwrap();
    }
}

/// It was eight seconds and more: three looks, two seconds apart, of which each had to find the node behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_leaves_a_node_that_is_cut_off_from_its_peers_within_a_few_seconds() {
    let cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let (began, stop) = (clock::now(), CancellationToken::new());
    let client = Client::builder().addresses(cluster.addresses()).build().unwrap();
    client.append(["0"]).await.unwrap();
    let appends = tokio::spawn(append_times(client, began, stop.clone()));
    let isolated = cluster.follower(leader);
    let mut followers = Follower::begin_some(&cluster, leader, isolated, None).await;

    let standstills = Standstills::watch();
    let cut = clock::now();
    cluster.isolate(isolated, Cut::Hang);
    // What is on its way is there yet.
    let since = cut + Duration::from_millis(500);
    let readers = followers.iter_mut().map(async |follower| {
        follower.reads_what_came_after(since, began).await;
        standstills.ran_since(cut)
    });
    let waited = in_time("all of them to read on", join_all(readers)).await;
    println!("{waited:?}");
    let moved = followers.iter().filter(|follower| !follower.told().is_empty());
    assert!(moved.count() > 0, "nobody read at the node that was cut off");
    let longest = waited.into_iter().max().unwrap();
    assert!(longest < Duration::from_secs(5), "{longest:?}");

    stop.cancel();
    in_time("the last append", appends).await.unwrap();
    cluster.faults.heal_all();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_election_no_consumer_leaves_its_node() {
    let mut cluster = Cluster::found(3).await;
    let leader = cluster.until_led().await;
    let client = Client::builder().addresses(cluster.addresses()).build().unwrap();
    client.append(["0"]).await.unwrap();
    let began = clock::now();
    let [other, stays] = cluster.others(leader)[..] else {
        panic!("there are three")
    };
    // More looks than anybody needs.
    let often = Some(Duration::from_millis(50));
    let mut followers = Follower::begin_some(&cluster, leader, stays, often).await;
    // Those at the one that stays have nobody who leads, for a while, and nowhere to go.
    cluster.kill(leader).await;
    cluster.kill(other).await;
    let killed = clock::now();
    // Rounded up, so that it is behind the kill.
    let now = || ((clock::now() - began).as_micros() + 1).to_string();
    let early = client.append([now()]).within(ELECTION);
    assert!(early.await.is_err(), "somebody leads");
    cluster.start(other, Port::Same).await;
    in_time(
        "an append at the next leader",
        client.append([now()]).into_future(),
    )
    .await
    .unwrap();
    let readers = followers
        .iter_mut()
        .map(|follower| follower.reads_what_came_after(killed, began));
    in_time("all of them to read on", join_all(readers)).await;
    let told: Vec<_> = followers.iter().map(Follower::told).collect();
    let stayed = told.iter().filter(|told| told.is_empty()).count();
    assert!(stayed > 0, "nobody read at the node that stayed: {told:?}");
    let left = |text: &String| text.contains("behind the others");
    assert!(!told.iter().flatten().any(left), "{told:?}");
    cluster.stop().await;
}
