//! The records of a batch are stored all or none, one after the other.
//!
//! A read may begin and end inside a batch, where it was told to. A full read may not end inside one, since the high
//! watermark moves by whole batches; it may begin inside one, behind what was trimmed.

use super::{Evidence, Findings};
use crate::support::log_checker::{
    Answer, Seen,
    evidence::RecordOf,
    text::{text_of_attempt, text_of_contents, text_of_read},
};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for attempt in &evidence.history.attempts {
        let Some((
            _,
            Answer::Acknowledged {
                first_offset,
                next_offset,
                ..
            },
        )) = attempt.answer
        else {
            continue;
        };
        if next_offset.checked_sub(first_offset) != Some(attempt.records.len() as u64) {
            findings.add(Some(first_offset), || {
                format!(
                    "as many offsets as records were expected: {}",
                    text_of_attempt(attempt)
                )
            });
        }
    }
    for read in &evidence.history.reads {
        torn(evidence, &read.records, false, findings, || text_of_read(read));
    }
    for contents in &evidence.history.contents {
        torn(evidence, &contents.records, true, findings, || {
            text_of_contents(contents)
        });
    }
}

/// Finds batches that are not whole. `ends_whole`: the last one has to be, too.
fn torn(
    evidence: &Evidence<'_>,
    records: &[Seen],
    ends_whole: bool,
    findings: &mut Findings,
    source: impl Fn() -> String,
) {
    // What has to come next, when something has to.
    let mut owed: Option<RecordOf> = None;
    let mut add = |offset: u64, what: &str, owed: RecordOf| {
        findings.add(Some(offset), || {
            let missing = evidence.batches[owed.batch].records[owed.index];
            format!(
                "{what} offset {offset} is not {} in {}",
                evidence.text_of(&missing),
                source()
            )
        });
    };
    for (position, seen) in records.iter().enumerate() {
        let record = evidence.record(&seen.content);
        if let Some(owed) = owed
            && record != Some(owed)
        {
            add(seen.offset, "the record at", owed);
        } else if owed.is_none()
            && position > 0
            && let Some(RecordOf { batch, index: 1.. }) = record
        {
            let RecordOf { index, .. } = record.expect("it was just looked at");
            add(
                seen.offset - 1,
                "the record at",
                RecordOf {
                    batch,
                    index: index - 1,
                },
            );
        }
        let next = record.map(|record| RecordOf {
            index: record.index + 1,
            ..record
        });
        owed = next.filter(|next| next.index < evidence.batches[next.batch].records.len());
    }
    if let (Some(owed), Some(last), true) = (owed, records.last(), ends_whole) {
        add(last.offset + 1, "behind the end, at", owed);
    }
}
