//! `annals cursor`: consumers' places in the log.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::{
    client::{Client, Cursor, CursorState, Error},
    storage::cursors::CursorName,
    types::Offset,
};

use super::{
    argument::parse_timeout,
    before_take::{Purpose, refuse_unreachable, told_as_taken},
    connect::Target,
    error::CliError,
    output::{Format, time_text, write_json, write_table},
    runtime,
};

/// Consumers' places in the log, kept in the log under names
///
/// `annals consume --cursor NAME` makes one and moves it.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CursorCommand {
    /// Show where a cursor stands
    #[command(after_long_help = "\
Examples:
  annals cursor get billing
  annals cursor get billing -o json | jq .offset")]
    Get {
        #[command(flatten)]
        of: Named,
        /// How to print it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Show where each cursor stands
    #[command(after_long_help = "\
Examples:
  annals cursor list
  annals cursor list -o json | jq '.cursors[] | select(.behind > 1000) | .name'")]
    List {
        #[command(flatten)]
        at: Contact,
        /// How to print it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Say that everything below an offset is done with
    ///
    /// Makes the cursor where there is none. One that somebody took, as `annals consume --cursor` does, is moved by its holder only:
    /// with --take it is taken first, and whoever had it stops at its next commit. An offset that the log does not have takes nothing.
    #[command(after_long_help = "\
Examples:
  annals cursor commit billing 1200
  annals cursor commit billing 0 --take")]
    Commit {
        #[command(flatten)]
        of: Named,
        /// The next offset to read
        #[arg(value_name = "OFFSET")]
        offset: u64,
        /// Take it first, whoever holds it
        #[arg(long)]
        take: bool,
        /// How to print what came of it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Delete a cursor, whoever holds it
    ///
    /// Whoever held it is refused at its next commit, and where it was is not known any more.
    #[command(after_long_help = "\
Examples:
  annals cursor delete billing")]
    Delete {
        #[command(flatten)]
        of: Named,
        /// How to print what was deleted
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
}

/// Whom to ask, and for how long.
#[derive(Debug, clap::Args)]
pub(super) struct Contact {
    #[command(flatten)]
    target: Target,
    /// Give up when it is not done within this
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
}

impl Contact {
    fn ask<T>(&self, work: impl AsyncFnOnce(Client) -> Result<T, Error>) -> Result<T, CliError> {
        let client = self.target.client(self.timeout)?;
        runtime::block_on(async {
            client.connect().await?;
            Ok(work(client).await?)
        })
    }
}

/// A cursor.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Its name: 1 to 128 letters, digits, ".", "_" and "-"
    #[arg(value_name = "NAME")]
    name: CursorName,
    #[command(flatten)]
    at: Contact,
}

impl Named {
    fn ask(
        &self,
        work: impl AsyncFnOnce(Cursor) -> Result<CursorState, Error>,
    ) -> Result<CursorState, CliError> {
        let name = self.name.as_str();
        self.at.ask(async |client| work(client.cursor(name)).await)
    }

    /// Errors: `CursorNotTaken`, `CursorTaken`; as [`Contact::ask`].
    fn take_and_commit(&self, offset: Offset) -> Result<CursorState, CliError> {
        let name = self.name.as_str();
        let client = self.at.target.client(self.at.timeout)?;
        runtime::block_on(async {
            client.connect().await?;
            refuse_unreachable(&client, name, offset, Purpose::Move).await?;
            let mut held = client.cursor(name).take().await?;
            let committed = held.commit(offset).await;
            committed.map_err(|error| told_as_taken(error, name, true))?;
            Ok(held.state().clone())
        })
    }
}

/// Runs the verb.
pub(super) fn run(command: &CursorCommand) -> Result<(), CliError> {
    let (state, output) = match command {
        CursorCommand::List { at, output } => {
            let states = at.ask(async |client| client.cursors().await)?;
            return print_all(&states, *output).map_err(CliError::from_write);
        }
        CursorCommand::Get { of, output } => (of.ask(async |cursor| cursor.get().await)?, output),
        CursorCommand::Commit {
            of,
            offset,
            take,
            output,
        } => {
            let committed = if *take {
                of.take_and_commit(Offset(*offset))
            } else {
                of.ask(async |cursor| cursor.commit(*offset).await)
            };
            (committed?, output)
        }
        CursorCommand::Delete { of, output } => (of.ask(async |cursor| cursor.delete().await)?, output),
    };
    print(&state, *output).map_err(CliError::from_write)
}

fn print(state: &CursorState, output: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Format::Text => write_text(&mut out, std::slice::from_ref(state)),
        Format::Json => write_json(&mut out, &JsonCursor::from(state)),
    }
}

fn print_all(states: &[CursorState], output: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Format::Text => write_text(&mut out, states),
        Format::Json => {
            let cursors = states.iter().map(JsonCursor::from).collect();
            write_json(&mut out, &JsonCursors { cursors })
        }
    }
}

fn write_text(out: &mut impl Write, states: &[CursorState]) -> io::Result<()> {
    let or_none = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |state: &CursorState| {
        [
            state.name.clone(),
            or_none(state.offset.map(Offset::get)),
            or_none(state.behind()),
            or_none((state.epoch != 0).then_some(state.epoch)),
            time_text(state.changed_ms),
        ]
    };
    let rows: Vec<_> = states.iter().map(row).collect();
    write_table(out, ["cursor", "offset", "behind", "epoch", "changed"], &rows)
}

#[derive(Serialize)]
struct JsonCursors<'a> {
    cursors: Vec<JsonCursor<'a>>,
}

/// The fields of `Cursor` in the API, by their names, and how many records there are behind it.
#[derive(Serialize)]
struct JsonCursor<'a> {
    name: &'a str,
    epoch: u64,
    offset: Option<u64>,
    behind: Option<u64>,
    changed_ms: u64,
}

impl<'a> From<&'a CursorState> for JsonCursor<'a> {
    fn from(state: &'a CursorState) -> Self {
        Self {
            name: &state.name,
            epoch: state.epoch,
            offset: state.offset.map(Offset::get),
            behind: state.behind(),
            changed_ms: state.changed_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_far_each_consumer_is_behind_and_who_never_committed() {
        let state = |name: &str, epoch, offset, behind, changed_ms| CursorState {
            name: name.to_owned(),
            epoch,
            offset,
            changed_ms,
            high_watermark: Offset(9),
            behind,
        };
        let states = [
            state("a", 0, Some(Offset(2)), None, 1_700_000_000_000),
            state("billing", 1234, None, Some(4), u64::MAX),
        ];
        let mut out = Vec::new();
        write_text(&mut out, &states).expect("memory can be written");
        let wanted = "\
cursor   offset  behind  epoch  changed
a        2       7       -      2023-11-14T22:13:20Z
billing  -       4       1234   18446744073709551615
";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}
