//! Why a cursor was not changed, or not found.

use tonic::Code;

use super::{RETRY_ROOM, Verdict};
use crate::{
    error::Disposition,
    storage::cursors::{CURSORS_MAX, CursorCommand, CursorName, CursorRefusal},
    types::{LogIndex, Offset},
};

/// What was asked of a cursor was not done, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorNotChanged {
    /// A commit counts only with the epoch of the last take.
    #[error("{}", fenced_text(.name, *.epoch, *.current_epoch))]
    Fenced {
        /// The cursor.
        name: CursorName,
        /// Of the commit; 0: it said none.
        epoch: LogIndex,
        /// The one that counts.
        current_epoch: LogIndex,
    },
    /// There is no such cursor.
    #[error("there is no cursor {name}{}", if *.was_held { ": it was deleted while it was held, and its holder must stop" } else { "" })]
    Unknown {
        /// The name asked for.
        name: CursorName,
        /// Whoever asks has taken it once.
        was_held: bool,
    },
    /// The offset lies behind the log's end.
    #[error("offset {offset} cannot be committed: the log ends at {next_offset}")]
    Ahead {
        /// The offset.
        offset: Offset,
        /// The highest that could be committed.
        next_offset: Offset,
    },
    /// There are as many as may be.
    #[error("the log has {CURSORS_MAX} cursors, which is the most; delete one that nobody uses any more")]
    Full,
    /// It may be done or not.
    #[error("the outcome is unknown: the cursor may be changed or not; send it again, which is safe")]
    Undecided {
        /// The client's time was up.
        timed_out: bool,
    },
}

fn fenced_text(name: &CursorName, epoch: LogIndex, current_epoch: LogIndex) -> String {
    match (epoch, current_epoch) {
        (_, LogIndex::ZERO) => {
            format!(
                "cursor {name} was deleted while it was held, and made anew by somebody else; this holder must stop"
            )
        }
        (LogIndex::ZERO, _) => format!(
            "cursor {name} belongs to whoever took it (epoch {current_epoch}), and only they commit to it; to change that, take it"
        ),
        _ => format!(
            "another consumer has taken cursor {name} (epoch {current_epoch}; that of this one was {epoch}); this one must stop"
        ),
    }
}

impl CursorNotChanged {
    /// What the log says of a command, for whoever sent it.
    #[must_use]
    pub fn by_log(command: &CursorCommand, refusal: CursorRefusal) -> Self {
        let name = command.name().clone();
        let (epoch, offset) = match command {
            CursorCommand::Commit { epoch, offset, .. } => (*epoch, *offset),
            CursorCommand::Take { .. } | CursorCommand::Delete { .. } => (LogIndex::ZERO, Offset::ZERO),
        };
        match refusal {
            CursorRefusal::Fenced { current_epoch } => Self::Fenced {
                name,
                epoch,
                current_epoch,
            },
            CursorRefusal::Unknown => Self::Unknown {
                name,
                was_held: epoch > LogIndex::ZERO,
            },
            CursorRefusal::Ahead { next_offset } => Self::Ahead { offset, next_offset },
            CursorRefusal::Full => Self::Full,
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Fenced { .. } | Self::Unknown { .. } | Self::Ahead { .. } | Self::Full => {
                Disposition::Reject
            }
            Self::Undecided { .. } => Disposition::Retry,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Fenced {
                name, current_epoch, ..
            } => Verdict::new(Code::Aborted, "FENCED")
                .with("cursor", name)
                .with("current_epoch", current_epoch),
            Self::Unknown { name, .. } => Verdict::new(Code::NotFound, "UNKNOWN_CURSOR").with("cursor", name),
            Self::Ahead { offset, next_offset } => Verdict::new(Code::OutOfRange, "OFFSET_OUT_OF_RANGE")
                .with("offset", offset)
                .with("next_offset", next_offset),
            Self::Full => {
                Verdict::new(Code::ResourceExhausted, "CURSORS_FULL").with("cursors_max", CURSORS_MAX)
            }
            // Said twice it does the same as once, so a retry is always right.
            Self::Undecided { timed_out } => {
                let code = if *timed_out {
                    Code::DeadlineExceeded
                } else {
                    Code::Unknown
                };
                Verdict::new(code, "OUTCOME_UNKNOWN")
                    .with("of", "cursor")
                    .retry(RETRY_ROOM)
            }
        }
    }
}
