//! Before a cursor is taken: whether what follows would be refused. To take it throws out whoever holds it, which nothing takes back.

use crate::{
    client::{Client, Cursor, Error, Position, Reason},
    types::Offset,
};

use super::error::CliError;

/// What is to be done with a cursor once it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is moved to an offset, which may be one that was trimmed away.
    Move,
    /// Records are read from it on, up to the end.
    Read,
    /// Records are read from it on, and those that come.
    Follow,
}

impl Purpose {
    /// Whether that can be done at an offset while these can be read.
    fn allows(self, offset: Offset, readable: &std::ops::Range<Offset>) -> bool {
        let is_there = offset >= readable.start;
        let is_no_gap = offset <= readable.end;
        match self {
            Self::Move => is_no_gap,
            Self::Read => is_there && is_no_gap,
            // Who follows waits for what is still to come.
            Self::Follow => is_there,
        }
    }
}

/// Makes sure that the log has the offset, as far as its reader may know. What is not known is for the log to say.
///
/// Errors: `CursorNotTaken`, when it would be refused; no node was reached. Cancel: safe.
pub(super) async fn refuse_unreachable(
    client: &Client,
    name: &str,
    offset: Offset,
    purpose: Purpose,
) -> Result<(), CliError> {
    // Whoever may take a cursor may read.
    let read = client.read_from(offset).count(1).bytes_max(1).await;
    let Err(error) = read else {
        return Ok(());
    };
    let Some(refusal) = error.refusal() else {
        return Err(error.into());
    };
    match refusal.readable() {
        Some(readable) if is_out_of_range(&error) && !purpose.allows(offset, &readable) => {
            Err(CliError::CursorNotTaken {
                cause: error,
                name: name.to_owned(),
                moves: purpose == Purpose::Move,
            })
        }
        _ => Ok(()),
    }
}

/// The same of where the cursor stands, or else of where it would start.
///
/// Errors, Cancel: as [`refuse_unreachable`].
pub(super) async fn refuse_unreadable_start(
    client: &Client,
    cursor: &Cursor,
    from: Position,
    purpose: Purpose,
) -> Result<(), CliError> {
    let stands = match cursor.get().await {
        Ok(state) => state.offset,
        Err(error) if error.reason() == Some(Reason::UnknownCursor) => None,
        // Whoever may take a cursor need not be allowed to look at it.
        Err(error) if error.refusal().is_some() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let start = match (stands, from) {
        (Some(offset), _) => offset,
        (None, Position::Offset(offset)) => Offset(offset),
        // The log always has those.
        (None, _) => return Ok(()),
    };
    refuse_unreachable(client, cursor.name(), start, purpose).await
}

/// That a cursor was taken for nothing, where the log refuses the offset after all.
pub(super) fn told_as_taken(error: Error, name: &str, moves: bool) -> CliError {
    if !is_out_of_range(&error) {
        return error.into();
    }
    CliError::CursorTaken {
        cause: error,
        name: name.to_owned(),
        moves,
    }
}

fn is_out_of_range(error: &Error) -> bool {
    error.reason() == Some(Reason::OffsetOutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_depends_on_what_the_cursor_is_for() {
        let readable = Offset(3)..Offset(9);
        let table = [
            (2, [true, false, false]),
            (3, [true, true, true]),
            (9, [true, true, true]),
            (10, [false, false, true]),
        ];
        for (offset, wanted) in table {
            let allowed = [Purpose::Move, Purpose::Read, Purpose::Follow]
                .map(|purpose| purpose.allows(Offset(offset), &readable));
            assert_eq!(allowed, wanted, "{offset}");
        }
    }
}
