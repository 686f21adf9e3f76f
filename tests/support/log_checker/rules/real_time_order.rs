//! What was sent after another batch was known to be stored comes behind it.

use super::{Evidence, Findings};
use crate::support::log_checker::evidence::greatest_before;

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    let bases: Vec<Option<u64>> = (0..evidence.batches.len())
        .map(|batch| evidence.base(batch))
        .collect();
    let (mut done, mut began) = (Vec::new(), Vec::new());
    for (number, batch) in evidence.batches.iter().enumerate() {
        let Some(base) = bases[number] else { continue };
        done.extend(evidence.known_since(number).map(|since| (since, (base, number))));
        let sent = batch.sent.map(|attempt| evidence.history.attempt(attempt).began);
        began.extend(sent.map(|sent| (sent, number)));
    }
    for (number, (base, earlier)) in greatest_before(done, began) {
        let own = bases[number].expect("it has a place");
        if base > own {
            findings.add(Some(own), || {
                format!(
                    "offset {own} is {}; it was sent when offset {base} was already known to be {}",
                    evidence.text_of_batch(number),
                    evidence.text_of_batch(earlier)
                )
            });
        }
    }
}
