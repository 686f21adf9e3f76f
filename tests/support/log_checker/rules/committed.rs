//! What was read is there, unchanged, in every full read that began after that: readers see committed records only (G5).

use super::{Evidence, Findings};
use crate::support::log_checker::{
    Contents, Seen, evidence::Sighting, offset_map::OffsetMap, text::text_of_contents,
};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    let history = evidence.history;
    for contents in &history.contents {
        let held = Held::of(contents);
        for sighting in evidence.sightings() {
            let read = sighting.read.map(|read| history.reads[read as usize].ended);
            let full = sighting
                .contents
                .map(|full| history.contents[full as usize].ended);
            let was_read = read.into_iter().chain(full).any(|ended| ended < contents.began);
            if was_read && held.breaks(sighting) {
                findings.add(Some(sighting.offset), || {
                    format!(
                        "offset {} was read as {} by {}; there is {} in {}",
                        sighting.offset,
                        evidence.text_of(&sighting.content),
                        evidence.text_of_witness(sighting),
                        held.text_at(evidence, sighting.offset),
                        text_of_contents(contents),
                    )
                });
            }
        }
    }
}

/// What a full read found, by offset.
pub(super) struct Held<'a> {
    contents: &'a Contents,
    records: OffsetMap<&'a Seen>,
}

impl<'a> Held<'a> {
    pub(super) fn of(contents: &'a Contents) -> Self {
        let begin = usize::try_from(contents.earliest).unwrap_or(0);
        let mut records = OffsetMap::new(begin.saturating_add(contents.records.len()));
        for seen in contents.records.iter() {
            records.insert(seen.offset, seen);
        }
        Self { contents, records }
    }

    /// This was known before, and something else is there, or nothing.
    pub(super) fn breaks(&self, sighting: &Sighting) -> bool {
        let offset = sighting.offset;
        match self.records.get(offset) {
            Some(seen) => seen.content.hash != sighting.content.hash,
            None if offset < self.contents.earliest => false,
            // A node that is behind may say so; one that was to be fresh may not be behind.
            None => self.contents.level.is_fresh() || offset < self.contents.high_watermark,
        }
    }

    pub(super) fn text_at(&self, evidence: &Evidence<'_>, offset: u64) -> String {
        let seen = self.records.get(offset);
        seen.map_or_else(|| "nothing".to_owned(), |seen| evidence.text_of(&seen.content))
    }
}
