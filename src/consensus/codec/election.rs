//! Votes asked for, and leadership handed over.

use super::{CodecError, decode_log_id, decode_vote, log_id, nonzero, vote};
use crate::{
    consensus::messages::{TransferRefused, TransferRequest, TransferResponse, VoteRequest, VoteResponse},
    proto::peer::{self, transfer_leader_response::Refused},
};

/// A request as it travels; `pre_vote` when it only asks.
#[must_use]
pub fn vote_request(log: &str, request: &VoteRequest, pre_vote: bool) -> peer::VoteRequest {
    peer::VoteRequest {
        log: log.to_owned(),
        vote: Some(vote(&request.vote)),
        last: log_id(request.last_log_id.as_ref()),
        pre_vote,
        leadership_transfer: request.leadership_transfer,
    }
}

/// A request that travelled. Whether it only asks is in its `pre_vote`.
///
/// Errors: it says what no request says.
pub fn decode_vote_request(request: &peer::VoteRequest) -> Result<VoteRequest, CodecError> {
    let vote = decode_vote(request.vote, "vote.vote")?;
    let mut decoded = VoteRequest::new(vote, decode_log_id(request.last, "vote.last")?);
    decoded.leadership_transfer = request.leadership_transfer;
    Ok(decoded)
}

/// A response as it travels.
#[must_use]
pub fn vote_response(response: &VoteResponse) -> peer::VoteResponse {
    peer::VoteResponse {
        vote: Some(vote(&response.vote)),
        granted: response.vote_granted,
        last: log_id(response.last_log_id.as_ref()),
    }
}

/// A response that travelled.
///
/// Errors: it says what no response says.
pub fn decode_vote_response(response: peer::VoteResponse) -> Result<VoteResponse, CodecError> {
    let vote = decode_vote(response.vote, "vote.response.vote")?;
    let last = decode_log_id(response.last, "vote.response.last")?;
    Ok(VoteResponse::new(vote, last, response.granted))
}

/// A request as it travels.
#[must_use]
pub fn transfer_request(log: &str, request: &TransferRequest) -> peer::TransferLeaderRequest {
    peer::TransferLeaderRequest {
        log: log.to_owned(),
        from_leader: Some(vote(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last: log_id(request.last_log_id()),
    }
}

/// A request that travelled.
///
/// Errors: it says what no request says.
pub fn decode_transfer_request(request: peer::TransferLeaderRequest) -> Result<TransferRequest, CodecError> {
    Ok(TransferRequest::new(
        decode_vote(request.from_leader, "transfer.from_leader")?,
        nonzero(request.to_node_id, "transfer.to_node_id")?,
        decode_log_id(request.last, "transfer.last")?,
    ))
}

/// A response as it travels.
#[must_use]
pub fn transfer_response(response: &TransferResponse) -> peer::TransferLeaderResponse {
    let refused = match response {
        Ok(()) => None,
        Err(TransferRefused::VoteChanged { expected, actual }) => {
            Some(Refused::VoteChanged(peer::VoteChanged {
                expected: Some(vote(expected)),
                actual: Some(vote(actual)),
            }))
        }
        Err(TransferRefused::LogNotFlushed { expected, actual }) => {
            Some(Refused::LogNotFlushed(peer::LogNotFlushed {
                expected: log_id(expected.as_ref()),
                actual: log_id(actual.as_ref()),
            }))
        }
    };
    peer::TransferLeaderResponse { refused }
}

/// A response that travelled.
///
/// Errors: it says what no response says.
pub fn decode_transfer_response(
    response: peer::TransferLeaderResponse,
) -> Result<TransferResponse, CodecError> {
    Ok(match response.refused {
        None => Ok(()),
        Some(Refused::VoteChanged(changed)) => Err(TransferRefused::VoteChanged {
            expected: decode_vote(changed.expected, "transfer.vote_changed.expected")?,
            actual: decode_vote(changed.actual, "transfer.vote_changed.actual")?,
        }),
        Some(Refused::LogNotFlushed(missing)) => Err(TransferRefused::LogNotFlushed {
            expected: decode_log_id(missing.expected, "transfer.log_not_flushed.expected")?,
            actual: decode_log_id(missing.actual, "transfer.log_not_flushed.actual")?,
        }),
    })
}
