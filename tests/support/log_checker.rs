//! Says whether what clients saw of a log is what a log promises.
//!
//! Clients note what they do in a [`Recorder`]: each try to append with its answer, each read, each high watermark they
//! are told. When all is over, [`History::judge`] looks for what must not be. It knows nothing of how a log works, so it
//! judges one node and a cluster alike.
//!
//! A record is known by its bytes: whoever produces makes each one different from all others, and sends the same one
//! twice only in a retry under the same stamp.

mod rules;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

pub(crate) use rules::Violation;

/// A moment in real time: of two, the smaller was first, whichever threads they were taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

/// What makes a retry exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) id: u64,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
}

/// What a client was told about an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The records are stored from this offset on.
    Acknowledged { first_offset: u64 },
    /// Nothing of this try was stored, and nothing will be.
    Failed,
    /// It may be stored or not.
    Unknown,
}

/// One try to append some records.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) records: Vec<Bytes>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) began: Tick,
    /// `None`: nobody ever answered.
    pub(crate) answer: Option<(Tick, Answer)>,
}

/// What a read gave.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) began: Tick,
    /// It had to see all that was acknowledged before it began.
    pub(crate) linearizable: bool,
    /// It asked for the records from here on.
    pub(crate) from: u64,
    /// With their offsets, as they came.
    pub(crate) records: Vec<(u64, Bytes)>,
    /// It may have ended before it had all there was.
    pub(crate) limited: bool,
    /// As it was told with the records.
    pub(crate) high_watermark: u64,
}

/// All that one node had, read at leisure.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) began: Tick,
    /// The oldest readable offset.
    pub(crate) earliest: u64,
    /// The first offset that is not readable.
    pub(crate) high_watermark: u64,
    /// With their offsets, as they came.
    pub(crate) records: Vec<(u64, Bytes)>,
}

/// A high watermark that a node told.
#[derive(Clone, Debug)]
struct Watermark {
    node: String,
    began: Tick,
    ended: Tick,
    value: u64,
}

/// All that clients saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    attempts: Vec<Attempt>,
    reads: Vec<(Tick, Read)>,
    contents: Vec<Contents>,
    watermarks: Vec<Watermark>,
}

/// Names an attempt of a [`Recorder`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptId(usize);

/// Where clients note what they see. Clones note into the same history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    clock: Arc<AtomicU64>,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Now.
    pub(crate) fn now(&self) -> Tick {
        Tick(self.clock.fetch_add(1, Ordering::SeqCst))
    }

    /// Somebody is about to send these records.
    pub(crate) fn attempt(&self, records: Vec<Bytes>, stamp: Option<Stamp>) -> AttemptId {
        let mut history = self.lock();
        history.attempts.push(Attempt {
            records,
            stamp,
            began: self.now(),
            answer: None,
        });
        AttemptId(history.attempts.len() - 1)
    }

    /// The answer has just come.
    pub(crate) fn answered(&self, AttemptId(attempt): AttemptId, answer: Answer) {
        let ended = self.now();
        let earlier = self.lock().attempts[attempt].answer.replace((ended, answer));
        assert_eq!(earlier, None, "a try is answered once (ACT-1)");
    }

    /// A read has just ended.
    pub(crate) fn read(&self, read: Read) {
        let ended = self.now();
        self.lock().reads.push((ended, read));
    }

    /// `node` has just told its high watermark to somebody who asked at `began`.
    pub(crate) fn watermark(&self, node: &str, began: Tick, value: u64) {
        let ended = self.now();
        self.lock().watermarks.push(Watermark {
            node: node.to_owned(),
            began,
            ended,
            value,
        });
    }

    /// Somebody has read all that a node has.
    pub(crate) fn contents(&self, contents: Contents) {
        self.lock().contents.push(contents);
    }

    /// What there is so far.
    pub(crate) fn history(&self) -> History {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no call panics while it has the lock")
    }
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
            records_read: self.reads.iter().map(|(_, read)| read.records.len()).sum(),
            linearizable_reads: self.reads.iter().filter(|(_, read)| read.linearizable).count(),
            watermarks: self.watermarks.len(),
        }
    }

    /// How many appends wait for their answer.
    pub(crate) fn attempts_under_way(&self) -> usize {
        self.attempts
            .iter()
            .filter(|attempt| attempt.answer.is_none())
            .count()
    }

    /// All that must not be.
    pub(crate) fn judge(&self) -> Vec<Violation> {
        rules::judge(self)
    }

    /// Panics, and names the first of them, when there are violations.
    pub(crate) fn assert_kept(&self) -> Summary {
        const SHOWN: usize = 10;
        let violations = self.judge();
        let shown: Vec<String> = violations.iter().take(SHOWN).map(ToString::to_string).collect();
        assert!(
            violations.is_empty(),
            "{} promises are broken in {:?}:\n{}",
            violations.len(),
            self.summary(),
            shown.join("\n")
        );
        self.summary()
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tick {}", self.0)
    }
}
