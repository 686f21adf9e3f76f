//! What can go wrong in a verb, and what the person at the keyboard can do about it.

use std::{io, path::PathBuf};

use tonic::Status;

use crate::{
    client::{Error, ProtocolError},
    config::{ConfigErrors, PolicyFileError},
    error::{Disposition, causes},
    node::ProcessError,
};

use super::{
    certs::CertsFailure,
    context::ContextFailure,
    dev_data::OtherNodes,
    exit::Exit,
    init::InitFailure,
    refusal::{AHEAD_OF_LOG_HINT, exit_of, hint_of},
    storage::StorageFailure,
    stranger::Stranger,
};

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
    /// The nodes, or the way to them.
    #[error(transparent)]
    Client(#[from] Error),
    /// At the address is something else.
    #[error(transparent)]
    Stranger(#[from] Stranger),
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
    /// A node does not take what some lines of the input are.
    #[error("{}: {cause}", lines_text(*.first, *.last))]
    Lines {
        /// The number of the first of them, from 1.
        first: u64,
        /// Of the last of them, which were sent together.
        last: u64,
        /// Why not.
        #[source]
        cause: Error,
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
    /// The node could not begin.
    #[error("{}", causes(.0))]
    Node(#[source] ProcessError),
    /// The data there is that of another number of nodes.
    #[error(transparent)]
    OtherNodes(#[from] OtherNodes),
    /// Ports that were to be listened on are in use.
    #[error("cannot listen on {taken}: already in use")]
    PortsTaken {
        /// Their addresses.
        taken: String,
    },
    /// The node ended, and not because it was asked to.
    #[error("the node ended: {cause}")]
    NodeEnded {
        /// Why.
        cause: String,
        /// As supervision decided.
        exit: Exit,
    },
    /// Something is the matter with certificates, or with their files.
    #[error("{0}")]
    Certs(#[from] CertsFailure),
    /// What a node needs was not made.
    #[error("{0}")]
    Init(#[from] InitFailure),
    /// A context cannot be used, or was not changed.
    #[error("{0}")]
    Context(#[from] ContextFailure),
    /// The node, or one of those asked, does not serve.
    #[error("not healthy: {problem}")]
    Unhealthy {
        /// Which, and why.
        problem: String,
    },
    /// The data of a node was not shown, or is not whole.
    #[error("{0}")]
    Storage(#[from] StorageFailure),
    /// A policy that was to be asked is wrong.
    #[error("{}", policy_text(.0))]
    Policy(#[source] PolicyFileError),
    /// The policy says no, which was printed.
    #[error("denied")]
    Denied,
    /// What was to be done with a cursor would have been refused, so it was not taken.
    #[error("{cause}; cursor {name} is not taken: whoever holds it goes on")]
    CursorNotTaken {
        /// Why it would have been refused.
        cause: Error,
        /// Of the cursor.
        name: String,
        /// Whether it was to be moved there, and not read from.
        moves: bool,
    },
    /// A cursor was taken, and then what was to be done with it was refused.
    #[error("{cause}; cursor {name} is taken, but not moved: whoever held it stops")]
    CursorTaken {
        /// Why it was refused.
        cause: Error,
        /// Of the cursor.
        name: String,
        /// Whether it was to be moved there, and not read from.
        moves: bool,
    },
    /// Records were to be dropped that are not there yet.
    #[error("{0}")]
    TrimAhead(#[source] Error),
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

/// All mistakes of a policy, each with its remedy.
fn policy_text(error: &PolicyFileError) -> String {
    match error {
        PolicyFileError::Wrong { error, .. } => error.to_string(),
        PolicyFileError::Unreadable { .. } | PolicyFileError::NoFile { .. } => error.to_string(),
    }
}

/// Lines that were sent together.
fn lines_text(first: u64, last: u64) -> String {
    if first == last {
        format!("line {first}")
    } else {
        format!("lines {first} to {last}, which were sent together (--batch)")
    }
}

impl CliError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Client(error)
            | Self::CursorNotTaken { cause: error, .. }
            | Self::CursorTaken { cause: error, .. }
            | Self::Lines { cause: error, .. }
            | Self::TrimAhead(error) => error.disposition(),
            Self::Usage { .. } | Self::Open { .. } | Self::Stranger(_) => Disposition::Reject,
            Self::Config(errors) => errors.disposition(),
            Self::Node(error) => error.disposition(),
            Self::Certs(failure) => failure.disposition(),
            Self::Init(failure) => failure.disposition(),
            Self::Storage(failure) => failure.disposition(),
            Self::Context(failure) => failure.disposition(),
            Self::Unhealthy { .. } => Disposition::Retry,
            Self::Policy(error) => error.disposition(),
            Self::Denied | Self::OtherNodes(_) => Disposition::Reject,
            Self::NodeEnded { .. } | Self::PortsTaken { .. } => Disposition::Escalate,
            Self::LineTooLong { .. } | Self::SkippedPastEnd { .. } => Disposition::Reject,
            Self::Read(_)
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
            Self::Usage { .. } | Self::Policy(_) => Exit::Usage,
            Self::Denied => Exit::Failed,
            Self::Client(error)
            | Self::CursorNotTaken { cause: error, .. }
            | Self::CursorTaken { cause: error, .. }
            | Self::Lines { cause: error, .. } => exit_of(error),
            Self::Stranger(_) => Exit::CannotConnect,
            Self::TrimAhead(_) => Exit::NotFound,
            Self::Certs(failure) => failure.exit(),
            Self::Init(failure) => failure.exit(),
            Self::Storage(failure) => failure.exit(),
            Self::Context(failure) => failure.exit(),
            Self::Unhealthy { .. } => Exit::Failed,
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::Open { source, .. } if source.kind() == io::ErrorKind::IsADirectory => Exit::Usage,
            Self::BrokenPipe => Exit::Done,
            Self::PartlyDone { .. } => Exit::PartlyDone,
            Self::Config(_) | Self::Node(_) | Self::PortsTaken { .. } | Self::OtherNodes(_) => {
                Exit::WrongConfiguration
            }
            Self::NodeEnded { exit, .. } => *exit,
            Self::Open { .. }
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
            Self::CursorNotTaken { moves: true, .. } | Self::CursorTaken { moves: true, .. } => {
                AHEAD_OF_LOG_HINT
            }
            Self::Client(error)
            | Self::CursorNotTaken { cause: error, .. }
            | Self::CursorTaken { cause: error, .. }
            | Self::Lines { cause: error, .. } => return hint_of(error),
            Self::OtherNodes(others) => return Some(others.hint()),
            Self::TrimAhead(_) => "`annals log describe` shows which records are there; those can be dropped",
            Self::Stranger(stranger) => return Some(stranger.hint.clone()),
            Self::Certs(failure) => return failure.hint(),
            Self::Init(failure) => return failure.hint(),
            Self::Storage(failure) => return failure.hint(),
            Self::Context(failure) => return failure.hint(),
            Self::Unhealthy { .. } => {
                "`annals cluster status` shows all nodes; --exit-when-healthy waits until it is"
            }
            // Each mistake comes with its own remedy.
            Self::Policy(PolicyFileError::Wrong { .. }) => return None,
            Self::Policy(error) => return Some(error.remedy()),
            Self::PortsTaken { .. } => "--port 9400 takes others, and --port 0 any that are free",
            Self::Open { .. } => {
                "give the path of a readable file, or leave out --file to read standard input"
            }
            Self::LineTooLong { .. } => "a record is one line here; is the input binary?",
            Self::SkippedPastEnd { .. } => "is it the input of the produce that is to be continued?",
            Self::PartlyDone { cause, go_on, .. } => return go_on.clone().or_else(|| cause.hint()),
            Self::NodeEnded {
                exit: Exit::NodeFailsafe,
                ..
            } => {
                "look at the disk and the system's log before starting again; nothing acknowledged is given up: recovery \
                 decides what is there"
            }
            Self::Config(_)
            | Self::Node(_)
            | Self::NodeEnded { .. }
            | Self::Read(_)
            | Self::Write(_)
            | Self::BrokenPipe
            | Self::Start(_)
            | Self::Denied
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

impl From<ProtocolError> for CliError {
    fn from(error: ProtocolError) -> Self {
        Self::Client(error.into())
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Client(status.into())
    }
}
