//! What the log is given to append, and what it answers.

use bytes::Bytes;

use crate::types::{LogIndex, Offset, Term, TimestampMs};

/// One item of the log. Log indexes are consecutive; terms never fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub log_index: LogIndex,
    /// The term of the leader that made it.
    pub term: Term,
    /// When the leader made it, by the leader's clock.
    pub timestamp: TimestampMs,
    /// What it carries.
    pub payload: Payload,
}

/// What an entry carries. Only records take offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Records, appended all or none.
    Records(Batch),
    /// A membership of the cluster, encoded by consensus.
    Membership(Bytes),
    /// A command for the log itself, such as a trim, encoded by consensus.
    Control(Bytes),
    /// Nothing: a new leader's first entry.
    Blank,
}

/// Records of one client request, with the conditions under which they are to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who produced it and which of its batches it is, when the producer wants exact retries.
    pub producer: Option<ProducerStamp>,
    /// Store it only if its first record gets this offset.
    pub expected_offset: Option<Offset>,
    /// How many records `records` holds; at least 1.
    pub record_count: u32,
    /// A protobuf `RecordSet`, as the producer encoded it. Never decoded here.
    pub records: Bytes,
}

impl Batch {
    /// The part that the sequencer looks at.
    #[must_use]
    pub fn stamp(&self) -> BatchStamp {
        BatchStamp {
            producer: self.producer,
            expected_offset: self.expected_offset,
            record_count: self.record_count,
        }
    }
}

/// Identifies a batch among all that its producer ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerStamp {
    /// The producer; not 0.
    pub id: u64,
    /// The producer's instance; a higher one fences the lower ones.
    pub epoch: u32,
    /// Number of the batch's first record, counted by the producer from 0 in each epoch.
    pub sequence: u64,
}

/// All that decides where a batch goes: the sequencer never sees records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStamp {
    /// As in [`Batch`].
    pub producer: Option<ProducerStamp>,
    /// As in [`Batch`].
    pub expected_offset: Option<Offset>,
    /// As in [`Batch`].
    pub record_count: u32,
}

/// What became of a batch. A function of the log before it, hence the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records have the offsets from `base_offset` on.
    Stored {
        /// Offset of its first record.
        base_offset: Offset,
    },
    /// It takes no offsets.
    Void(VoidReason),
}

/// Why a batch takes no offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// The log has it already, at `base_offset`: the answer to a retry.
    Repeated {
        /// Offset of its first record.
        base_offset: Offset,
    },
    /// The log has had it already, so long ago that its offsets are no longer known.
    RepeatedLongAgo,
    /// The producer's sequence does not follow on its last one.
    OutOfOrder {
        /// The sequence that would.
        expected_sequence: u64,
    },
    /// The producer is not known (it is new, or was forgotten), so its sequence must start at 0.
    UnknownProducer,
    /// A newer instance of the producer has taken over.
    Fenced {
        /// That instance's epoch.
        current_epoch: u32,
    },
    /// `expected_offset` is not the next offset.
    ConditionFailed {
        /// The next offset.
        next_offset: Offset,
    },
}
