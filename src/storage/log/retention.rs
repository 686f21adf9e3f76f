//! What age and size alone would drop of the log.

use super::LogState;
use crate::{
    storage::ReadError,
    types::{Offset, TimestampMs},
};

/// How much of the log is kept. Whole sealed segments go, so a little more stays than is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Keep no more than about this many bytes of store files; `None`: all.
    pub bytes_max: Option<u64>,
    /// Keep no records older than this; `None`: all.
    pub age_max_ms: Option<u64>,
}

/// What retention would drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A trim below this offset is due.
    Below(Offset),
    /// Not known yet: as many stores were opened as was allowed. Asked again, the search goes on from there.
    Unknown,
}

impl LogState {
    /// What age and size alone would drop. Opens at most about `stores_max` stores; what it learns of them stays known.
    ///
    /// Blocking: reads headers of the segments that are dropped, and lengths of all once.
    pub fn retention_due(
        &self,
        retention: &Retention,
        now: TimestampMs,
        stores_max: usize,
    ) -> Result<Due, ReadError> {
        let mut opened = 0;
        let mut bytes_over = 0;
        if let Some(bytes_max) = retention.bytes_max {
            let mut total = 0;
            for segment in &self.segments {
                opened += usize::from(!segment.end_is_known());
                if opened > stores_max {
                    return Ok(Due::Unknown);
                }
                total += segment.end()?;
            }
            bytes_over = total.saturating_sub(bytes_max);
        }
        let mut due = Due::Nothing;
        for pair in self.segments.windows(2) {
            opened += usize::from(pair[1].known_face().is_none());
            if opened > stores_max {
                return Ok(Due::Unknown);
            }
            let next = pair[1].face()?;
            // All of the segment is at least as old as the entry before the next one.
            let age = now.0.saturating_sub(next.previous_timestamp.0);
            let too_old = retention.age_max_ms.is_some_and(|age_max| age > age_max);
            let bytes = if bytes_over > 0 { pair[0].end()? } else { 0 };
            let too_much = bytes_over >= bytes && bytes_over > 0;
            if !too_old && !too_much {
                break;
            }
            bytes_over = bytes_over.saturating_sub(bytes);
            due = Due::Below(next.first_offset);
        }
        Ok(due)
    }
}
