//! The one mapping from what went wrong to what a client is told.
//!
//! A [`Refusal`] says what happened. [`Refusal::into_status`] makes it a gRPC status with `ErrorInfo` and, where a retry
//! makes sense, `RetryInfo`; [`Refusal::into_failure`] makes it the `Failure` of one request of a stream. Both read the
//! same table.

mod cursor;
mod peer;

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    acl::Wanted,
    actors::{committer::ProposeError, raft::ChangeFailed},
    error::Disposition,
    proto::raw::annals::v1::Failure,
    record_set::RecordSetError,
    storage::{ReadError, entry::VoidReason},
    types::Offset,
};

pub use cursor::CursorNotChanged;
pub use peer::peer_status;

/// The `ErrorInfo` domain of every error.
pub const DOMAIN: &str = "annals";

/// When to retry what was refused for lack of room: about the time in which a full queue drains.
const RETRY_ROOM: Duration = Duration::from_millis(100);
/// When to retry while a component restarts: the first back-off of supervision is 100 ms.
const RETRY_RESTART: Duration = Duration::from_millis(250);
/// When to retry what only a person or retention can change.
const RETRY_OPERATOR: Duration = Duration::from_secs(10);

/// Why a request was not answered with a value.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not well-formed.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// The request's records are not well-formed.
    #[error(transparent)]
    Records(#[from] RecordSetError),
    /// There is no such log.
    #[error("there is no log named {name:?}; leave the name empty or say \"default\"")]
    UnknownLog {
        /// The name asked for.
        name: String,
    },
    /// There is no such node.
    #[error("there is no node {asked}; {known}")]
    UnknownNode {
        /// The id, or the name in quotes.
        asked: String,
        /// Which there are.
        known: String,
    },
    /// The request's records are too large.
    #[error("the records have {bytes} bytes; a request may have {bytes_max}: send fewer, or smaller ones")]
    RecordTooLarge {
        /// Encoded size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The transport refused a message for its size.
    #[error("a message is too large: {what}")]
    MessageTooLarge {
        /// What the transport says.
        what: String,
    },
    /// The offset cannot be read.
    #[error("offset {offset} is out of range; readable is [{earliest}, {high_watermark})")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// Lowest readable.
        earliest: Offset,
        /// First that is not readable yet.
        high_watermark: Offset,
    },
    /// A message did not arrive whole in time.
    #[error(
        "a message did not arrive whole within {within:?}; send smaller ones, or over a faster connection"
    )]
    ReceiveDeadline {
        /// How long it was waited for.
        within: Duration,
    },
    /// No room for the request now.
    #[error("too much is waiting to be written; try again in a moment")]
    Overloaded,
    /// As many consuming streams are open as may be.
    #[error(
        "{consumers_max} streams consume already, which is the most (limits.consumers_max); end some, or read with Consume"
    )]
    TooManyConsumers {
        /// The limit.
        consumers_max: usize,
    },
    /// The deadline passed while a batch waited for its commit.
    #[error(
        "the deadline passed before the batch was committed; the outcome is unknown: it may or may not be stored"
    )]
    ProduceDeadline,
    /// The deadline passed while a read waited.
    #[error("the deadline passed before this node had every record below offset {offset}")]
    ReadDeadline {
        /// What the read waited for.
        offset: Offset,
    },
    /// The deadline of a stream passed.
    #[error("the deadline of the stream passed")]
    StreamDeadline,
    /// The node is stopping.
    #[error("this node is shutting down; connect to another, or try again")]
    ShuttingDown,
    /// The committer did not commit.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The cluster was not changed.
    #[error("{}", change_text(.0))]
    Change(ChangeFailed),
    /// The log took no records of the batch.
    #[error("{}", void_text(.0))]
    Void(VoidReason),
    /// A cursor was not changed, or is not there.
    #[error(transparent)]
    Cursor(#[from] CursorNotChanged),
    /// The log could not be read.
    #[error("{}", read_text(.0))]
    Read(#[from] ReadError),
    /// The policy does not allow it.
    #[error("the policy does not allow {subject} to {wanted}")]
    Denied {
        /// Who asked.
        subject: String,
        /// For what.
        wanted: Wanted,
        /// The line of the policy that denies it, from 1; `None` where no line allows it.
        denied_by: Option<usize>,
    },
    /// There is no such method, and who asks is not told which there are.
    #[error("the policy does not allow {subject} to call this method, which is not known here")]
    UnknownMethod {
        /// Who asked.
        subject: String,
    },
    /// The server broke while it worked on the request.
    #[error("the server failed on this request: {what}; please report it")]
    Internal {
        /// What broke.
        what: &'static str,
    },
}

fn change_text(error: &ChangeFailed) -> String {
    match error {
        ChangeFailed::NotHere(ProposeError::OutcomeUnknown) => {
            "the outcome is unknown: the change may go on, or not; `annals cluster status` shows what became of it".to_owned()
        }
        error => error.to_string(),
    }
}

fn void_text(reason: &VoidReason) -> String {
    match reason {
        VoidReason::Repeated { base_offset } => {
            format!("the batch was stored by an earlier try, from offset {base_offset} on")
        }
        VoidReason::RepeatedLongAgo => {
            "the batch was stored by an earlier try, so long ago that its offsets are forgotten".to_owned()
        }
        VoidReason::OutOfOrder { expected_sequence } => format!(
            "the producer's sequence does not follow on its last one; expected {expected_sequence}: \
             send what is missing first"
        ),
        VoidReason::UnknownProducer => {
            "the producer is not known here; start with a new id or epoch and sequence 0".to_owned()
        }
        VoidReason::Fenced { current_epoch } => format!(
            "a newer instance of this producer, with epoch {current_epoch}, has taken over; this one must stop"
        ),
        VoidReason::ConditionFailed { next_offset } => {
            format!(
                "the next offset is {next_offset}, not the expected one; read what is new and decide again"
            )
        }
    }
}

/// Paths of the server's disk are no business of clients; they are in the server's own logs.
fn read_text(error: &ReadError) -> String {
    match error {
        ReadError::Trimmed { .. } => error.to_string(),
        ReadError::Corrupt { position, .. } => {
            format!("the log is damaged here (at position {position} of a segment); see this node's own log")
        }
        ReadError::Io { .. } => "the disk did not answer; see this node's own log".to_owned(),
        ReadError::Replaced { .. } => "this part of the log was just replaced; read again".to_owned(),
    }
}

/// What a client is told, before it takes one of its two forms.
struct Verdict {
    code: Code,
    reason: &'static str,
    metadata: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
}

impl Verdict {
    fn new(code: Code, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            metadata: Vec::new(),
            retry_after: None,
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }

    fn retry(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl Refusal {
    /// A request that is not well-formed.
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    /// What is to be done about it, by the client where it is the client's.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Invalid { .. }
            | Self::UnknownLog { .. }
            | Self::UnknownNode { .. }
            | Self::RecordTooLarge { .. }
            | Self::MessageTooLarge { .. }
            | Self::OutOfRange { .. }
            | Self::Void(_)
            | Self::Denied { .. }
            | Self::UnknownMethod { .. }
            | Self::Internal { .. } => Disposition::Reject,
            Self::Overloaded
            | Self::TooManyConsumers { .. }
            | Self::ProduceDeadline
            | Self::ReadDeadline { .. }
            | Self::ReceiveDeadline { .. }
            | Self::StreamDeadline
            | Self::ShuttingDown => Disposition::Retry,
            Self::Records(error) => error.disposition(),
            Self::Propose(error) => error.disposition(),
            Self::Change(error) => error.disposition(),
            Self::Cursor(error) => error.disposition(),
            Self::Read(error) => error.disposition(),
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Invalid { .. } | Self::Records(_) => Verdict::new(Code::InvalidArgument, "INVALID_REQUEST"),
            Self::UnknownNode { .. } => Verdict::new(Code::NotFound, "UNKNOWN_NODE"),
            Self::UnknownLog { name } => Verdict::new(Code::NotFound, "UNKNOWN_LOG").with("log", name),
            Self::RecordTooLarge { bytes, bytes_max } => {
                Verdict::new(Code::InvalidArgument, "RECORD_TOO_LARGE")
                    .with("bytes", bytes)
                    .with("bytes_max", bytes_max)
            }
            Self::MessageTooLarge { .. } => Verdict::new(Code::InvalidArgument, "RECORD_TOO_LARGE"),
            Self::OutOfRange {
                offset,
                earliest,
                high_watermark,
            } => Verdict::new(Code::OutOfRange, "OFFSET_OUT_OF_RANGE")
                .with("offset", offset)
                .with("earliest", earliest)
                .with("high_watermark", high_watermark),
            Self::Overloaded => overloaded(),
            Self::TooManyConsumers { consumers_max } => Verdict::new(Code::ResourceExhausted, "OVERLOADED")
                .with("consumers_max", consumers_max)
                .retry(RETRY_OPERATOR),
            Self::ProduceDeadline => Verdict::new(Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
            Self::ReadDeadline { offset } => {
                Verdict::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED").with("offset", offset)
            }
            Self::ReceiveDeadline { .. } | Self::StreamDeadline => {
                Verdict::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            }
            Self::ShuttingDown => Verdict::new(Code::Unavailable, "SHUTTING_DOWN").retry(RETRY_RESTART),
            // No word of a batch: what a client does about those is no use here.
            Self::Change(
                ChangeFailed::NotHere(ProposeError::OutcomeUnknown) | ChangeFailed::Unconfirmed { .. },
            ) => Verdict::new(Code::Unknown, "OUTCOME_UNKNOWN").with("of", "change"),
            Self::Propose(error) | Self::Change(ChangeFailed::NotHere(error)) => propose_verdict(error),
            Self::Change(ChangeFailed::Refused { .. }) => {
                Verdict::new(Code::FailedPrecondition, "CHANGE_REFUSED")
            }
            Self::Void(reason) => void_verdict(*reason),
            Self::Cursor(error) => error.verdict(),
            Self::Read(error) => read_verdict(error),
            Self::Denied {
                subject,
                wanted,
                denied_by,
            } => {
                let verdict = Verdict::new(Code::PermissionDenied, "ACL_DENIED")
                    .with("subject", subject)
                    .with("object", wanted.object())
                    .with("action", wanted.action());
                match denied_by {
                    Some(line) => verdict.with("denied_by_line", line),
                    None => verdict,
                }
            }
            Self::UnknownMethod { subject } => {
                Verdict::new(Code::PermissionDenied, "ACL_DENIED").with("subject", subject)
            }
            Self::Internal { .. } => Verdict::new(Code::Internal, "INTERNAL"),
        }
    }

    /// As the status that ends a call.
    #[must_use]
    pub fn into_status(self) -> Status {
        let verdict = self.verdict();
        let metadata: HashMap<String, String> = verdict
            .metadata
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let mut details = ErrorDetails::with_error_info(verdict.reason, DOMAIN, metadata);
        if let Some(after) = verdict.retry_after {
            details.set_retry_info(Some(after));
        }
        Status::with_error_details(verdict.code, self.to_string(), details)
    }

    /// As the answer to one request of a stream that goes on.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let verdict = self.verdict();
        Failure {
            code: verdict.code.into(),
            reason: verdict.reason.to_owned(),
            message: self.to_string(),
            metadata: verdict
                .metadata
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            retry_after_ms: verdict
                .retry_after
                .map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.into_status()
    }
}

fn overloaded() -> Verdict {
    Verdict::new(Code::ResourceExhausted, "OVERLOADED").retry(RETRY_ROOM)
}

fn propose_verdict(error: &ProposeError) -> Verdict {
    match error {
        // No RetryInfo: whether a retry is safe depends on the producer's stamp, which the client knows.
        ProposeError::OutcomeUnknown => Verdict::new(Code::Unknown, "OUTCOME_UNKNOWN"),
        ProposeError::Failsafe { cause } => Verdict::new(Code::Unavailable, "FAILSAFE").with("cause", cause),
        ProposeError::Overloaded => overloaded(),
        ProposeError::StorageFull {
            free_bytes,
            floor_bytes,
        } => Verdict::new(Code::ResourceExhausted, "STORAGE_FULL")
            .with("free_bytes", free_bytes)
            .with("floor_bytes", floor_bytes)
            .retry(RETRY_OPERATOR),
        ProposeError::MajorityFull => {
            Verdict::new(Code::ResourceExhausted, "STORAGE_FULL").retry(RETRY_OPERATOR)
        }
        ProposeError::Unavailable => Verdict::new(Code::Unavailable, "LOG_NOT_READY").retry(RETRY_RESTART),
        ProposeError::NotLeader { leader, address } => Verdict::new(Code::Unavailable, "NOT_LEADER")
            .with("leader_id", leader)
            .with("leader_address", address)
            .retry(RETRY_ROOM),
        ProposeError::NoLeader => Verdict::new(Code::Unavailable, "NO_LEADER").retry(RETRY_RESTART),
        ProposeError::NoCluster { waiting } => Verdict::new(Code::Unavailable, "NO_CLUSTER")
            .with("waiting", waiting)
            .retry(RETRY_RESTART),
        ProposeError::Removed { log_index } => {
            Verdict::new(Code::FailedPrecondition, "REMOVED").with("log_index", log_index)
        }
    }
}

fn void_verdict(reason: VoidReason) -> Verdict {
    match reason {
        // A repeat whose offsets are known is answered as a success; it comes here only if one is refused by mistake.
        VoidReason::Repeated { base_offset } => {
            Verdict::new(Code::AlreadyExists, "REPEATED").with("base_offset", base_offset)
        }
        VoidReason::RepeatedLongAgo => Verdict::new(Code::AlreadyExists, "REPEATED_LONG_AGO"),
        // ABORTED asks the client to go back further than this request; FAILED_PRECONDITION says that no retry helps
        // before something else is done: here, a new id or epoch.
        VoidReason::OutOfOrder { expected_sequence } => {
            Verdict::new(Code::Aborted, "OUT_OF_ORDER").with("expected_sequence", expected_sequence)
        }
        VoidReason::UnknownProducer => Verdict::new(Code::FailedPrecondition, "UNKNOWN_PRODUCER"),
        VoidReason::Fenced { current_epoch } => {
            Verdict::new(Code::Aborted, "FENCED").with("current_epoch", current_epoch)
        }
        VoidReason::ConditionFailed { next_offset } => {
            Verdict::new(Code::Aborted, "CONDITION_FAILED").with("next_offset", next_offset)
        }
    }
}

fn read_verdict(error: &ReadError) -> Verdict {
    match error {
        ReadError::Trimmed { offset, earliest } => Verdict::new(Code::OutOfRange, "OFFSET_OUT_OF_RANGE")
            .with("offset", offset)
            .with("earliest", earliest),
        ReadError::Corrupt { position, .. } => {
            Verdict::new(Code::DataLoss, "CORRUPT").with("position", position)
        }
        ReadError::Io { .. } | ReadError::Replaced { .. } => {
            Verdict::new(Code::Unavailable, "READ_FAILED").retry(RETRY_RESTART)
        }
    }
}

#[cfg(test)]
mod tests;
