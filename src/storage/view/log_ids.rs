//! What consensus asks of the log: which entry has which term, what offset follows an entry, and what state a segment
//! begins with. Each answer reads a page or two, through the index.

use super::LogView;
use crate::{
    storage::{
        ReadEntriesError, ReadError,
        checkpoint::Checkpoint,
        control::Control,
        cursors::{CommandPlace, Cursors},
        frame::FrameHeader,
        segment::{Absent, SegmentReader},
    },
    types::{LogIndex, Offset, Position, Term, TimestampMs},
};

/// Where an entry is, seen from the segments there are.
enum Place<'a> {
    /// Right before the first segment: the state before that knows of it.
    BeforeFirst(&'a SegmentReader),
    /// In this segment, or behind the last one.
    Inside(&'a SegmentReader, Option<FrameHeader>),
    /// There are no segments.
    Nowhere,
}

impl LogView {
    /// The first entry that can be read; `None` before the log is opened. There may be no entry yet, in a new log or
    /// behind an installed one: then it is the number of the one to come.
    #[must_use]
    pub fn first_log_index(&self) -> Option<LogIndex> {
        self.segments.first().map(|segment| segment.first_log_index())
    }

    /// The last entry that can be read, and its term; that before the first segment where nothing is behind it, and 0 in
    /// an empty log.
    ///
    /// Blocking: reads a page or two.
    pub fn last_log_id(&self) -> Result<(LogIndex, Term), ReadError> {
        let Some(last) = self.segments.last() else {
            return Ok((LogIndex::ZERO, Term::ZERO));
        };
        if let Some(header) = last.last_header()? {
            return Ok((header.log_index, header.term));
        }
        let before = last.header()?.checkpoint;
        Ok((before.last_log_index(), before.last_term()))
    }

    /// The entry's number and term; `None` when the log ends before it, and for 0. That of the entry right before the
    /// first segment is known, too.
    ///
    /// Blocking: reads a page or two. Errors: `ReadEntriesError::Trimmed` below that.
    pub fn log_id_of(&self, log_index: LogIndex) -> Result<Option<(LogIndex, Term)>, ReadEntriesError> {
        if log_index == LogIndex::ZERO {
            return Ok(None);
        }
        Ok(match self.place_of(log_index)? {
            Place::BeforeFirst(first) => {
                let before = self.unless_trimmed(first, log_index, first.header())?;
                Some((log_index, before.checkpoint.last_term()))
            }
            Place::Inside(_, header) => header.map(|header| (log_index, header.term)),
            Place::Nowhere => None,
        })
    }

    /// The offset behind the last record at or below the entry. Behind the end of the log it is the offset behind the
    /// last record that can be read.
    ///
    /// Blocking: reads a page or two. Errors: `ReadEntriesError::Trimmed` when the entry lies further than one before the
    /// first segment.
    pub fn next_offset_after(&self, log_index: LogIndex) -> Result<Offset, ReadEntriesError> {
        Ok(match self.place_of(log_index)? {
            Place::BeforeFirst(first) => self.unless_trimmed(first, log_index, first.face())?.first_offset,
            Place::Inside(_, Some(header)) => header.next_offset(),
            Place::Inside(last, None) => match last.last_header()? {
                Some(header) => header.next_offset(),
                None => last.face()?.first_offset,
            },
            Place::Nowhere => Offset::ZERO,
        })
    }

    /// The first entries of the segments, oldest first.
    #[must_use]
    pub fn segment_firsts(&self) -> Vec<LogIndex> {
        self.segments
            .iter()
            .map(|segment| segment.first_log_index())
            .collect()
    }

    /// Whether a read that met this in the segment that begins with `first` saw a picture of the log from before it was repaired: its store
    /// was not there, and is now.
    #[must_use]
    pub fn has_again(&self, first: LogIndex, what: &str) -> bool {
        let mut segments = self.segments.iter();
        let segment = segments.find(|segment| segment.first_log_index() == first);
        Absent::is_told_by(what) && segment.is_some_and(|segment| !segment.is_absent())
    }

    /// What the log before a segment amounts to: its last entry, the next offset, the membership. `None` when no segment
    /// begins with the entry `first`.
    ///
    /// Blocking: reads the segment's header, up to some megabytes where there are many producers.
    pub fn checkpoint_before(&self, first: LogIndex) -> Result<Option<Checkpoint>, ReadEntriesError> {
        Ok(self.header_of_segment(first)?.map(|header| header.checkpoint))
    }

    /// Below which offset the entries up to `committed` trim: where the log begins for readers, on every node alike. A
    /// trim behind `committed` may be truncated yet, and does not count.
    ///
    /// Blocking: reads a segment's header, and the headers of its frames up to that entry. Errors:
    /// `ReadEntriesError::Trimmed` when the entry lies further than one before the first segment.
    pub fn trim_point_at(&self, committed: LogIndex) -> Result<Offset, ReadEntriesError> {
        let Some(segment) = self.segment_up_to(committed)? else {
            return Ok(Offset::ZERO);
        };
        let before = self.unless_trimmed(segment, committed, segment.header())?;
        let inside = self.unless_trimmed(segment, committed, segment.trimmed_below(committed))?;
        Ok(before.checkpoint.trim_point().max(inside))
    }

    /// What the entries up to `committed` say of cursors, and when the last of them was made. What an entry behind it says may be
    /// truncated yet, and does not count.
    ///
    /// Blocking: reads a segment's header, and the headers of its frames up to that entry. Errors:
    /// `ReadEntriesError::Trimmed` when the entry lies further than one before the first segment.
    pub fn cursors_at(&self, committed: LogIndex) -> Result<(Cursors, TimestampMs), ReadEntriesError> {
        let Some(segment) = self.segment_up_to(committed)? else {
            return Ok((Cursors::default(), TimestampMs(0)));
        };
        let before = self
            .unless_trimmed(segment, committed, segment.header())?
            .checkpoint;
        let (mut cursors, mut last_timestamp) = (before.cursors().clone(), before.last_timestamp());
        let walked = segment.walk_up_to(committed, |header, control| {
            last_timestamp = header.timestamp;
            if let Some(Ok(Control::Cursor(command))) = control.map(Control::decode) {
                let at = CommandPlace {
                    log_index: header.log_index,
                    timestamp: header.timestamp,
                    next_offset: header.base_offset,
                };
                let _verdict = cursors.apply(at, &command);
            }
        });
        self.unless_trimmed(segment, committed, walked)?;
        Ok((cursors, last_timestamp))
    }

    /// The last segment that begins at or right behind an entry: its checkpoint and its frames up to the entry are what the log up
    /// to there amounts to. `None`: there is no segment.
    ///
    /// Errors: `ReadEntriesError::Trimmed` when the entry lies further than one before the first segment.
    fn segment_up_to(&self, log_index: LogIndex) -> Result<Option<&SegmentReader>, ReadEntriesError> {
        let Some(first) = self.segments.first() else {
            return Ok(None);
        };
        let first = first.first_log_index();
        if first.distance_from(log_index) > 1 {
            return Err(ReadEntriesError::Trimmed { log_index, first });
        }
        let behind = self
            .segments
            .partition_point(|segment| segment.first_log_index().get() - 1 <= log_index.get());
        Ok(Some(&self.segments[behind - 1]))
    }

    fn place_of(&self, log_index: LogIndex) -> Result<Place<'_>, ReadEntriesError> {
        let Some(first) = self.segments.first() else {
            return Ok(Place::Nowhere);
        };
        if first.first_log_index().get().checked_sub(log_index.get()) == Some(1) {
            return Ok(Place::BeforeFirst(first));
        }
        if log_index < first.first_log_index() {
            return Err(ReadEntriesError::Trimmed {
                log_index,
                first: first.first_log_index(),
            });
        }
        let behind = self
            .segments
            .partition_point(|segment| segment.first_log_index() <= log_index);
        let segment = &self.segments[behind - 1];
        let header = self.unless_trimmed(segment, log_index, segment.header_of(log_index))?;
        // Where another segment follows, this one reaches up to it.
        if header.is_none() && behind < self.segments.len() {
            return Err(ReadEntriesError::Read(ReadError::Corrupt {
                path: segment.path().to_owned(),
                position: Position(segment.end()?),
                what: format!("the segment ends before entry {log_index}, which it should hold"),
            }));
        }
        Ok(Place::Inside(segment, header))
    }

    pub(super) fn unless_trimmed<T>(
        &self,
        segment: &SegmentReader,
        log_index: LogIndex,
        read: Result<T, ReadError>,
    ) -> Result<T, ReadEntriesError> {
        read.map_err(|error| {
            if self.was_trimmed(segment, &error) {
                let first = self.kept.from();
                return ReadEntriesError::Trimmed { log_index, first };
            }
            ReadEntriesError::Read(error)
        })
    }
}
