//! What was acknowledged is there, unchanged, in every full read that began after that (G1).

use super::{Evidence, Findings, committed::Held};
use crate::support::log_checker::{Answer, text::text_of_contents};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for contents in &evidence.history.contents {
        let held = Held::of(contents);
        for sighting in evidence.sightings() {
            let Some(attempt) = sighting.attempt.map(|number| evidence.history.attempt(number)) else {
                continue;
            };
            let Some((ended, Answer::Acknowledged { .. })) = attempt.answer else {
                continue;
            };
            if ended < contents.began && held.breaks(sighting) {
                findings.add(Some(sighting.offset), || {
                    format!(
                        "offset {} was acknowledged for {}; there is {} in {}",
                        sighting.offset,
                        evidence.text_of(&sighting.content),
                        held.text_at(evidence, sighting.offset),
                        text_of_contents(contents),
                    )
                });
            }
        }
    }
}
