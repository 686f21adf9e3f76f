//! What a node answers when it says no, and what can be done about it.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::proto::annals::v1::Failure;

use super::{error::CliError, exit::Exit, security::wants_tls};

/// A node's no: a gRPC code, and what `ErrorInfo` and `RetryInfo` add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The canonical code.
    pub code: Code,
    /// The reason of `ErrorInfo`; empty when there is none.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The metadata of `ErrorInfo`.
    pub metadata: HashMap<String, String>,
    /// After which time a retry makes sense; `None` when it makes none.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl From<Status> for CliError {
    /// A status with an `ErrorInfo` was made by a node; one without may have been made by the connection's end.
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        if info.is_none() && wants_tls(&status) {
            return Self::WantsTls;
        }
        if info.is_none() && is_broken_connection(status.code()) {
            return Self::Lost {
                reason: root_cause(&status),
            };
        }
        Self::Refused(Refusal {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        })
    }
}

/// The codes that tonic gives to a connection that ended under a call.
fn is_broken_connection(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded
    )
}

/// The innermost message, which is the one that names what happened.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => innermost.to_string(),
    }
}

impl Refusal {
    /// Whether the same request may be taken later. Of a request with a producer's stamp, so is one whose outcome is
    /// not known: it is stored once.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        // A node in failsafe that is to be restarted is gone in a moment; one that answers has damage, which stays.
        self.reason != "FAILSAFE"
            && (self.retry_after.is_some()
                || self.code == Code::Unavailable
                || self.reason == "OUTCOME_UNKNOWN")
    }

    /// The exit code that tells it to a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.code {
            Code::OutOfRange | Code::NotFound => Exit::NotFound,
            Code::Aborted | Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => {
                Exit::Refused
            }
            Code::Unavailable if self.reason == "FAILSAFE" => Exit::Refused,
            Code::Unavailable => Exit::CannotConnect,
            _ => Exit::Failed,
        }
    }

    /// What to do next, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self.reason.as_str() {
            "OFFSET_OUT_OF_RANGE" => {
                "`--from earliest` starts at the first readable offset, `--from -10` ten before the end; \
                 `annals cursor commit NAME OFFSET --take` moves a cursor"
            }
            "NOT_LEADER" => "the leader could not be asked; try again, or send it to the leader itself",
            "REMOVED" => {
                "give --addr another node, where `annals cluster servers` lists who belongs; `annals consume --level local` \
                 reads the old records of this one"
            }
            "NO_LEADER" => {
                "the nodes are choosing a leader, or no majority of them is up; try again. `annals consume --level local` \
                 reads what a node has"
            }
            "NO_CLUSTER" => {
                "the first of cluster.initial_members founds a cluster once it sees all of them; a node without that list \
                 joins the cluster of any node whose gossip address is among its cluster.seeds. Its log says who is missing"
            }
            "CONDITION_FAILED" => {
                "somebody else appended first; read on from the offset you expected, then try again"
            }
            "FENCED" if self.metadata.contains_key("cursor") => {
                "`annals cursor list` shows who counts; who takes the cursor, as `annals consume --cursor` does at its start, is its holder \
                 from then on"
            }
            "UNKNOWN_CURSOR" => "`annals cursor list` shows those there are",
            "CURSORS_FULL" => {
                "`annals cursor list` shows when each was last moved, and `annals cursor delete NAME` deletes one"
            }
            "FENCED" => {
                "another producer took over this producer's id; leave out --producer-id to get a new one"
            }
            "RECORD_TOO_LARGE" => "split the record, or raise the node's limit on the size of a batch",
            "OVERLOADED" => "the node has as much in work as it may; try again with less in flight",
            "STORAGE_FULL" => {
                "the node's disk is nearly full: add space, or set log.retention_bytes; it takes writes again by itself"
            }
            "CORRUPT" => "the node found damage on its disk; its log names the file and the position",
            "ACL_DENIED" => return Some(self.missing_rule()),
            "FAILSAFE" => {
                "its disk failed or its log is damaged; its log and docs/operations.md say what to do, reads go on"
            }
            "OUT_OF_ORDER" | "UNKNOWN_PRODUCER" => {
                "without --producer-id and --skip, the input is appended as that of a new producer; what of it is stored already \
                 is stored again then"
            }
            "REPEATED_LONG_AGO" => "it is stored; --skip goes past it",
            "SHUTTING_DOWN" => "the node is stopping; try again or try another",
            // The message says already where to look.
            "OUTCOME_UNKNOWN" if self.metadata.contains_key("of") => return None,
            "OUTCOME_UNKNOWN" => {
                "it may or may not be stored; a retry with the same --producer-id stores it once"
            }
            _ if self.code == Code::Unimplemented => {
                "is this the address of an Annals node, and of this version?"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// What an operator would change in the policy: a line that denies it, whatever else allows it, or one that is missing.
    fn missing_rule(&self) -> String {
        let field = |name: &str| self.metadata.get(name).map(String::as_str);
        if let Some(line) = field("denied_by_line") {
            return format!(
                "line {line} of the file that acl.policy names denies it, whatever other lines allow; only an operator can change that"
            );
        }
        match (field("subject"), field("object"), field("action")) {
            (Some(subject), Some(object), Some(action)) => format!(
                "an operator allows it by this line in the file that acl.policy names: p, {subject}, {object}, {action}"
            ),
            _ => "is this the address of an Annals node, and of this version?".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use crate::error::Disposition;

    use super::*;

    fn refused(code: Code, reason: &str, retry: Option<Duration>) -> CliError {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            reason,
            "annals",
            HashMap::from([
                ("earliest".into(), "3".into()),
                ("high_watermark".into(), "9".into()),
            ]),
        );
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        CliError::from(Status::with_error_details(code, "no", details))
    }

    #[test]
    fn each_refusal_has_its_exit_code_and_a_hint() {
        let table = [
            (Code::OutOfRange, "OFFSET_OUT_OF_RANGE", Exit::NotFound),
            (Code::Aborted, "FENCED", Exit::Refused),
            (Code::Aborted, "CONDITION_FAILED", Exit::Refused),
            (Code::PermissionDenied, "ACL_DENIED", Exit::Refused),
            (Code::Unavailable, "NO_LEADER", Exit::CannotConnect),
            (Code::Unavailable, "NO_CLUSTER", Exit::CannotConnect),
            (Code::Unavailable, "NOT_LEADER", Exit::CannotConnect),
            (Code::Unavailable, "SHUTTING_DOWN", Exit::CannotConnect),
            (Code::FailedPrecondition, "REMOVED", Exit::Refused),
            (Code::InvalidArgument, "RECORD_TOO_LARGE", Exit::Failed),
            (Code::ResourceExhausted, "OVERLOADED", Exit::Failed),
            (Code::ResourceExhausted, "STORAGE_FULL", Exit::Failed),
            (Code::Unknown, "OUTCOME_UNKNOWN", Exit::Failed),
            (Code::DataLoss, "CORRUPT", Exit::Failed),
        ];
        for (code, reason, exit) in table {
            let error = refused(code, reason, None);
            assert_eq!(error.exit(), exit, "{reason}");
            assert!(error.hint().is_some(), "{reason} has no hint");
        }
    }

    #[test]
    fn who_is_denied_hears_which_line_would_allow_it_or_which_one_denies_it() {
        let hint = |more: &[(&str, &str)]| {
            let mut details = ErrorDetails::new();
            let metadata = [
                ("subject", "annals://orders/client/app"),
                ("object", "log"),
                ("action", "produce"),
            ];
            let metadata = metadata.iter().chain(more);
            let metadata = metadata.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            details.set_error_info("ACL_DENIED", "annals", metadata.collect::<HashMap<_, _>>());
            let error = CliError::from(Status::with_error_details(Code::PermissionDenied, "no", details));
            error.hint().unwrap()
        };
        let missing = hint(&[]);
        assert!(
            missing.ends_with("p, annals://orders/client/app, log, produce"),
            "{missing}"
        );
        // A line that allows it would change nothing.
        let denied = hint(&[("denied_by_line", "7")]);
        assert!(
            denied.starts_with("line 7 ") && denied.contains("denies") && !denied.contains("p, annals"),
            "{denied}"
        );
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let second = Some(Duration::from_secs(1));
        let table = [
            (
                refused(Code::ResourceExhausted, "OVERLOADED", second),
                Disposition::Retry,
            ),
            (
                refused(Code::ResourceExhausted, "OVERLOADED", None),
                Disposition::Reject,
            ),
            (
                refused(Code::Unknown, "OUTCOME_UNKNOWN", None),
                Disposition::Retry,
            ),
            (refused(Code::Aborted, "FENCED", None), Disposition::Reject),
            (
                CliError::from(Status::unknown("h2 protocol error")),
                Disposition::Retry,
            ),
            (
                CliError::from(Status::unimplemented("what?")),
                Disposition::Reject,
            ),
            (CliError::Interrupted, Disposition::Escalate),
        ];
        for (error, disposition) in table {
            assert_eq!(error.disposition(), disposition, "{error}");
        }
    }
}
