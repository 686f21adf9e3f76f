//! Writes a damaged segment anew from its entries, which another node has.
//!
//! From entries and not from another node's file: segments end at different places on different nodes. What was there is
//! known from both sides, the state before and the state behind it, so that nothing else can take its place.

use std::{io::IoSlice, path::PathBuf, sync::Arc};

use super::LogState;
use crate::{
    clock,
    storage::{
        PlaceError, ReadError, RepairError, SegmentWriter, WriteError,
        checkpoint::Checkpoint,
        entry::Entry,
        frame,
        fs::{File, OpenMode},
        segment::{Expected, Frames, PreparedFile, SegmentContext, Unfit, verify},
        segment_header::{SegmentFace, SegmentHeader},
        tail_cache::TailCache,
        view::check_frames,
    },
    types::LogIndex,
};

/// What is missing where a segment is damaged.
#[derive(Clone, Debug)]
pub struct Gap {
    first: LogIndex,
    last: Last,
    before: Checkpoint,
    behind: Option<Checkpoint>,
}

/// Up to where entries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// To this one: another segment follows.
    Exactly(LogIndex),
    /// To this one at least, which was seen behind the damage: the segment was the last. There may have been more, of which
    /// nothing is left; so entries up to the leader's last one are to be had before this node votes again.
    AtLeast(LogIndex),
}

impl Gap {
    /// The first entry that is missing.
    #[must_use]
    pub fn first(&self) -> LogIndex {
        self.first
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Last {
        self.last
    }
}

/// A segment that is being written anew, beside the log. A start removes what is left of it.
#[derive(Debug)]
pub struct Rebuild {
    context: SegmentContext,
    gap: Gap,
    checkpoint: Checkpoint,
    writer: SegmentWriter,
    file: Arc<dyn File>,
    path: PathBuf,
}

/// A damaged store of which the head is left.
type Damaged = (Arc<dyn File>, SegmentFace);

/// A segment that was written anew: whole, synced, read back, and what was there.
#[derive(Debug)]
pub struct Rebuilt {
    pub(super) first_log_index: LogIndex,
    pub(super) last_log_index: LogIndex,
    pub(super) path: PathBuf,
}

impl Rebuilt {
    /// Its first entry.
    #[must_use]
    pub fn first_log_index(&self) -> LogIndex {
        self.first_log_index
    }
}

impl LogState {
    /// What is to be fetched in order to repair the sealed segment that begins with the entry.
    ///
    /// Blocking: reads headers; where the segment's own is lost, the whole segment before it; of a last segment all that
    /// lies behind the damage. Errors: `NoSegment`, `StartUnknown`.
    pub fn gap(&self, first: LogIndex) -> Result<Gap, RepairError> {
        let number = self
            .sealed_number(first)
            .map_err(|_| RepairError::NoSegment { first })?;
        let next = self.segments.get(number + 1);
        let own = self.damaged_header(first)?;
        let last = match next {
            Some(next) => Last::Exactly(LogIndex(next.first_log_index().get() - 1)),
            None => {
                let seen = self.last_seen(first)?;
                Last::AtLeast(seen.max(self.checkpoint.last_log_index()))
            }
        };
        let before = match own {
            Some(header) => header.checkpoint,
            None => self.before(number)?.ok_or(RepairError::StartUnknown { first })?,
        };
        Ok(Gap {
            first,
            last,
            before,
            behind: next
                .and_then(|next| next.header().ok())
                .map(|header| header.checkpoint),
        })
    }

    /// The state before a segment whose own header is lost.
    fn before(&self, number: usize) -> Result<Option<Checkpoint>, RepairError> {
        if self.segments[number].first_log_index() == LogIndex(1) {
            return Ok(Some(Checkpoint::new()));
        }
        let Some(previous) = number.checked_sub(1).map(|number| &self.segments[number]) else {
            return Ok(None);
        };
        let checked = previous
            .header()
            .and_then(|header| check_frames(previous, header.checkpoint, |_| ()));
        match checked {
            Ok(behind) if behind.last_log_index().plus(1) == self.segments[number].first_log_index() => {
                Ok(Some(behind))
            }
            Ok(_) | Err(ReadError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(RepairError::Read(error)),
        }
    }

    /// The damaged segment's header, if that is whole.
    fn damaged_header(&self, first: LogIndex) -> Result<Option<SegmentHeader>, RepairError> {
        let Some((file, face)) = self.damaged_face(first)? else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(face.header_len()).unwrap_or(usize::MAX)];
        let read = self.read_damaged(first, &file, &mut bytes)?;
        let header = SegmentHeader::decode(&bytes[..read]).ok();
        Ok(header.filter(|header| header.first_log_index() == first))
    }

    fn damaged_face(&self, first: LogIndex) -> Result<Option<Damaged>, RepairError> {
        let path = self.damaged_store(first);
        let opened = self.context.file_system.open(&path, OpenMode::Read);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RepairError::Read(ReadError::Io { path, source })),
        };
        let mut bytes = [0; SegmentFace::LEN];
        let read = self.read_damaged(first, &file, &mut bytes)?;
        let face = SegmentFace::decode(&bytes[..read]).ok();
        let own =
            |face: &SegmentFace| face.first_log_index == first && face.cluster_id == self.options.cluster_id;
        Ok(face.filter(own).map(|face| (file, face)))
    }

    fn read_damaged(
        &self,
        first: LogIndex,
        file: &Arc<dyn File>,
        into: &mut [u8],
    ) -> Result<usize, RepairError> {
        let read = file.read_at(0, into);
        read.map_err(|source| {
            let path = self.damaged_store(first);
            RepairError::Read(ReadError::Io { path, source })
        })
    }

    /// The highest entry of which an intact header is left in a damaged segment; 0: none.
    fn last_seen(&self, first: LogIndex) -> Result<LogIndex, RepairError> {
        let Some((file, face)) = self.damaged_face(first)? else {
            return Ok(LogIndex::ZERO);
        };
        let in_store = |source| {
            let path = self.damaged_store(first);
            RepairError::Read(ReadError::Io { path, source })
        };
        let size = file.size().map_err(in_store)?;
        let mut frames = Frames::new(&file, face.salt, face.header_len(), size, 1 << 20);
        let mut seen = LogIndex::ZERO;
        while let Some((position, header)) = frames.next_intact_header(size).map_err(in_store)? {
            seen = seen.max(header.log_index);
            frames.seek(position + frame::FRAME_HEADER_LEN as u64);
        }
        Ok(seen)
    }

    /// Begins to write the segment of the gap anew. Its entries are given to it in order; the log goes on meanwhile.
    ///
    /// Blocking.
    pub fn rebuild(&self, gap: Gap) -> Result<Rebuild, RepairError> {
        let header = SegmentHeader {
            salt: rand::random(),
            cluster_id: self.options.cluster_id,
            created: clock::wall(),
            checkpoint: gap.before.clone(),
        };
        let context = SegmentContext {
            // What is repaired is old: the newest frames stay in memory.
            cache: Arc::new(TailCache::new(0)),
            ..self.context.clone()
        };
        let name = format!("{:020}.repair", gap.first.get());
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
        let writer = SegmentWriter::open(context.clone(), face, file.clone(), bytes.len() as u64, None);
        Ok(Rebuild {
            context,
            checkpoint: gap.before.clone(),
            gap,
            writer,
            file,
            path,
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
    /// Blocking: now and then. Errors: of `Place` and `Incomplete` (there are no more) nothing has changed.
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
        let (placed, _) = self.checkpoint.place(entry)?;
        self.writer.append(&placed)?;
        Ok(())
    }

    /// Makes the segment durable, reads it back, and compares where it leads with what follows.
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
        let unfit = |what: String| RepairError::Unfit { first, what };
        if self
            .gap
            .behind
            .as_ref()
            .is_some_and(|behind| *behind != self.checkpoint)
        {
            return Err(unfit(
                "it leads to another state than the next begins with".to_owned(),
            ));
        }
        self.writer.mark()?;
        let expected = Expected {
            cluster_id: self.context.cluster_id,
            first_log_index: first,
            first_offset: self.gap.before.next_offset(),
        };
        let read = verify(&self.file, &expected).map_err(|error| match error {
            Unfit::Content(what) => unfit(what),
            Unfit::Io(source) => RepairError::Read(ReadError::Io {
                path: self.path.clone(),
                source,
            }),
        })?;
        if read.behind != self.checkpoint {
            return Err(unfit("what was read back is not what was written".to_owned()));
        }
        Ok(Rebuilt {
            first_log_index: first,
            last_log_index: found,
            path: self.path,
        })
    }
}
