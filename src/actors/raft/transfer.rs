//! Segments on their way between nodes.

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    actors::peer::{PeerError, SegmentRange},
    consensus::types::SnapshotManifest,
    types::NodeId,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Transfer {}

impl Transfer {
    pub(super) async fn fetch(&self, _: NodeId, _: &SnapshotManifest) -> Result<(), PeerError> {
        Err(PeerError::Unavailable)
    }

    pub(super) async fn manifest(&self) -> Result<SnapshotManifest, PeerError> {
        Err(PeerError::Unavailable)
    }

    pub(super) fn read(
        &self,
        _: SegmentRange,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        Err(PeerError::Unavailable)
    }
}
