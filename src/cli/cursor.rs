//! `annals cursor`: consumers' places in the log.

use std::{
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use crate::{
    proto::annals::v1::{Cursor, ListCursorsResponse, ResponseHeader},
    storage::cursors::CursorName,
};

use super::{
    argument::parse_timeout,
    connect::Target,
    cursor_calls::{CursorCalls, Seen},
    error::CliError,
    output::{Format, write_json, write_table},
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
    /// with --take it is taken first, and whoever had it stops at its next commit.
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
    fn calls(&self) -> Result<CursorCalls, CliError> {
        Ok(CursorCalls::new(self.target.addresses()?, self.timeout))
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

/// Runs the verb.
pub(super) fn run(command: &CursorCommand) -> Result<(), CliError> {
    let (seen, output) = match command {
        CursorCommand::List { at, output } => {
            let mut calls = at.calls()?;
            let listed = runtime::block_on(calls.list())?;
            return print_all(&listed, *output).map_err(CliError::from_write);
        }
        CursorCommand::Get { of, output } => {
            let mut calls = of.at.calls()?;
            (runtime::block_on(calls.get(of.name.as_str()))?, output)
        }
        CursorCommand::Commit {
            of,
            offset,
            take,
            output,
        } => {
            let mut calls = of.at.calls()?;
            let committed = async {
                let epoch = match take {
                    true => calls.take(of.name.as_str()).await?.cursor.epoch,
                    false => 0,
                };
                calls.commit(of.name.as_str(), epoch, *offset).await
            };
            (runtime::block_on(committed)?, output)
        }
        CursorCommand::Delete { of, output } => {
            let mut calls = of.at.calls()?;
            (runtime::block_on(calls.delete(of.name.as_str()))?, output)
        }
    };
    print(&seen, *output).map_err(CliError::from_write)
}

fn print(seen: &Seen, output: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Format::Text => write_text(&mut out, std::slice::from_ref(&seen.cursor), &seen.header),
        Format::Json => write_json(&mut out, &JsonCursor::of(&seen.cursor, &seen.header)),
    }
}

fn print_all(listed: &ListCursorsResponse, output: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let header = listed.header.clone().unwrap_or_default();
    match output {
        Format::Text => write_text(&mut out, &listed.cursors, &header),
        Format::Json => {
            let cursors = listed
                .cursors
                .iter()
                .map(|cursor| JsonCursor::of(cursor, &header));
            let cursors = cursors.collect();
            write_json(&mut out, &JsonCursors { cursors })
        }
    }
}

fn write_text(out: &mut impl Write, cursors: &[Cursor], header: &ResponseHeader) -> io::Result<()> {
    let or_none = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |cursor: &Cursor| {
        let changed = UNIX_EPOCH + Duration::from_millis(cursor.changed_ms);
        [
            cursor.name.clone(),
            or_none(cursor.offset),
            or_none(behind(cursor, header)),
            or_none((cursor.epoch != 0).then_some(cursor.epoch)),
            humantime::format_rfc3339_seconds(changed).to_string(),
        ]
    };
    let rows: Vec<_> = cursors.iter().map(row).collect();
    write_table(out, ["cursor", "offset", "behind", "epoch", "changed"], &rows)
}

/// How many records it has before it.
fn behind(cursor: &Cursor, header: &ResponseHeader) -> Option<u64> {
    Some(header.high_watermark.saturating_sub(cursor.offset?))
}

#[derive(Serialize)]
struct JsonCursors<'a> {
    cursors: Vec<JsonCursor<'a>>,
}

/// The fields of `Cursor`, by their names, and how many records there are behind it.
#[derive(Serialize)]
struct JsonCursor<'a> {
    name: &'a str,
    epoch: u64,
    offset: Option<u64>,
    behind: Option<u64>,
    changed_ms: u64,
}

impl<'a> JsonCursor<'a> {
    fn of(cursor: &'a Cursor, header: &ResponseHeader) -> Self {
        Self {
            name: &cursor.name,
            epoch: cursor.epoch,
            offset: cursor.offset,
            behind: behind(cursor, header),
            changed_ms: cursor.changed_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_far_each_consumer_is_behind_and_who_never_committed() {
        let cursor = |name: &str, epoch, offset| Cursor {
            name: name.to_owned(),
            epoch,
            offset,
            changed_ms: 1_700_000_000_000,
        };
        let header = ResponseHeader {
            high_watermark: 9,
            ..ResponseHeader::default()
        };
        let cursors = [cursor("a", 0, Some(2)), cursor("billing", 1234, None)];
        let mut out = Vec::new();
        write_text(&mut out, &cursors, &header).expect("memory can be written");
        let wanted = "\
cursor   offset  behind  epoch  changed
a        2       7       -      2023-11-14T22:13:20Z
billing  -       -       1234   2023-11-14T22:13:20Z
";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}
