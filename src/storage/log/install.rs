//! Exchanges the log's segments for those that were received and staged.
//!
//! The manifest's rename is the decision: before it nothing of the log has changed, behind it whoever opens the log
//! finishes the exchange. Everything in between is done again from the beginning when a crash cuts it short, so its steps
//! need no order of their own: what is on the disk is the old file or the new one under each name, and the manifest says
//! which is to be there.

use std::{io, sync::Arc};

use super::{
    LogState,
    cut::{failed, remove_file, remove_segment, sync_directory},
    missing::cut_failed,
    quarantine::close_quarantined,
};
use crate::{
    clock,
    storage::{
        CutError, Damage, OpenError, ReadEntriesError, ReadError, SegmentWriter,
        beginning::Beginning,
        checkpoint::Checkpoint,
        fs::OpenMode,
        names,
        segment::{PreparedFile, SegmentContext, Unfit, read_header},
        segment_header::SegmentHeader,
        transfer::{Manifest, ManifestSegment, Staged, is_held, read_whole},
    },
    types::{LogIndex, Position},
};

impl LogState {
    /// Whether what is staged is to be installed: the log lacks its last entry.
    ///
    /// Errors: `AlreadyHeld`: the log has that entry, of the same term, so by Raft's log matching all before it as well;
    /// what it has behind it may count for a majority and must stay.
    pub fn check_install(&self, staged: &Staged) -> Result<(), CutError> {
        let manifest = staged.manifest();
        let found = self.options.cluster_id;
        if manifest.cluster_id != found {
            return Err(CutError::Open(OpenError::OtherCluster {
                path: names::manifest_incoming(&self.options.directory),
                found: manifest.cluster_id,
                expected: found,
            }));
        }
        let last = manifest.last_log_index();
        let held = match self.view.load().log_id_of(last) {
            Ok(found) => found == Some((last, manifest.last_term())),
            Err(ReadEntriesError::Trimmed { .. }) => true,
            // What is damaged is to be replaced.
            Err(ReadEntriesError::Read(ReadError::Corrupt { .. })) => false,
            Err(ReadEntriesError::Read(error)) => return Err(CutError::Read(error)),
        };
        if held {
            Err(CutError::AlreadyHeld { last })
        } else {
            Ok(())
        }
    }

    /// Makes what is staged the log: its segments, and an empty active one behind them. Those that the log holds byte for
    /// byte stay; everything else of the log is gone, what it had beyond the manifest's last entry included. The writer of
    /// the active segment must have flushed, and is not to be used any more.
    ///
    /// Blocking. Errors: `AlreadyHeld`, `NotStaged` and `Open(OtherCluster)` change nothing; after others the log must be
    /// opened again, which finishes the exchange or finds it not begun.
    pub fn install(&mut self, staged: &Staged) -> Result<SegmentWriter, CutError> {
        self.check_install(staged)?;
        let manifest = staged.manifest();
        let directory = self.options.directory.clone();
        let files = self
            .context
            .file_system
            .list(&directory)
            .map_err(failed("list", &directory))?;
        let is_staged = |first| {
            files
                .iter()
                .any(|name| names::first_of_staged(name) == Some(first))
        };
        let view = self.view.load_full();
        let mut held = Vec::new();
        for segment in &manifest.segments {
            let first = segment.first_log_index;
            if is_staged(first) {
                continue;
            }
            if !is_held(&view, segment) {
                return Err(CutError::NotStaged { first });
            }
            held.push(first);
        }
        self.require_received(manifest)?;
        decide(&self.context)?;
        // From here on a name may lead to another file: readers that open one are told to read again.
        self.segments.retain(|segment| {
            let stays = held.binary_search(&segment.first_log_index()).is_ok();
            if !stays {
                segment.set_replaced();
            }
            stays
        });
        self.active = None;
        self.context.cache.clear();
        let writer = exchange(&self.context, manifest, &mut self.beginning)?;
        self.take_over(manifest, &writer)?;
        Ok(writer)
    }

    /// What a crash would go on with is what was asked for: no other transfer has begun since.
    fn require_received(&self, manifest: &Manifest) -> Result<(), CutError> {
        let path = names::manifest_incoming(&self.options.directory);
        let received = match read_whole(&*self.context.file_system, &path) {
            Ok(bytes) => Manifest::decode(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(failed("read", &path)(source)),
        };
        if received.as_ref() == Some(manifest) {
            return Ok(());
        }
        let first = manifest.segments.first();
        let first = first.map_or(manifest.last_log_index(), |segment| segment.first_log_index);
        Err(CutError::NotStaged { first })
    }

    fn take_over(&mut self, manifest: &Manifest, writer: &SegmentWriter) -> Result<(), CutError> {
        self.checkpoint = manifest.checkpoint.clone();
        self.trimmed.clear();
        self.holes.clear();
        self.damage = None;
        let held = std::mem::take(&mut self.segments);
        let reader = |segment: &ManifestSegment| {
            let first = segment.first_log_index;
            let kept = held.iter().find(|reader| reader.first_log_index() == first);
            kept.cloned()
                .unwrap_or_else(|| Arc::new(self.sealed_reader(first, None)))
        };
        self.segments = manifest.segments.iter().map(reader).collect();
        // All that a snapshot holds is committed.
        self.trim_point = self.trim_point.max(manifest.checkpoint.trim_point());
        self.first_offset = manifest
            .segments
            .first()
            .map_or(manifest.next_offset(), |first| first.first_offset);
        self.activate(writer)
            .map_err(failed("read the size of", &writer.path()))?;
        self.publish();
        Ok(())
    }
}

/// Finishes an exchange that a crash has cut short; does nothing when there is none.
///
/// Blocking. Errors: `Damaged`: what was being installed is not whole, which no crash leaves.
pub(super) fn finish_install(context: &SegmentContext, beginning: &mut Beginning) -> Result<(), OpenError> {
    let path = names::manifest_installing(&context.directory);
    let in_disk = |operation, path| {
        move |source| OpenError::Io {
            path,
            operation,
            source,
        }
    };
    let files = context.file_system.list(&context.directory);
    let files = files.map_err(in_disk("list", context.directory.clone()))?;
    if !files
        .iter()
        .any(|name| path.file_name().is_some_and(|own| own == name.as_str()))
    {
        return Ok(());
    }
    let bytes = read_whole(&*context.file_system, &path).map_err(in_disk("read", path.clone()))?;
    let damaged = |path, what| {
        OpenError::Damaged(Damage {
            path,
            position: Position::ZERO,
            what,
        })
    };
    let manifest =
        Manifest::decode(&bytes).map_err(|error| damaged(path.clone(), crate::error::causes(&error)))?;
    if manifest.cluster_id != context.cluster_id {
        return Err(OpenError::OtherCluster {
            path,
            found: manifest.cluster_id,
            expected: context.cluster_id,
        });
    }
    // The decision may be in memory only, after a crash between its rename and its sync: it comes before its deeds.
    match sync_directory(context).and_then(|()| exchange(context, &manifest, beginning)) {
        Ok(_) => Ok(()),
        Err(CutError::Io {
            path,
            operation,
            source,
        }) => Err(OpenError::Io {
            path,
            operation,
            source,
        }),
        Err(CutError::Open(error)) => Err(error),
        Err(CutError::NotStaged { first }) => Err(damaged(
            names::store(&context.directory, first),
            "it is missing, though a manifest that is being installed counts on it".to_owned(),
        )),
        Err(
            CutError::Read(_)
            | CutError::NotInLog { .. }
            | CutError::AlreadyHeld { .. }
            | CutError::NoSegment { .. },
        ) => {
            unreachable!("an exchange reads no frames and asks no questions")
        }
    }
}

/// The point of no return: the manifest's new name.
fn decide(context: &SegmentContext) -> Result<(), CutError> {
    let incoming = names::manifest_incoming(&context.directory);
    let installing = names::manifest_installing(&context.directory);
    context
        .file_system
        .rename(&incoming, &installing)
        .map_err(failed("rename", &incoming))?;
    sync_directory(context)
}

/// Puts each file of the manifest under its name and removes all others, begins the segment behind them, writes down where
/// the log begins now, and then forgets the manifest. Done again from any point, it comes to the same.
fn exchange(
    context: &SegmentContext,
    manifest: &Manifest,
    beginning: &mut Beginning,
) -> Result<SegmentWriter, CutError> {
    let directory = &context.directory;
    let files = context
        .file_system
        .list(directory)
        .map_err(failed("list", directory))?;
    let firsts = |of: fn(&str) -> Option<LogIndex>| files.iter().filter_map(move |name| of(name)).collect();
    let mut stores: Vec<LogIndex> = firsts(names::first_of_store);
    let staged: Vec<LogIndex> = firsts(names::first_of_staged);
    let is_wanted = |first: LogIndex| {
        let segments = &manifest.segments;
        segments
            .binary_search_by_key(&first, |segment| segment.first_log_index)
            .is_ok()
    };
    stores.sort_unstable();
    for first in stores.iter().rev().filter(|first| !is_wanted(**first)) {
        remove_segment(context, *first)?;
    }
    for (first, kept_as) in files.iter().filter_map(|name| names::of_quarantined(name)) {
        close_quarantined(context, first, kept_as)?;
    }
    for segment in &manifest.segments {
        let first = segment.first_log_index;
        if staged.contains(&first) {
            put_in_place(context, first)?;
        } else if !stores.contains(&first) {
            return Err(CutError::NotStaged { first });
        }
    }
    // Its sync of the directory is that of all the names before it, too.
    let writer = begin_behind(context, manifest)?;
    beginning
        .set(before_first(context, manifest)?)
        .map_err(cut_failed)?;
    let installing = names::manifest_installing(directory);
    context
        .file_system
        .remove(&installing)
        .map_err(failed("remove", &installing))?;
    // Durable before the first append: doing it all again would remove that.
    sync_directory(context)?;
    Ok(writer)
}

/// What the log before the first segment of the manifest amounts to.
fn before_first(context: &SegmentContext, manifest: &Manifest) -> Result<Checkpoint, CutError> {
    let Some(first) = manifest.segments.first() else {
        return Ok(manifest.checkpoint.clone());
    };
    let path = names::store(&context.directory, first.first_log_index);
    let file = context
        .file_system
        .open(&path, OpenMode::Read)
        .map_err(failed("open", &path))?;
    let size = file.size().map_err(failed("read", &path))?;
    match read_header(&file, size) {
        Ok((header, _)) => Ok(header.checkpoint),
        Err(Unfit::Io(source)) => Err(failed("read", &path)(source)),
        Err(Unfit::Content(what)) => Err(CutError::Open(OpenError::Damaged(Damage {
            path,
            position: Position::ZERO,
            what,
        }))),
    }
}

fn put_in_place(context: &SegmentContext, first: LogIndex) -> Result<(), CutError> {
    let staged = names::staged(&context.directory, first);
    // By salt and length alone the index of the old one could fit.
    remove_file(context, names::index(&context.directory, first))?;
    context
        .file_system
        .rename(&staged, &names::store(&context.directory, first))
        .map_err(failed("rename", &staged))
}

fn begin_behind(context: &SegmentContext, manifest: &Manifest) -> Result<SegmentWriter, CutError> {
    let header = SegmentHeader {
        salt: rand::random(),
        cluster_id: context.cluster_id,
        created: clock::wall(),
        checkpoint: manifest.checkpoint.clone(),
    };
    let prepared = PreparedFile::create(&*context.file_system, &context.directory, "next", 0);
    let path = names::store(&context.directory, header.first_log_index());
    let prepared = prepared.map_err(failed("create", &path))?;
    SegmentWriter::create(context.clone(), &header, prepared)
        .map_err(|error| CutError::Open(OpenError::Write(error)))
}
