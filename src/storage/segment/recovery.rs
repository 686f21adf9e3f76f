//! What of the last segment's file belongs to the log.
//!
//! Everything that was synced must be there; what was not synced may be there in any mixture. The two are told apart by
//! `synced_to`: one sync is in flight at a time, so an intact frame proves that everything below its `synced_to` was
//! synced. `docs/format.md` has the argument step by step. Invariant: STO-4.

use std::{io, io::IoSlice, path::PathBuf, sync::Arc};

use super::{
    FrameError, Frames, SegmentContext, SegmentReader, SegmentWriter,
    reader::WALK_WINDOW,
    writer::{UNSYNCED_BYTES_MAX, open_store},
};
use crate::{
    storage::{
        CutError, OpenError, WriteError,
        checkpoint::Checkpoint,
        frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameFault, FrameHeader, FrameKind, PAYLOAD_BYTES_MAX},
        fs::{File, read_exact_at},
        names,
        segment_header::{SegmentFace, SegmentHeader},
    },
    types::{LogIndex, Position},
};

/// The last segment, ready to go on, or damaged.
#[derive(Debug)]
pub(in crate::storage) struct Recovered {
    /// The state of the log up to the end of the intact frames.
    pub(in crate::storage) checkpoint: Checkpoint,
    /// Where the intact frames end.
    pub(in crate::storage) end: u64,
    /// Goes on with the segment; `None` when it is damaged.
    pub(in crate::storage) writer: Option<SegmentWriter>,
    /// What is wrong with it.
    pub(in crate::storage) damage: Option<Damage>,
    /// Bytes behind the end that were no part of the log and were cut off.
    pub(in crate::storage) cut_bytes: u64,
}

/// Bytes that were synced are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The store.
    pub path: PathBuf,
    /// Where the damaged frame begins.
    pub position: Position,
    /// What is wrong with it.
    pub what: String,
}

impl Damage {
    /// The segment that is damaged, by its first entry; `None`: more than one, or one that was taken out already.
    #[must_use]
    pub fn segment(&self) -> Option<LogIndex> {
        let name = self.path.file_name()?.to_str()?;
        names::first_of_store(name)
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} is damaged at position {}: {}",
            self.path.display(),
            self.position,
            self.what
        )
    }
}

/// Reads the last segment from its beginning, cuts what is not part of the log, and makes it ready for appends. Entries up to `known` were
/// synced here once, whatever the segment says: where it ends before, that is damage, and nothing is cut.
///
/// Blocking. Errors: the header is damaged or another cluster's, which changes nothing; or the disk fails.
pub(in crate::storage) fn recover(
    context: &SegmentContext,
    first: LogIndex,
    known: LogIndex,
) -> Result<Recovered, OpenError> {
    let path = names::store(&context.directory, first);
    let reading = |source| OpenError::Io {
        path: path.clone(),
        operation: "read",
        source,
    };
    let file = open_store(&*context.file_system, &path).map_err(|source| OpenError::Io {
        path: path.clone(),
        operation: "open",
        source,
    })?;
    let size = file.size().map_err(reading)?;
    let (face, mut checkpoint) = read_header(&file, size, first, &path)?;
    require_cluster(context, &face, &path)?;
    let mut writer = SegmentWriter::open(context.clone(), face, file.clone(), face.header_len(), None);
    let mut scan = Scan {
        frames: Frames::new(&file, face.salt, face.header_len(), size, WALK_WINDOW),
        mark: 0,
    };
    let mut last = None;
    let fault = loop {
        let position = scan.frames.position();
        match scan.frames.next() {
            Ok(None) => break None,
            Err(FrameError::Io(error)) => return Err(reading(error)),
            Err(FrameError::Fault(fault)) => break Some(fault),
            Ok(Some(frame)) => {
                scan.note(&frame.header);
                if let Err(error) = checkpoint.replay(&frame.header, &frame.payload) {
                    return Ok(Recovered::damaged(checkpoint, path, position, error.to_string()));
                }
                writer.index().note(&frame.header, position);
                if frame.header.kind != FrameKind::Mark {
                    last = Some(frame.header);
                }
            }
        }
    };
    let end = scan.frames.position();
    if let Some(fault) = fault
        && let Some(what) = scan.damage_behind(end, fault).map_err(reading)?
    {
        return Ok(Recovered::damaged(checkpoint, path, end, what));
    }
    let found = checkpoint.last_log_index();
    if found < known {
        let what = format!("entries up to {known} were committed here, and those behind {found} are gone");
        return Ok(Recovered::damaged(checkpoint, path, end, what));
    }
    let cut_bytes = end_durably(&file, scan.mark, end, size).map_err(|(operation, source)| {
        OpenError::Write(WriteError::Io {
            path,
            operation,
            source,
        })
    })?;
    writer.resume_at(end, last);
    Ok(Recovered {
        checkpoint,
        end,
        writer: Some(writer),
        damage: None,
        cut_bytes,
    })
}

impl Recovered {
    fn damaged(checkpoint: Checkpoint, path: PathBuf, end: u64, what: String) -> Self {
        let position = Position(end);
        Self {
            checkpoint,
            end,
            writer: None,
            damage: Some(Damage { path, position, what }),
            cut_bytes: 0,
        }
    }
}

fn read_header(
    file: &Arc<dyn File>,
    size: u64,
    first: LogIndex,
    path: &std::path::Path,
) -> Result<(SegmentFace, Checkpoint), OpenError> {
    let damaged = |what: String| {
        OpenError::Damaged(Damage {
            path: path.to_owned(),
            position: Position::ZERO,
            what,
        })
    };
    let reading = |source| OpenError::Io {
        path: path.to_owned(),
        operation: "read",
        source,
    };
    let mut bytes = vec![0; SegmentFace::LEN.min(usize::try_from(size).unwrap_or(usize::MAX))];
    read_exact_at(&**file, 0, &mut bytes).map_err(reading)?;
    let face = SegmentFace::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
    if face.first_log_index != first {
        return Err(damaged(format!(
            "the header says entry {}, the file's name {first}",
            face.first_log_index
        )));
    }
    let mut bytes = vec![0; usize::try_from(face.header_len().min(size)).unwrap_or(usize::MAX)];
    read_exact_at(&**file, 0, &mut bytes).map_err(reading)?;
    let header = SegmentHeader::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok((face, header.checkpoint))
}

/// Another cluster's log is refused before anything is written.
fn require_cluster(
    context: &SegmentContext,
    face: &SegmentFace,
    path: &std::path::Path,
) -> Result<(), OpenError> {
    let (found, expected) = (face.cluster_id, context.cluster_id);
    if found == expected {
        return Ok(());
    }
    Err(OpenError::OtherCluster {
        path: path.to_owned(),
        found,
        expected,
    })
}

/// A walk over the last segment, and what it has found to be synced.
pub(in crate::storage) struct Scan<'a> {
    pub(in crate::storage) frames: Frames<'a>,
    /// The largest `synced_to` of the intact frames.
    pub(in crate::storage) mark: u64,
}

impl Scan<'_> {
    pub(in crate::storage) fn note(&mut self, header: &FrameHeader) {
        self.mark = self.mark.max(u64::from(header.synced_to));
    }

    /// Whether the bad frame at `end` was synced once: says what is wrong then.
    ///
    /// Unsynced bytes reach at most `UNSYNCED_BYTES_MAX` behind the last synced one, so intact frames are looked for no
    /// further than that. A bad frame's own length is not believed.
    pub(in crate::storage) fn damage_behind(
        &mut self,
        end: u64,
        fault: FrameFault,
    ) -> io::Result<Option<String>> {
        let look_to = end + UNSYNCED_BYTES_MAX + PAYLOAD_BYTES_MAX as u64;
        let mut position = end + FRAME_ALIGN;
        while self.mark <= end && position < look_to {
            self.frames.seek(position);
            match self.frames.next_intact_header(look_to)? {
                Some((found, header)) => {
                    self.note(&header);
                    position = found + FRAME_HEADER_LEN as u64;
                }
                None => break,
            }
        }
        let synced = self.mark > end;
        Ok(synced.then(|| {
            format!(
                "{fault}, but the file was synced up to position {}, so this was written whole once",
                self.mark
            )
        }))
    }
}

/// Makes the file end at `end` and everything before it durable; `mark` is what of it is known to be. Says how many bytes
/// were cut off.
///
/// Errors: what failed is named.
fn end_durably(
    file: &Arc<dyn File>,
    mark: u64,
    end: u64,
    size: u64,
) -> Result<u64, (&'static str, io::Error)> {
    let cut_bytes = cut_behind(file, end, size).map_err(|source| ("cut the unsynced tail of", source))?;
    write_again(file, mark, end).map_err(|source| ("write again the tail of", source))?;
    file.sync_data().map_err(|source| ("sync", source))?;
    Ok(cut_bytes)
}

/// Cuts the file off behind `end`; says how far something had been written there.
///
/// An old frame must never line up behind a new one. The file is cut even where zeros are read: they may be in memory
/// only, left behind as clean by a failed sync, with old frames below them on the disk.
fn cut_behind(file: &Arc<dyn File>, end: u64, size: u64) -> io::Result<u64> {
    let cut_bytes = written_behind(file, end, size)?;
    file.set_len(end)?;
    Ok(cut_bytes)
}

/// How far something but zeros is in the file behind its intact frames, which end at `end`.
pub(in crate::storage) fn written_behind(file: &Arc<dyn File>, end: u64, size: u64) -> io::Result<u64> {
    let look_to = size.min(end + UNSYNCED_BYTES_MAX + PAYLOAD_BYTES_MAX as u64);
    let mut dirty_to = end;
    for_each_piece(file, end, look_to, |position, piece| {
        if piece.iter().fold(0, |all, byte| all | byte) != 0 {
            let last = piece.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            dirty_to = position + last as u64 + 1;
        }
        Ok(())
    })?;
    Ok(dirty_to - end)
}

/// Writes `[from, to)` once more. Nothing proves that these bytes were synced: they may come from memory that a failed
/// sync has left behind as clean (fsyncgate, 2018), and a sync alone would then write nothing. Made dirty again, the
/// sync that follows has to bring them to the disk or fail.
fn write_again(file: &Arc<dyn File>, from: u64, to: u64) -> io::Result<()> {
    for_each_piece(file, from.min(to), to, |position, piece| {
        file.write_all_at(position, &mut [IoSlice::new(piece)])
    })
}

/// Shows the bytes `[from, to)` of a file in large pieces, each with its position; ends where the file does.
pub(in crate::storage) fn for_each_piece(
    file: &Arc<dyn File>,
    from: u64,
    to: u64,
    mut see: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; WALK_WINDOW];
    let mut position = from;
    while position < to {
        let len = usize::try_from(to - position)
            .unwrap_or(usize::MAX)
            .min(WALK_WINDOW);
        let read = file.read_at(position, &mut buffer[..len])?;
        if read == 0 {
            break;
        }
        see(position, &buffer[..read])?;
        position += read as u64;
    }
    Ok(())
}

/// Makes zeros of the frame of entry `from` and all behind it in the store of `segment`, durably. Does nothing when the
/// segment ends before.
///
/// Blocking.
pub(in crate::storage) fn truncate_store(
    context: &SegmentContext,
    segment: &SegmentReader,
    from: LogIndex,
) -> Result<(), CutError> {
    let mut groups = Vec::new();
    segment
        .walk(|frame| {
            let position = frame.position.get();
            let is_mark = frame.header.kind == FrameKind::Mark;
            let first_behind = if is_mark {
                frame.header.log_index.plus(1)
            } else {
                frame.header.log_index
            };
            let new_group = groups
                .last()
                .is_none_or(|(synced_to, _)| *synced_to != frame.header.synced_to);
            if first_behind >= from && new_group {
                groups.push((frame.header.synced_to, position));
            }
        })
        .map_err(CutError::Read)?;
    let in_store = |operation| {
        move |source| CutError::Io {
            path: segment.path().to_owned(),
            operation,
            source,
        }
    };
    let file = open_store(&*context.file_system, segment.path()).map_err(in_store("open"))?;
    let mut end = segment.end().map_err(CutError::Read)?;
    let zeros = vec![0; WALK_WINDOW];
    // Backwards, one group commit at a time: frames of one group say the same `synced_to`, which lies before all of
    // them, so whatever part of a group a crash leaves proves nothing about the part that is gone.
    for (_, start) in groups.into_iter().rev() {
        let mut position = start;
        while position < end {
            let len = usize::try_from(end - position)
                .unwrap_or(usize::MAX)
                .min(WALK_WINDOW);
            let slices = &mut [IoSlice::new(&zeros[..len])];
            file.write_all_at(position, slices)
                .map_err(in_store("zero the end of"))?;
            position += len as u64;
        }
        file.sync_data().map_err(in_store("sync"))?;
        end = start;
    }
    Ok(())
}
