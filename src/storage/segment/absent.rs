//! Segments whose store is not in the log. What they held is known, as far as that goes, and reads say why they do not get it.

use std::path::Path;

use super::{SegmentReader, reader::Kind};
use crate::storage::{
    fs::{OpenMode, read_exact_at},
    segment_header::{SegmentFace, SegmentHeader},
};

/// Why a segment has no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Absent {
    /// It was taken out, to be repaired.
    Quarantined,
    /// Nobody knows where it is.
    Missing,
}

impl Absent {
    /// What reads of the segment are told.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Quarantined => "the segment is quarantined until it is repaired from another node",
            Self::Missing => "the segment is missing, and was not trimmed",
        }
    }

    /// Whether a read that was told this met a segment without a store.
    pub(in crate::storage) fn is_told_by(what: &str) -> bool {
        [Self::Quarantined, Self::Missing]
            .iter()
            .any(|absent| absent.what() == what)
    }
}

impl SegmentReader {
    /// A segment whose store was taken out of the log and lies at `kept`, as far as its header and length can be told.
    ///
    /// Blocking: reads them.
    pub(in crate::storage) fn quarantined(mut self, kept: &Path) -> Self {
        self.absent = Some(Absent::Quarantined);
        if let (Ok(file), Kind::Sealed { len, .. }) =
            (self.file_system.open(kept, OpenMode::Read), &self.kind)
        {
            let mut bytes = [0; SegmentFace::LEN];
            let face = read_exact_at(&*file, 0, &mut bytes).ok();
            let face = face.and_then(|()| SegmentFace::decode(&bytes).ok());
            let size = file.size().unwrap_or(0);
            len.get_or_init(|| size);
            if let Some(face) = face.filter(|face| face.first_log_index == self.first_log_index) {
                self.face.get_or_init(|| face);
            }
        }
        self
    }

    /// A segment that should be there and is not; `face` is what its header would say.
    pub(in crate::storage) fn missing(mut self, face: SegmentFace) -> Self {
        self.absent = Some(Absent::Missing);
        self.face.get_or_init(|| face);
        if let Kind::Sealed { len, .. } = &self.kind {
            len.get_or_init(|| 0);
        }
        self
    }

    /// A segment whose own header cannot be read; this is what it would say, but for its salt, so that no frame fits it.
    pub(in crate::storage) fn known_as(mut self, header: SegmentHeader, face: SegmentFace) -> Self {
        self.face.get_or_init(|| face);
        self.header = Some(Box::new(header));
        self
    }

    /// Whether its store is not in the log: it was taken out, or is missing.
    pub(in crate::storage) fn is_absent(&self) -> bool {
        self.absent.is_some()
    }

    /// Whether its store should be there and is not.
    pub(in crate::storage) fn is_missing(&self) -> bool {
        self.absent == Some(Absent::Missing)
    }
}
