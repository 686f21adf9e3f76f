//! `annals produce`: a record per line.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    num::NonZeroU64,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    pin::pin,
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use crate::client::{BatchTicket, Client, Error, ErrorKind, Producer, Reason};

use super::{
    acknowledged::Acknowledged,
    argument::{parse_producer_id, parse_timeout, shell_quoted},
    connect::Target,
    error::CliError,
    output::Format,
    progress::Progress,
    record_lines::{BatchLimits, RecordBatch, RecordLines},
    runtime,
};

/// The most bytes of records in one request, unless one record alone is larger. Larger ones gain nothing, and a node
/// takes twice as much by default; where it is lower, the node says so, and `--batch` with fewer lines helps.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// Batches read ahead of what is in flight.
const BATCHES_AHEAD: usize = 4;

/// Batches whose acknowledgement is awaited: more than the client has in flight.
const TICKETS_MAX: usize = 64;

/// Append a record per line of the input, and print the offsets taken
///
/// A record is a line without its newline: bytes, whatever they encode; an empty line is an empty record. Records
/// are acknowledged when they are durable. After a broken connection, what is not acknowledged is sent again and
/// stored once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  echo hello | annals produce
  annals produce --file access.log --batch 5000
  tail -F access.log | annals produce

A range of offsets is half-open: 0..3 is 0, 1 and 2.")]
pub(super) struct ProduceArgs {
    #[command(flatten)]
    target: Target,
    /// Read this file instead of standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Records in one request at most; a request is appended as a whole or not at all
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Give up when nothing is acknowledged for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
    /// Go on as this producer, which was named when an earlier produce failed
    #[arg(long, value_name = "ID", requires = "skip", value_parser = parse_producer_id)]
    producer_id: Option<NonZeroU64>,
    /// Skip so many lines, which an earlier produce with this --producer-id had acknowledged
    #[arg(long, value_name = "N", requires = "producer_id")]
    skip: Option<u64>,
    /// How to print the offsets taken
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Runs the verb.
pub(super) fn run(args: &ProduceArgs) -> Result<(), CliError> {
    let (input, bytes_total) = open(args.file.as_ref())?;
    let interactive = input.is_terminal();
    let skip = args.skip.unwrap_or(0);
    let progress = if interactive {
        Progress::hidden()
    } else {
        Progress::of_input(bytes_total)
    };
    let client = args.target.client(args.timeout)?;
    let mut sent = Sent {
        acknowledged: Acknowledged::default(),
        progress,
    };
    let mut producer = None;
    let result = runtime::block_on(async {
        client.connect().await?;
        let producer = producer.insert(Run::new(&client, args));
        let limits = BatchLimits {
            records_max: args.batch,
            bytes_max: BATCH_BYTES_MAX,
        };
        let batches = spawn_reader(RecordLines::new(input, limits), skip)?;
        tokio::select! {
            result = send(&producer.producer, batches, &mut sent) => result,
            interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(CliError::Start, |()| CliError::Interrupted)),
        }
    });
    let acknowledged = sent.finished();
    match result {
        Ok(()) => print(args.output, acknowledged),
        Err(cause) if acknowledged.records == 0 => Err(cause),
        Err(cause) => {
            if matches!(args.output, Format::Json) {
                print(args.output, acknowledged)?;
            }
            let go_on = producer.and_then(|run| run.go_on(args, &cause, skip + acknowledged.records));
            Err(CliError::PartlyDone {
                cause: Box::new(cause),
                acknowledged: acknowledged.to_string(),
                go_on,
            })
        }
    }
}

/// The producer, and the id that it began with.
struct Run {
    producer: Producer,
    id: u64,
}

impl Run {
    /// Inside a runtime.
    fn new(client: &Client, args: &ProduceArgs) -> Self {
        let producer = client.producer();
        let producer = match args.producer_id {
            Some(id) => producer.resume(id, args.skip.unwrap_or(0)),
            None => producer,
        };
        let producer = producer.build();
        let id = producer.id();
        Self { producer, id }
    }

    /// How to send the rest, when the input can be read again.
    fn go_on(&self, args: &ProduceArgs, cause: &CliError, skip: u64) -> Option<String> {
        // Its numbers are those of the input's lines, unless the log has forgotten it meanwhile; and another log knows nothing of it.
        let can_be_continued = self.producer.id() == self.id;
        let is_other =
            matches!(cause, CliError::Client(error) if matches!(error.kind(), ErrorKind::OtherLog { .. }));
        let file = args.file.as_ref().filter(|_| can_be_continued && !is_other)?;
        Some(format!(
            "`annals produce {} --file {} --batch {} --producer-id {} --skip {skip}` goes on from there",
            args.target.arguments(),
            shell_quoted(&file.to_string_lossy()),
            args.batch,
            self.id,
        ))
    }
}

/// What became of what was sent.
struct Sent {
    acknowledged: Acknowledged,
    progress: Progress,
}

impl Sent {
    fn finished(self) -> Acknowledged {
        self.acknowledged
    }

    /// Counts what is acknowledged, until all of it is.
    ///
    /// Errors: why something is not.
    async fn count(&mut self, mut batches: mpsc::Receiver<(BatchTicket, Lines)>) -> Result<(), CliError> {
        while let Some((ticket, lines)) = batches.recv().await {
            let offsets = ticket.await.map_err(|error| lines.blamed(error))?;
            self.acknowledged.add(offsets.start.get(), offsets.end.get());
            self.progress.add(lines.input_bytes);
        }
        Ok(())
    }
}

/// The lines of the input that are one batch.
#[derive(Clone, Copy, Debug)]
struct Lines {
    first: u64,
    count: u64,
    input_bytes: u64,
}

impl Lines {
    /// Why they were not taken; where that is about them, with their numbers.
    fn blamed(self, error: Error) -> CliError {
        let reason = error.reason();
        if matches!(reason, Some(Reason::RecordTooLarge | Reason::InvalidRequest)) {
            return CliError::Lines {
                first: self.first,
                last: self.first + self.count.saturating_sub(1),
                cause: error,
            };
        }
        error.into()
    }
}

/// Sends all batches, and waits until they are acknowledged.
///
/// Errors: those of the reader; why something is not acknowledged.
async fn send(
    producer: &Producer,
    mut batches: mpsc::Receiver<Result<RecordBatch, CliError>>,
    sent: &mut Sent,
) -> Result<(), CliError> {
    let (tickets, awaited) = mpsc::channel(TICKETS_MAX);
    let feeds = async move {
        while let Some(batch) = batches.recv().await {
            let RecordBatch {
                records,
                count,
                first_line: first,
                input_bytes,
            } = batch?;
            let lines = Lines {
                first,
                count,
                input_bytes,
            };
            let sent = producer.send_encoded(records, count).await;
            let ticket = sent.map_err(|error| lines.blamed(error))?;
            if tickets.send((ticket, lines)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let (feeds, mut counts) = (pin!(feeds), pin!(sent.count(awaited)));
    tokio::select! {
        counted = &mut counts => counted,
        fed = feeds => counts.await.and(fed),
    }
}

fn print(format: Format, acknowledged: Acknowledged) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match format {
        Format::Text => writeln!(out, "{acknowledged}"),
        Format::Json => super::output::write_json(&mut out, &acknowledged),
    }
    .map_err(CliError::from_write)
}

/// A directory can be opened as a file can, and fails only when it is read.
fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// The input, and its length when it is a regular file.
fn open(file: Option<&PathBuf>) -> Result<(File, Option<u64>), CliError> {
    let input = match file {
        Some(path) => open_file(path).map_err(|source| CliError::Open {
            path: path.clone(),
            source,
        })?,
        // Not through `Stdin`: its buffer would hide from `has_more` what is already read.
        None => io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(CliError::Read)?
            .into(),
    };
    let metadata = input.metadata().map_err(CliError::Read)?;
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((input, bytes))
}

/// Reads and encodes on a thread of its own, ahead of the sending.
fn spawn_reader(
    lines: RecordLines<File>,
    skip: u64,
) -> Result<mpsc::Receiver<Result<RecordBatch, CliError>>, CliError> {
    let (batches, receiver) = mpsc::channel(BATCHES_AHEAD);
    let read = move || {
        if let Err(error) = read_batches(lines, skip, &batches) {
            // A receiver that is gone has ended for a reason of its own.
            drop(batches.blocking_send(Err(error)));
        }
    };
    thread::Builder::new()
        .name("read".to_owned())
        .spawn(read)
        .map_err(CliError::Start)?;
    Ok(receiver)
}

/// Blocking: on the input, and on the receiver.
fn read_batches<R: Read + AsFd>(
    mut lines: RecordLines<R>,
    skip: u64,
    batches: &mpsc::Sender<Result<RecordBatch, CliError>>,
) -> Result<(), CliError> {
    let mut skipped = lines.skip(skip);
    while skipped < skip {
        if lines.at_end() {
            return Err(CliError::SkippedPastEnd { lines: skipped, skip });
        }
        lines.fill()?;
        skipped += lines.skip(skip - skipped);
    }
    loop {
        while let Some(batch) = lines.full() {
            if batches.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
        }
        // A line that is there must not wait for the lines that are not.
        let send_all = lines.at_end() || !has_more(lines.input().as_fd());
        if send_all
            && let Some(batch) = lines.partial()
            && batches.blocking_send(Ok(batch)).is_err()
        {
            return Ok(());
        }
        if lines.at_end() {
            return Ok(());
        }
        lines.fill()?;
    }
}

/// Whether a read would return at once. An input that cannot be asked counts as one that would.
fn has_more(input: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&at_once)).map_or(true, |ready| ready > 0)
}
