//! Appends to the active segment. Appends gather in memory; a flush is one write and one sync for all of them.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use super::{PreparedFile, SegmentReader, sealed_index::write_index};
use crate::{
    storage::{
        WriteError,
        frame::{self, FRAME_HEADER_LEN, FrameHeader, PAYLOAD_BYTES_MAX, PlacedEntry},
        fs::{File, FileSystem, OpenMode},
        index::ActiveIndex,
        names,
        segment_header::{SegmentFace, SegmentHeader},
        tail_cache::{CachedFrame, TailCache},
    },
    types::{ClusterId, LogIndex, Position},
};

/// The most that may be written and not synced: recovery looks this far behind a damaged frame for intact ones.
pub(in crate::storage) const UNSYNCED_BYTES_MAX: u64 = 32 << 20;
/// Gathered bytes from which a flush is due at once: with one frame of the largest size it stays within the above.
const GATHER_BYTES_MAX: u64 = UNSYNCED_BYTES_MAX - PAYLOAD_BYTES_MAX as u64 - 4096;
/// Payloads from this size on are written from where they lie. Smaller ones are copied together, which costs some
/// microseconds: they lie in buffers that may be several times as large, and would keep all of them in memory for as long
/// as the tail cache holds the record.
const WRITE_IN_PLACE_BYTES: usize = 512 << 10;
/// Gathered frames share buffers of this size. What a batch leaves unused at the end of one stays in memory as long as the
/// frames before it, so it is large beside most batches.
const GATHER_BUFFER_BYTES: usize = 4 << 20;

/// What every segment of a log needs.
#[derive(Clone, Debug)]
pub(in crate::storage) struct SegmentContext {
    pub(in crate::storage) file_system: Arc<dyn FileSystem>,
    pub(in crate::storage) directory: PathBuf,
    pub(in crate::storage) cluster_id: ClusterId,
    pub(in crate::storage) segment_bytes: u64,
    pub(in crate::storage) cache: Arc<TailCache>,
}

/// Writes one segment. Not for sharing: it lives where blocking is allowed.
#[derive(Debug)]
pub struct SegmentWriter {
    context: SegmentContext,
    face: SegmentFace,
    file: Arc<dyn File>,
    index: Arc<ActiveIndex>,
    /// Published to readers: frames before it are synced.
    readable_end: Arc<AtomicU64>,
    /// Everything before it is synced.
    synced_to: u64,
    /// Where the next frame goes; gathered frames included.
    end: u64,
    gathered: Gathered,
    /// The newest entry in this segment.
    last: Option<FrameHeader>,
    /// Bytes of the marks written since the segment was opened; shared with whoever counts how full it is.
    mark_bytes: Arc<AtomicU64>,
    /// The last frame in the file is a mark.
    marked: bool,
    /// A write or a sync has failed: nothing is written any more (STO-3).
    poisoned: bool,
}

/// Frames not yet written.
#[derive(Debug, Default)]
struct Gathered {
    /// Finished buffers, then `open`; together the bytes from `synced_to` to `end`.
    parts: Vec<Bytes>,
    open: BytesMut,
    frames: Vec<GatheredFrame>,
}

#[derive(Debug)]
struct GatheredFrame {
    header: FrameHeader,
    position: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Written from where it lies.
    InPlace(Bytes),
    /// In the buffer that becomes this part, from this byte on.
    Copied { part: usize, start: usize, len: usize },
}

/// What a flush made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The last entry that is durable now.
    pub last_log_index: LogIndex,
    /// How many bytes were written.
    pub bytes: u64,
}

impl SegmentWriter {
    /// Makes the segment's file, durable under its name before this returns.
    pub(in crate::storage) fn create(
        context: SegmentContext,
        header: &SegmentHeader,
        prepared: PreparedFile,
    ) -> Result<Self, WriteError> {
        let first = header.first_log_index();
        let path = names::store(&context.directory, first);
        let bytes = header.encode();
        let face = SegmentFace::decode(&bytes).expect("a header just encoded is whole");
        let PreparedFile {
            path: prepared_path,
            file,
            ..
        } = prepared;
        let in_place = |operation| {
            let path = prepared_path.clone();
            move |source| WriteError::Io {
                path,
                operation,
                source,
            }
        };
        file.write_all_at(0, &mut [IoSlice::new(&bytes)])
            .map_err(in_place("write"))?;
        file.sync_data().map_err(in_place("sync"))?;
        // A file of this name is a leftover of a truncation that a crash cut short; what the log says now replaces it.
        context
            .file_system
            .rename(&prepared_path, &path)
            .map_err(in_place("rename"))?;
        context
            .file_system
            .sync_dir(&context.directory)
            .map_err(in_place("sync the directory of"))?;
        Ok(Self::open(context, face, file, bytes.len() as u64, None))
    }

    /// Goes on with a file whose frames end at `end`, all synced; behind it there is nothing, or zeros.
    pub(in crate::storage) fn open(
        context: SegmentContext,
        face: SegmentFace,
        file: Arc<dyn File>,
        end: u64,
        last: Option<FrameHeader>,
    ) -> Self {
        // Room for what one segment may hold above its size: the last flush that fitted when it began.
        let index = Arc::new(ActiveIndex::new(
            &face,
            context.segment_bytes + UNSYNCED_BYTES_MAX,
        ));
        Self {
            context,
            face,
            file,
            index,
            readable_end: Arc::new(AtomicU64::new(end)),
            synced_to: end,
            end,
            gathered: Gathered::default(),
            last,
            mark_bytes: Arc::default(),
            marked: false,
            poisoned: false,
        }
    }

    /// The index, for recovery to fill.
    pub(in crate::storage) fn index(&self) -> &ActiveIndex {
        &self.index
    }

    /// Goes on behind the frames that recovery found intact.
    pub(in crate::storage) fn resume_at(&mut self, end: u64, last: Option<FrameHeader>) {
        self.end = end;
        self.synced_to = end;
        self.readable_end.store(end, Ordering::Release);
        self.last = last;
    }

    /// A reader that sees what each flush makes durable.
    pub(in crate::storage) fn reader(&self) -> SegmentReader {
        SegmentReader::active(
            self.context.file_system.clone(),
            &self.context.directory,
            self.face,
            self.file.clone(),
            self.index.clone(),
            self.readable_end.clone(),
        )
    }

    /// The store file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        names::store(&self.context.directory, self.face.first_log_index)
    }

    /// Number of the segment's first entry.
    #[must_use]
    pub fn first_log_index(&self) -> LogIndex {
        self.face.first_log_index
    }

    /// Where the next frame goes; frames gathered and not yet written included.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(self.end)
    }

    /// Counts the bytes of marks from now on.
    pub(in crate::storage) fn mark_bytes(&self) -> Arc<AtomicU64> {
        self.mark_bytes.clone()
    }

    /// Length of the file: behind the last frame it holds zeros up to here.
    pub(in crate::storage) fn file_size(&self) -> io::Result<u64> {
        self.file.size()
    }

    /// Whether frames wait for a flush.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        !self.gathered.frames.is_empty()
    }

    /// Gathers the entry; it is durable after a flush. Flushes by itself what was gathered before when that has become
    /// as much as may be unsynced.
    ///
    /// Blocking: then. Errors: of that flush; the entry is not gathered.
    pub fn append(&mut self, placed: &PlacedEntry) -> Result<(), WriteError> {
        if self.end - self.synced_to > GATHER_BYTES_MAX {
            self.flush()?;
        }
        let synced_to = u32::try_from(self.synced_to).expect("segments are at most 1 GiB");
        let encoded = frame::encode(placed, self.face.salt, Position(self.end), synced_to);
        let content = self.gathered.put(&encoded);
        self.gathered.frames.push(GatheredFrame {
            header: encoded.header,
            position: self.end,
            content,
        });
        self.last = Some(encoded.header);
        self.end += encoded.header.frame_len();
        self.marked = false;
        Ok(())
    }

    /// Writes and syncs what was gathered, then shows it to readers. `None` when there was nothing.
    ///
    /// Blocking. Errors: the outcome of everything gathered is unknown, and the segment takes nothing any more.
    /// Invariant: STO-3.
    pub fn flush(&mut self) -> Result<Option<Flushed>, WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned { path: self.path() });
        }
        let Some(last) = self.gathered.frames.last() else {
            return Ok(None);
        };
        let flushed = Flushed {
            last_log_index: last.header.log_index,
            bytes: self.end - self.synced_to,
        };
        let (parts, frames) = self.gathered.take();
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        self.write_and_sync(&mut slices)?;
        for frame in &frames {
            self.index.note(&frame.header, frame.position);
        }
        self.readable_end.store(self.end, Ordering::Release);
        self.context
            .cache
            .push(frames.into_iter().map(|frame| frame.cached(&parts)).collect());
        Ok(Some(flushed))
    }

    /// Says on disk that everything so far is synced, so that the newest frames, too, are known to belong to the log.
    /// Does nothing when the last frame says so already.
    ///
    /// Blocking. Errors: as [`SegmentWriter::flush`].
    pub fn mark(&mut self) -> Result<(), WriteError> {
        self.flush()?;
        let Some(mark) = self.next_mark() else {
            return Ok(());
        };
        self.end += FRAME_HEADER_LEN as u64;
        self.write_and_sync(&mut [IoSlice::new(&mark)])?;
        self.readable_end.store(self.end, Ordering::Release);
        self.mark_bytes
            .fetch_add(FRAME_HEADER_LEN as u64, Ordering::Relaxed);
        self.marked = true;
        Ok(())
    }

    /// Finishes the segment: everything synced, the file cut to its length, its index written.
    ///
    /// Blocking. Errors: as [`SegmentWriter::flush`].
    pub fn seal(mut self) -> Result<(), WriteError> {
        self.flush()?;
        let path = self.path();
        let in_file = |operation| {
            let path = path.clone();
            move |source| WriteError::Io {
                path,
                operation,
                source,
            }
        };
        // With a mark, so that the newest frames are known to belong to the log even if a crash leaves this the last
        // segment; one sync for it and for the cut.
        if let Some(mark) = self.next_mark() {
            self.file
                .write_all_at(self.end, &mut [IoSlice::new(&mark)])
                .map_err(in_file("write"))?;
            self.end += FRAME_HEADER_LEN as u64;
        }
        self.file.set_len(self.end).map_err(in_file("cut"))?;
        self.file.sync_data().map_err(in_file("sync"))?;
        let index = self.index.encode(self.face.salt, self.end);
        let first = self.face.first_log_index;
        // Only a cache: where it cannot be written, whoever needs it builds it from the store.
        drop(write_index(
            &*self.context.file_system,
            &self.context.directory,
            first,
            &index,
        ));
        Ok(())
    }

    /// The mark for what is synced now; `None` when the last frame is one.
    fn next_mark(&self) -> Option<[u8; FRAME_HEADER_LEN]> {
        let last = self.last.filter(|_| !self.marked)?;
        let synced_to = u32::try_from(self.synced_to).expect("segments are at most 1 GiB");
        Some(frame::encode_mark(
            &last,
            self.face.salt,
            Position(self.end),
            synced_to,
        ))
    }

    fn write_and_sync(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), WriteError> {
        let result = self
            .file
            .write_all_at(self.synced_to, slices)
            .map_err(|source| ("write", source))
            .and_then(|()| self.file.sync_data().map_err(|source| ("sync", source)));
        match result {
            Ok(()) => {
                self.synced_to = self.end;
                Ok(())
            }
            Err((operation, source)) => {
                self.poisoned = true;
                Err(WriteError::Io {
                    path: self.path(),
                    operation,
                    source,
                })
            }
        }
    }
}

impl Gathered {
    fn put(&mut self, encoded: &frame::EncodedFrame<'_>) -> Content {
        let head = encoded.head.as_slice();
        let in_place = encoded.payload.len() >= WRITE_IN_PLACE_BYTES;
        let copied = head.len() + encoded.padding + if in_place { 0 } else { encoded.payload.len() };
        if self.open.capacity() - self.open.len() < copied {
            self.close();
            self.open = BytesMut::with_capacity(GATHER_BUFFER_BYTES.max(copied));
        }
        self.open.extend_from_slice(head);
        let content = if in_place {
            self.close();
            self.parts.push(encoded.payload.clone());
            Content::InPlace(encoded.payload.clone())
        } else {
            let start = self.open.len();
            self.open.extend_from_slice(encoded.payload);
            Content::Copied {
                part: self.parts.len(),
                start,
                len: encoded.payload.len(),
            }
        };
        self.open.resize(self.open.len() + encoded.padding, 0);
        content
    }

    /// Makes the open buffer a part; what is left of it serves the next frames.
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.parts.push(self.open.split().freeze());
        }
    }

    fn take(&mut self) -> (Vec<Bytes>, Vec<GatheredFrame>) {
        self.close();
        (std::mem::take(&mut self.parts), std::mem::take(&mut self.frames))
    }
}

impl GatheredFrame {
    fn cached(self, parts: &[Bytes]) -> CachedFrame {
        let content = match self.content {
            Content::InPlace(bytes) => bytes,
            Content::Copied { part, start, len } => parts[part].slice(start..start + len),
        };
        CachedFrame {
            header: self.header,
            content,
        }
    }
}

/// Opens a store for writing.
pub(super) fn open_store(file_system: &dyn FileSystem, path: &Path) -> io::Result<Arc<dyn File>> {
    file_system.open(path, OpenMode::ReadWrite)
}
