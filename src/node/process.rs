//! A node as a process: from its configuration to its exit code.

use std::{io, num::NonZeroUsize, path::Path, sync::Arc};

use actix::prelude::*;
use slog::{Logger, info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Addresses, Node, NodeControl, NodeOptions, OptionsError, descriptors::connections_max};
use crate::{actors::supervision::Ending, config::Config, error::Disposition, storage::fs::RealFileSystem};

/// The node could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Its data directory cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The system gave no threads or no signals.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

impl ProcessError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Options(error) => error.disposition(),
            Self::Runtime(_) => Disposition::Escalate,
        }
    }
}

/// What SIGHUP means to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Its end, as the system has it: its terminal is gone.
    End,
    /// That what can be replaced while it runs is read again.
    Reload,
}

/// Runs a node until SIGTERM or Ctrl-C, or until it fails; `on_ready` is called once when it serves.
///
/// Blocking. Errors: it could not begin; how a node ends that did is in the `Ending`.
pub fn run(
    config: &Config,
    data_dir: &Path,
    logger: &Logger,
    hangup: Hangup,
    on_ready: impl FnOnce(Addresses) + 'static,
) -> Result<Ending, ProcessError> {
    let (mut options, data_dir) = NodeOptions::open(config, data_dir, Arc::new(RealFileSystem))?;
    options.net.connections_max =
        connections_max(options.net.connections_max, options.log.open_files_max, logger);
    if let Some(name) = data_dir.renamed_from() {
        warn!(logger, "the data directory was made by a node of another name; is it the right one?";
            "stored" => name, "configured" => &options.node_name);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(pool_threads())
        .enable_all()
        .build()
        .map_err(ProcessError::Runtime)?;
    let handle = runtime.handle().clone();
    let system = System::with_tokio_rt(move || runtime);
    let logger = logger.clone();
    let ending = system.block_on(async move {
        let signals = Signals::listen().map_err(ProcessError::Runtime)?;
        let hangups = match hangup {
            Hangup::End => None,
            Hangup::Reload => Some(signal(SignalKind::hangup()).map_err(ProcessError::Runtime)?),
        };
        let node = Node::start(options, data_dir, &handle, &logger).map_err(ProcessError::Runtime)?;
        let control = node.control();
        actix::spawn(async move {
            let name = signals.first().await;
            info!(logger, "asked to stop"; "signal" => name);
            control.shutdown().await;
        });
        if let Some(hangups) = hangups {
            actix::spawn(reload_on(hangups, node.control()));
        }
        if let Some(addresses) = node.ready().await {
            on_ready(addresses);
        }
        let ending = node.wait().await;
        // The log's thread may still be writing: nobody else gets the data directory before the process is gone.
        std::mem::forget(node);
        Ok(ending)
    });
    // Dropping the runtime would wait for reads and for a log thread that may be stuck in the disk; the process ends now.
    std::mem::forget(system);
    ending
}

async fn reload_on(mut hangups: Signal, control: NodeControl) {
    while hangups.recv().await.is_some() {
        control.reload();
    }
}

/// Threads of the pool: one for each core but the one that consensus keeps busy. More would only wake one another.
fn pool_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.saturating_sub(1).max(1)
}

/// The signals that ask a process to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn first(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
