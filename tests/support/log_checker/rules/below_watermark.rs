//! What was read is below the high watermark told with it (LOG-4); what was acknowledged is below its leader's.

use super::{Evidence, Findings};
use crate::support::log_checker::{
    Answer,
    text::{text_of_attempt, text_of_read},
};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for read in &evidence.history.reads {
        let above = read
            .records
            .iter()
            .find(|seen| seen.offset >= read.high_watermark);
        if let Some(seen) = above {
            findings.add(Some(seen.offset), || {
                format!("offset {} was given by {}", seen.offset, text_of_read(read))
            });
        }
    }
    for attempt in &evidence.history.attempts {
        if let Some((
            _,
            Answer::Acknowledged {
                next_offset,
                leader_watermark: Some(watermark),
                ..
            },
        )) = attempt.answer
            && watermark < next_offset
        {
            findings.add(Some(watermark), || {
                format!(
                    "the leader's high watermark was {watermark}: {}",
                    text_of_attempt(attempt)
                )
            });
        }
    }
}
