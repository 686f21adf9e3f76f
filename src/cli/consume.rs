//! `annals consume`: the records, one per line.

use std::{
    io::{self, BufWriter, Write},
    thread,
    time::Duration,
};

use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    watch,
};

use crate::{
    client::{Client, ConsumerBuilder, Interruption, Position},
    clock,
    proto::raw::annals::v1::Batch,
    storage::cursors::CursorName,
    types::Offset,
};

use super::{
    argument::{parse_count, parse_timeout},
    connect::Target,
    cursor_keeper::CursorKeeper,
    error::CliError,
    level::Level,
    output::{RecordFormat, write_batch},
    position::parse_position,
    runtime,
};

/// Responses received and not yet written: enough that neither side waits for the other.
const CHUNKS_AHEAD: usize = 4;

/// What a cursor stands for is written out so often, also while records come without a pause.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Print records, from the oldest to the newest acknowledged one
///
/// Values are printed as they are, each with a newline behind it. With `-o json` each record is an object in a line:
/// offset, timestamp_ms (the producer's; if it gave none, when the record was appended), and, where the record has
/// them, key, headers (a list of {name, value}) and value. A key or value that is not UTF-8 is base64, and its field is
/// called key_base64 or value_base64 instead.
///
/// With `--cursor NAME` it goes on where the last one with that cursor stopped: it takes the cursor, and commits what it has written
/// out, each second and when there is no more to read. Each record is written at least once: what was written in the last second
/// before a crash, or a signal that ends it, is written again by the next one. Of two with one name the newer goes on; the older stops, with exit code 5, when it would
/// commit next. What becomes of the output behind this program is not its business: a reader that dies may have lost what is committed.
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
    let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let (writing, written) = watch::channel(None);
    let cursor = args.cursor.clone();
    // The network has a thread of its own: a reader of the output that stops for a while, as a pager does, must not
    // keep this side from answering the node.
    let network = thread::Builder::new()
        .name("network".to_owned())
        .spawn(move || runtime::block_on(read(client, consumer, cursor, chunks, written)))
        .map_err(CliError::Start)?;
    write(receiver, args.output, writing)?;
    match network.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Reads to the end, into `chunks`, from where the cursor stands if there is one, to which is committed what was written meanwhile.
async fn read(
    client: Client,
    consumer: ConsumerBuilder,
    cursor: Option<CursorName>,
    chunks: mpsc::Sender<Vec<Batch>>,
    written: watch::Receiver<Option<Offset>>,
) -> Result<(), CliError> {
    client.connect().await?;
    let Some(name) = cursor else {
        return pass_on(consumer, chunks).await;
    };
    let cursor = client.cursor(name.as_str()).take().await?;
    let reading = pass_on(consumer.cursor(&cursor), chunks);
    CursorKeeper::of(cursor).keep_while(reading, written).await
}

/// Returns early when nobody receives them.
async fn pass_on(consumer: ConsumerBuilder, chunks: mpsc::Sender<Vec<Batch>>) -> Result<(), CliError> {
    let mut consumer = consumer.build();
    while let Some(batches) = consumer.next_batches().await {
        if chunks.send(batches?).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes what comes until nothing does. Whenever nothing is there to be written, and now and then besides, what was written is
/// flushed, and `written` says the offset behind it.
///
/// Errors: `Write`, `BrokenPipe`, `Protocol`. Blocking: on the output and the sender.
fn write(
    mut chunks: mpsc::Receiver<Vec<Batch>>,
    format: RecordFormat,
    written: watch::Sender<Option<Offset>>,
) -> Result<(), CliError> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock());
    let (mut next_offset, mut flushed) = (None, clock::now());
    let flush = |out: &mut BufWriter<_>, next_offset: Option<Offset>| {
        out.flush().map_err(CliError::from_write)?;
        written.send_if_modified(|known| std::mem::replace(known, next_offset) != next_offset);
        Ok(clock::now())
    };
    loop {
        let batches = match chunks.try_recv() {
            Ok(batches) => batches,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                flushed = flush(&mut out, next_offset)?;
                match chunks.blocking_recv() {
                    Some(batches) => batches,
                    None => break,
                }
            }
        };
        for batch in &batches {
            write_batch(&mut out, batch, format)?;
            next_offset = Some(Offset(batch.base_offset).plus(u64::from(batch.record_count)));
        }
        if clock::now() - flushed >= FLUSH_EVERY {
            flushed = flush(&mut out, next_offset)?;
        }
    }
    flush(&mut out, next_offset).map(drop)
}
