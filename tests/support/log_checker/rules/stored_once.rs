//! A batch is stored once, however often it was tried; all its acknowledgements say the same offsets (G3).

use super::{Evidence, Findings};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for sighting in evidence.sightings() {
        let Some(record) = evidence.record(&sighting.content) else {
            continue;
        };
        let place = evidence.place(record).expect("it was seen");
        if place != sighting.offset {
            findings.add(Some(sighting.offset), || {
                let first = evidence.first_at(place);
                let first = first.filter(|first| first.content.hash == sighting.content.hash);
                format!(
                    "offsets {place} and {} are both {}; by {}; and by {}",
                    sighting.offset,
                    evidence.text_of(&sighting.content),
                    first.map_or_else(|| "others".to_owned(), |first| evidence.text_of_witness(first)),
                    evidence.text_of_witness(sighting),
                )
            });
        }
    }
}
