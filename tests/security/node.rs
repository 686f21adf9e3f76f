//! A real node in this process, with a configuration of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use actix::prelude::*;
use annals::{
    config,
    node::{self, NodeOptions},
    storage::fs::RealFileSystem,
};
use slog::Logger;
use tempfile::TempDir;
use tokio::{runtime::Handle, sync::oneshot};
use tonic::transport::Channel;

use crate::log_lines::LogLines;

/// Everything that tests wait for happens within this, or they fail.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it took too long")
}

/// A directory with a configuration, and what it names.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn put(&self, name: &str, text: &str) {
        // As an operator replaces a file: nobody sees half of it.
        let next = self.path(&format!("{name}.next"));
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.path(name)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A running node; stops gracefully when it is dropped.
pub struct Node {
    pub rpc: SocketAddr,
    pub lines: LogLines,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// As `annals.toml` in the folder says, at ports of the system's choice.
    pub async fn start(folder: &Folder) -> Self {
        let lines = LogLines::new();
        let (stop, stopped) = oneshot::channel();
        let (started, ready) = oneshot::channel();
        let (logger, file, data) = (lines.logger(), folder.path("annals.toml"), folder.path("data"));
        let thread = std::thread::spawn(move || {
            let runtime = || {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(2).enable_all().build().unwrap()
            };
            System::with_tokio_rt(runtime).block_on(run(&file, &data, logger, started, stopped));
        });
        Self {
            rpc: within(ready).await.unwrap(),
            lines,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A connection without TLS.
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.rpc)).unwrap();
        within(endpoint.connect()).await.unwrap()
    }

    /// Waits until the node has logged a line that begins like this.
    pub async fn until_logged(&self, start: &str) {
        let logged = async {
            while self.lines.beginning(start).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, logged).await;
        in_time.unwrap_or_else(|_| panic!("no {start:?} in {:#?}", self.lines.all()));
    }
}

async fn run(
    file: &Path,
    data: &Path,
    logger: Logger,
    started: oneshot::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) {
    let config = config::load(Some(file), std::iter::empty()).unwrap().config;
    let (mut options, data_dir) = NodeOptions::open(&config, data, Arc::new(RealFileSystem)).unwrap();
    // The test's own thread waits for the node's end meanwhile, so no client can say goodbye.
    options.net.drain_timeout = Duration::from_millis(50);
    let node = node::Node::start(options, data_dir, &Handle::current(), &logger).unwrap();
    let addresses = node.ready().await.unwrap();
    started.send(addresses.rpc).unwrap();
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
