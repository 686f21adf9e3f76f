//! What a node answers when it says no.

use std::{collections::HashMap, error::Error as StdError, fmt, iter, ops::Range, time::Duration};

use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt;

use crate::{error::causes, proto::annals::v1::Failure, types::Offset};

use super::error::{Error, ErrorKind};

/// What a node says to whoever speaks without TLS, and it does not.
const WANTS_TLS: &str = "this node wants TLS";

/// A node's no: a gRPC code, and what `ErrorInfo` and `RetryInfo` add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The canonical code.
    pub code: Code,
    /// The reason of `ErrorInfo`, as it was sent; empty when there is none. See [`Refusal::reason`].
    pub reason: String,
    /// For people.
    pub message: String,
    /// The metadata of `ErrorInfo`.
    pub metadata: HashMap<String, String>,
    /// After which time a retry makes sense; `None` when it makes none.
    pub retry_after: Option<Duration>,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a node refused, as `ErrorInfo` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// A reason that this client does not know, or none: [`Refusal::code`] says more.
            Other,
        }

        impl Reason {
            fn of(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

reasons! {
    /// The node does not lead, and the leader could not be asked in its place.
    NotLeader = "NOT_LEADER",
    /// Nobody leads at the moment.
    NoLeader = "NO_LEADER",
    /// The node belongs to no cluster yet.
    NoCluster = "NO_CLUSTER",
    /// The node belongs to the cluster no more.
    Removed = "REMOVED",
    /// The offset is not readable, or no longer; [`Refusal::readable`] says what is.
    OffsetOutOfRange = "OFFSET_OUT_OF_RANGE",
    /// The next offset is not the expected one; [`Refusal::next_offset`] is.
    ConditionFailed = "CONDITION_FAILED",
    /// A newer instance of the producer has taken over, or somebody else has taken the cursor; then `cursor` and `current_epoch` are in
    /// the metadata.
    Fenced = "FENCED",
    /// The producer's sequence does not follow on its last one.
    OutOfOrder = "OUT_OF_ORDER",
    /// The producer is not known (any longer).
    UnknownProducer = "UNKNOWN_PRODUCER",
    /// The records are stored, and their offsets are forgotten.
    RepeatedLongAgo = "REPEATED_LONG_AGO",
    /// There is no cursor of that name (any longer).
    UnknownCursor = "UNKNOWN_CURSOR",
    /// The log has as many cursors as it may; `cursors_max` is in the metadata.
    CursorsFull = "CURSORS_FULL",
    /// The records are more than one request may have; `bytes_max` may be in the metadata.
    RecordTooLarge = "RECORD_TOO_LARGE",
    /// The node has as much in work as it may.
    Overloaded = "OVERLOADED",
    /// The node's disk is nearly full.
    StorageFull = "STORAGE_FULL",
    /// The request may have been done, or not.
    OutcomeUnknown = "OUTCOME_UNKNOWN",
    /// The records are damaged on that node.
    Corrupt = "CORRUPT",
    /// That node could not read its disk just now.
    ReadFailed = "READ_FAILED",
    /// The policy does not allow it; `subject`, `object` and `action` are in the metadata.
    AclDenied = "ACL_DENIED",
    /// The node is stopping.
    ShuttingDown = "SHUTTING_DOWN",
    /// The node takes no writes until it is restarted.
    Failsafe = "FAILSAFE",
    /// The node opens its log.
    LogNotReady = "LOG_NOT_READY",
    /// The request is not well-formed.
    InvalidRequest = "INVALID_REQUEST",
    /// There is no log of that name.
    UnknownLog = "UNKNOWN_LOG",
    /// There is no node of that name or id.
    UnknownNode = "UNKNOWN_NODE",
    /// A change of the cluster would be wrong now.
    ChangeRefused = "CHANGE_REFUSED",
    /// It was not done in time.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message.as_str(), self.reason.as_str()) {
            ("", "") => write!(f, "the node refused: {}", self.code.description()),
            ("", reason) => write!(f, "the node refused: {reason}"),
            (message, _) => f.write_str(message),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            code: Code::from_i32(failure.code),
            reason: failure.reason,
            message: failure.message,
            metadata: failure.metadata,
            retry_after: (failure.retry_after_ms > 0).then(|| Duration::from_millis(failure.retry_after_ms)),
        }
    }
}

impl Refusal {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::of(&self.reason)
    }

    /// Whether the same request may be taken later. Of a request with a producer's stamp, so is one whose outcome is
    /// not known: it is stored once.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        // A node in failsafe that is to be restarted is gone in a moment; one that answers has damage, which stays.
        self.reason() != Reason::Failsafe
            && (self.retry_after.is_some()
                || self.code == Code::Unavailable
                || self.reason() == Reason::OutcomeUnknown)
    }

    /// Whether nothing of the request was done, and nothing of it will be.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        let may_be_done = [
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::Cancelled,
        ];
        self.reason() != Reason::OutcomeUnknown && !may_be_done.contains(&self.code)
    }

    /// Where the next record goes: of an append whose condition failed ([`Reason::ConditionFailed`]).
    #[must_use]
    pub fn next_offset(&self) -> Option<Offset> {
        self.offset("next_offset")
    }

    /// What can be read: of a read that was out of range ([`Reason::OffsetOutOfRange`]).
    #[must_use]
    pub fn readable(&self) -> Option<Range<Offset>> {
        Some(self.offset("earliest")?..self.offset("high_watermark")?)
    }

    fn offset(&self, name: &str) -> Option<Offset> {
        self.metadata.get(name)?.parse().ok().map(Offset)
    }

    /// Where the leader is, by the word of the node that does not lead.
    pub(crate) fn leader_address(&self) -> Option<&str> {
        let address = self.metadata.get("leader_address")?;
        (self.reason() == Reason::NotLeader && !address.is_empty()).then_some(address)
    }

    /// Whether another node of the cluster may take what this one refuses for ever.
    pub(crate) fn is_of_one_node(&self) -> bool {
        matches!(self.reason(), Reason::Removed | Reason::Failsafe)
    }
}

impl From<Status> for Error {
    /// A status with an `ErrorInfo` was made by a node; one without may have been made by the connection's end.
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        if info.is_none() && causes(&status).contains(WANTS_TLS) {
            return Self::new(ErrorKind::WantsTls);
        }
        if info.is_none() && is_broken_connection(status.code()) {
            let lost = Self::lost(root_cause(&status));
            return if was_never_sent(&status) {
                lost.without_effects()
            } else {
                lost
            };
        }
        Self::new(ErrorKind::Refused(Refusal {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }))
    }
}

/// The codes that tonic gives to a connection that ended under a call.
fn is_broken_connection(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded
    )
}

/// Whether the call found no connection, so that nothing of it has left this side.
fn was_never_sent(status: &Status) -> bool {
    let mut causes = iter::successors(status.source(), |cause| (*cause).source());
    causes.any(|cause| {
        cause.is::<ConnectError>() || cause.downcast_ref().is_some_and(hyper::Error::is_canceled)
    })
}

/// The innermost message, which is the one that names what happened.
pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::error::Disposition;

    fn refused(code: Code, reason: &str, retry: Option<Duration>) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "annals", HashMap::new());
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        Error::from(Status::with_error_details(code, "no", details))
    }

    #[test]
    fn an_error_says_whether_to_try_again_and_whether_that_is_safe() {
        let second = Some(Duration::from_secs(1));
        let unknown = || refused(Code::Unknown, "OUTCOME_UNKNOWN", None);
        // The error, what a stream does about it, and whether nothing was done.
        let table = [
            (
                refused(Code::ResourceExhausted, "OVERLOADED", second),
                Disposition::Retry,
                true,
            ),
            (
                refused(Code::ResourceExhausted, "OVERLOADED", None),
                Disposition::Reject,
                true,
            ),
            (
                refused(Code::Unavailable, "NOT_LEADER", second),
                Disposition::Retry,
                true,
            ),
            (
                refused(Code::Unavailable, "FAILSAFE", None),
                Disposition::Reject,
                true,
            ),
            (unknown(), Disposition::Retry, false),
            (
                refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None),
                Disposition::Reject,
                false,
            ),
            (refused(Code::Aborted, "FENCED", None), Disposition::Reject, true),
            (
                Error::from(Status::unknown("h2 protocol error")),
                Disposition::Retry,
                false,
            ),
            (
                Error::from(Status::unimplemented("what?")),
                Disposition::Reject,
                true,
            ),
        ];
        for (error, disposition, has_no_side_effects) in table {
            assert_eq!(error.disposition(), disposition, "{error:?}");
            assert_eq!(
                error.is_retryable(),
                disposition == Disposition::Retry,
                "{error:?}"
            );
            assert_eq!(error.has_no_side_effects(), has_no_side_effects, "{error:?}");
            assert!(!error.in_doubt(true).has_no_side_effects());
        }
        assert_eq!(unknown().reason(), Some(Reason::OutcomeUnknown));
        assert_eq!(
            refused(Code::Aborted, "NEWER", None).reason(),
            Some(Reason::Other)
        );
    }

    #[test]
    fn a_node_that_wants_tls_is_told_from_one_that_is_lost() {
        let error = Error::from(Status::unavailable(format!("tcp: {WANTS_TLS}, says it")));
        assert!(matches!(error.kind(), ErrorKind::WantsTls));
    }
}
