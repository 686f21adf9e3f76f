//! What is done to a cursor, and what comes of it, as they travel to the leader and back.

use super::{
    ForwardError,
    wire::{decode_refused, refused},
};
use crate::{
    consensus::codec::CodecError,
    proto::peer::{
        self, CursorState, CursorVoid, NotLeader, change_cursor_response::Result as Answer,
        cursor_void::Reason as VoidKind,
    },
    storage::{
        control::Control,
        cursors::{Cursor, CursorCommand, CursorRefusal, CursorVerdict},
    },
    types::{LogIndex, NodeId, Offset, TimestampMs},
};

/// A command as it travels.
pub(super) fn cursor_request(command: &CursorCommand) -> peer::ChangeCursorRequest {
    peer::ChangeCursorRequest {
        log: String::new(),
        command: Control::Cursor(command.clone()).encode(),
    }
}

/// A command that travelled.
///
/// Errors: it is about no cursor.
pub fn decode_cursor_request(request: &peer::ChangeCursorRequest) -> Result<CursorCommand, CodecError> {
    match Control::decode(&request.command) {
        Ok(Control::Cursor(command)) => Ok(command),
        Ok(Control::Trim { .. }) | Err(_) => Err(CodecError::Contradiction {
            field: "change_cursor.command",
        }),
    }
}

/// What came of it, as it travels.
#[must_use]
pub fn cursor_result(result: Result<CursorVerdict, ForwardError>) -> peer::ChangeCursorResponse {
    let answer = match result {
        Ok(Ok(cursor)) => Answer::Cursor(CursorState {
            epoch: cursor.epoch.get(),
            offset: cursor.offset.map(Offset::get),
            changed_ms: cursor.changed.0,
        }),
        Ok(Err(refusal)) => Answer::Void(void(refusal)),
        Err(ForwardError::NotLeader { leader }) => Answer::NotLeader(NotLeader {
            leader_id: leader.map_or(0, NodeId::get),
        }),
        Err(ForwardError::Refused(error)) => Answer::Refused(refused(error)),
    };
    peer::ChangeCursorResponse { result: Some(answer) }
}

/// The same that travelled.
///
/// Errors: it says what no result says.
pub(super) fn decode_cursor_result(
    response: peer::ChangeCursorResponse,
) -> Result<Result<CursorVerdict, ForwardError>, CodecError> {
    let field = "change_cursor.result";
    Ok(match response.result.ok_or(CodecError::Missing { field })? {
        Answer::Cursor(of) => Ok(Ok(Cursor {
            epoch: LogIndex(of.epoch),
            offset: of.offset.map(Offset),
            changed: TimestampMs(of.changed_ms),
        })),
        Answer::Void(of) => Ok(Err(decode_void(of)?)),
        Answer::NotLeader(of) => Err(ForwardError::NotLeader {
            leader: (of.leader_id != 0).then_some(NodeId(of.leader_id)),
        }),
        Answer::Refused(of) => Err(ForwardError::Refused(decode_refused(of)?)),
    })
}

fn void(refusal: CursorRefusal) -> CursorVoid {
    let (reason, detail) = match refusal {
        CursorRefusal::Fenced { current_epoch } => (VoidKind::Fenced, current_epoch.get()),
        CursorRefusal::Unknown => (VoidKind::Unknown, 0),
        CursorRefusal::Ahead { next_offset } => (VoidKind::Ahead, next_offset.get()),
        CursorRefusal::Full => (VoidKind::Full, 0),
    };
    CursorVoid {
        reason: reason.into(),
        detail,
    }
}

fn decode_void(of: CursorVoid) -> Result<CursorRefusal, CodecError> {
    let detail = of.detail;
    Ok(match of.reason() {
        VoidKind::Unspecified => {
            return Err(CodecError::Missing {
                field: "change_cursor.void.reason",
            });
        }
        VoidKind::Fenced => CursorRefusal::Fenced {
            current_epoch: LogIndex(detail),
        },
        VoidKind::Unknown => CursorRefusal::Unknown,
        VoidKind::Ahead => CursorRefusal::Ahead {
            next_offset: Offset(detail),
        },
        VoidKind::Full => CursorRefusal::Full,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::committer::ProposeError;

    #[test]
    fn every_result_comes_back_as_it_was() {
        let cursor = |offset| Cursor {
            epoch: LogIndex(7),
            offset,
            changed: TimestampMs(9),
        };
        let fenced = CursorRefusal::Fenced {
            current_epoch: LogIndex(u64::MAX),
        };
        let ahead = CursorRefusal::Ahead {
            next_offset: Offset(3),
        };
        let results = [
            Ok(Ok(cursor(None))),
            Ok(Ok(cursor(Some(Offset(0))))),
            Ok(Err(fenced)),
            Ok(Err(CursorRefusal::Unknown)),
            Ok(Err(ahead)),
            Ok(Err(CursorRefusal::Full)),
            Err(ForwardError::NotLeader { leader: None }),
            Err(ForwardError::NotLeader {
                leader: Some(NodeId(5)),
            }),
            Err(ProposeError::OutcomeUnknown.into()),
            Err(ProposeError::Overloaded.into()),
        ];
        for result in results {
            assert_eq!(decode_cursor_result(cursor_result(result.clone())), Ok(result));
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let trim = Control::Trim { below: Offset(1) }.encode();
        for command in [trim, bytes::Bytes::new(), bytes::Bytes::from_static(b"\x02a/b")] {
            let request = peer::ChangeCursorRequest {
                log: String::new(),
                command,
            };
            assert!(decode_cursor_request(&request).is_err(), "{request:?}");
        }
        for result in [None, Some(Answer::Void(CursorVoid::default()))] {
            let response = peer::ChangeCursorResponse { result };
            assert!(decode_cursor_result(response.clone()).is_err(), "{response:?}");
        }
        let name = "a".parse().unwrap();
        let take = CursorCommand::Take { name };
        assert_eq!(decode_cursor_request(&cursor_request(&take)), Ok(take));
    }
}
