//! `annals agent`: a node, as its configuration says.

use std::path::PathBuf;

use crate::config::{self, Loaded};

use super::error::CliError;

/// Run a node until SIGTERM or Ctrl-C
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
    /// The configuration to run with.
    ///
    /// Errors: `Config`, with all that is wrong. Blocking: reads the file.
    pub fn load(&self) -> Result<Loaded, CliError> {
        config::load(Some(&self.config), config::process_environment()).map_err(CliError::Config)
    }
}
