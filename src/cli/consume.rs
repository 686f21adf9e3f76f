//! `annals consume`: the records, one per line.

use std::{
    io::{self, BufWriter, Write},
    thread,
    time::Duration,
};

use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::{
    client::{Client, ConsumerBuilder, Position},
    proto::raw::annals::v1::Batch,
};

use super::{
    argument::{parse_count, parse_timeout},
    connect::Target,
    error::CliError,
    level::Level,
    output::{RecordFormat, write_batch},
    position::parse_position,
    runtime,
};

/// Responses received and not yet written: enough that neither side waits for the other.
const CHUNKS_AHEAD: usize = 4;

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Print records, from the oldest to the newest acknowledged one
///
/// Values are printed as they are, each with a newline behind it. With `-o json` each record is an object in a line:
/// offset, timestamp_ms (the producer's; if it gave none, when the record was appended), and, where the record has
/// them, key, headers (a list of {name, value}) and value. A key or value that is not UTF-8 is base64, and its field is
/// called key_base64 or value_base64 instead.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals consume
  annals consume --from -10 --follow
  annals consume --from @2026-11-20T06:00:00Z --count 100 -o json
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
        .on_interruption(|error| drop(writeln!(io::stderr(), "note: {error}; trying again")));
    if args.follow {
        consumer = consumer.follow();
    }
    if let Some(level) = args.level {
        consumer = consumer.level(level.into());
    }
    let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
    // The network has a thread of its own: a reader of the output that stops for a while, as a pager does, must not
    // keep this side from answering the node.
    let network = thread::Builder::new()
        .name("network".to_owned())
        .spawn(move || runtime::block_on(read(client, consumer, chunks)))
        .map_err(CliError::Start)?;
    write(receiver, args.output)?;
    match network.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Reads to the end, into `chunks`; returns early when nobody receives them.
async fn read(
    client: Client,
    consumer: ConsumerBuilder,
    chunks: mpsc::Sender<Vec<Batch>>,
) -> Result<(), CliError> {
    client.connect().await?;
    let mut consumer = consumer.build();
    while let Some(batches) = consumer.next_batches().await {
        if chunks.send(batches?).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes what comes until nothing does. Whenever nothing is there to be written, what was written is flushed.
///
/// Errors: `Write`, `BrokenPipe`, `Protocol`. Blocking: on the output and the sender.
fn write(mut chunks: mpsc::Receiver<Vec<Batch>>, format: RecordFormat) -> Result<(), CliError> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock());
    loop {
        let batches = match chunks.try_recv() {
            Ok(batches) => batches,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                out.flush().map_err(CliError::from_write)?;
                match chunks.blocking_recv() {
                    Some(batches) => batches,
                    None => break,
                }
            }
        };
        for batch in &batches {
            write_batch(&mut out, batch, format)?;
        }
    }
    out.flush().map_err(CliError::from_write)
}
