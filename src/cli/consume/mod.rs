//! `annals consume`: the records, one per line.

mod cursor_keeper;
mod outlet;
mod page;
mod writer;

use std::{
    io::{self, Write},
    pin::pin,
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    client::{Client, ConsumerBuilder, Interruption, Position},
    proto::raw::annals::v1::Batch,
    storage::cursors::CursorName,
    types::Offset,
};

use self::{
    cursor_keeper::CursorKeeper,
    writer::{Ending, Writer},
};
use super::{
    argument::{parse_count, parse_timeout},
    before_take::{Purpose, refuse_unreadable_start, told_as_taken},
    connect::Target,
    error::CliError,
    level::Level,
    output::RecordFormat,
    position::parse_position,
    runtime,
    stop::Stop,
};

/// Responses received and not yet written: enough that neither side waits for the other.
const CHUNKS_AHEAD: usize = 4;

/// Print records, from the oldest to the newest acknowledged one
///
/// Values are printed as they are, each with a newline behind it. With `-o json` each record is an object in a line:
/// offset, timestamp_ms (the producer's; if it gave none, when the record was appended), and, where the record has
/// them, key, headers (a list of {name, value}) and value. A key or value that is not UTF-8 is base64, and its field is
/// called key_base64 or value_base64 instead.
///
/// With `--cursor NAME` it goes on where the last one with that cursor stopped: it takes the cursor, and commits what it has written
/// out, each second and when there is no more to read. Each record is written at least once: what was written in the last second
/// before a crash is written again by the next one. Of two with one name the newer goes on; the older stops, with exit code 5, when it would
/// commit next. Where the log has no such place, the cursor is not taken. What becomes of the output behind this program is not its business: a reader that dies may have lost what is committed.
///
/// At SIGTERM or Ctrl-C it finishes the record that it is writing, commits what is out, and ends: with exit code 0 when it follows, which ends
/// in no other way, and else with 1. A second signal ends it at once. When the reader of its output goes away it ends with 0, and commits nothing more.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals consume
  annals consume --from -10 --follow
  annals consume --from @2026-11-20T06:00:00Z --count 100 -o json
  annals consume --cursor billing --follow
  annals consume --level local --addr 127.0.0.1:8420")]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    target: Target,
    /// Where to start
    ///
    /// earliest: the oldest readable record. latest: only what comes; needs --follow. OFFSET: this record. -N: the
    /// last N records. @TIME: the first record appended at or after that time, as @2026-11-20T06:51:00Z or @SECONDS
    /// since 1970.
    #[arg(
        long,
        value_name = "earliest|latest|OFFSET|-N|@TIME",
        default_value = "earliest",
        allow_hyphen_values = true,
        hide_possible_values = true,
        value_parser = parse_position
    )]
    from: Position,
    /// Go on where this cursor stands, and move it; --from counts only while nothing was ever committed to it
    #[arg(long, value_name = "NAME")]
    cursor: Option<CursorName>,
    /// Stop after so many records
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    count: Option<u64>,
    /// At the end, wait for more; after a lost connection, go on where it broke off, however long it takes
    #[arg(long)]
    follow: bool,
    /// How fresh it must be [default: linearizable; with --follow, local]
    ///
    /// With local, also a node without a leader, or one that was removed from its cluster, gives what it has.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// How to print a record
    #[arg(short, long, value_name = "FORMAT", default_value = "value")]
    output: RecordFormat,
    /// Give up when the node sends nothing for so long; with --follow, only when the first answer takes so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// Runs the verb.
pub(super) fn run(args: &ConsumeArgs) -> Result<(), CliError> {
    if args.from == Position::Latest && !args.follow {
        return Err(CliError::Usage {
            text: "`--from latest` reads only what comes, and without --follow nothing is waited for",
            hint: "add --follow, or read the last record with `--from -1`",
        });
    }
    let client = args.target.client(args.timeout)?;
    let mut consumer = client
        .consumer()
        .from(args.from)
        .count(args.count.unwrap_or(0))
        // On standard error, for whoever wonders why nothing comes; nobody has to read it.
        .on_interruption(|interruption| {
            drop(match interruption {
                Interruption::Began(error) => writeln!(io::stderr(), "note: {error}; trying again"),
                ended => writeln!(io::stderr(), "note: {ended}"),
            });
        });
    if args.follow {
        consumer = consumer.follow();
    }
    if let Some(level) = args.level {
        consumer = consumer.level(level.into());
    }
    let stop = Stop::listen()?;
    let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let (writing, written) = watch::channel(None);
    let cursor = args.cursor.clone().map(|name| Wanted {
        name,
        from: args.from,
        purpose: if args.follow {
            Purpose::Follow
        } else {
            Purpose::Read
        },
    });
    let ahead = match args.from {
        Position::Offset(offset) if args.follow => Some(offset),
        _ => None,
    };
    // The network has a thread of its own, as formatting and writing are about as much work.
    let network = thread::Builder::new()
        .name("network".to_owned())
        .spawn(move || runtime::block_on(read(client, consumer, ahead, cursor, chunks, written)))
        .map_err(CliError::Start)?;
    let ending = runtime::block_on(async { Writer::new(receiver, args.output, writing, stop)?.run().await })?;
    match network.join() {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    match ending {
        Ending::Stopped if !args.follow => Err(CliError::Interrupted),
        Ending::All | Ending::Stopped => Ok(()),
    }
}

/// A cursor that is to be taken.
struct Wanted {
    name: CursorName,
    /// Where to start if nothing was ever committed to it.
    from: Position,
    purpose: Purpose,
}

/// Reads to the end, into `chunks`, from where the cursor stands if there is one, to which is committed what was written meanwhile. Ends early
/// when nobody receives them. `ahead`: where it begins without a cursor, which may be behind the end of the log, and is waited for then.
async fn read(
    client: Client,
    consumer: ConsumerBuilder,
    ahead: Option<u64>,
    cursor: Option<Wanted>,
    chunks: mpsc::Sender<Vec<Batch>>,
    written: watch::Receiver<Option<Offset>>,
) -> Result<(), CliError> {
    let begin = async {
        client.connect().await?;
        match &cursor {
            Some(wanted) => {
                let cursor = client.cursor(wanted.name.as_str());
                refuse_unreadable_start(&client, &cursor, wanted.from, wanted.purpose).await?;
                Ok(Some(cursor.take().await?))
            }
            None => Ok::<_, CliError>(None),
        }
    };
    let held = tokio::select! {
        held = begin => held?,
        () = chunks.closed() => return Ok(()),
    };
    match held {
        None => {
            let mut reading = pin!(pass_on(consumer, None, chunks));
            tokio::select! {
                read = &mut reading => return read,
                () = say_what_is_waited_for(&client, ahead) => {}
            }
            reading.await
        }
        Some(cursor) => {
            let name = cursor.name().to_owned();
            let reading = pass_on(consumer.cursor(&cursor), Some(&name), chunks);
            CursorKeeper::of(cursor).keep_while(reading, written).await
        }
    }
}

/// Says where the log ends, on standard error, where that is before the offset that is waited for: an offset may be one of another log.
///
/// Cancel: safe.
async fn say_what_is_waited_for(client: &Client, ahead: Option<u64>) {
    let Some(offset) = ahead else { return };
    // Who may not ask, or gets no answer, is told about that by reading.
    let Ok(log) = client.describe().await else {
        return;
    };
    let end = log.high_watermark;
    if end < offset {
        // Nobody has to read it.
        drop(writeln!(
            io::stderr(),
            "note: the log ends at {end}; waiting for offset {offset}"
        ));
    }
}

/// Errors: those of the consumer; `CursorTaken`, when the cursor that was `taken` for it is where nothing can be read. Cancel: safe.
async fn pass_on(
    consumer: ConsumerBuilder,
    taken: Option<&str>,
    chunks: mpsc::Sender<Vec<Batch>>,
) -> Result<(), CliError> {
    let mut consumer = consumer.build();
    let mut has_begun = false;
    loop {
        let batches = tokio::select! {
            batches = consumer.next_batches() => batches,
            () = chunks.closed() => None,
        };
        let Some(batches) = batches else {
            return Ok(());
        };
        let batches = batches.map_err(|error| match taken.filter(|_| !has_begun) {
            Some(name) => told_as_taken(error, name, false),
            None => error.into(),
        })?;
        has_begun = true;
        if chunks.send(batches).await.is_err() {
            return Ok(());
        }
    }
}
