//! One segment, read whole: what of it is not what was written, with each place.

use std::{io, path::Path, sync::Arc};

use super::{Findings, LogFiles, Weight, files::read_small};
use crate::{
    storage::{
        Checkpoint,
        frame::{FRAME_ALIGN, FrameFault, FrameHeader, FrameKind},
        fs::{File, FileSystem, OpenMode},
        index::{Comparison, SealedIndex},
        segment::{FrameError, Frames, Scan, Unfit, WALK_WINDOW, read_header, written_behind},
        segment_header::{SegmentFace, SegmentHeader},
    },
    types::{ClusterId, LogIndex, Term},
};

const DAMAGED: &str = "it was synced once, so this is no trace of a crash: records there are not read. In a cluster the leader repairs \
     it; a node that is alone needs a backup of the file";
const TORN: &str = "a write that a crash cut short, never acknowledged; the next start cuts it off";
pub(super) const HEADER: &str =
    "the segment cannot be told: restore the file from a backup, or let the cluster repair it";

/// A segment that was read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) first: LogIndex,
    /// The state of the log before it, where its header is whole.
    pub(super) before: Option<Checkpoint>,
    /// The state behind its intact frames, where all of them follow on one another.
    pub(super) behind: Option<Checkpoint>,
    /// The highest entry of which an intact frame was seen, and the highest term; those before it where there is none.
    pub(super) last_seen: LogIndex,
    pub(super) last_term: Term,
    /// Entries of which a header was seen.
    pub(super) entries: u64,
    /// Where its intact frames end.
    pub(super) end: u64,
    /// Bytes behind that which a start cuts off.
    pub(super) torn_bytes: u64,
    pub(super) size: u64,
    pub(super) face: Option<SegmentFace>,
}

/// What is asked of a segment.
pub(super) struct Question<'a> {
    pub(super) file_system: &'a dyn FileSystem,
    pub(super) files: &'a LogFiles,
    pub(super) first: LogIndex,
    /// It is the segment that takes appends.
    pub(super) is_last: bool,
    pub(super) cluster_id: Option<ClusterId>,
}

impl Question<'_> {
    /// Reads the segment whole. `progress` hears how many bytes more were read.
    ///
    /// Blocking.
    pub(super) fn ask(&self, findings: &mut Findings, progress: &mut dyn FnMut(u64)) -> Seen {
        let mut seen = Seen {
            first: self.first,
            before: None,
            behind: None,
            last_seen: LogIndex(self.first.get().saturating_sub(1)),
            last_term: Term::ZERO,
            entries: 0,
            end: 0,
            torn_bytes: 0,
            size: 0,
            face: None,
        };
        if let Err(unread) = self.read(&mut seen, findings, progress) {
            findings.unreadable(&self.files.store(self.first), unread.position, &unread.error);
            seen.behind = None;
        }
        seen
    }

    fn read(
        &self,
        seen: &mut Seen,
        findings: &mut Findings,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Unread> {
        let path = self.files.store(self.first);
        let file = self.file_system.open(&path, OpenMode::Read)?;
        seen.size = file.size()?;
        let (header, face) = match self.header(&file, seen.size) {
            Ok(found) => found,
            Err(Unfit::Io(error)) => return Err(error.into()),
            Err(Unfit::Content(what)) => {
                findings.at(Weight::Fault, &path, 0, what, HEADER);
                progress(seen.size);
                return Ok(());
            }
        };
        seen.last_term = header.checkpoint.last_term();
        seen.behind = Some(header.checkpoint.clone());
        seen.before = Some(header.checkpoint);
        seen.face = Some(face);
        seen.end = face.header_len();
        let index = if self.is_last {
            None
        } else {
            self.index(&face, seen.size, findings)
        };
        let mut walk = Walk {
            path: &path,
            file: &file,
            scan: Scan {
                frames: Frames::new(&file, face.salt, face.header_len(), seen.size, WALK_WINDOW),
                mark: 0,
            },
            is_last: self.is_last,
            index: index.as_ref().map(SealedIndex::compared),
            seen,
            findings: &mut *findings,
            is_whole: true,
        };
        if let Err(error) = walk.run(progress) {
            let position = Some(walk.scan.frames.position());
            return Err(Unread { position, error });
        }
        let agrees = walk.index.take().is_none_or(Comparison::agrees) || !walk.is_whole;
        if !agrees {
            findings.of_file(
                Weight::Mends,
                &self.files.index(self.first),
                "it is not the index of this store",
                "a cache: remove it while the node is stopped, and it is built again",
            );
        }
        Ok(())
    }

    fn header(&self, file: &Arc<dyn File>, size: u64) -> Result<(SegmentHeader, SegmentFace), Unfit> {
        let (header, _) = read_header(file, size)?;
        let mut fixed = [0; SegmentFace::LEN];
        let read = file.read_at(0, &mut fixed)?;
        let face = SegmentFace::decode(&fixed[..read]).map_err(|error| Unfit::Content(error.to_string()))?;
        if face.first_log_index != self.first {
            return Err(Unfit::Content(format!(
                "the header says entry {}, the file's name {}",
                face.first_log_index, self.first
            )));
        }
        match self.cluster_id.filter(|own| *own != face.cluster_id) {
            None => Ok((header, face)),
            Some(own) => Err(Unfit::Content(format!(
                "it belongs to cluster {}, this node to cluster {own}",
                face.cluster_id
            ))),
        }
    }

    /// The index of a sealed segment, when it is whole.
    fn index(&self, face: &SegmentFace, size: u64, findings: &mut Findings) -> Option<SealedIndex> {
        let path = self.files.index(self.first);
        // An index that has more than its store has room for is none.
        let bytes = match read_small(self.file_system, &path, size + 4096) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                findings.of_file(
                    Weight::Note,
                    &path,
                    "it is not there",
                    "a cache: it is built again when it is needed",
                );
                return None;
            }
            Err(error) => {
                findings.unreadable(&path, None, &error);
                return None;
            }
        };
        let index = SealedIndex::open(face, size, Arc::new(bytes));
        if index.is_none() {
            findings.of_file(
                Weight::Mends,
                &path,
                "it is damaged, or not the index of this store",
                "a cache: it is built again when it is needed",
            );
        }
        index
    }
}

/// A file that could not be read.
struct Unread {
    /// From there on; `None`: not at all.
    position: Option<u64>,
    error: io::Error,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self {
            position: None,
            error,
        }
    }
}

/// A walk over all frames, that goes on behind those that are bad.
struct Walk<'a> {
    path: &'a Path,
    file: &'a Arc<dyn File>,
    scan: Scan<'a>,
    is_last: bool,
    index: Option<Comparison<'a>>,
    seen: &'a mut Seen,
    findings: &'a mut Findings,
    /// No frame was bad so far.
    is_whole: bool,
}

impl Walk<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut told = 0;
        loop {
            let position = self.scan.frames.position();
            if position - told >= WALK_WINDOW as u64 {
                progress(position - told);
                told = position;
            }
            match self.scan.frames.next() {
                Ok(None) => break,
                Err(FrameError::Io(error)) => return Err(error),
                Ok(Some(frame)) => self.intact(&frame.header, &frame.payload, position),
                Err(FrameError::Fault(fault)) => {
                    if !self.bad(fault, position)? {
                        break;
                    }
                }
            }
        }
        progress(self.seen.size.saturating_sub(told));
        Ok(())
    }

    fn intact(&mut self, header: &FrameHeader, payload: &[u8], position: u64) {
        self.scan.note(header);
        if let Some(index) = &mut self.index {
            index.see(header, position);
        }
        let replayed = self
            .seen
            .behind
            .as_mut()
            .map(|state| state.replay(header, payload));
        if let Some(Err(error)) = replayed {
            self.seen.behind = None;
            self.is_whole = false;
            self.findings
                .at(Weight::Fault, self.path, position, error.to_string(), DAMAGED);
        }
        self.count(header);
        if self.is_whole {
            self.seen.end = self.scan.frames.position();
        }
    }

    fn count(&mut self, header: &FrameHeader) {
        if header.kind != FrameKind::Mark {
            self.seen.entries += 1;
            self.seen.last_seen = self.seen.last_seen.max(header.log_index);
            self.seen.last_term = self.seen.last_term.max(header.term);
        }
    }

    /// Tells of a bad frame, and moves behind it; says whether there is anything more to be read.
    fn bad(&mut self, fault: FrameFault, position: u64) -> io::Result<bool> {
        let size = self.seen.size;
        let what = if !self.is_last {
            fault.to_string()
        } else if let Some(what) = self.scan.damage_behind(position, fault)? {
            what
        } else {
            // Behind damage nothing is cut.
            if self.is_whole {
                self.torn(position)?;
            }
            return Ok(false);
        };
        self.findings
            .at(Weight::Fault, self.path, position, what, DAMAGED);
        self.is_whole = false;
        // What the log amounts to behind a frame that cannot be read, nobody knows.
        self.seen.behind = None;
        // Where only the payload is bad, the header says how far to go.
        self.scan.frames.seek(position);
        let length = match self.scan.frames.next_header() {
            Ok(header) => {
                self.scan.note(&header);
                self.count(&header);
                header.frame_len()
            }
            Err(FrameError::Io(error)) => return Err(error),
            Err(FrameError::Fault(_)) => FRAME_ALIGN,
        };
        self.scan.frames.seek(position + length);
        let next = self.scan.frames.next_intact_header(size)?;
        Ok(next.is_some())
    }

    /// The end of the segment that takes appends.
    fn torn(&mut self, position: u64) -> io::Result<()> {
        let torn_bytes = written_behind(self.file, position, self.seen.size)?;
        self.seen.torn_bytes = torn_bytes;
        if torn_bytes > 0 {
            let what = format!("{torn_bytes} bytes behind the last whole frame were never synced");
            self.findings.at(Weight::Mends, self.path, position, what, TORN);
        }
        Ok(())
    }
}
