//! A batch all of whose tries definitely failed is not in the log. One with an unknown outcome may be there.

use super::{Evidence, Findings};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for sighting in evidence.sightings() {
        let Some(record) = evidence.record(&sighting.content) else {
            continue;
        };
        if evidence.batches[record.batch].sent.is_none() {
            findings.add(Some(sighting.offset), || {
                format!(
                    "offset {} is {} by {}",
                    sighting.offset,
                    evidence.text_of(&sighting.content),
                    evidence.text_of_witness(sighting)
                )
            });
        }
    }
}
