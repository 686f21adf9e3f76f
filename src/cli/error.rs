//! What can go wrong in a verb, and what the person at the keyboard can do about it.

use std::{collections::HashMap, io, path::PathBuf, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{config::ConfigErrors, error::Disposition, proto::annals::v1::Failure};

use super::exit::Exit;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments contradict each other.
    #[error("{text}")]
    Usage {
        /// What is wrong with them.
        text: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// No connection came about.
    #[error("cannot connect to {addr}: {reason}")]
    CannotConnect {
        /// Where to.
        addr: String,
        /// What the system says.
        reason: String,
    },
    /// The connection was lost and did not come back, or the node fell silent.
    #[error("no answer from {addr} for {}: {reason}", humantime::format_duration(*.waited))]
    NoAnswer {
        /// Of whom.
        addr: String,
        /// Since the last answer.
        waited: Duration,
        /// What was the matter with the last try.
        reason: String,
    },
    /// The connection broke while a call was under way.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// What broke it.
        reason: String,
    },
    /// The node answered, and the answer is no.
    #[error("{0}")]
    Refused(Refusal),
    /// The node answered something that its API does not allow.
    #[error("the node broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(ConfigErrors),
    /// The input could not be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The input could not be read.
    #[error("cannot read the input: {0}")]
    Read(#[source] io::Error),
    /// A line does not fit into one record.
    #[error("line {line} is longer than {max} bytes")]
    LineTooLong {
        /// Its number, from 1.
        line: u64,
        /// The most a line may have.
        max: usize,
    },
    /// The input has fewer lines than are to be skipped.
    #[error("the input has only {lines} lines, {skip} were to be skipped")]
    SkippedPastEnd {
        /// How many it has.
        lines: u64,
        /// How many were to be skipped.
        skip: u64,
    },
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
    /// The reader of the output went away, as `head` does. Not a failure.
    #[error("the reader of the output went away")]
    BrokenPipe,
    /// The runtime of the program could not be started.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// The person at the keyboard stopped it.
    #[error("interrupted")]
    Interrupted,
    /// It failed after some records were acknowledged.
    #[error("{cause}; acknowledged: {acknowledged}; the rest is not")]
    PartlyDone {
        /// What went wrong.
        cause: Box<CliError>,
        /// Which records are safe.
        acknowledged: String,
        /// How to produce the rest, when the input can be read again.
        go_on: Option<String>,
    },
}

/// How a node's answer contradicts its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// It answered more requests than were sent.
    #[error("it answered a request that was not sent")]
    AnswerWithoutRequest,
    /// It acknowledged another number of records than were sent.
    #[error("it acknowledged {acknowledged} records of a request with {sent}")]
    WrongCount {
        /// How many it says.
        acknowledged: u64,
        /// How many there were.
        sent: u64,
    },
    /// Records are missing between two that it sent.
    #[error("records {expected}..{got} are missing from its answer")]
    Gap {
        /// The offset that comes next.
        expected: u64,
        /// The offset that came.
        got: u64,
    },
    /// Bytes that are no records.
    #[error("the records at offset {base_offset} cannot be decoded")]
    Undecodable {
        /// The first offset of their batch.
        base_offset: u64,
    },
}

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
        self.retry_after.is_some() || self.code == Code::Unavailable || self.reason == "OUTCOME_UNKNOWN"
    }

    fn exit(&self) -> Exit {
        match self.code {
            Code::OutOfRange | Code::NotFound => Exit::NotFound,
            Code::Aborted | Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => {
                Exit::Refused
            }
            Code::Unavailable => Exit::CannotConnect,
            _ => Exit::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let field = |name| self.metadata.get(name).map(String::as_str);
        let hint = match self.reason.as_str() {
            "OFFSET_OUT_OF_RANGE" => match (field("earliest"), field("high_watermark")) {
                (Some(earliest), Some(high_watermark)) => {
                    return Some(format!(
                        "readable offsets are {earliest}..{high_watermark}; `--from earliest` starts at the first"
                    ));
                }
                _ => "`annals log describe` shows which offsets are readable",
            },
            "NOT_LEADER" => match field("leader_addr") {
                Some(leader) => return Some(format!("send it to the leader: --addr {leader}")),
                None => "send it to the leader",
            },
            "NO_LEADER" => "the nodes are choosing a leader, or no majority of them is up; try again",
            "CONDITION_FAILED" => {
                "somebody else appended first; read on from the offset you expected, then try again"
            }
            "FENCED" => {
                "another producer took over this producer's id; leave out --producer-id to get a new one"
            }
            "RECORD_TOO_LARGE" => "split the record, or raise the node's limit on the size of a batch",
            "OVERLOADED" => "the node has as much in work as it may; try again with less in flight",
            "STORAGE_FULL" => {
                "the node's disk is nearly full: add space or trim the log; it takes writes again by itself"
            }
            "CORRUPT" => "the node found damage on its disk; its log names the file and the position",
            "ACL_DENIED" => "ask for a rule that allows it; the message names subject, object and action",
            "SHUTTING_DOWN" => "the node is stopping; try again or try another",
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
}

impl CliError {
    /// What is to be done about it, by the verbs that hold a stream open across broken connections.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::CannotConnect { .. } | Self::Lost { .. } => Disposition::Retry,
            Self::Refused(refusal) if refusal.is_passing() => Disposition::Retry,
            Self::Usage { .. } | Self::Refused(_) | Self::Open { .. } => Disposition::Reject,
            Self::Config(errors) => errors.disposition(),
            Self::LineTooLong { .. } | Self::SkippedPastEnd { .. } => Disposition::Reject,
            Self::NoAnswer { .. }
            | Self::Protocol(_)
            | Self::Read(_)
            | Self::Write(_)
            | Self::BrokenPipe
            | Self::Start(_)
            | Self::Interrupted
            | Self::PartlyDone { .. } => Disposition::Escalate,
        }
    }

    /// The exit code that tells it to a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::CannotConnect { .. } | Self::NoAnswer { .. } | Self::Lost { .. } => Exit::CannotConnect,
            Self::Refused(refusal) => refusal.exit(),
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::BrokenPipe => Exit::Done,
            Self::PartlyDone { .. } => Exit::PartlyDone,
            Self::Config(_) => Exit::WrongConfiguration,
            Self::Open { .. }
            | Self::Protocol(_)
            | Self::Read(_)
            | Self::LineTooLong { .. }
            | Self::SkippedPastEnd { .. }
            | Self::Write(_)
            | Self::Start(_)
            | Self::Interrupted => Exit::Failed,
        }
    }

    /// What to do next, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Usage { hint, .. } => hint,
            Self::CannotConnect { .. } => {
                "is a node running there? `annals dev` starts one; --addr names another"
            }
            Self::NoAnswer { .. } | Self::Lost { .. } => {
                "is the node still running? its log says why it went; --timeout waits longer"
            }
            Self::Refused(refusal) => return refusal.hint(),
            Self::Protocol(_) => "is this the address of an Annals node, and of this version?",
            Self::Open { .. } => {
                "give the path of a readable file, or leave out --file to read standard input"
            }
            Self::LineTooLong { .. } => "a record is one line here; is the input binary?",
            Self::SkippedPastEnd { .. } => "is it the input of the produce that is to be continued?",
            Self::PartlyDone { cause, go_on, .. } => return go_on.clone().or_else(|| cause.hint()),
            Self::Config(_)
            | Self::Read(_)
            | Self::Write(_)
            | Self::BrokenPipe
            | Self::Start(_)
            | Self::Interrupted => {
                return None;
            }
        };
        Some(hint.to_string())
    }

    /// An error of writing to standard output: a reader that went away is told apart.
    #[must_use]
    pub fn from_write(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Write(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

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
            (Code::Unavailable, "NOT_LEADER", Exit::CannotConnect),
            (Code::Unavailable, "SHUTTING_DOWN", Exit::CannotConnect),
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
    fn the_hint_of_an_offset_out_of_range_names_the_range() {
        let hint = refused(Code::OutOfRange, "OFFSET_OUT_OF_RANGE", None).hint();
        assert!(hint.expect("it has a hint").contains("3..9"));
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
