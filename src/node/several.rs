//! Several nodes in one process, each in a System and on threads of its own: a cluster to try things with.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use actix::prelude::*;
use futures::future::{join_all, select_all};
use slog::{Logger, error, info, warn};
use tokio::{runtime::Runtime, sync::oneshot};

use super::{
    Addresses, Node, NodeControl, NodeOptions, ProcessError, descriptors::connections_max, process::Signals,
};
use crate::{
    actors::supervision::Ending,
    config::Config,
    storage::{data_dir::DataDir, fs::RealFileSystem},
};

/// Threads of each node's pool: all of them share the machine.
const POOL_THREADS: usize = 1;

/// How the first of several nodes ended that did.
#[derive(Clone, Debug)]
pub struct EndingOf {
    /// Which node.
    pub node_name: String,
    /// How.
    pub ending: Ending,
}

/// A node on its thread.
struct Running {
    name: String,
    control: NodeControl,
    /// Its addresses, once it serves.
    ready: oneshot::Receiver<Addresses>,
    ended: oneshot::Receiver<Ending>,
    /// Held, so that it is plain whose it is; the end of the process does not wait for it.
    _thread: JoinHandle<()>,
}

/// Runs nodes until SIGTERM or Ctrl-C, or until one of them fails, which ends the others too; `on_ready` is called once when
/// all serve.
///
/// Blocking. Errors: one could not begin; how they end that did is in the `EndingOf`.
pub fn run_several(
    configs: &[Config],
    logger: &Logger,
    on_ready: impl FnOnce(&[Addresses]),
) -> Result<EndingOf, ProcessError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProcessError::Runtime)?;
    runtime.block_on(async {
        let signals = Signals::listen().map_err(ProcessError::Runtime)?;
        // Whose directory cannot be used is told before any of them begins.
        let opened: Result<Vec<_>, _> = configs
            .iter()
            .map(|config| open(config, configs.len(), logger))
            .collect();
        let mut running = Vec::new();
        for (options, data_dir) in opened? {
            running.push(start(options, data_dir, logger).await?);
        }
        Ok(run_all(running, signals, logger, on_ready).await)
    })
}

async fn run_all(
    mut running: Vec<Running>,
    signals: Signals,
    logger: &Logger,
    on_ready: impl FnOnce(&[Addresses]),
) -> EndingOf {
    let mut readies = Vec::new();
    for node in &mut running {
        readies.push(std::mem::replace(&mut node.ready, oneshot::channel().1));
    }
    let mut all_ready = Some(Box::pin(join_all(readies)));
    let mut on_ready = Some(on_ready);
    let mut asked = Box::pin(signals.first());
    let first = loop {
        let ends = select_all(running.iter_mut().map(|node| &mut node.ended));
        tokio::select! {
            signal = &mut asked => {
                info!(logger, "asked to stop"; "signal" => signal);
                break None;
            }
            (ending, at, _) = ends => break Some((at, ending)),
            addresses = async { all_ready.as_mut().expect("it is looked at first").await }, if all_ready.is_some() => {
                all_ready = None;
                // One that has ended instead is heard of by its end.
                let addresses: Result<Vec<_>, _> = addresses.into_iter().collect();
                if let (Ok(addresses), Some(on_ready)) = (addresses, on_ready.take()) {
                    on_ready(&addresses);
                }
            }
        }
    };
    let mut first = first.map(|(at, ending)| {
        let node = running.remove(at);
        ending_of(node.name, ending.ok(), logger)
    });
    // The last one first, and one after the other: whoever leads can hand over for as long as there is anybody.
    while let Some(node) = running.pop() {
        node.control.shutdown().await;
        let ending = ending_of(node.name, node.ended.await.ok(), logger);
        let is_worse = first.as_ref().is_none_or(|first| first.ending.exit_code == 0);
        if is_worse {
            first = Some(ending);
        }
    }
    first.unwrap_or_else(|| EndingOf {
        node_name: String::new(),
        ending: Ending::graceful(),
    })
}

fn ending_of(node_name: String, ending: Option<Ending>, logger: &Logger) -> EndingOf {
    let ending = ending.unwrap_or_else(|| Ending {
        exit_code: crate::actors::supervision::policy::EXIT_ESCALATED,
        cause: "its thread panicked".to_owned(),
    });
    if ending.exit_code != 0 {
        error!(logger, "a node has ended"; "node" => &node_name, "cause" => &ending.cause);
    }
    EndingOf { node_name, ending }
}

fn open(config: &Config, count: usize, logger: &Logger) -> Result<(NodeOptions, DataDir), ProcessError> {
    let (mut options, data_dir) = NodeOptions::open(config, &config.node.data_dir, Arc::new(RealFileSystem))?;
    // All of them share the descriptors of the process.
    let open_files_max = options.log.open_files_max.saturating_mul(count);
    options.net.connections_max = connections_max(options.net.connections_max, open_files_max, logger);
    Ok((options, data_dir))
}

async fn start(options: NodeOptions, data_dir: DataDir, logger: &Logger) -> Result<Running, ProcessError> {
    let name = options.node_name.clone();
    let runtime = pool()?;
    let (control_sender, control) = oneshot::channel();
    let (ready_sender, ready) = oneshot::channel();
    let (ended_sender, ended) = oneshot::channel();
    let node_logger = logger.clone();
    let run = move || {
        let handle = runtime.handle().clone();
        let system = System::with_tokio_rt(move || runtime);
        let ending = system.block_on(async move {
            let node = match Node::start(options, data_dir, &handle, &node_logger) {
                Ok(node) => node,
                Err(error) => {
                    drop(control_sender.send(Err(error)));
                    return None;
                }
            };
            drop(control_sender.send(Ok(node.control())));
            if let Some(addresses) = node.ready().await {
                // Nobody waits any more when another node has ended.
                let _told: Result<(), Addresses> = ready_sender.send(addresses);
            }
            let ending = node.wait().await;
            // As in a process of its own: the log's thread may still be writing.
            std::mem::forget(node);
            Some(ending)
        });
        std::mem::forget(system);
        if let Some(ending) = ending {
            drop(ended_sender.send(ending));
        }
    };
    let thread = thread::Builder::new().name(name.clone()).spawn(run);
    let thread = thread.map_err(ProcessError::Runtime)?;
    let died = || {
        warn!(logger, "a node died before it began"; "node" => &name);
        Err(io::Error::other(format!("{name} died before it began")))
    };
    let control = control.await.unwrap_or_else(|_| died());
    let control = control.map_err(ProcessError::Runtime)?;
    Ok(Running {
        name,
        control,
        ready,
        ended,
        _thread: thread,
    })
}

fn pool() -> Result<Runtime, ProcessError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(POOL_THREADS)
        .enable_all()
        .build()
        .map_err(ProcessError::Runtime)
}
