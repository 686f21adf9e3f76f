//! A linearizable read sees all that anybody saw before it began: through whichever nodes, they never go backwards.
//!
//! A node's high watermark counts as seen, also on a follower: it is never above what the leader has committed, which is
//! the least that a linearizable read has to see.

use super::{Evidence, Findings, linearizable::fresh_reads};
use crate::support::log_checker::{
    evidence::greatest_before,
    text::{text_of_node, text_of_read},
};

/// By number in the history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Read(usize),
    Watermark(usize),
}

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    let history = evidence.history;
    let reads = history.reads.iter().enumerate().map(|(number, read)| {
        let behind_last = read.records.last().map_or(0, |seen| seen.offset + 1);
        (read.ended, (behind_last, Source::Read(number)))
    });
    let watermarks = history
        .watermarks
        .iter()
        .enumerate()
        .map(|(number, watermark)| (watermark.ended, (watermark.value, Source::Watermark(number))));
    let done = reads.chain(watermarks).collect();
    for (number, (seen_before, source)) in greatest_before(done, fresh_reads(evidence)) {
        let read = &history.reads[number];
        let saw = read.saw();
        if saw < seen_before {
            findings.add(Some(saw), || {
                let before = match source {
                    Source::Read(number) => text_of_read(&history.reads[number]),
                    Source::Watermark(number) => {
                        let watermark = &history.watermarks[number];
                        let node = text_of_node(&watermark.node);
                        format!(
                            "the high watermark {} of {node} at {}",
                            watermark.value, watermark.ended
                        )
                    }
                };
                format!("{saw} is the end of {}; before it, {before}", text_of_read(read))
            });
        }
    }
}
