//! An offset has one record, for ever and on all nodes.

use super::{Evidence, Findings};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for other in evidence.others() {
        let first = evidence
            .first_at(other.offset)
            .expect("something was there first");
        findings.add(Some(other.offset), || {
            format!(
                "offset {} is {} by {}; and is {} by {}",
                other.offset,
                evidence.text_of(&first.content),
                evidence.text_of_witness(first),
                evidence.text_of(&other.content),
                evidence.text_of_witness(other),
            )
        });
    }
}
