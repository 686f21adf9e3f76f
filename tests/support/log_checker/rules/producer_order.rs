//! A producer's batches are stored in the order of their sequences, and behind all of its epochs before; requests of one
//! stream in the order in which they were sent.

use super::{Evidence, Findings};
use crate::support::log_checker::{Answer, Moment, text::text_of_attempt};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    by_stamp(evidence, findings);
    by_stream(evidence, findings);
}

fn by_stamp(evidence: &Evidence<'_>, findings: &mut Findings) {
    let stamped = evidence.batches.iter().enumerate();
    let mut stamped: Vec<_> = stamped
        .filter_map(|(number, batch)| Some((batch.stamp?, evidence.base(number)?, number)))
        .collect();
    stamped.sort_unstable();
    for pair in stamped.windows(2) {
        let [(earlier, earlier_base, earlier_batch), (later, base, batch)] = pair else {
            continue;
        };
        if earlier.id == later.id && base < earlier_base {
            findings.add(Some(*base), || {
                format!(
                    "offset {base} is {}; offset {earlier_base} is {}",
                    evidence.text_of_batch(*batch),
                    evidence.text_of_batch(*earlier_batch)
                )
            });
        }
    }
}

fn by_stream(evidence: &Evidence<'_>, findings: &mut Findings) {
    let attempts = &evidence.history.attempts;
    let mut sent: Vec<(u64, Moment, u64, usize)> = Vec::new();
    for (number, attempt) in attempts.iter().enumerate() {
        if let (Some(stream), Some((_, Answer::Acknowledged { first_offset, .. }))) =
            (attempt.stream, attempt.answer)
        {
            sent.push((stream, attempt.began, first_offset, number));
        }
    }
    sent.sort_unstable();
    for pair in sent.windows(2) {
        let [
            (stream, _, earlier_offset, earlier),
            (same_stream, _, offset, later),
        ] = pair
        else {
            continue;
        };
        if stream == same_stream && offset < earlier_offset {
            findings.add(Some(*offset), || {
                format!(
                    "on one stream, {} was sent before {}",
                    text_of_attempt(&attempts[*earlier]),
                    text_of_attempt(&attempts[*later])
                )
            });
        }
    }
}
