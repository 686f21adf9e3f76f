//! All nodes hold the same entries: the same records, with the same terms, log indexes and times (RFT-3).
//!
//! Reads take part with where their records come from: one that saw a record before it was committed, of an entry that
//! another leader replaced by a retry of the same batch, gives itself away by the term alone.

use super::{Evidence, Findings};
use crate::support::log_checker::{
    Seen,
    offset_map::OffsetMap,
    text::{text_of_contents, text_of_read},
};

/// By number in the history.
#[derive(Clone, Copy)]
enum Source {
    Contents(usize),
    Read(usize),
}

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    let history = evidence.history;
    let mut known: OffsetMap<(Seen, Source)> = OffsetMap::new(evidence.records_sent());
    for (number, contents) in history.contents.iter().enumerate() {
        for seen in contents.records.iter() {
            compare(evidence, &mut known, *seen, Source::Contents(number), findings);
        }
    }
    for (number, read) in history.reads.iter().enumerate() {
        for seen in read.records.iter() {
            compare(evidence, &mut known, *seen, Source::Read(number), findings);
        }
    }
}

fn compare(
    evidence: &Evidence<'_>,
    known: &mut OffsetMap<(Seen, Source)>,
    seen: Seen,
    source: Source,
    findings: &mut Findings,
) {
    let Some((first, first_source)) = known.get(seen.offset) else {
        known.insert(seen.offset, (seen, source));
        return;
    };
    let same_record = first.content.hash == seen.content.hash;
    // What a single read saw instead is for another rule to tell.
    let is_read = matches!(
        (source, first_source),
        (Source::Read(_), _) | (_, Source::Read(_))
    );
    let differs = if same_record {
        !first.origin.agrees(&seen.origin)
    } else {
        !is_read
    };
    if differs {
        findings.add(Some(seen.offset), || {
            let text = |seen: &Seen, source: Source| {
                let origin = seen.origin;
                format!(
                    "{} of term {}, log index {}, time {} by {}",
                    evidence.text_of(&seen.content),
                    origin.term,
                    origin.log_index,
                    origin.timestamp_ms,
                    text_of_source(evidence, source),
                )
            };
            format!(
                "offset {} is {}; and is {}",
                seen.offset,
                text(first, *first_source),
                text(&seen, source)
            )
        });
    }
}

fn text_of_source(evidence: &Evidence<'_>, source: Source) -> String {
    match source {
        Source::Contents(number) => text_of_contents(&evidence.history.contents[number]),
        Source::Read(number) => text_of_read(&evidence.history.reads[number]),
    }
}
