//! What a node asks of another beside what openraft asks.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use super::{EntryChunks, PeerDescription, PeerError, SegmentRange};
use crate::{
    consensus::{
        codec::{self, CodecError},
        links::{Lane, PeerLinks},
        types::{SnapshotManifest, entry_of},
    },
    proto::peer::{self, read_index_response::Result as IndexAnswer},
    types::{LogIndex, NodeId},
};

/// A manifest of a large log is made within this.
const MANIFEST_WITHIN: Duration = Duration::from_secs(60);
/// The first bytes of a segment come within this: the disk may have to be asked.
const SEGMENT_WITHIN: Duration = Duration::from_secs(30);

/// Asks peers about the default log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerCalls {
    links: Arc<dyn PeerLinks>,
}

impl PeerCalls {
    /// Asks over `links`.
    #[must_use]
    pub fn new(links: Arc<dyn PeerLinks>) -> Self {
        Self { links }
    }

    /// Asks the leader which entry a linearizable read that begins now must have applied.
    ///
    /// Errors: `NotLeader`; the others say that it was not reached. Cancel: safe.
    pub async fn read_index(&self, leader: NodeId, within: Duration) -> Result<LogIndex, PeerError> {
        let mut client = self.links.channel(leader, Lane::Control).await?.client()?;
        let asked = client.read_index(peer::ReadIndexRequest::default());
        let response = answer(leader, within, asked).await?;
        match response.result {
            Some(IndexAnswer::LogIndex(log_index)) => Ok(LogIndex(log_index)),
            Some(IndexAnswer::NotLeader(of)) => Err(PeerError::NotLeader {
                leader: (of.leader_id != 0).then_some(NodeId(of.leader_id)),
            }),
            None => Err(CodecError::Missing {
                field: "read_index.result",
            }
            .into()),
        }
    }

    /// How `target` is, by its own account, with the connection made within the same time.
    ///
    /// Errors: it was not reached. Cancel: safe.
    pub async fn describe(&self, target: NodeId, within: Duration) -> Result<PeerDescription, PeerError> {
        let asked = async {
            let mut client = self.links.channel(target, Lane::Control).await?.client()?;
            let described = client.describe(peer::DescribeRequest::default()).await;
            let described = described.map_err(|status| call_failed(target, status))?;
            Ok(described.into_inner().into())
        };
        timeout(within, asked)
            .await
            .unwrap_or(Err(PeerError::Deadline { target }))
    }

    /// Asks the leader to remove this node. A refusal is a `Call` with the status that clients get.
    ///
    /// Errors: it was not reached, or it refused. Cancel: it may be removed or not.
    pub async fn leave(&self, leader: NodeId, within: Duration) -> Result<(), PeerError> {
        let mut client = self.links.channel(leader, Lane::Control).await?.client()?;
        let asked = client.leave(peer::LeaveRequest::default());
        answer(leader, within, asked).await.map(drop)
    }

    /// The segments of the log on `target`, as its storage encoded them.
    ///
    /// Errors: it was not reached, or not ready. Cancel: safe.
    pub async fn manifest(&self, target: NodeId) -> Result<SnapshotManifest, PeerError> {
        let mut client = self.links.channel(target, Lane::Bulk).await?.client()?;
        let asked = client.list_segments(peer::ListSegmentsRequest::default());
        let response = answer(target, MANIFEST_WITHIN, asked).await?;
        Ok(SnapshotManifest(response.manifest))
    }

    /// Entries of `[from, below)` on `target`, in order and without holes. They end where the range or its log does.
    /// Dropping the stream ends the call.
    ///
    /// Errors: it was not reached, or sent what makes no sense. Cancel: safe.
    pub async fn read_entries(
        &self,
        target: NodeId,
        from: LogIndex,
        below: LogIndex,
    ) -> Result<EntryChunks, PeerError> {
        let mut client = self.links.channel(target, Lane::Bulk).await?.client()?;
        let asked = client.read_entries(peer::ReadEntriesRequest {
            log: String::new(),
            from: from.get(),
            below: below.get(),
        });
        let chunks = answer(target, SEGMENT_WITHIN, asked).await?;
        let mut next = from;
        let entries = chunks.map(move |chunk| {
            let chunk = chunk.map_err(|status| call_failed(target, status))?;
            let entries = chunk.entries.into_iter().map(codec::decode_entry);
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            for entry in &entries {
                if entry_of(&entry.log_id).0 != next {
                    let field = "entries.log_index";
                    return Err(CodecError::Contradiction { field }.into());
                }
                next = next.plus(1);
            }
            Ok(entries)
        });
        Ok(entries.boxed())
    }

    /// Bytes of a segment on `target`, in order and without holes. They end where the range or the file does; whether that
    /// is all of it the manifest says. Dropping the stream ends the call.
    ///
    /// Errors: `NoSuchSegment`, `Damaged`; the others say that it was not reached. Cancel: safe.
    pub async fn read_segment(
        &self,
        target: NodeId,
        range: SegmentRange,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        let mut client = self.links.channel(target, Lane::Bulk).await?.client()?;
        let asked = client.read_segment(peer::ReadSegmentRequest {
            log: String::new(),
            first_log_index: range.first_log_index.get(),
            position: range.position.get(),
            bytes_max: range.bytes_max,
        });
        let failed = move |error| match error {
            PeerError::Call { status, .. } if status.code() == Code::NotFound => PeerError::NoSuchSegment {
                first_log_index: range.first_log_index,
            },
            PeerError::Call { status, .. } if status.code() == Code::DataLoss => PeerError::Damaged {
                first_log_index: range.first_log_index,
            },
            error => error,
        };
        let chunks = answer(target, SEGMENT_WITHIN, asked).await.map_err(failed)?;
        let mut next = range.position.get();
        let pieces = chunks.map(move |chunk| {
            let chunk = chunk.map_err(|status| failed(call_failed(target, status)))?;
            if chunk.position != next {
                let field = "segment.position";
                return Err(CodecError::Contradiction { field }.into());
            }
            next = next.saturating_add(chunk.data.len() as u64);
            Ok(chunk.data)
        });
        Ok(pieces.boxed())
    }
}

/// One call and its answer, within `within`.
async fn answer<T>(
    target: NodeId,
    within: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, PeerError> {
    match timeout(within, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(call_failed(target, status)),
        Err(_) => Err(PeerError::Deadline { target }),
    }
}

pub(super) fn call_failed(target: NodeId, status: Status) -> PeerError {
    PeerError::Call {
        target,
        status: Box::new(status),
    }
}
