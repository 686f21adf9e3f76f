//! `annals completions`: what a shell needs to complete verbs and arguments.

use std::io::{self, Write};

use clap::{Command, builder::PossibleValue};

use super::error::CliError;

/// Print what a shell needs to complete `annals`
///
/// It completes verbs, arguments and those of their values that are words.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Where each shell takes it from:
  bash        annals completions bash > ~/.local/share/bash-completion/completions/annals
  zsh         annals completions zsh > \"${fpath[1]}/_annals\"
  fish        annals completions fish > ~/.config/fish/completions/annals.fish
  elvish      annals completions elvish >> ~/.config/elvish/rc.elv
  powershell  annals completions powershell >> $PROFILE

Examples:
  annals completions bash
  eval \"$(annals completions bash)\"")]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// A shell that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shell(clap_complete::Shell);

impl clap::ValueEnum for Shell {
    fn value_variants<'a>() -> &'a [Self] {
        use clap_complete::Shell::{Bash, Elvish, Fish, PowerShell, Zsh};
        &[Self(Bash), Self(Zsh), Self(Fish), Self(Elvish), Self(PowerShell)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        self.0.to_possible_value()
    }
}

/// Runs the verb.
pub(super) fn run(args: &CompletionsArgs, command: &mut Command) -> Result<(), CliError> {
    // Into memory first: the generators know no errors, and a reader may go away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell.0, command, "annals", &mut script);
    io::stdout()
        .lock()
        .write_all(&script)
        .map_err(CliError::from_write)
}
