//! Whole nodes, as `annals agent` runs them: one alone, or three that found a cluster.

use std::{ops::Deref, sync::Arc, thread::JoinHandle, time::Duration};

use actix::prelude::*;
use annals::{
    config::{Auto, Config, HostPort, NodeName},
    net::Options,
    node::{self, NodeOptions},
    storage::fs::RealFileSystem,
};
use slog::{Discard, Logger, o};
use tokio::{runtime::Handle, sync::oneshot};

use super::{Doors, SEGMENT_BYTES, TAIL_CACHE_BYTES, addresses::free_addresses, get, options, within};

/// A running node; stops gracefully when it is dropped.
pub struct Node {
    doors: Doors,
    /// As its responses' headers say it.
    pub cluster_id: String,
    /// Its number.
    pub node_id: u64,
    /// The term it leads in.
    pub term: u64,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Deref for Node {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

/// A node that is ready.
pub async fn node() -> Node {
    let starting = start(Config::default());
    starting.await
}

/// Three nodes that are ready, and one cluster: `node-0` to `node-2`.
pub async fn trio() -> [Node; 3] {
    let at = free_addresses(3);
    let names: Vec<_> = (0..3).map(NodeName::numbered).collect();
    let starting = names.iter().zip(&at).map(|(name, gossip)| {
        let mut config = Config::default();
        config.node.name = name.clone();
        config.listen.gossip = Auto::Set(*gossip);
        config.cluster.initial_members.clone_from(&names);
        config.cluster.seeds = at.iter().copied().map(HostPort::from).collect();
        start(config)
    });
    let nodes = futures::future::join_all(starting.collect::<Vec<_>>()).await;
    nodes
        .try_into()
        .unwrap_or_else(|_| unreachable!("there are three"))
}

async fn start(config: Config) -> Node {
    let (stop, stopped) = oneshot::channel();
    let (started, doors) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().build().unwrap()
        };
        System::with_tokio_rt(runtime).block_on(run(config, started, stopped));
    });
    let doors: Doors = doors.await.unwrap();
    // Its addresses are bound before it leads.
    within(async { while get(doors.admin, "/readyz").await.0 != 200 {} }).await;
    let status = doors.status().await;
    let text = |name: &str| status["node"][name].as_str().unwrap().to_owned();
    Node {
        doors,
        cluster_id: text("cluster_id"),
        node_id: text("id").parse().unwrap(),
        term: status["leadership"]["term"].as_u64().unwrap(),
        stop: Some(stop),
        thread: Some(thread),
    }
}

async fn run(config: Config, started: oneshot::Sender<Doors>, stopped: oneshot::Receiver<()>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut node_options, data_dir) =
        NodeOptions::open(&config, directory.path(), Arc::new(RealFileSystem)).unwrap();
    // The test's own thread waits for the node's end meanwhile, so no client can say goodbye.
    let drain_timeout = Duration::from_millis(50);
    node_options.net = Options {
        drain_timeout,
        ..options()
    };
    // A machine that does much else may not run a thread for a while; that is no election.
    node_options.consensus.election_timeout = Duration::from_secs(5);
    node_options.log.segment_bytes = SEGMENT_BYTES;
    node_options.log.tail_cache_bytes = TAIL_CACHE_BYTES;
    let logger = Logger::root(Discard, o!());
    let node = node::Node::start(node_options, data_dir, &Handle::current(), &logger).unwrap();
    let addresses = node.ready().await.unwrap();
    started
        .send(Doors {
            rpc: addresses.rpc,
            admin: addresses.admin,
        })
        .unwrap();
    // Dropped, not sent: the test is over.
    drop(stopped.await);
    node.control().shutdown().await;
    node.wait().await;
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
