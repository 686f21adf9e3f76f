//! Whether what a leader sends fits what is committed here (RFT-3).
//!
//! openraft takes that for granted, and does not look at entries below what is committed. It is so while disks keep what was synced. When
//! more of them than a minority did not, a leader may be elected that lacks what was acknowledged; a node that still has
//! it must not go on as if nothing were the matter, with other records at the same offsets.

use std::{fmt, sync::Arc};

use super::{
    messages::{AppendRequest, last_of},
    shared::Shared,
    types::entry_of,
};
use crate::types::{LogIndex, Term};

/// An entry that is committed here is another one at the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    log_index: LogIndex,
    here: Term,
    there: Term,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            log_index,
            here,
            there,
        } = self;
        write!(
            f,
            "entry {log_index} is committed here with term {here}, and the leader has another one there, of term {there}: a majority has \
             lost what it had acknowledged. Compare the records of the nodes (`annals consume --level local`) before you decide \
             whose are right, and start the other nodes anew with empty data directories"
        )
    }
}

/// What the request says of the newest entry that is committed here: its number, and its term at the leader. `None`: nothing, or its
/// sender leads no more, and may have what was never committed.
fn claim(shared: &Shared, request: &AppendRequest) -> Option<(LogIndex, Term, Option<Term>)> {
    let (committed, committed_term) = {
        let facts = shared.facts();
        if facts.vote.as_ref().is_some_and(|vote| *vote > request.vote) {
            return None;
        }
        entry_of(facts.committed.as_ref()?)
    };
    let (last, last_term) = entry_of(&last_of(request)?);
    let (at, there) = if last <= committed {
        (last, last_term)
    } else {
        // Every entry behind `previous` is here, up to the last.
        let previous = request.prev_log_id.as_ref().map(entry_of);
        let behind = committed.distance_from(previous.map_or(LogIndex::ZERO, |(index, _)| index));
        match (behind, previous) {
            _ if previous.is_some_and(|(index, _)| index > committed) => return None,
            (0, Some((_, term))) => (committed, term),
            (0, None) => return None,
            (behind, _) => {
                let entry = request.entries.get(usize::try_from(behind).ok()? - 1)?;
                (committed, entry_of(&entry.log_id).1)
            }
        }
    };
    Some((at, there, (at == committed).then_some(committed_term)))
}

/// Whether the request contradicts what is committed here. Reads the log only where it speaks of nothing newer than that, as
/// the first one of a leader does.
///
/// Cancel: safe.
pub(super) async fn contradiction(shared: &Arc<Shared>, request: &AppendRequest) -> Option<Contradiction> {
    let (log_index, there, here) = claim(shared, request)?;
    let here = match here {
        Some(here) => here,
        // What cannot be read here, or was trimmed, contradicts nothing.
        None => {
            let found = shared.look(move |view| view.log_id_of(log_index)).await;
            found.ok().flatten()?.1
        }
    };
    (here != there).then_some(Contradiction {
        log_index,
        here,
        there,
    })
}
