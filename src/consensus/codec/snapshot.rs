//! Snapshots: what they stand for and the manifest. The files themselves are fetched by the receiver.

use super::{CodecError, decode_log_id, decode_vote, log_id, membership, read_membership, vote};
use crate::{
    consensus::{
        messages::{SnapshotMeta, SnapshotResponse},
        types::{RaftStoredMembership, RaftVote, SnapshotManifest},
    },
    proto::peer,
};

/// A snapshot that a leader sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The leader's vote.
    pub vote: RaftVote,
    /// What the snapshot stands for.
    pub meta: SnapshotMeta,
    /// Its files.
    pub manifest: SnapshotManifest,
}

/// A snapshot as it travels.
#[must_use]
pub fn snapshot_request(log: &str, snapshot: Snapshot) -> peer::InstallSnapshotRequest {
    let SnapshotMeta {
        last_log_id,
        last_membership,
    } = snapshot.meta;
    peer::InstallSnapshotRequest {
        log: log.to_owned(),
        vote: Some(vote(&snapshot.vote)),
        last: log_id(last_log_id.as_ref()),
        membership_at: log_id(last_membership.log_id().as_ref()),
        membership: Some(membership(last_membership.membership())),
        manifest: snapshot.manifest.0,
    }
}

/// A snapshot that travelled. Its manifest is not looked into.
///
/// Errors: it says what no snapshot says.
pub fn decode_snapshot_request(request: peer::InstallSnapshotRequest) -> Result<Snapshot, CodecError> {
    let membership_at = decode_log_id(request.membership_at, "snapshot.membership_at")?;
    let membership = read_membership(request.membership)?;
    Ok(Snapshot {
        vote: decode_vote(request.vote, "snapshot.vote")?,
        meta: SnapshotMeta {
            last_log_id: decode_log_id(request.last, "snapshot.last")?,
            last_membership: RaftStoredMembership::new(membership_at, membership),
        },
        manifest: SnapshotManifest(request.manifest),
    })
}

/// A response as it travels.
#[must_use]
pub fn snapshot_response(response: &SnapshotResponse) -> peer::InstallSnapshotResponse {
    peer::InstallSnapshotResponse {
        vote: Some(vote(&response.vote)),
    }
}

/// A response that travelled.
///
/// Errors: it says what no response says.
pub fn decode_snapshot_response(
    response: peer::InstallSnapshotResponse,
) -> Result<SnapshotResponse, CodecError> {
    decode_vote(response.vote, "snapshot.response.vote").map(SnapshotResponse::new)
}
