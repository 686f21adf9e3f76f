//! What clients saw.

use std::{
    hash::{DefaultHasher, Hasher},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use super::{super::standstills::ran, Moment};

/// A record's bytes, told apart from all others by their hash. 64 bits: among ten million records, one pair in a hundred
/// thousand histories is taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) hash: u64,
    /// The first bytes, for people; zeros behind a shorter record.
    pub(crate) head: [u8; 16],
}

impl Content {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let mut head = [0; 16];
        let shown = bytes.len().min(head.len());
        head[..shown].copy_from_slice(&bytes[..shown]);
        Self {
            hash: hasher.finish(),
            head,
        }
    }
}

/// What makes a retry exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) id: u64,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
}

/// A node in one of its lives: from a start of its process to the end of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) life: u32,
}

impl Node {
    pub(crate) fn new(name: &str, life: u32) -> Self {
        Self {
            name: name.into(),
            life,
        }
    }
}

/// What a client was told about an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The records are stored.
    Acknowledged {
        first_offset: u64,
        next_offset: u64,
        /// The high watermark told with it, when the leader itself answered.
        leader_watermark: Option<u64>,
    },
    /// Nothing of this try was stored, and nothing will be.
    Failed,
    /// It may be stored or not, now or later.
    Unknown,
}

impl Answer {
    /// The records are stored at these offsets.
    pub(crate) fn acknowledged(offsets: Range<u64>) -> Self {
        Self::Acknowledged {
            first_offset: offsets.start,
            next_offset: offsets.end,
            leader_watermark: None,
        }
    }
}

/// One try to append some records.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Who tried.
    pub(crate) client: Arc<str>,
    /// Whom it asked.
    pub(crate) node: Node,
    pub(crate) records: Arc<[Content]>,
    pub(crate) stamp: Option<Stamp>,
    /// Tries with the same number are stored in the order in which they began.
    pub(crate) stream: Option<u64>,
    pub(crate) began: Moment,
    /// `None`: nobody ever answered.
    pub(crate) answer: Option<(Moment, Answer)>,
}

/// How fresh a read was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Linearizable,
    Lease,
    Local,
}

impl Level {
    /// It had to see all that was acknowledged before it began.
    pub(crate) fn is_fresh(self) -> bool {
        self != Self::Local
    }
}

/// Where a record comes from. Zero: nobody told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) term: u64,
    pub(crate) log_index: u64,
    pub(crate) timestamp_ms: u64,
}

impl Origin {
    /// Both may be told of one record.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let agree = |one: u64, other: u64| one == other || one == 0 || other == 0;
        agree(self.term, other.term)
            && agree(self.log_index, other.log_index)
            && agree(self.timestamp_ms, other.timestamp_ms)
    }
}

/// A record as a reader was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: u64,
    pub(crate) content: Content,
    pub(crate) origin: Origin,
}

/// What a read gave.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) node: Node,
    pub(crate) level: Level,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    /// It asked for the records from here on.
    pub(crate) from: u64,
    /// As they came.
    pub(crate) records: Arc<[Seen]>,
    /// It may have ended before it had all there was.
    pub(crate) limited: bool,
    /// As it was told with the records.
    pub(crate) high_watermark: u64,
}

/// All that one node had, read at leisure.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) node: Node,
    pub(crate) level: Level,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    /// The oldest readable offset.
    pub(crate) earliest: u64,
    /// The first offset that is not readable.
    pub(crate) high_watermark: u64,
    /// As they came.
    pub(crate) records: Arc<[Seen]>,
}

/// A high watermark that a node told.
#[derive(Clone, Debug)]
pub(crate) struct Watermark {
    pub(crate) node: Node,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    pub(crate) value: u64,
}

/// All that clients saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) reads: Vec<Read>,
    pub(crate) contents: Vec<Contents>,
    pub(crate) watermarks: Vec<Watermark>,
    /// When the machine stood still, in order.
    pub(crate) standstills: Vec<Range<Moment>>,
}

/// How much a history holds, so that a test can tell that something happened at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) acknowledged: usize,
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
    pub(crate) records_read: usize,
    pub(crate) linearizable_reads: usize,
    pub(crate) watermarks: usize,
    pub(crate) contents: usize,
}

impl History {
    /// What it holds.
    pub(crate) fn summary(&self) -> Summary {
        let answers = |wanted: fn(&Answer) -> bool| {
            let given = self.attempts.iter().filter_map(|attempt| attempt.answer);
            given.filter(|(_, answer)| wanted(answer)).count()
        };
        Summary {
            acknowledged: answers(|answer| matches!(answer, Answer::Acknowledged { .. })),
            failed: answers(|answer| *answer == Answer::Failed),
            unknown: answers(|answer| *answer == Answer::Unknown),
            records_read: self.reads.iter().map(|read| read.records.len()).sum(),
            linearizable_reads: self.reads.iter().filter(|read| read.level.is_fresh()).count(),
            watermarks: self.watermarks.len(),
            contents: self.contents.len(),
        }
    }

    /// The longest time within `from..to` in which nobody was acknowledged anything, without what the machine stood still of it: nobody
    /// could have been then.
    pub(crate) fn longest_silence(&self, from: Moment, to: Moment) -> Duration {
        let acknowledged = self.attempts.iter().filter_map(|attempt| match attempt.answer {
            Some((ended, Answer::Acknowledged { .. })) if ended > from && ended < to => Some(ended),
            _ => None,
        });
        let mut moments: Vec<Moment> = acknowledged.chain([from, to]).collect();
        moments.sort_unstable();
        let pauses = moments
            .windows(2)
            .map(|pair| ran(pair[0]..pair[1], &self.standstills));
        pauses.max().unwrap_or_default()
    }
}
