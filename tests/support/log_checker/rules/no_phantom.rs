//! Nothing is in the log that nobody sent.

use super::{Evidence, Findings};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for sighting in evidence.sightings() {
        if evidence.record(&sighting.content).is_none() {
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
