//! One consumer's place in the log.
//!
//! It reads on only when what it gave out has been taken, and at first little at a time. What it has read and not given out it keeps where
//! there is room for that (`super::pace`), and reads again where there is none: a client that does not read holds next to nothing
//! but what HTTP/2 has been handed.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::{Stream, stream};
use slog::error;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    pace::{CHUNK_BYTES_MIN, Pace},
    portion::{Limits, Room, response_bytes_max, take_portion, trimmed},
};
use crate::{
    error::causes,
    net::{context::Context, status::Refusal},
    storage::{Chunk, LogView, ReadError, StoredBatch},
    types::Offset,
};

/// A consumer's place, and how far it goes.
#[derive(Debug)]
pub struct Cursor {
    context: Arc<Context>,
    /// First offset not yet given out.
    next: Offset,
    limits: Limits,
    /// The high watermark when the read began, where it ends; `None` when it follows.
    until: Option<Offset>,
    /// Read, trimmed, and not yet given out.
    ready: VecDeque<StoredBatch>,
    /// Bytes of records in the read that `ready` is of, and in its first batch.
    read_bytes: usize,
    first_bytes: usize,
    /// Room for what is `ready`, once it was to wait.
    place: Option<OwnedSemaphorePermit>,
    pace: Pace,
}

impl Cursor {
    /// Starts at `next`; with `follow` it waits at the tail, without it ends at what is the high watermark now: a read that
    /// went on for as long as records are appended might never end.
    #[must_use]
    pub fn new(context: Arc<Context>, next: Offset, limits: Limits, follow: bool) -> Self {
        let until = (!follow).then(|| context.parts.read_path.high_watermark());
        Self {
            context,
            next,
            limits,
            until,
            ready: VecDeque::new(),
            read_bytes: 0,
            first_bytes: 0,
            place: None,
            pace: Pace::default(),
        }
    }

    /// First offset not yet given out.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// The next batches for a response with so much `room`; `None` when nothing more may go in, or at the end of the read.
    ///
    /// Errors: `OutOfRange` when the place was trimmed away; `Read`; `ShuttingDown` while it waits at the tail.
    /// Cancel: safe; nothing is given out or skipped.
    pub async fn next(&mut self, room: &mut Room) -> Result<Option<Vec<StoredBatch>>, Refusal> {
        if self.limits.is_reached(self.next) {
            return Ok(None);
        }
        if self.ready.is_empty() && !self.fill(room.bytes()).await? {
            return Ok(None);
        }
        let portion = take_portion(&mut self.ready, room, &mut self.limits);
        let Some(last) = portion.last() else {
            return Ok(None);
        };
        self.next = last.base_offset.plus(u64::from(last.record_count));
        self.pace.give(bytes_of(&portion));
        Ok(Some(portion))
    }

    /// The next portion of a stream: as much as its pace allows.
    async fn next_of_stream(&mut self) -> Result<Option<Vec<StoredBatch>>, Refusal> {
        if self.limits.is_reached(self.next) {
            return Ok(None);
        }
        let options = &self.context.options;
        let (chunk_bytes_max, message_bytes_max) = (options.consume_chunk_bytes, options.message_bytes_max);
        let mut bytes = self.pace.chunk_bytes(self.context.consume_chunk_bytes());
        if self.ready.is_empty() {
            if !self.fill(bytes).await? {
                return Ok(None);
            }
            let share = self.pace.share_of(self.first_bytes);
            bytes = bytes.max(share.min(chunk_bytes_max));
        }
        let mut room = Room::new(bytes.min(response_bytes_max(message_bytes_max)));
        let portion = self.next(&mut room).await?;
        // Only a stream may be left waiting for its client; any other read is over at once, and goes on in what it has.
        self.put_away();
        Ok(portion)
    }

    /// What is left of a read: there is room for it, or it is little, or it is dropped and will be read again.
    fn put_away(&mut self) {
        if self.ready.is_empty() {
            self.place = None;
            return;
        }
        if self.place.is_some() {
            return;
        }
        if self.pace.is_worth(self.read_bytes) {
            self.place = self.context.shelf.place(self.read_bytes);
        }
        if self.place.is_some() {
            return;
        }
        if bytes_of(&self.ready) > CHUNK_BYTES_MIN {
            self.ready = VecDeque::new();
            return;
        }
        // A slice would keep all of the memory that was read into.
        for batch in &mut self.ready {
            batch.records = Bytes::copy_from_slice(&batch.records);
        }
    }

    /// Reads on, about `bytes_max` at most; false when there is nothing and the read does not wait.
    async fn fill(&mut self, bytes_max: usize) -> Result<bool, Refusal> {
        let Some(below) = self.readable_below().await? else {
            return Ok(false);
        };
        let from = self.next;
        let bytes_max = bytes_max.min(self.context.consume_chunk_bytes());
        let chunk = read(&self.context, from, below, bytes_max).await?;
        self.read_bytes = bytes_of(&chunk.batches);
        self.first_bytes = chunk.batches.first().map_or(0, |batch| batch.records.len());
        self.ready.extend(
            chunk
                .batches
                .into_iter()
                .filter_map(|batch| trimmed(batch, from, below)),
        );
        match self.ready.front() {
            Some(first) if first.base_offset == from => Ok(true),
            _ => Err(Refusal::Internal {
                what: "a read did not give the record it was asked for (LOG-1)",
            }),
        }
    }

    /// The bound below which there is something to read; `None` when there is nothing and the read does not wait.
    async fn readable_below(&self) -> Result<Option<Offset>, Refusal> {
        let current = || self.context.parts.read_path.high_watermark();
        let mut high_watermark = self.until.unwrap_or_else(current);
        if self.next >= high_watermark {
            if let Some(refusal) = damaged(&self.context) {
                return Err(refusal);
            }
            if self.until.is_some() {
                return Ok(None);
            }
            high_watermark = tokio::select! {
                reached = self.context.parts.read_path.wait_above(self.next) => reached.ok_or(Refusal::ShuttingDown)?,
                () = self.context.draining.cancelled() => return Err(Refusal::ShuttingDown),
            };
        }
        Ok(Some(
            self.limits
                .end_offset
                .map_or(high_watermark, |end| end.min(high_watermark)),
        ))
    }

    /// All that goes into one response of so many bytes.
    ///
    /// Errors: those of [`Cursor::next`], and `ReadDeadline`; only when there is nothing before them. Cancel: safe.
    pub async fn read_once(&mut self, bytes_max: usize, deadline: Instant) -> Result<Portion, Refusal> {
        let mut room = Room::new(bytes_max);
        let mut batches = Vec::new();
        loop {
            let offset = self.next;
            let more = timeout_at(deadline, self.next(&mut room))
                .await
                .unwrap_or(Err(Refusal::ReadDeadline { offset }));
            match more {
                Ok(Some(more)) => batches.extend(more),
                Ok(None) => break,
                // What was read is good. Who goes on from there hears what is wrong there.
                Err(_) if !batches.is_empty() => break,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Portion {
            batches,
            next_offset: self.next,
        })
    }

    /// All portions, each of `consume_chunk_bytes` once the client has taken some, until the read or `deadline` ends; `place` is given back then.
    pub fn into_stream(
        self,
        deadline: Option<Instant>,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<Portion, Refusal>> + Send {
        stream::try_unfold((self, place), move |(mut cursor, place)| async move {
            let batches = match deadline {
                None => cursor.next_of_stream().await?,
                Some(deadline) => timeout_at(deadline, cursor.next_of_stream())
                    .await
                    .map_err(|_| Refusal::StreamDeadline)??,
            };
            Ok(batches.map(|batches| {
                (
                    Portion {
                        batches,
                        next_offset: cursor.next,
                    },
                    (cursor, place),
                )
            }))
        })
    }
}

/// What goes into one response.
#[derive(Debug)]
pub struct Portion {
    /// Batches in order, cut to what the client asked for.
    pub batches: Vec<StoredBatch>,
    /// Where to go on.
    pub next_offset: Offset,
}

fn bytes_of<'a>(batches: impl IntoIterator<Item = &'a StoredBatch>) -> usize {
    batches.into_iter().map(|batch| batch.records.len()).sum()
}

/// Batches from `from` on: from memory where it is there, else from files.
async fn read(context: &Context, from: Offset, below: Offset, bytes_max: usize) -> Result<Chunk, Refusal> {
    let view = context.parts.read_path.view();
    if from < view.earliest() {
        return Err(out_of_range(context, from));
    }
    if let Some(chunk) = view.read_cached(from, below, bytes_max) {
        return Ok(chunk);
    }
    // What is in the page cache is read here and now: handing it to a thread that may block costs more than the read. How
    // large a frame is shows only when it is read; the largest is a batch, whose copy and checksums take some milliseconds.
    if let Some(chunk) = view.read_resident(from, below, bytes_max) {
        tokio::task::consume_budget().await;
        return Ok(chunk);
    }
    blocking_read(context, move |view| view.read(from, below, bytes_max)).await
}

/// Runs a read of files where it may block. At most `reads_max` run at a time; more wait in line.
///
/// Errors: what `read` says. Cancel: the read itself runs to its end, and its result is dropped.
pub async fn blocking_read<T, F>(context: &Context, read: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce(&LogView) -> Result<T, ReadError> + Send + 'static,
{
    let permit = Arc::clone(&context.reads)
        .acquire_owned()
        .await
        .map_err(|_| Refusal::ShuttingDown)?;
    let view = context.parts.read_path.view();
    let result = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        read(&view)
    });
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ReadError::Trimmed { offset, .. })) => Err(out_of_range(context, offset)),
        Ok(Err(error)) => {
            error!(context.parts.log, "a read failed"; "error" => causes(&error));
            context.parts.read_path.report(&error);
            Err(Refusal::Read(error))
        }
        Err(_) => Err(Refusal::Internal {
            what: "a read panicked",
        }),
    }
}

/// The refusal of `offset`, with the bounds as they are now; of what is damaged, the damage.
#[must_use]
pub fn out_of_range(context: &Context, offset: Offset) -> Refusal {
    let refusal = Refusal::OutOfRange {
        offset,
        earliest: context.parts.read_path.view().earliest(),
        high_watermark: context.parts.read_path.high_watermark(),
    };
    if offset >= context.parts.read_path.high_watermark() {
        damaged(context).unwrap_or(refusal)
    } else {
        refusal
    }
}

/// Why nothing at or above the high watermark can be read and nothing will ever come: there were records, and they are
/// damaged (G6). `None`: the log is whole.
fn damaged(context: &Context) -> Option<Refusal> {
    let view = context.parts.read_path.view();
    let damage = view.damage()?.clone();
    Some(Refusal::Read(ReadError::from(damage)))
}
