//! The thread that a node lives on, from its start to whatever end it takes.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_rt::System;
use slog::Logger;
use tokio::{sync::oneshot, time::timeout};

use super::waiting::{in_time, until};
use crate::{
    actors::{
        log::{Describe, LogActor},
        supervision::{ActorRef, Ending, Reply},
    },
    node::{Addresses, Node, NodeControl, NodeOptions, NodeRefs},
    storage::data_dir::DataDir,
};

/// Threads of each node's pool.
const POOL_THREADS: usize = 2;

/// How long whoever drops a node waits for its end at most. It takes some milliseconds, unless the disk is stuck.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What a node is steered by, and where it listens; no addresses when it has ended instead.
pub(super) type Bound = (NodeControl, NodeRefs, Option<Addresses>);

/// A node's thread. Dropping it ends the node in the middle of whatever it does, and waits for that, though not for ever: a test that
/// fails leaves nothing behind.
#[derive(Debug)]
pub(super) struct NodeThread {
    /// Dropped to end the node.
    life: Option<oneshot::Sender<()>>,
    /// `None` is sent by a node that was ended by `life`.
    ending: oneshot::Receiver<Option<Ending>>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<()>>,
    /// Has a thread of its own, which ends behind what it is writing.
    log: Option<ActorRef<LogActor>>,
}

/// What a node tells while it starts.
pub(super) struct Starting {
    /// It listens, or has ended.
    pub(super) bound: oneshot::Receiver<Bound>,
    /// It serves; dropped when it ends without.
    pub(super) ready: oneshot::Receiver<()>,
}

impl NodeThread {
    /// Starts a node.
    ///
    /// Panics: the machine has no more threads or descriptors.
    pub(super) fn spawn(options: NodeOptions, data_dir: DataDir, logger: Logger) -> (Self, Starting) {
        let (bound_sender, bound) = oneshot::channel();
        let (ready_sender, ready) = oneshot::channel();
        let (ending_sender, ending) = oneshot::channel();
        let (life, killed) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("node".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(POOL_THREADS)
                .thread_name("node-pool")
                .enable_all()
                .build()
                .expect("the machine has threads");
            let handle = runtime.handle().clone();
            let system = System::with_tokio_rt(move || runtime);
            let ending = system.block_on(async move {
                let node = Node::start(options, data_dir, &handle, &logger);
                let node = node.expect("the machine has threads and descriptors");
                let lives = async {
                    drop(bound_sender.send((node.control(), node.refs().clone(), node.bound().await)));
                    if node.ready().await.is_some() {
                        // Nobody may be waiting.
                        ready_sender.send(()).unwrap_or(());
                    }
                    node.wait().await
                };
                tokio::select! {
                    ending = lives => Some(ending),
                    _ = killed => None,
                }
            });
            if ending.is_none() {
                System::current().stop();
                system.run().expect("it was stopped by us");
            }
            // The data directory is free again, so whoever hears of the end may start the next node.
            drop(ending_sender.send(ending));
        });
        let this = Self {
            life: Some(life),
            ending,
            thread: Some(thread.expect("the machine has threads")),
            log: None,
        };
        (this, Starting { bound, ready })
    }

    /// Notes whom to wait for when the node is killed.
    pub(super) fn knows(&mut self, refs: &NodeRefs) {
        self.log = Some(refs.log.clone());
    }

    /// Waits until the node has ended by itself. `None`: its thread panicked.
    ///
    /// Panics: it does not end.
    pub(super) async fn ended(mut self) -> Option<Ending> {
        let ending = in_time("the end of the node", &mut self.ending).await.ok()?;
        self.joined().await;
        Some(ending.expect("nobody killed it"))
    }

    /// Lets the node begin to end.
    pub(super) fn strike(&mut self) {
        drop(self.life.take());
    }

    /// Ends the node in the middle of whatever it does. Answers once its directory is free.
    ///
    /// Panics: it does not end, or its thread panicked.
    pub(super) async fn killed(mut self) {
        self.strike();
        in_time("the end of a node that was killed", &mut self.ending)
            .await
            .expect("its thread does not panic");
        self.joined().await;
        if let Some(log) = self.log.take() {
            gone(&log).await;
        }
    }

    async fn joined(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined
            .expect("joining does not panic")
            .expect("nor does the node's thread");
    }
}

impl Drop for NodeThread {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.strike();
        let log = self.log.take();
        let (sender, ended) = mpsc::channel();
        let reap = move || {
            // A panic of its was told when it happened.
            drop(thread.join());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            if let (Some(log), Ok(runtime)) = (log, runtime) {
                // Whoever waits for this thread says so when it takes longer.
                drop(runtime.block_on(async { timeout(ENDS_WITHIN, gone(&log)).await }));
            }
            // Nobody waits any more where it took too long.
            sender.send(()).unwrap_or(());
        };
        let reaper = thread::Builder::new().name("reaper".to_owned()).spawn(reap);
        if reaper.is_err() || ended.recv_timeout(ENDS_WITHIN).is_err() {
            eprintln!("a node of a test has not ended within {ENDS_WITHIN:?}, and is left behind");
        }
    }
}

/// Waits until a log of a node that was killed has let go of its files.
async fn gone(log: &ActorRef<LogActor>) {
    until("the end of the log's thread", async || {
        let (reply, _) = Reply::channel();
        log.post(Describe { reply }).is_err()
    })
    .await;
}
