//! `annals bench`: how fast a node is, as a client sees it.

mod consume;
mod limit;
mod produce;
mod report;
mod window;

use std::future::Future;

use super::{error::CliError, runtime};

/// Measure how fast a node is, as a client sees it
#[derive(Debug, clap::Subcommand)]
pub(super) enum BenchCommand {
    Produce(produce::BenchProduceArgs),
    Consume(consume::BenchConsumeArgs),
}

/// Which API the load uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Api {
    /// annals.v1, streams
    Stream,
    /// annals.v1, a call per request
    Unary,
    /// log.v1, streams
    #[value(name = "log.v1")]
    LogV1,
}

impl Api {
    /// As `--api` and JSON call it.
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Unary => "unary",
            Self::LogV1 => "log.v1",
        }
    }
}

/// Runs the verb.
pub(super) fn run(command: &BenchCommand) -> Result<(), CliError> {
    match command {
        BenchCommand::Produce(args) => on_threads(args.threads(), produce::run(args)),
        BenchCommand::Consume(args) => runtime::block_on(consume::run(args)),
    }
}

/// Runs the work on this thread, or its tasks on `threads`.
fn on_threads<T>(threads: usize, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    if threads == 1 {
        return runtime::block_on(work);
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(CliError::Start)?
        .block_on(work)
}
