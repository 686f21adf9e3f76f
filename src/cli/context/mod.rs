//! `annals context`: addresses and certificates by name.

mod arguments;
mod change;
mod error;
mod file;
mod origin;
mod show;

pub(super) use arguments::{Unparsed, command, parse};
pub use error::ContextFailure;
pub(super) use origin::Origins;

use super::{error::CliError, output::Format};

/// Contexts: addresses and certificates by name, for the verbs that talk to a node
///
/// They are in contexts.toml, in ANNALS_CONFIG_DIR, or else in annals/ of XDG_CONFIG_HOME, or of ~/.config. Which one is used: that of
/// --context, else of ANNALS_CONTEXT, else the current one, which `annals context use` sets. An argument such as --addr goes before what a
/// context says, and the environment (ANNALS_ADDR and so on) before one that --context does not name.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ContextCommand {
    /// List them; the current one has a star
    #[command(after_long_help = "\
Examples:
  annals context list
  annals context list -o json | jq -r .contexts[].addr")]
    List {
        /// How to print it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Show what one says
    #[command(after_long_help = "\
Examples:
  annals context show
  annals context show here -o json")]
    Show {
        /// Which [default: the one that is in use]
        name: Option<String>,
        /// How to print it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Make one; the first one is the current one
    ///
    /// The files are looked at: they have to be right.
    #[command(after_long_help = "\
Examples:
  annals context add here --addr 127.0.0.1:8400
  annals context add orders --addr log-0:8400 --ca ca.pem --cert me.pem --key me.key --use")]
    Add(change::AddArgs),
    /// Make one the current one, which is used where no other is named
    #[command(after_long_help = "\
Examples:
  annals context use here
  annals context use --none")]
    Use(change::UseArgs),
    /// Forget one; its files stay
    #[command(after_long_help = "\
Examples:
  annals context remove here")]
    Remove {
        /// Which
        name: String,
    },
}

/// Runs the verb.
pub(super) fn run(command: &ContextCommand) -> Result<(), CliError> {
    match command {
        ContextCommand::List { output } => show::list(*output),
        ContextCommand::Show { name, output } => show::show(name.as_deref(), *output),
        ContextCommand::Add(args) => change::add(args),
        ContextCommand::Use(args) => change::make_current(args),
        ContextCommand::Remove { name } => change::remove(name),
    }
}
