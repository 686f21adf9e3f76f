//! A linearizable read, through any node, sees all that was acknowledged before it began (G4).

use super::{Evidence, Findings};
use crate::support::log_checker::{
    Answer, Moment, Read,
    evidence::greatest_before,
    text::{text_of_attempt, text_of_read},
};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    let history = evidence.history;
    let mut done = Vec::new();
    for (number, attempt) in history.attempts.iter().enumerate() {
        if let Some((ended, Answer::Acknowledged { next_offset, .. })) = attempt.answer {
            done.push((ended, (next_offset, number)));
        }
    }
    for (number, (acknowledged, attempt)) in greatest_before(done, fresh_reads(evidence)) {
        let read = &history.reads[number];
        let saw = read.saw();
        if saw < acknowledged {
            findings.add(Some(saw), || {
                format!(
                    "all below {acknowledged} was acknowledged, but {saw} is the end of {}; before it, {}",
                    text_of_read(read),
                    text_of_attempt(&history.attempts[attempt])
                )
            });
        }
    }
}

/// When each read began that had to be fresh, and its number.
pub(super) fn fresh_reads(evidence: &Evidence<'_>) -> Vec<(Moment, usize)> {
    let reads = evidence.history.reads.iter().enumerate();
    reads
        .filter(|(_, read)| read.level.is_fresh())
        .map(|(number, read)| (read.began, number))
        .collect()
}

impl Read {
    /// The end of the log as it saw it.
    pub(super) fn saw(&self) -> u64 {
        let behind_last = self.records.last().map_or(self.from, |seen| seen.offset + 1);
        if self.limited {
            self.high_watermark
        } else {
            self.high_watermark.min(behind_last)
        }
    }
}
