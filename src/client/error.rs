//! What can go wrong between a client and its cluster, and what that says about the request.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{
    error::Disposition,
    tls::{MaterialError, TlsFailure},
    types::NoCursorName,
};

use super::{
    address::AddressError,
    refusal::{Reason, Refusal},
};

/// Why a client's call failed. Cheap to clone: all tickets of a producer that failed have the same.
///
/// Two questions decide what to do: [`Error::is_retryable`], whether the same call can succeed later, and
/// [`Error::has_no_side_effects`], whether anything of this one was done. [`Error::kind`] says what happened.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Arc<ErrorKind>,
    effects: Effects,
}

/// What is known of what the call has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effects {
    /// What the kind says: there was but one try.
    AsTold,
    /// An earlier try may have been done, whatever became of the last one.
    Possible,
    /// It does nothing but read, or nothing of it was ever sent.
    Impossible,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text is no address.
    #[error("{text:?} is no address: {error}")]
    NoAddress {
        /// The text.
        text: String,
        /// What would be one.
        error: AddressError,
    },
    /// The client was given no address at all.
    #[error("no address of a node was given")]
    NoAddresses,
    /// A deadline was set to nothing. Nobody was asked.
    #[error("{what} is 0, which is no time at all; give it some, or leave it out, and the default counts")]
    NoTime {
        /// Which of them, by the name of its setter.
        what: &'static str,
    },
    /// A batch has no records. Nobody was asked.
    #[error("there are no records to send; a batch has at least one")]
    NoRecords,
    /// A text is no name of a cursor. Nobody was asked.
    #[error("{0}")]
    NoCursorName(NoCursorName),
    /// No connection came about.
    #[error("cannot connect to {address}: {reason}")]
    CannotConnect {
        /// Where to.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// None of the nodes that are known can be reached.
    #[error("no node {}: {}", reached(*.waited), listed(.tried))]
    NoNode {
        /// For how long it was tried; nothing when each was tried once.
        waited: Duration,
        /// Each of them, and what was the matter with its last try.
        tried: Vec<Tried>,
    },
    /// Nodes were reached, and none of them came to have everything below the offset that was asked for (`min_offset`).
    #[error(
        "no node has every record below offset {min_offset}: of those that were reached {address} has the most, up to offset \
         {high_watermark}. If that offset is one of this log, try again once it is appended; else ask for {high_watermark} at most"
    )]
    AheadOfAll {
        /// What was asked for.
        min_offset: u64,
        /// The first offset that is not readable yet, at the node that is the furthest.
        high_watermark: u64,
        /// Where that is.
        address: String,
    },
    /// At the address is another program, or another port of a node: what was said there no node ever says to clients.
    #[error(
        "{address} is no port for clients of a node: {said}; give the address of listen.rpc in a node's configuration"
    )]
    Stranger {
        /// Where.
        address: String,
        /// What was said there.
        said: String,
    },
    /// No TLS came about with a node, or it does not let this client in.
    #[error("no TLS with {address}: {failure}")]
    Tls {
        /// With whom.
        address: String,
        /// Why not.
        #[source]
        failure: TlsFailure,
    },
    /// The node does not speak without TLS.
    #[error("the node wants TLS")]
    WantsTls,
    /// A file of TLS cannot be used.
    #[error("{0}")]
    TlsFiles(MaterialError),
    /// The connection was lost and did not come back, or the node fell silent.
    #[error("no answer from {address} for {}: {reason}", humantime::format_duration(*.waited))]
    NoAnswer {
        /// Of whom.
        address: String,
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
    /// Behind the address is another log than before: to go on there would mix the two.
    #[error("{address} has another log than before: {change}")]
    OtherLog {
        /// Where.
        address: String,
        /// How that shows.
        change: LogChange,
    },
    /// The node answered, and the answer is no.
    #[error("{0}")]
    Refused(Refusal),
    /// The node answered something that its API does not allow.
    #[error("the node broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// The records of one request, of which a single one may be all, are more than nodes take at once. They were not sent.
    #[error(
        "the records have {bytes} bytes, and a request may have {bytes_max}: send fewer together, or smaller ones, or raise \
         log.batch_bytes_max on every node"
    )]
    RecordTooLarge {
        /// Their encoded size.
        bytes: usize,
        /// What a request may have, by the word of a node.
        bytes_max: usize,
    },
    /// The producer has failed before, and takes nothing more.
    #[error(
        "the producer takes nothing more since it failed: {cause}; make a new one, or resume it by its id"
    )]
    ProducerFailed {
        /// What the tickets were told.
        cause: Error,
    },
    /// The producer was closed, and takes nothing more.
    #[error("the producer is closed")]
    Closed,
    /// The runtime that the client's work ran on has ended.
    #[error("the runtime of the client has ended")]
    Ended,
}

/// A node that was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where it should be.
    pub address: String,
    /// What was the matter.
    pub reason: String,
}

fn reached(waited: Duration) -> String {
    if waited.is_zero() {
        "can be reached".to_owned()
    } else {
        format!("could be reached for {}", humantime::format_duration(waited))
    }
}

fn listed(tried: &[Tried]) -> String {
    let each = tried
        .iter()
        .map(|tried| format!("{}: {}", tried.address, tried.reason));
    each.collect::<Vec<_>>().join("; ")
}

/// How it shows that a log is not the one from before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogChange {
    /// It belongs to another cluster.
    #[error("it is that of cluster {now}, and was that of cluster {before}")]
    Cluster {
        /// Whose it was.
        before: String,
        /// Whose it is.
        now: String,
    },
    /// It ends before offsets that were taken.
    #[error("it ends at offset {high_watermark}, and went on to {reached}")]
    Shorter {
        /// The first offset not known to be taken.
        reached: u64,
        /// The first offset that it does not have.
        high_watermark: u64,
    },
}

impl LogChange {
    /// What is to be done about it: nobody but whoever runs the client knows which log is meant.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Cluster { .. } | Self::Shorter { .. } => Disposition::Escalate,
        }
    }
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
    /// It did what was asked of a cursor, and does not say what became of it.
    #[error("its answer lacks the cursor")]
    WithoutCursor,
}

impl ProtocolError {
    /// What is to be done about it: a node that answers wrongly is not asked again.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::AnswerWithoutRequest
            | Self::WrongCount { .. }
            | Self::Gap { .. }
            | Self::Undecodable { .. }
            | Self::WithoutCursor => Disposition::Escalate,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self {
            kind: Arc::new(kind),
            effects: Effects::AsTold,
        }
    }

    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Lost {
            reason: reason.into(),
        })
    }

    /// A try of the same call before may have been done.
    pub(crate) fn in_doubt(self, in_doubt: bool) -> Self {
        let effects = if in_doubt { Effects::Possible } else { self.effects };
        Self { effects, ..self }
    }

    /// Nothing was to be done, or nothing of it was sent, so nothing was done.
    pub(crate) fn without_effects(self) -> Self {
        Self {
            effects: Effects::Impossible,
            ..self
        }
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The node's no, if that is what it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self.kind() {
            ErrorKind::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Why the node said no, if it did, or would have said so, had this side not known before.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self.kind() {
            ErrorKind::Refused(refusal) => Some(refusal.reason()),
            ErrorKind::RecordTooLarge { .. } => Some(Reason::RecordTooLarge),
            ErrorKind::NoRecords | ErrorKind::NoCursorName(_) => Some(Reason::InvalidRequest),
            _ => None,
        }
    }

    /// Of a producer that has failed, why it did; of nothing it is known that it was done.
    pub(crate) fn into_cause(self) -> Self {
        match self.kind() {
            ErrorKind::ProducerFailed { cause } => cause.clone().without_effects(),
            _ => self,
        }
    }

    /// Whether the same call can succeed later as it is. Whether it may then be done twice, says
    /// [`Error::has_no_side_effects`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::NoNode { .. }
            | ErrorKind::NoAnswer { .. }
            | ErrorKind::AheadOfAll { .. }
            | ErrorKind::Ended => true,
            _ => self.disposition() == Disposition::Retry,
        }
    }

    /// Whether nothing of the call was done, and nothing of it will be: it can be made again without being done twice. False
    /// when nobody knows.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        let of_the_last_try = match self.kind() {
            ErrorKind::NoAddress { .. }
            | ErrorKind::NoAddresses
            | ErrorKind::NoTime { .. }
            | ErrorKind::NoRecords
            | ErrorKind::NoCursorName(_)
            | ErrorKind::CannotConnect { .. }
            | ErrorKind::NoNode { .. }
            | ErrorKind::AheadOfAll { .. }
            | ErrorKind::Stranger { .. }
            | ErrorKind::Tls { .. }
            | ErrorKind::WantsTls
            | ErrorKind::TlsFiles(_)
            | ErrorKind::OtherLog { .. }
            | ErrorKind::RecordTooLarge { .. }
            | ErrorKind::ProducerFailed { .. }
            | ErrorKind::Closed => true,
            ErrorKind::NoAnswer { .. }
            | ErrorKind::Lost { .. }
            | ErrorKind::Protocol(_)
            | ErrorKind::Ended => false,
            ErrorKind::Refused(refusal) => refusal.has_no_side_effects(),
        };
        match self.effects {
            Effects::AsTold => of_the_last_try,
            Effects::Possible => false,
            Effects::Impossible => true,
        }
    }

    /// What is to be done about it by a stream that is held open across broken connections.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self.kind() {
            ErrorKind::CannotConnect { .. } | ErrorKind::Lost { .. } => Disposition::Retry,
            ErrorKind::Tls { failure, .. } => failure.disposition(),
            ErrorKind::TlsFiles(error) => error.disposition(),
            ErrorKind::Refused(refusal) if refusal.is_passing() => Disposition::Retry,
            ErrorKind::NoAddress { .. }
            | ErrorKind::NoAddresses
            | ErrorKind::NoTime { .. }
            | ErrorKind::NoRecords
            | ErrorKind::NoCursorName(_)
            | ErrorKind::Stranger { .. }
            | ErrorKind::WantsTls
            | ErrorKind::Refused(_)
            | ErrorKind::RecordTooLarge { .. }
            | ErrorKind::ProducerFailed { .. }
            | ErrorKind::Closed => Disposition::Reject,
            ErrorKind::OtherLog { change, .. } => change.disposition(),
            ErrorKind::Protocol(error) => error.disposition(),
            // Time was given to it, and is over.
            ErrorKind::NoAnswer { .. }
            | ErrorKind::NoNode { .. }
            | ErrorKind::AheadOfAll { .. }
            | ErrorKind::Ended => Disposition::Escalate,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind.source()
    }
}

impl From<MaterialError> for Error {
    fn from(error: MaterialError) -> Self {
        Self::new(ErrorKind::TlsFiles(error))
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::new(ErrorKind::Protocol(error))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(ErrorKind::Refused(refusal))
    }
}

/// What a wait may lack of the tenth that is told: a deadline is divided and counted from a moment after it was set.
const NEARLY: Duration = Duration::from_millis(20);

/// As people are told a wait: more digits say nothing, and whole seconds would make none of half a second.
pub(crate) fn in_tenths(waited: Duration) -> Duration {
    let tenths = (waited + NEARLY).as_millis() / 100;
    Duration::from_millis(u64::try_from(tenths * 100).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The story: of 200 ms that were given, 100 were told, as the tries had begun a little over a millisecond before.
    #[test]
    fn what_was_given_is_told_whole() {
        let told = [
            (0, 0),
            (79, 0),
            (100, 100),
            (179, 100),
            (199, 200),
            (201, 200),
            (29_999, 30_000),
        ];
        for (waited, wanted) in told {
            let millis = Duration::from_millis;
            assert_eq!(in_tenths(millis(waited)), millis(wanted), "{waited} ms");
        }
    }
}
