//! Segments on their way between nodes: whoever is too far behind fetches the files, and a peer reads them out.
//!
//! The receiver pulls: a transfer that was cut goes on at the byte where it stopped, also after a restart.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use slog::{Logger, info};

use crate::{
    actors::peer::{PeerCalls, PeerError, SegmentRange},
    consensus::{
        Consensus, DamageBoard, snapshot,
        types::{RaftSnapshot, SnapshotManifest},
    },
    error::causes,
    storage::{
        Incoming, LogView, Manifest, ManifestSegment, ReadEntriesError, TransferError, fs::FileSystem,
    },
    types::{LogIndex, NodeId, Position},
};

/// Bytes read and sent at a time: large reads make a disk fast, and a transfer holds a handful of them.
const PIECE_BYTES: usize = 256 << 10;
/// A segment whose bytes turn out not to be what they should be is asked for again so often; then the peer is given up.
const TRIES: usize = 3;

/// What it takes to send and to fetch.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) file_system: Arc<dyn FileSystem>,
    /// The log's.
    pub(super) directory: PathBuf,
    pub(super) view: Arc<ArcSwap<LogView>>,
    /// Room on the disk that is kept free; half of it is what others may use up.
    pub(super) free_bytes_min: u64,
    /// Where damage is told that is met in it.
    pub(super) damage: DamageBoard,
    pub(super) calls: PeerCalls,
    /// One transfer at a time: there is one place for what comes.
    pub(super) fetching: Arc<tokio::sync::Mutex<()>>,
    pub(super) logger: Logger,
}

fn local(what: impl std::fmt::Display) -> PeerError {
    PeerError::Io(std::io::Error::other(what.to_string()))
}

fn of_transfer(error: &TransferError) -> PeerError {
    local(causes(error))
}

/// Runs what blocks where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PeerError> {
    tokio::task::spawn_blocking(work).await.map_err(local)
}

impl Transfer {
    /// The segments of this node whose entries are all committed.
    pub(super) async fn manifest(&self, consensus: &Consensus) -> Result<SnapshotManifest, PeerError> {
        let manifest = self.own_manifest(consensus.applied_index()).await?;
        let bytes = manifest.map(|manifest| Bytes::from(manifest.encode()));
        Ok(SnapshotManifest(bytes.unwrap_or_default()))
    }

    async fn own_manifest(&self, committed: LogIndex) -> Result<Option<Manifest>, PeerError> {
        let view = self.view.load_full();
        let manifest = blocking(move || view.manifest(committed)).await?;
        manifest.map_err(|error| {
            report(&self.damage, &error);
            of_read(&error, committed)
        })
    }

    /// The bytes of a segment, in pieces.
    pub(super) async fn read(
        &self,
        consensus: &Consensus,
        range: SegmentRange,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        let first = range.first_log_index;
        let manifest = self.own_manifest(consensus.applied_index()).await?;
        let segments = manifest.map(|manifest| manifest.segments).unwrap_or_default();
        let found = segments
            .into_iter()
            .find(|segment| segment.first_log_index == first);
        let segment = found.ok_or(PeerError::NoSuchSegment {
            first_log_index: first,
        })?;
        let end = range
            .position
            .get()
            .saturating_add(range.bytes_max)
            .min(segment.bytes);
        let (view, damage) = (self.view.clone(), self.damage.clone());
        let pieces = stream::try_unfold(range.position.get(), move |position| {
            let (view, damage) = (view.load_full(), damage.clone());
            async move {
                if position >= end {
                    return Ok(None);
                }
                let bytes_max = usize::try_from(end - position)
                    .unwrap_or(usize::MAX)
                    .min(PIECE_BYTES);
                let piece = blocking(move || view.read_segment(&segment, position, bytes_max)).await?;
                let piece = piece.map_err(|error| {
                    if let TransferError::Read(error) = &error {
                        damage.report(error);
                    }
                    of_sending(&error, first)
                })?;
                let next = position + piece.len() as u64;
                Ok((!piece.is_empty()).then_some((piece, next)))
            }
        });
        Ok(pieces.boxed())
    }

    /// Fetches all segments that `from` has and this node lacks; answers what they amount to, ready to be installed.
    pub(super) async fn fetch(&self, from: NodeId) -> Result<RaftSnapshot, PeerError> {
        let _fetching = self.fetching.lock().await;
        let bytes = self.calls.manifest(from).await?.0;
        let manifest = Manifest::decode(&bytes).map_err(|error| local(causes(&error)))?;
        let meta = snapshot::meta(&manifest.checkpoint).map_err(local)?;
        let mut incoming = self.begin(manifest).await?;
        info!(self.logger, "fetching segments"; "from" => from.get(), "bytes" => incoming.bytes_missing());
        let mut failures = 0;
        while let Some((segment, position)) = incoming.missing() {
            self.has_room_for(segment.bytes.saturating_sub(position.get()))
                .await?;
            incoming = self.fetch_rest(from, incoming, segment, position).await?;
            let (back, finished) = blocking(move || {
                let finished = incoming.finish_segment(segment.first_log_index);
                (incoming, finished)
            })
            .await?;
            incoming = back;
            if let Err(error) = finished {
                failures += 1;
                if failures >= TRIES {
                    return Err(of_transfer(&error));
                }
            }
        }
        info!(self.logger, "segments fetched"; "from" => from.get());
        Ok(RaftSnapshot {
            meta,
            snapshot: SnapshotManifest(bytes),
        })
    }

    async fn begin(&self, manifest: Manifest) -> Result<Incoming, PeerError> {
        let (file_system, directory) = (self.file_system.clone(), self.directory.clone());
        let view = self.view.load_full();
        let cluster_id = manifest.cluster_id;
        let begun = blocking(move || Incoming::create(file_system, &directory, cluster_id, manifest, &view));
        begun.await?.map_err(|error| of_transfer(&error))
    }

    /// What is fetched must not use up the disk's last bytes: a write that fails there ends the node, and what it has by now is
    /// replaced only when all of it is there.
    async fn has_room_for(&self, bytes: u64) -> Result<(), PeerError> {
        let (file_system, directory) = (self.file_system.clone(), self.directory.clone());
        let free = blocking(move || file_system.free_bytes(&directory)).await?;
        let free = free.map_err(PeerError::Io)?;
        if free.saturating_sub(bytes) < self.free_bytes_min / 2 {
            return Err(PeerError::NoRoom);
        }
        Ok(())
    }

    /// Fetches what is missing of one segment.
    async fn fetch_rest(
        &self,
        from: NodeId,
        mut incoming: Incoming,
        segment: ManifestSegment,
        position: Position,
    ) -> Result<Incoming, PeerError> {
        let mut at = position.get();
        if at >= segment.bytes {
            return Ok(incoming);
        }
        let range = SegmentRange {
            first_log_index: segment.first_log_index,
            position,
            bytes_max: segment.bytes - at,
        };
        let mut pieces = self.calls.read_segment(from, range).await?;
        while let Some(piece) = pieces.try_next().await? {
            let length = piece.len() as u64;
            let (back, written) = blocking(move || {
                let written = incoming.write(segment.first_log_index, Position(at), &piece);
                (incoming, written)
            })
            .await?;
            incoming = back;
            written.map_err(|error| of_transfer(&error))?;
            at += length;
        }
        if at < segment.bytes {
            return Err(local(format!(
                "node {from} sent a segment that is shorter than it said"
            )));
        }
        Ok(incoming)
    }
}

fn report(damage: &DamageBoard, error: &ReadEntriesError) {
    if let ReadEntriesError::Read(error) = error {
        damage.report(error);
    }
}

fn of_read(error: &ReadEntriesError, first_log_index: LogIndex) -> PeerError {
    match error {
        ReadEntriesError::Trimmed { .. } => PeerError::NoSuchSegment { first_log_index },
        ReadEntriesError::Read(error) => local(causes(error)),
    }
}

fn of_sending(error: &TransferError, first_log_index: LogIndex) -> PeerError {
    match error {
        TransferError::Trimmed { .. } | TransferError::Changed { .. } => {
            PeerError::NoSuchSegment { first_log_index }
        }
        error => of_transfer(error),
    }
}
