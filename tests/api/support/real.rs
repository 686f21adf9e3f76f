//! The whole node, as `annals agent` runs it.

use std::{ops::Deref, sync::Arc, thread::JoinHandle, time::Duration};

use actix::prelude::*;
use annals::{
    config::Config,
    net::Options,
    node::{self, NodeOptions},
    storage::fs::RealFileSystem,
};
use slog::{Discard, Logger, o};
use tokio::{runtime::Handle, sync::oneshot};

use super::{Doors, SEGMENT_BYTES, TAIL_CACHE_BYTES, get, options, within};

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
    let (stop, stopped) = oneshot::channel();
    let (started, doors) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().build().unwrap()
        };
        System::with_tokio_rt(runtime).block_on(run(started, stopped));
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

async fn run(started: oneshot::Sender<Doors>, stopped: oneshot::Receiver<()>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut node_options, data_dir) =
        NodeOptions::open(&Config::default(), directory.path(), Arc::new(RealFileSystem)).unwrap();
    // The test's own thread waits for the node's end meanwhile, so no client can say goodbye.
    let drain_timeout = Duration::from_millis(50);
    node_options.net = Options {
        drain_timeout,
        ..options()
    };
    node_options.log.segment_bytes = SEGMENT_BYTES;
    node_options.log.tail_cache_bytes = TAIL_CACHE_BYTES;
    let logger = Logger::root(Discard, o!());
    let node = node::Node::start(node_options, data_dir, &Handle::current(), &logger);
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
