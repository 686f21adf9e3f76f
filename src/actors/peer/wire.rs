//! The result of a forwarded batch as it travels.

use super::ForwardError;
use crate::{
    actors::committer::{Committed, ProposeError},
    consensus::codec::CodecError,
    proto::peer::{
        self, NotLeader, Refused, Void, committed, propose_response::Result as Answer,
        refused::Reason as Refusal, void::Reason as VoidKind,
    },
    storage::entry::{Outcome, VoidReason},
    types::{LogIndex, NodeId, Offset},
};

/// A result as it travels, for the request `id`.
#[must_use]
pub fn propose_result(id: u64, result: Result<Committed, ForwardError>) -> peer::ProposeResponse {
    let answer = match result {
        Ok(of) => Answer::Committed(committed(of)),
        Err(ForwardError::NotLeader { leader }) => Answer::NotLeader(NotLeader {
            leader_id: leader.map_or(0, NodeId::get),
        }),
        Err(ForwardError::Refused(error)) => Answer::Refused(refused(error)),
    };
    peer::ProposeResponse {
        id,
        result: Some(answer),
    }
}

/// A result that travelled.
///
/// Errors: it says what no result says.
pub fn decode_propose_result(
    response: peer::ProposeResponse,
) -> Result<Result<Committed, ForwardError>, CodecError> {
    let field = "propose.result";
    Ok(match response.result.ok_or(CodecError::Missing { field })? {
        Answer::Committed(of) => Ok(decode_committed(of)?),
        Answer::NotLeader(of) => Err(ForwardError::NotLeader {
            leader: (of.leader_id != 0).then_some(NodeId(of.leader_id)),
        }),
        Answer::Refused(of) => Err(ForwardError::Refused(decode_refused(of)?)),
    })
}

fn committed(of: Committed) -> peer::Committed {
    let outcome = match of.outcome {
        Outcome::Stored { base_offset } => committed::Outcome::Stored(base_offset.get()),
        Outcome::Void(reason) => {
            let (reason, detail) = match reason {
                VoidReason::Repeated { base_offset } => (VoidKind::Repeated, base_offset.get()),
                VoidReason::RepeatedLongAgo => (VoidKind::RepeatedLongAgo, 0),
                VoidReason::OutOfOrder { expected_sequence } => (VoidKind::OutOfOrder, expected_sequence),
                VoidReason::UnknownProducer => (VoidKind::UnknownProducer, 0),
                VoidReason::Fenced { current_epoch } => (VoidKind::Fenced, u64::from(current_epoch)),
                VoidReason::ConditionFailed { next_offset } => (VoidKind::ConditionFailed, next_offset.get()),
            };
            committed::Outcome::Void(Void {
                reason: reason.into(),
                detail,
            })
        }
    };
    peer::Committed {
        log_index: of.log_index.get(),
        record_count: of.record_count,
        outcome: Some(outcome),
    }
}

fn decode_committed(of: peer::Committed) -> Result<Committed, CodecError> {
    let field = "propose.committed.outcome";
    let outcome = match of.outcome.ok_or(CodecError::Missing { field })? {
        committed::Outcome::Stored(base_offset) => Outcome::Stored {
            base_offset: Offset(base_offset),
        },
        committed::Outcome::Void(void) => Outcome::Void(decode_void(void)?),
    };
    Ok(Committed {
        log_index: LogIndex(of.log_index),
        outcome,
        record_count: of.record_count,
    })
}

fn decode_void(void: Void) -> Result<VoidReason, CodecError> {
    let detail = void.detail;
    Ok(match void.reason() {
        VoidKind::Unspecified => {
            return Err(CodecError::Missing {
                field: "propose.committed.void.reason",
            });
        }
        VoidKind::Repeated => VoidReason::Repeated {
            base_offset: Offset(detail),
        },
        VoidKind::RepeatedLongAgo => VoidReason::RepeatedLongAgo,
        VoidKind::OutOfOrder => VoidReason::OutOfOrder {
            expected_sequence: detail,
        },
        VoidKind::UnknownProducer => VoidReason::UnknownProducer,
        VoidKind::Fenced => VoidReason::Fenced {
            current_epoch: u32::try_from(detail).map_err(|_| CodecError::TooLarge {
                field: "propose.committed.void.detail",
                number: detail,
            })?,
        },
        VoidKind::ConditionFailed => VoidReason::ConditionFailed {
            next_offset: Offset(detail),
        },
    })
}

pub(super) fn refused(error: ProposeError) -> Refused {
    let refused = |reason: Refusal| Refused {
        reason: reason.into(),
        ..Refused::default()
    };
    match error {
        ProposeError::OutcomeUnknown => refused(Refusal::OutcomeUnknown),
        ProposeError::Failsafe { cause } => Refused {
            cause,
            ..refused(Refusal::Failsafe)
        },
        ProposeError::Overloaded => refused(Refusal::Overloaded),
        ProposeError::StorageFull {
            free_bytes,
            floor_bytes,
        } => Refused {
            free_bytes,
            floor_bytes,
            ..refused(Refusal::StorageFull)
        },
        ProposeError::MajorityFull => refused(Refusal::MajorityFull),
        // Who leads is said in a result of its own; here it means no more than "not by this node".
        ProposeError::Unavailable
        | ProposeError::NotLeader { .. }
        | ProposeError::NoLeader
        | ProposeError::NoCluster { .. }
        | ProposeError::Removed { .. } => refused(Refusal::Unavailable),
    }
}

pub(super) fn decode_refused(of: Refused) -> Result<ProposeError, CodecError> {
    Ok(match of.reason() {
        Refusal::Unspecified => {
            return Err(CodecError::Missing {
                field: "propose.refused.reason",
            });
        }
        Refusal::OutcomeUnknown => ProposeError::OutcomeUnknown,
        Refusal::Failsafe => ProposeError::Failsafe { cause: of.cause },
        Refusal::Overloaded => ProposeError::Overloaded,
        Refusal::StorageFull => ProposeError::StorageFull {
            free_bytes: of.free_bytes,
            floor_bytes: of.floor_bytes,
        },
        Refusal::Unavailable => ProposeError::Unavailable,
        Refusal::MajorityFull => ProposeError::MajorityFull,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_comes_back_as_it_was() {
        let committed = |outcome| {
            Ok(Committed {
                log_index: LogIndex(7),
                outcome,
                record_count: 3,
            })
        };
        let void = |reason| committed(Outcome::Void(reason));
        let results = [
            committed(Outcome::Stored {
                base_offset: Offset(0),
            }),
            void(VoidReason::Repeated {
                base_offset: Offset(u64::MAX),
            }),
            void(VoidReason::RepeatedLongAgo),
            void(VoidReason::OutOfOrder { expected_sequence: 9 }),
            void(VoidReason::UnknownProducer),
            void(VoidReason::Fenced {
                current_epoch: u32::MAX,
            }),
            void(VoidReason::ConditionFailed {
                next_offset: Offset(0),
            }),
            Err(ForwardError::NotLeader { leader: None }),
            Err(ForwardError::NotLeader {
                leader: Some(NodeId(5)),
            }),
            Err(ProposeError::OutcomeUnknown.into()),
            Err(ProposeError::Overloaded.into()),
            Err(ProposeError::Unavailable.into()),
            Err(ProposeError::MajorityFull.into()),
            Err(ProposeError::Failsafe {
                cause: "disk".to_owned(),
            }
            .into()),
            Err(ProposeError::StorageFull {
                free_bytes: 1,
                floor_bytes: 2,
            }
            .into()),
        ];
        for result in results {
            let sent = propose_result(11, result.clone());
            assert_eq!(sent.id, 11);
            assert_eq!(decode_propose_result(sent), Ok(result));
        }
    }

    #[test]
    fn a_result_that_says_nothing_is_refused() {
        let empty = [
            None,
            Some(Answer::Committed(peer::Committed::default())),
            Some(Answer::Committed(peer::Committed {
                outcome: Some(committed::Outcome::Void(Void::default())),
                ..peer::Committed::default()
            })),
            Some(Answer::Committed(peer::Committed {
                outcome: Some(committed::Outcome::Void(Void {
                    reason: VoidKind::Fenced.into(),
                    detail: u64::MAX,
                })),
                ..peer::Committed::default()
            })),
            Some(Answer::Refused(Refused::default())),
            Some(Answer::Refused(Refused {
                reason: 999,
                ..Refused::default()
            })),
        ];
        for result in empty {
            let response = peer::ProposeResponse { id: 0, result };
            assert!(decode_propose_result(response.clone()).is_err(), "{response:?}");
        }
    }
}
