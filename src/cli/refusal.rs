//! What a client's errors mean to a person at the keyboard: the exit code, and what can be done.

use tonic::Code;

use crate::client::{Error, ErrorKind, Refusal};

use super::{exit::Exit, security};

/// For whoever moves a cursor to where no record is.
pub(super) const AHEAD_OF_LOG_HINT: &str =
    "a cursor stands at most behind the last record; `annals log describe` shows where that is";

/// The exit code that tells it to a script.
pub(super) fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::ProducerFailed { cause } => exit_of(cause),
        ErrorKind::CannotConnect { .. }
        | ErrorKind::NoNode { .. }
        | ErrorKind::NoAnswer { .. }
        | ErrorKind::Lost { .. }
        | ErrorKind::Stranger { .. } => Exit::CannotConnect,
        ErrorKind::AheadOfAll { .. } => Exit::NotFound,
        ErrorKind::Tls { failure, .. } if failure.is_refusal() => Exit::Refused,
        ErrorKind::WantsTls => Exit::Refused,
        ErrorKind::Tls { .. } => Exit::CannotConnect,
        ErrorKind::TlsFiles(error) if error.is_missing() => Exit::NotFound,
        ErrorKind::Refused(refusal) => exit_of_refusal(refusal),
        ErrorKind::NoAddress { .. }
        | ErrorKind::NoAddresses
        | ErrorKind::NoTime { .. }
        | ErrorKind::NoCursorName(_) => Exit::Usage,
        ErrorKind::TlsFiles(_)
        | ErrorKind::OtherLog { .. }
        | ErrorKind::Protocol(_)
        | ErrorKind::RecordTooLarge { .. }
        | ErrorKind::NoRecords
        | ErrorKind::Closed
        | ErrorKind::Ended => Exit::Failed,
    }
}

/// What to do next, when that is known.
pub(super) fn hint_of(error: &Error) -> Option<String> {
    let hint = match error.kind() {
        ErrorKind::ProducerFailed { cause } => return hint_of(cause),
        ErrorKind::CannotConnect { .. } | ErrorKind::NoNode { .. } => {
            "is a node running there? `annals dev` starts one; --addr names another"
        }
        ErrorKind::Tls { failure, .. } => security::hint(failure),
        ErrorKind::WantsTls => {
            "give --ca, --cert and --key, or set ANNALS_CA, ANNALS_CERT and ANNALS_KEY; `annals certs client NAME` makes what \
             they name"
        }
        ErrorKind::TlsFiles(error) => return Some(error.client_remedy()),
        ErrorKind::NoAnswer { .. } | ErrorKind::Lost { .. } => {
            "is the node still running, and is that its port for clients? its log tells more"
        }
        ErrorKind::OtherLog { .. } => {
            "was its data replaced, or another node started there? `annals consume --from earliest` and a new \
             `annals produce` start on the other log"
        }
        ErrorKind::Refused(refusal) => return hint_of_refusal(refusal),
        ErrorKind::Protocol(_) => "is this the address of an Annals node, and of this version?",
        ErrorKind::NoAddress { .. } | ErrorKind::NoAddresses => {
            "give --addr the address of a node, as host:port"
        }
        // What can be done is said with it.
        ErrorKind::Stranger { .. }
        | ErrorKind::AheadOfAll { .. }
        | ErrorKind::RecordTooLarge { .. }
        | ErrorKind::NoTime { .. }
        | ErrorKind::NoRecords
        | ErrorKind::NoCursorName(_)
        | ErrorKind::Closed
        | ErrorKind::Ended => return None,
    };
    Some(hint.to_owned())
}

fn exit_of_refusal(refusal: &Refusal) -> Exit {
    match refusal.code {
        Code::OutOfRange | Code::NotFound => Exit::NotFound,
        Code::Aborted | Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => {
            Exit::Refused
        }
        Code::Unavailable if refusal.reason == "FAILSAFE" => Exit::Refused,
        Code::Unavailable => Exit::CannotConnect,
        _ => Exit::Failed,
    }
}

fn hint_of_refusal(refusal: &Refusal) -> Option<String> {
    let hint = match refusal.reason.as_str() {
        "OFFSET_OUT_OF_RANGE" if refusal.metadata.contains_key("next_offset") => AHEAD_OF_LOG_HINT,
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
        "FENCED" if refusal.metadata.contains_key("cursor") => {
            "`annals cursor list` shows who counts; who takes the cursor, as `annals consume --cursor` does at its start, is its holder \
             from then on"
        }
        "UNKNOWN_NODE" => "`annals cluster servers` lists those there are, with their ids",
        "UNKNOWN_CURSOR" => "`annals cursor list` shows those there are",
        "CURSORS_FULL" => {
            "`annals cursor list` shows when each was last moved, and `annals cursor delete NAME` deletes one"
        }
        "FENCED" => "another producer took over this producer's id; leave out --producer-id to get a new one",
        "RECORD_TOO_LARGE" => "split the record, or raise the node's limit on the size of a batch",
        "OVERLOADED" => "the node has as much in work as it may; try again with less in flight",
        "STORAGE_FULL" => {
            "add space there, or make some by `annals log trim` or log.retention_bytes; writes are taken again by themselves"
        }
        "CORRUPT" => "the node found damage on its disk; its log names the file and the position",
        "ACL_DENIED" => return Some(missing_rule(refusal)),
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
        "OUTCOME_UNKNOWN" if refusal.metadata.contains_key("of") => return None,
        "OUTCOME_UNKNOWN" => {
            "it may or may not be stored; a retry with the same --producer-id stores it once"
        }
        _ if refusal.code == Code::Unimplemented => {
            "is this the address of an Annals node, and of this version?"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What an operator would change in the policy: a line that denies it, whatever else allows it, or one that is missing.
fn missing_rule(refusal: &Refusal) -> String {
    let field = |name: &str| refusal.metadata.get(name).map(String::as_str);
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn refused(code: Code, reason: &str) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            reason,
            "annals",
            HashMap::from([
                ("earliest".into(), "3".into()),
                ("high_watermark".into(), "9".into()),
            ]),
        );
        Error::from(Status::with_error_details(code, "no", details))
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
            (Code::NotFound, "UNKNOWN_CURSOR", Exit::NotFound),
            (Code::NotFound, "UNKNOWN_NODE", Exit::NotFound),
            (Code::ResourceExhausted, "CURSORS_FULL", Exit::Failed),
            (Code::ResourceExhausted, "OVERLOADED", Exit::Failed),
            (Code::ResourceExhausted, "STORAGE_FULL", Exit::Failed),
            (Code::Unknown, "OUTCOME_UNKNOWN", Exit::Failed),
            (Code::DataLoss, "CORRUPT", Exit::Failed),
        ];
        for (code, reason, exit) in table {
            let error = refused(code, reason);
            assert_eq!(exit_of(&error), exit, "{reason}");
            assert!(hint_of(&error).is_some(), "{reason} has no hint");
        }
    }

    /// It spoke of `--from`, which no verb has that commits.
    #[test]
    fn who_commits_an_offset_that_is_not_there_yet_hears_of_no_argument_that_is_not_there() {
        let mut details = ErrorDetails::new();
        let metadata =
            [("offset", "11"), ("next_offset", "10")].map(|(name, value)| (name.into(), value.into()));
        details.set_error_info("OFFSET_OUT_OF_RANGE", "annals", HashMap::from(metadata));
        let hint = hint_of(&Status::with_error_details(Code::OutOfRange, "no", details).into()).unwrap();
        assert!(
            !hint.contains("--from") && hint.contains("annals log describe"),
            "{hint}"
        );
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
            let status = Status::with_error_details(Code::PermissionDenied, "no", details);
            hint_of(&status.into()).unwrap()
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
}
