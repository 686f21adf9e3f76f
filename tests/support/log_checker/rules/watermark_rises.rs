//! The high watermark of a node does not fall while it lives (LOG-3). After a restart it may begin lower: a node learns
//! anew what is committed.

use std::collections::HashMap;

use super::{Evidence, Findings};
use crate::support::log_checker::{Node, Watermark, evidence::greatest_before, text::text_of_node};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    let mut lives: HashMap<&Node, Vec<&Watermark>> = HashMap::new();
    for watermark in &evidence.history.watermarks {
        lives.entry(&watermark.node).or_default().push(watermark);
    }
    for (node, told) in lives {
        let numbered = || told.iter().enumerate();
        let done = numbered().map(|(number, watermark)| (watermark.ended, (watermark.value, number)));
        let began = numbered().map(|(number, watermark)| (watermark.began, number));
        for (number, (from, earlier)) in greatest_before(done.collect(), began.collect()) {
            let Watermark {
                began, ended, value, ..
            } = told[number];
            if from > *value {
                findings.add(Some(*value), || {
                    let at = told[earlier].ended;
                    format!(
                        "{} told {from} at {at}, and {value} at {began}..{ended}",
                        text_of_node(node)
                    )
                });
            }
        }
    }
}
