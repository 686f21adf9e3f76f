//! The table of statuses, row by row.

use std::{io, path::PathBuf};

use super::*;
use crate::{
    record_set::RecordSetError,
    storage::cursors::CursorName,
    types::{LogIndex, Position},
};

/// Refusal, code, reason, metadata names, whether RetryInfo is there.
type Row = (Refusal, Code, &'static str, &'static [&'static str], bool);

fn table() -> Vec<Row> {
    use Code::{
        Aborted, AlreadyExists, DataLoss, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument,
        NotFound, OutOfRange, PermissionDenied, ResourceExhausted, Unavailable, Unknown,
    };
    let path = PathBuf::from("/secret/00000000000000000001.store");
    let corrupt = ReadError::Corrupt {
        path: path.clone(),
        position: Position(4096),
        what: "bad".to_owned(),
    };
    let trimmed = ReadError::Trimmed {
        offset: Offset(1),
        earliest: Offset(5),
    };
    let disk = ReadError::Io {
        path,
        source: io::Error::other("gone"),
    };
    let out_of_range = Refusal::OutOfRange {
        offset: Offset(9),
        earliest: Offset(5),
        high_watermark: Offset(7),
    };
    let full = ProposeError::StorageFull {
        free_bytes: 1,
        floor_bytes: 2,
    };
    let failsafe = ProposeError::Failsafe {
        cause: "sync failed".to_owned(),
    };
    let repeated = VoidReason::Repeated {
        base_offset: Offset(3),
    };
    let out_of_order = VoidReason::OutOfOrder { expected_sequence: 4 };
    let condition = VoidReason::ConditionFailed {
        next_offset: Offset(6),
    };
    let name: CursorName = "billing".parse().unwrap();
    vec![
        (
            Refusal::invalid("no"),
            InvalidArgument,
            "INVALID_REQUEST",
            &[],
            false,
        ),
        (
            RecordSetError::Empty.into(),
            InvalidArgument,
            "INVALID_REQUEST",
            &[],
            false,
        ),
        (
            Refusal::UnknownNode {
                asked: "7".into(),
                known: "there is a".into(),
            },
            NotFound,
            "UNKNOWN_NODE",
            &[],
            false,
        ),
        (
            Refusal::UnknownLog {
                name: "other".to_owned(),
            },
            NotFound,
            "UNKNOWN_LOG",
            &["log"],
            false,
        ),
        (
            Refusal::RecordTooLarge {
                bytes: 2,
                bytes_max: 1,
            },
            InvalidArgument,
            "RECORD_TOO_LARGE",
            &["bytes", "bytes_max"],
            false,
        ),
        (
            Refusal::MessageTooLarge {
                what: "5 bytes".to_owned(),
            },
            InvalidArgument,
            "RECORD_TOO_LARGE",
            &[],
            false,
        ),
        (
            out_of_range,
            OutOfRange,
            "OFFSET_OUT_OF_RANGE",
            &["earliest", "high_watermark", "offset"],
            false,
        ),
        (Refusal::Overloaded, ResourceExhausted, "OVERLOADED", &[], true),
        (
            Refusal::TooManyConsumers { consumers_max: 7 },
            ResourceExhausted,
            "OVERLOADED",
            &["consumers_max"],
            true,
        ),
        (
            Refusal::ProduceDeadline,
            DeadlineExceeded,
            "OUTCOME_UNKNOWN",
            &[],
            false,
        ),
        (
            Refusal::ReadDeadline { offset: Offset(1) },
            DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            &["offset"],
            false,
        ),
        (
            Refusal::ReceiveDeadline {
                within: std::time::Duration::from_secs(1),
            },
            DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            &[],
            false,
        ),
        (
            Refusal::StreamDeadline,
            DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            &[],
            false,
        ),
        (
            Refusal::Denied {
                subject: "annals://orders/client/app".to_owned(),
                wanted: crate::acl::Right::PRODUCE.into(),
                denied_by: None,
            },
            PermissionDenied,
            "ACL_DENIED",
            &["action", "object", "subject"],
            false,
        ),
        (
            Refusal::Denied {
                subject: "annals://orders/client/app".to_owned(),
                wanted: crate::acl::Right::PRODUCE.into(),
                denied_by: Some(2),
            },
            PermissionDenied,
            "ACL_DENIED",
            &["action", "denied_by_line", "object", "subject"],
            false,
        ),
        (
            Refusal::UnknownMethod {
                subject: "anonymous".to_owned(),
            },
            PermissionDenied,
            "ACL_DENIED",
            &["subject"],
            false,
        ),
        (Refusal::ShuttingDown, Unavailable, "SHUTTING_DOWN", &[], true),
        (
            ProposeError::OutcomeUnknown.into(),
            Unknown,
            "OUTCOME_UNKNOWN",
            &[],
            false,
        ),
        (failsafe.into(), Unavailable, "FAILSAFE", &["cause"], false),
        (
            ProposeError::Overloaded.into(),
            ResourceExhausted,
            "OVERLOADED",
            &[],
            true,
        ),
        (
            full.into(),
            ResourceExhausted,
            "STORAGE_FULL",
            &["floor_bytes", "free_bytes"],
            true,
        ),
        (
            Refusal::Change(ChangeFailed::NotHere(ProposeError::OutcomeUnknown)),
            Unknown,
            "OUTCOME_UNKNOWN",
            &["of"],
            false,
        ),
        (
            Refusal::Change(ChangeFailed::Unconfirmed {
                waited: Duration::from_secs(5),
                silent: vec!["node-1".to_owned()],
            }),
            Unknown,
            "OUTCOME_UNKNOWN",
            &["of"],
            false,
        ),
        (
            ProposeError::NoCluster {
                waiting: "node-1 is not seen yet".to_owned(),
            }
            .into(),
            Unavailable,
            "NO_CLUSTER",
            &["waiting"],
            true,
        ),
        (
            ProposeError::Unavailable.into(),
            Unavailable,
            "LOG_NOT_READY",
            &[],
            true,
        ),
        (
            Refusal::Void(repeated),
            AlreadyExists,
            "REPEATED",
            &["base_offset"],
            false,
        ),
        (
            Refusal::Void(VoidReason::RepeatedLongAgo),
            AlreadyExists,
            "REPEATED_LONG_AGO",
            &[],
            false,
        ),
        (
            Refusal::Void(out_of_order),
            Aborted,
            "OUT_OF_ORDER",
            &["expected_sequence"],
            false,
        ),
        (
            Refusal::Void(VoidReason::UnknownProducer),
            FailedPrecondition,
            "UNKNOWN_PRODUCER",
            &[],
            false,
        ),
        (
            Refusal::Void(VoidReason::Fenced { current_epoch: 2 }),
            Aborted,
            "FENCED",
            &["current_epoch"],
            false,
        ),
        (
            Refusal::Void(condition),
            Aborted,
            "CONDITION_FAILED",
            &["next_offset"],
            false,
        ),
        (
            trimmed.into(),
            OutOfRange,
            "OFFSET_OUT_OF_RANGE",
            &["earliest", "offset"],
            false,
        ),
        (corrupt.into(), DataLoss, "CORRUPT", &["position"], false),
        (disk.into(), Unavailable, "READ_FAILED", &[], true),
        (
            CursorNotChanged::Fenced {
                name: name.clone(),
                epoch: LogIndex(1),
                current_epoch: LogIndex(2),
            }
            .into(),
            Aborted,
            "FENCED",
            &["current_epoch", "cursor"],
            false,
        ),
        (
            CursorNotChanged::Unknown { name, was_held: true }.into(),
            NotFound,
            "UNKNOWN_CURSOR",
            &["cursor"],
            false,
        ),
        (
            CursorNotChanged::Ahead {
                offset: Offset(9),
                next_offset: Offset(5),
            }
            .into(),
            OutOfRange,
            "OFFSET_OUT_OF_RANGE",
            &["next_offset", "offset"],
            false,
        ),
        (
            CursorNotChanged::Full.into(),
            ResourceExhausted,
            "CURSORS_FULL",
            &["cursors_max"],
            false,
        ),
        (
            CursorNotChanged::Undecided { timed_out: false }.into(),
            Unknown,
            "OUTCOME_UNKNOWN",
            &["of"],
            true,
        ),
        (
            CursorNotChanged::Undecided { timed_out: true }.into(),
            DeadlineExceeded,
            "OUTCOME_UNKNOWN",
            &["of"],
            true,
        ),
        (Refusal::Internal { what: "x" }, Internal, "INTERNAL", &[], false),
    ]
}

#[test]
fn every_refusal_has_its_code_reason_and_details() {
    for (refusal, code, reason, metadata, retry) in table() {
        let text = refusal.to_string();
        let disposition = refusal.disposition();
        let status = refusal.into_status();
        let details = status.get_error_details();
        let info = details.error_info().expect("every status has ErrorInfo");
        let mut names: Vec<&str> = info.metadata.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(status.code(), code, "{text}");
        assert_eq!(info.reason, reason, "{text}");
        assert_eq!(info.domain, DOMAIN, "{text}");
        assert_eq!(names, metadata, "{text}");
        assert_eq!(details.retry_info().is_some(), retry, "{text}");
        assert!(!retry || disposition == Disposition::Retry, "{text}");
        assert_eq!(status.message(), text);
    }
}

#[test]
fn a_failure_in_a_stream_says_what_the_status_would() {
    for ((refusal, ..), (again, ..)) in table().into_iter().zip(table()) {
        let status = refusal.into_status();
        let failure = again.into_failure();
        let details = status.get_error_details();
        let info = details.error_info().expect("every status has ErrorInfo");
        assert_eq!(failure.code, i32::from(status.code()));
        assert_eq!(failure.reason, info.reason);
        assert_eq!(failure.message, status.message());
        assert_eq!(failure.metadata, info.metadata);
        assert_eq!(failure.retry_after_ms > 0, details.retry_info().is_some());
    }
}

#[test]
fn no_refusal_tells_clients_the_paths_of_the_server() {
    for (refusal, ..) in table() {
        let status = refusal.into_status();
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
    }
}

#[test]
fn a_batch_whose_deadline_passed_is_said_to_be_of_unknown_outcome() {
    let status = Refusal::ProduceDeadline.into_status();
    assert!(
        status.message().contains("outcome is unknown"),
        "{}",
        status.message()
    );
}
