//! AppendEntries, asked in a stream or alone.

use openraft::raft::StreamAppendError;

use super::{CodecError, decode_entry, decode_log_id, decode_vote, entry, log_id, vote};
use crate::{
    consensus::{
        messages::{AppendRequest, AppendResponse, AppendResult, last_of},
        types::{RaftEntry, RaftLogId, entry_of},
    },
    proto::peer::{self, append_response::Result as Answer},
    types::{LogIndex, Term},
};

/// A request as it travels, for the log `log`; empty for the default one.
#[must_use]
pub fn append_request(log: &str, request: AppendRequest) -> peer::AppendRequest {
    peer::AppendRequest {
        log: log.to_owned(),
        vote: Some(vote(&request.vote)),
        previous: log_id(request.prev_log_id.as_ref()),
        committed: log_id(request.leader_commit.as_ref()),
        entries: request.entries.into_iter().map(entry).collect(),
    }
}

/// A request that travelled.
///
/// Errors: it says what no request says; its entries do not follow on each other.
pub fn decode_append_request(request: peer::AppendRequest) -> Result<AppendRequest, CodecError> {
    let previous = decode_log_id(request.previous, "append.previous")?;
    let entries: Vec<RaftEntry> = request
        .entries
        .into_iter()
        .map(decode_entry)
        .collect::<Result<_, _>>()?;
    check_consecutive(previous.as_ref(), &entries)?;
    Ok(AppendRequest {
        vote: decode_vote(request.vote, "append.vote")?,
        prev_log_id: previous,
        leader_commit: decode_log_id(request.committed, "append.committed")?,
        entries,
    })
}

/// openraft takes this for granted.
fn check_consecutive(previous: Option<&RaftLogId>, entries: &[RaftEntry]) -> Result<(), CodecError> {
    let (mut previous, mut previous_term) = previous.map_or((LogIndex::ZERO, Term::ZERO), entry_of);
    for entry in entries {
        let (log_index, term) = entry_of(&entry.log_id);
        if log_index != previous.plus(1) || term < previous_term {
            return Err(CodecError::NotConsecutive {
                log_index,
                term,
                previous,
                previous_term,
            });
        }
        (previous, previous_term) = (log_index, term);
    }
    Ok(())
}

/// The result of one request of a stream, as it travels.
#[must_use]
pub fn append_result(result: AppendResult) -> peer::AppendResponse {
    let answer = match result {
        Ok(up_to) => Answer::Accepted(peer::Accepted {
            up_to: log_id(up_to.as_ref()),
        }),
        Err(StreamAppendError::Conflict(at)) => Answer::Conflict(peer::Conflict {
            at: log_id(Some(&at)),
        }),
        Err(StreamAppendError::HigherVote(higher)) => Answer::HigherVote(vote(&higher)),
    };
    peer::AppendResponse {
        result: Some(answer),
        commits_awaited: false,
        storage_full: false,
    }
}

/// The result of one request of a stream that travelled.
///
/// Errors: it says what no result says.
pub fn decode_append_result(response: peer::AppendResponse) -> Result<AppendResult, CodecError> {
    let answer = response.result.ok_or(CodecError::Missing {
        field: "append.result",
    })?;
    Ok(match answer {
        Answer::Accepted(accepted) => Ok(decode_log_id(accepted.up_to, "append.accepted")?),
        Answer::Conflict(conflict) => {
            let at = decode_log_id(conflict.at, "append.conflict")?;
            // Nothing conflicts with "before the first entry", and openraft panics when told so.
            let at = at.ok_or(CodecError::Missing {
                field: "append.conflict",
            })?;
            Err(StreamAppendError::Conflict(at))
        }
        Answer::HigherVote(higher) => Err(StreamAppendError::HigherVote(decode_vote(
            Some(higher),
            "append.higher_vote",
        )?)),
    })
}

/// The response to a request that was asked alone, as it travels. `previous` and `last` are the request's: the entry before
/// its first, and its last one.
#[must_use]
pub fn append_response(
    response: AppendResponse,
    previous: Option<RaftLogId>,
    last: Option<RaftLogId>,
) -> peer::AppendResponse {
    let answer = match response {
        AppendResponse::Success => Answer::Accepted(peer::Accepted {
            up_to: log_id(last.as_ref()),
        }),
        AppendResponse::PartialSuccess(up_to) => Answer::Accepted(peer::Accepted {
            up_to: log_id(up_to.as_ref()),
        }),
        AppendResponse::Conflict => Answer::Conflict(peer::Conflict {
            at: log_id(previous.as_ref()),
        }),
        AppendResponse::HigherVote(higher) => Answer::HigherVote(vote(&higher)),
    };
    peer::AppendResponse {
        result: Some(answer),
        commits_awaited: false,
        storage_full: false,
    }
}

/// The response to `request` that travelled.
///
/// Errors: it says what no response says.
pub fn decode_append_response(
    response: peer::AppendResponse,
    request: &AppendRequest,
) -> Result<AppendResponse, CodecError> {
    Ok(match decode_append_result(response)? {
        Ok(up_to) if up_to == last_of(request) => AppendResponse::Success,
        Ok(up_to) => AppendResponse::PartialSuccess(up_to),
        Err(StreamAppendError::Conflict(_)) => AppendResponse::Conflict,
        Err(StreamAppendError::HigherVote(higher)) => AppendResponse::HigherVote(higher),
    })
}
