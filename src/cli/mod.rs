//! The command line: one file per verb, and what the verbs share.

pub mod agent;
pub mod config;
pub mod dev;

mod acl;
mod bench;
mod certs;
mod cluster;
mod completions;
mod consume;
mod context;
mod cursor;
mod health;
mod init;
mod log;
mod produce;
mod storage;
mod top;

mod dev_cluster;
mod dev_data;
mod leftovers;
mod place;

pub mod error;
pub mod exit;

mod acknowledged;
mod addresses;
mod argument;
mod before_take;
mod connect;
mod level;
mod output;
mod position;
mod progress;
mod record_lines;
mod refusal;
mod runtime;
mod security;
mod stop;
mod stranger;
mod style;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    config::ConfigErrors,
    telemetry::patience::{LAST_WORDS_WITHIN, done_within},
};

use self::{
    context::{Origins, Unparsed},
    error::CliError,
    exit::Exit,
};

/// A commit log in one binary: one ordered history, on disk before it is acknowledged
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_long_help = exit::TABLE, after_help = "`annals --help` shows the exit codes too.")]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Init(init::InitArgs),
    Agent(agent::AgentArgs),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    #[command(subcommand)]
    Cursor(cursor::CursorCommand),
    #[command(subcommand)]
    Log(log::LogCommand),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    Health(health::HealthArgs),
    Top(top::TopArgs),
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    #[command(subcommand)]
    Context(context::ContextCommand),
    #[command(subcommand)]
    Acl(acl::AclCommand),
    /// Check a configuration, or show what it comes to
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    Completions(completions::CompletionsArgs),
}

/// Parses the command line of this process and does what it says.
///
/// Blocking: until it is done; a node runs until it is told to stop.
#[must_use]
pub fn main() -> ExitCode {
    let (command, origins) = match context::parse::<Cli>(std::env::args_os().collect()) {
        Ok((cli, origins)) => (cli.command, origins),
        Err(Unparsed::Context(failure)) => {
            let error = CliError::from(failure);
            report(&error, &Origins::default());
            return error.exit().into();
        }
        Err(Unparsed::Arguments(error)) => {
            // Help and version come as errors too. Nobody is left to be told when they cannot be printed.
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    match run(&command) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            let error = stranger::explained(error, origins.addresses());
            report(&error, &origins);
            error.exit().into()
        }
    }
}

fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Dev(args) => args.run(),
        Command::Init(args) => init::run(args),
        Command::Agent(args) => args.run(),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Cursor(command) => cursor::run(command),
        Command::Log(command) => log::run(command),
        Command::Cluster(command) => cluster::run(command),
        Command::Health(args) => health::run(args),
        Command::Top(args) => top::run(args),
        Command::Certs(command) => certs::run(command),
        Command::Context(command) => context::run(command),
        Command::Acl(command) => acl::run(command),
        Command::Config(command) => config::run(command, &mut io::stdout().lock()).map_err(config_error),
        Command::Storage(command) => storage::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Completions(args) => completions::run(args, &mut context::command::<Cli>()),
    }
}

/// Apart from a wrong configuration, only writing the output can fail there.
fn config_error(error: anyhow::Error) -> CliError {
    match error.downcast::<ConfigErrors>() {
        Ok(errors) => CliError::Config(errors),
        Err(error) => CliError::from_write(error.downcast().unwrap_or_else(io::Error::other)),
    }
}

/// Says once what went wrong, and what to do about it.
fn report(error: &CliError, origins: &Origins) {
    if matches!(error, CliError::BrokenPipe | CliError::Denied) {
        return;
    }
    let mut text = format!("error: {error}\n");
    if let Some(hint) = error.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    for note in origins.notes(error) {
        text.push_str(&format!("note: {note}\n"));
    }
    // When standard error is closed, the exit code still tells.
    let write = |text: String| drop(io::stderr().write_all(text.as_bytes()));
    match error {
        // A node is started again by what watches it, once it has ended: it must not wait for whoever reads its log.
        CliError::Node(_) | CliError::NodeEnded { .. } => {
            done_within(LAST_WORDS_WITHIN, text, write);
        }
        _ => write(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        context::command::<Cli>().debug_assert();
    }
}
