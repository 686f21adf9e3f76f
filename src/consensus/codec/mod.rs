//! From openraft's types to bytes between nodes and on disk, and back.
//!
//! Encoding moves: records are counted references and never copied here. Decoding trusts nobody: what a message could say
//! and no node ever means is an error that names the field, never a panic, and never a number that overflows later.

mod append;
mod election;
mod entry;
mod membership;
mod snapshot;
mod storage;

#[cfg(test)]
pub(super) mod tests;

pub use append::{
    append_request, append_response, append_result, decode_append_request, decode_append_response,
    decode_append_result,
};
pub use election::{
    decode_transfer_request, decode_transfer_response, decode_vote_request, decode_vote_response,
    transfer_request, transfer_response, vote_request, vote_response,
};
pub use entry::{batch, decode_batch, decode_entry, entry};
pub use membership::{decode_membership, encode_membership, membership, read_membership};
pub use snapshot::{
    Snapshot, decode_snapshot_request, decode_snapshot_response, snapshot_request, snapshot_response,
};
pub use storage::{from_storage_entry, to_storage_entry};

use openraft::alias;

use super::types::{RaftLogId, RaftVote, TypeConfig, entry_of, raft_log_id};
use crate::{
    error::Disposition,
    proto::peer,
    types::{LogIndex, Term},
};

/// Terms and log indexes of a message are at most this, as those on disk are: one more is never an overflow.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// A message of a peer, or a membership on disk, says what no node means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is 0 where 0 means nothing.
    #[error("{field} is 0")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A number is larger than any that nodes write.
    #[error("{field} is {number}, which is above {NUMBER_MAX}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// What it says.
        number: u64,
    },
    /// Entries of one request do not follow on each other.
    #[error("entry {log_index} of term {term} does not follow on entry {previous} of term {previous_term}")]
    NotConsecutive {
        /// The entry.
        log_index: LogIndex,
        /// Its term.
        term: Term,
        /// The entry before it.
        previous: LogIndex,
        /// That one's term.
        previous_term: Term,
    },
    /// Ids of a set are not in ascending order, or repeat.
    #[error("{field} does not ascend at {node_id}")]
    NotAscending {
        /// The set.
        field: &'static str,
        /// The id that is too low.
        node_id: u64,
    },
    /// An answer that the question does not allow.
    #[error("{field} contradicts the request")]
    Contradiction {
        /// The field.
        field: &'static str,
    },
    /// A membership that nobody could vote in.
    #[error("the membership is not one: {why}")]
    NoMembership {
        /// What openraft says about it.
        why: String,
    },
    /// Not the bytes of the message.
    #[error("the {message} cannot be decoded")]
    Undecodable {
        /// Which message.
        message: &'static str,
        /// What protobuf says.
        #[source]
        source: prost::DecodeError,
    },
}

impl CodecError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Missing { .. }
            | Self::Zero { .. }
            | Self::TooLarge { .. }
            | Self::NotConsecutive { .. }
            | Self::NotAscending { .. }
            | Self::Contradiction { .. }
            | Self::NoMembership { .. }
            | Self::Undecodable { .. } => Disposition::Reject,
        }
    }
}

/// A vote as it travels.
#[must_use]
pub fn vote(vote: &RaftVote) -> peer::Vote {
    peer::Vote {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

/// A vote that travelled.
///
/// Errors: it is missing, or says what no vote says.
pub fn decode_vote(vote: Option<peer::Vote>, field: &'static str) -> Result<RaftVote, CodecError> {
    let vote = vote.ok_or(CodecError::Missing { field })?;
    Ok(RaftVote {
        leader_id: alias::LeaderIdOf::<TypeConfig> {
            term: bounded(vote.term, field)?,
            voted_for: nonzero(vote.node_id, field)?,
        },
        committed: vote.committed,
    })
}

/// A log id as it travels.
#[must_use]
pub fn log_id(log_id: Option<&RaftLogId>) -> Option<peer::LogId> {
    log_id.map(|log_id| {
        let (log_index, term) = entry_of(log_id);
        peer::LogId {
            term: term.get(),
            log_index: log_index.get(),
        }
    })
}

/// A log id that travelled; `None` means "before the first entry".
///
/// Errors: it says what no log id says.
pub fn decode_log_id(
    log_id: Option<peer::LogId>,
    field: &'static str,
) -> Result<Option<RaftLogId>, CodecError> {
    log_id
        .map(|log_id| entry_id(log_id.term, log_id.log_index, field))
        .transpose()
}

fn entry_id(term: u64, log_index: u64, field: &'static str) -> Result<RaftLogId, CodecError> {
    let (term, log_index) = (bounded(term, field)?, bounded(log_index, field)?);
    raft_log_id(LogIndex(log_index), Term(term)).ok_or(CodecError::Zero { field })
}

fn bounded(number: u64, field: &'static str) -> Result<u64, CodecError> {
    if number > NUMBER_MAX {
        return Err(CodecError::TooLarge { field, number });
    }
    Ok(number)
}

fn nonzero(number: u64, field: &'static str) -> Result<u64, CodecError> {
    if number == 0 {
        return Err(CodecError::Zero { field });
    }
    Ok(number)
}
