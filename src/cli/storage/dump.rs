//! `annals storage dump`: the records or the frames, as they lie on the disk.

use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use serde::Serialize;

use crate::{
    client::{Error, ErrorKind, ProtocolError},
    proto::raw::annals::v1::Batch,
    record_set::{skip, take},
    storage::{
        StoredBatch,
        frame::FrameKind,
        offline::{FramesError, Start, StoredFrame, refuse_gone, trimmed_below, walk},
    },
    types::{LogIndex, Offset},
};

use super::{
    StorageFailure,
    place::{data_dir, disk},
};
use crate::cli::{
    argument::parse_count,
    error::CliError,
    output::{RecordFormat, is_false, write_json, write_stored},
};

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Arguments of `annals storage dump`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DumpArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Begin with this offset; with --frames, with the frame of this entry [default: the first]
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Stop after so many records, or frames
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,
    /// Print the frames' headers: entry, term, kind, offsets, and where each lies
    #[arg(long)]
    frames: bool,
    /// How to print a record; frames are a table, or a JSON object each
    #[arg(short, long, value_name = "FORMAT", default_value = "value")]
    output: RecordFormat,
}

pub(super) fn run(args: &DumpArgs) -> Result<(), CliError> {
    let data = data_dir(&args.dir)?;
    refuse_gone(&disk(), &data).map_err(StorageFailure::from)?;
    let start = match (args.from, args.frames) {
        (None, _) => Start::Earliest,
        (Some(from), true) => Start::LogIndex(LogIndex(from)),
        (Some(from), false) => Start::Offset(Offset(from)),
    };
    let mut dump = Dump {
        out: BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock()),
        args,
        shown: 0,
        // What cannot be told is told of by the walk.
        trimmed_below: trimmed_below(&disk(), &data.log_path()).unwrap_or(Offset::ZERO),
        trimmed: 0,
    };
    let mut failed = None;
    let walked = walk(&disk(), &data.log_path(), start, |frame| {
        match dump.show(&frame) {
            Ok(next) => next,
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    // What could be read is printed, whatever ended it.
    dump.out.flush().map_err(CliError::from_write)?;
    dump.note_trimmed();
    if let Some(error) = failed {
        return Err(error);
    }
    match walked {
        Err(FramesError::Io(error))
            if error.kind() == io::ErrorKind::NotFound && !data.log_path().exists() =>
        {
            return Err(StorageFailure::NoData {
                path: args.dir.clone(),
            }
            .into());
        }
        walked => walked.map_err(StorageFailure::from)?,
    }
    match args.from.filter(|_| dump.shown == 0) {
        Some(from) => Err(StorageFailure::Behind {
            what: if args.frames { "entry" } else { "offset" },
            from,
        }
        .into()),
        None => Ok(()),
    }
}

struct Dump<'a> {
    out: BufWriter<io::StdoutLock<'static>>,
    args: &'a DumpArgs,
    shown: u64,
    /// Records below it are no part of the log any more.
    trimmed_below: Offset,
    /// How many of them, or frames of nothing else, were shown.
    trimmed: u64,
}

impl Dump<'_> {
    fn left(&self) -> u64 {
        self.args.count.unwrap_or(u64::MAX) - self.shown
    }

    fn show(&mut self, frame: &StoredFrame) -> Result<ControlFlow<()>, CliError> {
        if self.args.frames {
            self.show_frame(frame).map_err(CliError::from_write)?;
            self.shown += 1;
            self.trimmed += u64::from(frame.is_below(self.trimmed_below));
        } else if let Some(batch) = frame.batch() {
            self.show_records(batch)?;
        }
        Ok(match self.left() {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }

    /// The records of a batch that are asked for.
    fn show_records(&mut self, stored: StoredBatch) -> Result<(), CliError> {
        let base_offset = stored.base_offset.get();
        let before = self.args.from.unwrap_or(0).saturating_sub(base_offset);
        let skipped = u32::try_from(before).unwrap_or(u32::MAX).min(stored.record_count);
        let most = u32::try_from(self.left()).unwrap_or(u32::MAX);
        let record_count = most.min(stored.record_count - skipped);
        let batch = Batch {
            base_offset: base_offset + u64::from(skipped),
            record_count,
            timestamp_ms: stored.timestamp.0,
            term: stored.term.get(),
            records: Some(take(&skip(&stored.records, skipped), record_count)),
        };
        let written = write_stored(
            &mut self.out,
            &batch,
            self.args.output,
            self.trimmed_below,
            |_, _| (),
        );
        written.map_err(|error| match error {
            CliError::Client(error) if is_undecodable(&error) => {
                StorageFailure::Undecodable { offset: base_offset }.into()
            }
            other => other,
        })?;
        self.shown += u64::from(batch.record_count);
        let trimmed = self.trimmed_below.get().saturating_sub(batch.base_offset);
        self.trimmed += trimmed.min(u64::from(batch.record_count));
        Ok(())
    }

    /// For people. Each line of JSON says it of itself.
    fn note_trimmed(&self) {
        if self.trimmed == 0 || self.args.output == RecordFormat::Json {
            return;
        }
        let what = match (self.args.frames, self.trimmed) {
            (true, 1) => "frame",
            (true, _) => "frames",
            (false, 1) => "record",
            (false, _) => "records",
        };
        // Nobody is left to be told when that fails.
        drop(writeln!(
            io::stderr(),
            "note: the log begins with offset {}: of what was printed, {} {what} below that were trimmed, and lie here until their segment goes; \
             no node reads them",
            self.trimmed_below,
            self.trimmed
        ));
    }

    fn show_frame(&mut self, frame: &StoredFrame) -> io::Result<()> {
        let header = &frame.header;
        if self.args.output == RecordFormat::Json {
            let trimmed = frame.is_below(self.trimmed_below);
            let frame = JsonFrame::from(frame);
            return write_json(&mut self.out, &JsonFrame { trimmed, ..frame });
        }
        if self.shown == 0 {
            writeln!(
                self.out,
                "{:>10}  {:>6}  {:10}  {:>12}  {:>8}  {:>10}  {:>10}  {:>10}",
                "ENTRY", "TERM", "KIND", "FIRST OFFSET", "RECORDS", "BYTES", "SEGMENT", "POSITION"
            )?;
        }
        let records = match (header.kind, header.record_count) {
            (FrameKind::Records, 0) => "void".to_owned(),
            (FrameKind::Records, count) => count.to_string(),
            _ => "-".to_owned(),
        };
        writeln!(
            self.out,
            "{:>10}  {:>6}  {:10}  {:>12}  {records:>8}  {:>10}  {:>10}  {:>10}",
            header.log_index,
            header.term,
            kind_word(header.kind),
            header.base_offset,
            header.payload_len,
            frame.segment,
            frame.position
        )
    }
}

fn kind_word(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Records => "records",
        FrameKind::Membership => "membership",
        FrameKind::Control => "control",
        FrameKind::Blank => "blank",
        FrameKind::Mark => "mark",
    }
}

/// A frame's header, in the words of docs/format.md.
#[derive(Serialize)]
struct JsonFrame {
    segment: u64,
    position: u64,
    kind: &'static str,
    log_index: u64,
    term: u64,
    base_offset: u64,
    /// Offsets taken: 0 when void.
    record_count: u32,
    /// Records in the payload.
    submitted_count: u32,
    bytes: u32,
    timestamp_ms: u64,
    synced_to: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<JsonProducer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_offset: Option<u64>,
    /// Its records lie there, and are no part of the log any more.
    #[serde(skip_serializing_if = "is_false")]
    trimmed: bool,
}

#[derive(Serialize)]
struct JsonProducer {
    /// As text: it is larger than what a JSON number keeps in most programs.
    id: String,
    epoch: u32,
    sequence: u64,
}

impl From<&StoredFrame> for JsonFrame {
    fn from(frame: &StoredFrame) -> Self {
        let header = &frame.header;
        let stamp = header.stamp(&frame.payload);
        Self {
            segment: frame.segment.get(),
            position: frame.position.get(),
            kind: kind_word(header.kind),
            log_index: header.log_index.get(),
            term: header.term.get(),
            base_offset: header.base_offset.get(),
            record_count: header.record_count,
            submitted_count: header.submitted_count,
            bytes: header.payload_len,
            timestamp_ms: header.timestamp.0,
            synced_to: header.synced_to,
            producer: stamp.producer.map(|producer| JsonProducer {
                id: producer.id.to_string(),
                epoch: producer.epoch,
                sequence: producer.sequence,
            }),
            expected_offset: stamp.expected_offset.map(Offset::get),
            trimmed: false,
        }
    }
}

/// Whether it is about bytes that are no records.
fn is_undecodable(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Protocol(ProtocolError::Undecodable { .. })
    )
}
