//! A last segment whose header cannot be read. What the log amounts to before it is known from what stands before it, so it is damaged like any last
//! segment of which no frame is whole: the log is read up to there, takes no writes, and is repaired from the leader.

use super::{
    LogState,
    open::{OpenReport, Opened},
};
use crate::{
    clock,
    storage::{
        Damage, OpenError,
        checkpoint::Checkpoint,
        segment::{Recovered, SegmentReader, recover},
        segment_header::{SegmentFace, SegmentHeader},
    },
    types::LogIndex,
};

impl LogState {
    /// Takes a log in that ends with such a segment, `last`, behind the sealed ones. Entries up to `known` were synced here.
    ///
    /// Blocking. Errors: the damage, when nothing says what stands before it; nothing was changed.
    pub(super) fn without_header(
        mut self,
        damage: Damage,
        (last, sealed): (LogIndex, &[LogIndex]),
        known: LogIndex,
    ) -> Result<Opened, OpenError> {
        let Some((previous, sealed)) = sealed.split_last() else {
            return match self.before_only(last) {
                Some(before) => Ok(self.with_nothing_readable(damage, before)),
                None => Err(OpenError::Damaged(damage)),
            };
        };
        // It was sealed with all that is before the next, so whatever it lacks of that is damage, and nothing of it is cut.
        let known = known.max(LogIndex(last.get().saturating_sub(1)));
        let recovered = recover(&self.context, *previous, known)?;
        if recovered.checkpoint.last_log_index().plus(1) != last {
            return Err(OpenError::Damaged(damage));
        }
        let headless = self.headless(&recovered.checkpoint);
        let recovered = Recovered {
            writer: None,
            damage: Some(damage),
            ..recovered
        };
        self.take_sealed(sealed, *previous);
        self.adopt(*previous, recovered, Some(headless))
    }

    /// What stands before the only segment that there is.
    fn before_only(&self, only: LogIndex) -> Option<Checkpoint> {
        if !self.holes.is_empty() {
            return None;
        }
        match self.beginning.before() {
            Some(before) => Some(before.clone()).filter(|_| self.beginning.first() == Some(only)),
            None => (only == LogIndex(1)).then(Checkpoint::new),
        }
    }

    fn with_nothing_readable(mut self, damage: Damage, before: Checkpoint) -> Opened {
        self.segments = vec![self.headless(&before).into()];
        self.first_offset = before.next_offset();
        self.checkpoint = before;
        self.damage = Some(damage.clone());
        self.publish();
        let report: OpenReport = self.report(0, Some(damage));
        Opened {
            state: self,
            writer: None,
            report,
        }
    }

    /// The segment behind that state, of which nothing is readable.
    fn headless(&self, before: &Checkpoint) -> SegmentReader {
        let (header, face) = self.header_behind(before);
        self.sealed_reader(face.first_log_index, Some(face.header_len()))
            .known_as(header, face)
    }

    /// What the header of a segment behind that state says, but for its salt.
    pub(super) fn header_behind(&self, before: &Checkpoint) -> (SegmentHeader, SegmentFace) {
        let header = SegmentHeader {
            salt: 0,
            cluster_id: self.options.cluster_id,
            created: clock::wall(),
            checkpoint: before.clone(),
        };
        let face = SegmentFace::decode(&header.encode()).expect("a header just encoded is whole");
        (header, face)
    }
}
