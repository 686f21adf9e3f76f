//! Writes a damaged or missing segment anew from its entries, which another node has.
//!
//! From entries and not from another node's file: segments end at different places on different nodes. What was there is
//! known from both sides, the state before it and the state behind it, so that nothing else can take its place. What is
//! missing may be longer than a segment is allowed to be; then it becomes several.

use std::{io::IoSlice, path::PathBuf, sync::Arc};

use super::{Gap, Last, LogState};
use crate::{
    clock,
    storage::{
        PlaceError, ReadError, RepairError, SegmentWriter, WriteError,
        checkpoint::Checkpoint,
        entry::Entry,
        frame,
        fs::File,
        segment::{Expected, PreparedFile, SegmentContext, Unfit, verify},
        segment_header::{SegmentFace, SegmentHeader},
        tail_cache::TailCache,
    },
    types::LogIndex,
};

/// What is missing, being written anew beside the log. A start removes what is left of it.
#[derive(Debug)]
pub struct Rebuild {
    context: SegmentContext,
    gap: Gap,
    checkpoint: Checkpoint,
    /// Segments that are whole.
    written: Vec<RebuiltSegment>,
    /// The one that entries go to.
    part: Part,
}

/// A segment that is being written.
#[derive(Debug)]
struct Part {
    before: Checkpoint,
    writer: SegmentWriter,
    file: Arc<dyn File>,
    path: PathBuf,
    /// Where its first frame begins.
    start: u64,
}

/// What was written anew: whole, synced, read back, and what was there.
#[derive(Debug)]
pub struct Rebuilt {
    pub(super) last_log_index: LogIndex,
    /// Oldest first; at least one.
    pub(super) segments: Vec<RebuiltSegment>,
}

/// One segment of it, and where its store lies.
#[derive(Debug)]
pub(super) struct RebuiltSegment {
    pub(super) first_log_index: LogIndex,
    pub(super) path: PathBuf,
}

impl Rebuilt {
    /// Its first entry.
    #[must_use]
    pub fn first_log_index(&self) -> LogIndex {
        self.segments
            .first()
            .map_or(LogIndex::ZERO, |first| first.first_log_index)
    }

    /// How many segments it is.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }
}

impl LogState {
    /// Begins to write the segment of the gap anew. Its entries are given to it in order; the log goes on meanwhile.
    ///
    /// Blocking.
    pub fn rebuild(&self, gap: Gap) -> Result<Rebuild, RepairError> {
        let context = SegmentContext {
            // What is repaired is old: the newest frames stay in memory.
            cache: Arc::new(TailCache::new(0)),
            ..self.context.clone()
        };
        let checkpoint = gap.before.clone();
        Ok(Rebuild {
            part: Part::begin(&context, checkpoint.clone())?,
            context,
            gap,
            checkpoint,
            written: Vec::new(),
        })
    }
}

impl Rebuild {
    /// The entry that it needs next.
    #[must_use]
    pub fn next(&self) -> LogIndex {
        self.checkpoint.last_log_index().plus(1)
    }

    /// Takes the next entry.
    ///
    /// Blocking: now and then, and reads a segment back when that is full. Errors: of `Place` and `Incomplete` (there are no
    /// more) nothing has changed.
    pub fn append(&mut self, entry: Entry) -> Result<(), RepairError> {
        if let Last::Exactly(expected) = self.gap.last
            && entry.log_index > expected
        {
            let found = entry.log_index;
            return Err(RepairError::Incomplete { expected, found });
        }
        let (log_index, bytes) = (entry.log_index, frame::payload_len(&entry.payload));
        if bytes > frame::PAYLOAD_BYTES_MAX {
            return Err(RepairError::Place(PlaceError::TooLarge { log_index, bytes }));
        }
        if self.is_full(bytes) {
            let next = Part::begin(&self.context, self.checkpoint.clone())?;
            let full = std::mem::replace(&mut self.part, next);
            self.written.push(full.finish(&self.context, &self.checkpoint)?);
        }
        let (placed, _) = self.checkpoint.place(entry)?;
        self.part.writer.append(&placed)?;
        Ok(())
    }

    /// Whether an entry with so many bytes begins the next segment.
    fn is_full(&self, payload_len: usize) -> bool {
        let end = self.part.writer.end().get() + frame::frame_len(payload_len);
        let is_empty = self.part.before.last_log_index() == self.checkpoint.last_log_index();
        !is_empty && end - self.part.start > self.context.segment_bytes
    }

    /// Makes all of it durable, reads it back, and compares where it leads with what follows.
    ///
    /// Blocking. Errors: `Incomplete`; `Unfit`: it is not what was there.
    pub fn finish(mut self) -> Result<Rebuilt, RepairError> {
        let (first, found) = (self.gap.first, self.checkpoint.last_log_index());
        let (expected, complete) = match self.gap.last {
            Last::Exactly(last) => (last, found == last),
            Last::AtLeast(last) => (last, found >= last && found >= first),
        };
        if !complete {
            return Err(RepairError::Incomplete { expected, found });
        }
        if self
            .gap
            .behind
            .as_ref()
            .is_some_and(|behind| *behind != self.checkpoint)
        {
            let what = "it leads to another state than the next begins with".to_owned();
            return Err(RepairError::Unfit { first, what });
        }
        self.written
            .push(self.part.finish(&self.context, &self.checkpoint)?);
        Ok(Rebuilt {
            last_log_index: found,
            segments: self.written,
        })
    }
}

impl Part {
    /// Begins the segment behind a state of the log.
    fn begin(context: &SegmentContext, before: Checkpoint) -> Result<Self, RepairError> {
        let header = SegmentHeader {
            salt: rand::random(),
            cluster_id: context.cluster_id,
            created: clock::wall(),
            checkpoint: before.clone(),
        };
        let name = format!("{:020}.repair", header.first_log_index().get());
        let prepared = PreparedFile::create(&*context.file_system, &context.directory, &name, 0);
        let PreparedFile { path, file, .. } = prepared.map_err(|source| WriteError::Io {
            path: context.directory.clone(),
            operation: "create a file in",
            source,
        })?;
        let bytes = header.encode();
        file.write_all_at(0, &mut [IoSlice::new(&bytes)])
            .map_err(|source| WriteError::Io {
                path: path.clone(),
                operation: "write",
                source,
            })?;
        let face = SegmentFace::decode(&bytes).expect("a header just encoded is whole");
        let start = bytes.len() as u64;
        Ok(Self {
            before,
            writer: SegmentWriter::open(context.clone(), face, file.clone(), start, None),
            file,
            path,
            start,
        })
    }

    /// Makes the segment durable, and reads it back: it leads to `behind`.
    fn finish(
        mut self,
        context: &SegmentContext,
        behind: &Checkpoint,
    ) -> Result<RebuiltSegment, RepairError> {
        let first = self.before.last_log_index().plus(1);
        let unfit = |what: String| RepairError::Unfit { first, what };
        self.writer.mark()?;
        let expected = Expected {
            cluster_id: context.cluster_id,
            first_log_index: first,
            first_offset: self.before.next_offset(),
        };
        let read = verify(&self.file, &expected).map_err(|error| match error {
            Unfit::Content(what) => unfit(what),
            Unfit::Io(source) => RepairError::Read(ReadError::Io {
                path: self.path.clone(),
                source,
            }),
        })?;
        if read.behind != *behind {
            return Err(unfit("what was read back is not what was written".to_owned()));
        }
        Ok(RebuiltSegment {
            first_log_index: first,
            path: self.path,
        })
    }
}
