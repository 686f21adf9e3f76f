//! Reads a segment, active or sealed, without asking whoever writes it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    FrameError, Frames, OpenFiles, absent::Absent, frames::Frame, open_files::FileSlot, resident::Resident,
};
use crate::{
    storage::{
        ReadError,
        entry::Entry,
        frame::FrameFault,
        fs::{File, FileSystem, read_exact_at},
        index::{ActiveIndex, SealedIndex, Target},
        names,
        segment_header::{SegmentFace, SegmentHeader},
        tail_cache::batch_of,
        view::{Chunk, SegmentDescription},
    },
    types::{LogIndex, Offset, Position, TimestampMs},
};

/// Bytes read at a time when a whole segment is walked.
pub(in crate::storage) const WALK_WINDOW: usize = 1 << 20;

/// A segment as readers see it.
#[derive(Debug)]
pub(in crate::storage) struct SegmentReader {
    pub(super) file_system: Arc<dyn FileSystem>,
    pub(super) directory: PathBuf,
    path: PathBuf,
    pub(super) first_log_index: LogIndex,
    pub(super) face: OnceLock<SegmentFace>,
    /// Another file takes this one's name: what the name leads to is not to be read for it.
    replaced: AtomicBool,
    /// Its store is not in the log: what it held is known, but not to be read.
    pub(super) absent: Option<Absent>,
    /// What its header would say, where that cannot be read.
    pub(super) header: Option<Box<SegmentHeader>>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Active {
        file: Arc<dyn File>,
        index: Arc<ActiveIndex>,
        /// Frames before this position are synced and may be read.
        end: Arc<AtomicU64>,
    },
    Sealed {
        slot: Arc<FileSlot>,
        open_files: Arc<OpenFiles>,
        index: OnceLock<SealedIndex>,
        len: OnceLock<u64>,
        /// Its last entry.
        last: OnceLock<LogIndex>,
        /// Checksum of the whole file.
        crc: OnceLock<u32>,
        /// Readable up to here although the file goes on: what follows is damaged.
        readable_end: Option<u64>,
    },
}

impl SegmentReader {
    /// The active segment, up to what its writer publishes in `end`.
    pub(in crate::storage) fn active(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        face: SegmentFace,
        file: Arc<dyn File>,
        index: Arc<ActiveIndex>,
        end: Arc<AtomicU64>,
    ) -> Self {
        let first_log_index = face.first_log_index;
        Self {
            path: names::store(directory, first_log_index),
            directory: directory.to_owned(),
            file_system,
            first_log_index,
            face: OnceLock::from(face),
            replaced: AtomicBool::new(false),
            absent: None,
            header: None,
            kind: Kind::Active { file, index, end },
        }
    }

    /// A sealed segment. Nothing of it is read before it is used.
    pub(in crate::storage) fn sealed(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        first_log_index: LogIndex,
        open_files: Arc<OpenFiles>,
        readable_end: Option<u64>,
    ) -> Self {
        Self {
            path: names::store(directory, first_log_index),
            directory: directory.to_owned(),
            file_system,
            first_log_index,
            face: OnceLock::new(),
            replaced: AtomicBool::new(false),
            absent: None,
            header: None,
            kind: Kind::Sealed {
                slot: Arc::default(),
                open_files,
                index: OnceLock::new(),
                len: OnceLock::new(),
                last: OnceLock::new(),
                crc: OnceLock::new(),
                readable_end,
            },
        }
    }

    /// Whether what lies behind its readable end is damaged.
    pub(super) fn ends_before_its_file(&self) -> bool {
        matches!(
            &self.kind,
            Kind::Sealed {
                readable_end: Some(_),
                ..
            }
        )
    }

    pub(in crate::storage) fn first_log_index(&self) -> LogIndex {
        self.first_log_index
    }

    pub(in crate::storage) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::storage) fn is_active(&self) -> bool {
        matches!(self.kind, Kind::Active { .. })
    }

    /// Who the segment is, when that was read already.
    pub(in crate::storage) fn known_face(&self) -> Option<&SegmentFace> {
        self.face.get()
    }

    /// Who the segment is.
    pub(in crate::storage) fn face(&self) -> Result<&SegmentFace, ReadError> {
        if let Some(face) = self.face.get() {
            return Ok(face);
        }
        let mut bytes = [0; SegmentFace::LEN];
        match read_exact_at(&*self.file()?, 0, &mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.corrupt(0, "the file ends inside the segment header"));
            }
            Err(error) => return Err(self.io(error)),
        }
        let face = SegmentFace::decode(&bytes).map_err(|error| self.corrupt(0, &error.to_string()))?;
        if face.first_log_index != self.first_log_index {
            let says = format!(
                "the header says entry {}, the file's name another",
                face.first_log_index
            );
            return Err(self.corrupt(0, &says));
        }
        Ok(self.face.get_or_init(|| face))
    }

    /// The whole header, with the checkpoint.
    pub(in crate::storage) fn header(&self) -> Result<SegmentHeader, ReadError> {
        if let Some(header) = &self.header {
            return Ok(SegmentHeader::clone(header));
        }
        let len = usize::try_from(self.face()?.header_len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let read = self
            .file()?
            .read_at(0, &mut bytes)
            .map_err(|error| self.io(error))?;
        SegmentHeader::decode(&bytes[..read]).map_err(|error| self.corrupt(0, &error.to_string()))
    }

    /// Whether [`SegmentReader::end`] can tell without opening the store.
    pub(in crate::storage) fn end_is_known(&self) -> bool {
        match &self.kind {
            Kind::Active { .. } => true,
            Kind::Sealed {
                len, readable_end, ..
            } => readable_end.is_some() || len.get().is_some(),
        }
    }

    /// Where readable frames end.
    pub(in crate::storage) fn end(&self) -> Result<u64, ReadError> {
        match &self.kind {
            Kind::Active { end, .. } => Ok(end.load(Ordering::Acquire)),
            Kind::Sealed {
                readable_end: Some(end),
                ..
            } => Ok(*end),
            Kind::Sealed { len, .. } => {
                if let Some(len) = len.get() {
                    return Ok(*len);
                }
                let size = self.file()?.size().map_err(|error| self.io(error))?;
                Ok(*len.get_or_init(|| size))
            }
        }
    }

    /// Batches that hold records of `[from, below)`, as [`crate::storage::LogView::read`] gives them. Empty when the
    /// segment ends before `from`.
    pub(in crate::storage) fn read(
        &self,
        from: Offset,
        below: Offset,
        bytes_max: usize,
    ) -> Result<Chunk, ReadError> {
        let file = self.file()?;
        let mut frames = self.frames_from(&file, Target::Offset(from), chunk_window(bytes_max))?;
        self.collect(&mut frames, from, below, bytes_max)
    }

    /// The same from what is in memory: the page cache, and what earlier reads have found out. `None` when it does not
    /// suffice, and when anything is wrong: [`SegmentReader::read`] tells. Never waits for the disk.
    pub(in crate::storage) fn read_resident(
        &self,
        from: Offset,
        below: Offset,
        bytes_max: usize,
    ) -> Option<Chunk> {
        let (face, target) = (self.face.get()?, Target::Offset(from));
        let (file, found, end) = match &self.kind {
            Kind::Active { file, index, end } => {
                (file.clone(), index.find(target), end.load(Ordering::Acquire))
            }
            Kind::Sealed {
                slot,
                index,
                len,
                readable_end,
                ..
            } => (
                slot.if_open()?,
                index.get()?.find(target),
                readable_end.or(len.get().copied())?,
            ),
        };
        let file: Arc<dyn File> = Arc::new(Resident(file));
        let position = found.map_or(face.header_len(), Position::get);
        let mut frames = Frames::new(&file, face.salt, position, end, chunk_window(bytes_max));
        let chunk = self.collect(&mut frames, from, below, bytes_max).ok()?;
        (!chunk.batches.is_empty()).then_some(chunk)
    }

    /// What the frames hold of `[from, below)`; they begin at or before `from`.
    fn collect(
        &self,
        frames: &mut Frames<'_>,
        from: Offset,
        below: Offset,
        bytes_max: usize,
    ) -> Result<Chunk, ReadError> {
        let mut chunk = Chunk {
            batches: Vec::new(),
            next_offset: from,
        };
        let mut bytes = 0;
        while chunk.batches.is_empty() || (bytes < bytes_max && frames.next_is_in_window()) {
            let frame = match self.next_frame(frames) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                // What was read is good; the next read, which begins here, tells.
                Err(_) if !chunk.batches.is_empty() => break,
                Err(error) => return Err(error),
            };
            if frame.header.base_offset >= below {
                break;
            }
            if frame.header.next_offset() <= from {
                continue;
            }
            if chunk.batches.is_empty() && frame.header.base_offset > from {
                let position = frame.position.get();
                return Err(self.corrupt(position, &format!("offset {from} is missing before this frame")));
            }
            let Some(batch) = batch_of(&frame.header, || frame.content()) else {
                continue;
            };
            bytes += batch.records.len();
            chunk.next_offset = frame.header.next_offset().min(below);
            chunk.batches.push(batch);
        }
        Ok(chunk)
    }

    /// Entries of `[from, below)`, as [`crate::storage::LogView::read_entries`] gives them. Empty when the segment ends
    /// before `from`.
    pub(in crate::storage) fn entries(
        &self,
        from: LogIndex,
        below: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let file = self.file()?;
        let mut frames = self.frames_from(&file, Target::LogIndex(from), chunk_window(bytes_max))?;
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0, from);
        while next < below && (entries.is_empty() || (bytes < bytes_max && frames.next_is_in_window())) {
            let frame = match self.next_frame(&mut frames) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                // What was read is good; the next read, which begins here, tells.
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            };
            if frame.header.log_index < next {
                continue;
            }
            let Some(entry) = frame.header.entry(&frame.payload) else {
                continue;
            };
            if entry.log_index > next {
                let what = format!("entry {next} is missing before this frame");
                return Err(self.corrupt(frame.position.get(), &what));
            }
            bytes += frame.payload.len();
            next = next.plus(1);
            entries.push(entry);
        }
        Ok(entries)
    }

    /// First offset of the first batch whose timestamp is `at` or later; `None` when the segment has none.
    pub(in crate::storage) fn offset_at(&self, at: TimestampMs) -> Result<Option<Offset>, ReadError> {
        let file = self.file()?;
        let mut frames = self.frames_from(&file, Target::Time(at), 64 << 10)?;
        while let Some(frame) = self.next_frame(&mut frames)? {
            if frame.header.timestamp >= at && frame.header.record_count > 0 {
                return Ok(Some(frame.header.base_offset));
            }
        }
        Ok(None)
    }

    /// All frames, checked one by one; the callback sees each.
    pub(in crate::storage) fn walk(&self, mut see: impl FnMut(&Frame)) -> Result<(), ReadError> {
        let file = self.file()?;
        let mut frames = self.frames_at(&file, self.face()?.header_len(), WALK_WINDOW)?;
        while let Some(frame) = self.next_frame(&mut frames)? {
            see(&frame);
        }
        Ok(())
    }

    /// As told to people.
    pub(in crate::storage) fn describe(&self) -> Result<SegmentDescription, ReadError> {
        let face = self.face()?;
        Ok(SegmentDescription {
            first_log_index: self.first_log_index,
            first_offset: face.first_offset,
            bytes: self.end()?,
            active: self.is_active(),
            created: face.created,
        })
    }

    pub(super) fn frames_from<'a>(
        &self,
        file: &'a Arc<dyn File>,
        target: Target,
        window: usize,
    ) -> Result<Frames<'a>, ReadError> {
        let header_len = self.face()?.header_len();
        let found = match &self.kind {
            Kind::Active { index, .. } => index.find(target),
            Kind::Sealed { index, .. } => self.sealed_index(index)?.find(target),
        };
        self.frames_at(file, found.map_or(header_len, Position::get), window)
    }

    pub(super) fn frames_at<'a>(
        &self,
        file: &'a Arc<dyn File>,
        position: u64,
        window: usize,
    ) -> Result<Frames<'a>, ReadError> {
        Ok(Frames::new(
            file,
            self.face()?.salt,
            position,
            self.end()?,
            window,
        ))
    }

    /// The next frame; a fault is damage, since all frames before the end are synced.
    pub(super) fn next_frame(&self, frames: &mut Frames<'_>) -> Result<Option<Frame>, ReadError> {
        frames.next().map_err(|error| match error {
            FrameError::Fault(fault) => self.fault(frames.position(), fault),
            FrameError::Io(error) => self.io(error),
        })
    }

    pub(super) fn file(&self) -> Result<Arc<dyn File>, ReadError> {
        match &self.kind {
            Kind::Active { file, .. } => Ok(file.clone()),
            Kind::Sealed { slot, open_files, .. } => {
                if let Some(absent) = self.absent {
                    return Err(self.corrupt(0, absent.what()));
                }
                let file = open_files
                    .get(slot, &*self.file_system, &self.path)
                    .map_err(|error| self.io(error));
                // Asked behind the opening: a name that leads to another file does so after the mark was set.
                if self.replaced.load(Ordering::Acquire) {
                    let path = self.path.clone();
                    return Err(ReadError::Replaced { path });
                }
                file
            }
        }
    }

    /// Another file is about to take the name of this one. Reads that have begun go on; later ones are told.
    pub(in crate::storage) fn set_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// Where the checksum of the whole file is kept once it is known; `None` for the active segment.
    pub(in crate::storage) fn known_crc(&self) -> Option<&OnceLock<u32>> {
        match &self.kind {
            Kind::Active { .. } => None,
            Kind::Sealed { crc, .. } => Some(crc),
        }
    }

    pub(super) fn fault(&self, position: u64, fault: FrameFault) -> ReadError {
        self.corrupt(position, &fault.to_string())
    }

    pub(super) fn corrupt(&self, position: u64, what: &str) -> ReadError {
        ReadError::Corrupt {
            path: self.path.clone(),
            position: Position(position),
            what: what.to_owned(),
        }
    }

    pub(super) fn io(&self, source: io::Error) -> ReadError {
        ReadError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// Bytes to read for a chunk: the step from an index entry to the frame that is looked for comes on top.
pub(super) fn chunk_window(bytes_max: usize) -> usize {
    bytes_max.clamp(4096, WALK_WINDOW) + 4096
}
