//! `annals agent`: a node, as its configuration says.

use std::path::PathBuf;

use crate::{
    config::{self, Config, Loaded},
    node::{self, Addresses, Hangup},
    telemetry::logging,
};

use super::{error::CliError, exit::Exit};

/// Run a node until SIGTERM or Ctrl-C
///
/// SIGHUP makes it read its certificates, its policy and its keys of gossip again at once; it notices by itself, within seconds, when one of these files
/// changes. The configuration is read once, at the start.
///
/// Every option, its default and its reason are in config/default.toml. ANNALS__SECTION__KEY in the environment overrides
/// the file, as in ANNALS__LOG__SEGMENT_BYTES=128MiB.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals config check --config /etc/annals/annals.toml
  annals agent --config /etc/annals/annals.toml")]
pub struct AgentArgs {
    /// The TOML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl AgentArgs {
    /// Runs the node to its end.
    ///
    /// Blocking. Errors: the node could not begin, or ended for another reason than being asked to.
    pub fn run(&self) -> Result<(), CliError> {
        run_node(&self.load()?.config, Hangup::Reload, |_| ())
    }

    /// The configuration to run with.
    ///
    /// Errors: `Config`, with all that is wrong. Blocking: reads the file.
    pub fn load(&self) -> Result<Loaded, CliError> {
        config::load(Some(&self.config), config::process_environment()).map_err(CliError::Config)
    }
}

/// Runs a node to its end, with its log on standard error.
///
/// Blocking. Errors: the node could not begin, or ended for another reason than being asked to.
pub(super) fn run_node(
    config: &Config,
    hangup: Hangup,
    on_ready: impl FnOnce(Addresses) + 'static,
) -> Result<(), CliError> {
    let logging = logging::start(config.telemetry.log_level, config.telemetry.log_format)
        .map_err(|error| CliError::Start(std::io::Error::other(error)))?;
    let ending = node::run(config, &config.node.data_dir, &logging.logger, hangup, on_ready)
        .map_err(CliError::Node)?;
    match Exit::of_node(ending.exit_code) {
        Exit::Done => Ok(()),
        exit => Err(CliError::NodeEnded {
            cause: ending.cause,
            exit,
        }),
    }
}
