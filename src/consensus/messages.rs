//! What nodes say to each other about consensus, in openraft's own types.

use openraft::{alias, raft};

use super::types::{RaftLogId, TypeConfig};

/// Entries for a follower to append, or none: a heartbeat.
pub type AppendRequest = raft::AppendEntriesRequest<TypeConfig>;
/// What a follower made of one, asked alone.
pub type AppendResponse = raft::AppendEntriesResponse<TypeConfig>;
/// What a follower made of one, asked in a stream: up to where its log is the leader's and on its disk.
pub type AppendResult = raft::StreamAppendResult<TypeConfig>;
/// A candidate asks for a vote, or asks whether it would be given one.
pub type VoteRequest = raft::VoteRequest<TypeConfig>;
/// The voter's answer.
pub type VoteResponse = raft::VoteResponse<TypeConfig>;
/// A leader asks a follower to take over.
pub type TransferRequest = raft::TransferLeaderRequest<TypeConfig>;
/// The follower stands for election, or says why not.
pub type TransferResponse = raft::TransferLeaderResponse<TypeConfig>;
/// Why it does not.
pub type TransferRefused = raft::TransferLeaderError<TypeConfig>;
/// What a snapshot stands for: its last entry, and the membership in force there.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
/// The receiver's vote after a snapshot.
pub type SnapshotResponse = raft::SnapshotResponse<TypeConfig>;

/// The last entry that a follower has when it has all of `request`.
#[must_use]
pub fn last_of(request: &AppendRequest) -> Option<RaftLogId> {
    request
        .entries
        .last()
        .map_or(request.prev_log_id, |entry| Some(entry.log_id))
}
