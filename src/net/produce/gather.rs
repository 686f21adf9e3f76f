//! Gathers the requests of one stream into as few batches as possible. Pure: it knows no socket and no actor.
//!
//! A batch costs an entry in the log, a place in a sync and an answer, whatever it holds; one per record would cost more
//! than the records. Two encoded `RecordSet`s one behind the other are a `RecordSet`, so gathering copies bytes
//! and looks into none. Each request stays atomic, since its whole batch is.
//!
//! What may share a batch: requests without conditions, and consecutive requests of one producer while its chain is
//! *proven*. A producer's requests on this stream are a chain while each sequence follows on the one before. Once the log has
//! freshly stored one of them, nothing behind it can have been stored by an earlier try, since the log takes sequences
//! only in order. Before that, a request may be a retry of one that was stored in a batch cut differently; on its
//! own it is recognised, merged with new ones it would not be.

use bytes::{Bytes, BytesMut};

use crate::{
    record_set::{self, RecordSetError},
    storage::entry::{Batch, ProducerStamp},
    types::Offset,
};

/// Requests with more bytes than this are not copied into a shared batch: the copy would cost more than the entry saved.
const COPY_BYTES_MAX: usize = 32 << 10;

/// Requests in one batch. Each may have to be answered on its own, so their number is bounded apart from their bytes; with more
/// nothing gets faster.
const REQUESTS_MAX: usize = 16 << 10;

/// Bytes that framing adds to a bare record: a tag and a length of at most five bytes.
const FRAMING_BYTES_MAX: usize = 6;

/// A new batch is given room for as much as the last one held, up to this.
const CAPACITY_HINT_MAX: usize = 256 << 10;

/// What one request asks to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record as log.v1 sends it, without the `RecordSet` around it.
    Record(Bytes),
    /// The batch of an annals.v1 request.
    Batch(Batch),
}

impl Item {
    /// The bytes it takes in the log, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => record.len() + FRAMING_BYTES_MAX,
            Self::Batch(batch) => batch.records.len(),
        }
    }

    /// How many records it holds.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        match self {
            Self::Record(_) => 1,
            Self::Batch(batch) => batch.record_count,
        }
    }

    fn producer(&self) -> Option<ProducerStamp> {
        match self {
            Self::Record(_) => None,
            Self::Batch(batch) => batch.producer,
        }
    }

    fn is_conditional(&self) -> bool {
        match self {
            Self::Record(_) => false,
            Self::Batch(batch) => batch.expected_offset.is_some(),
        }
    }

    /// As a batch of its own.
    ///
    /// Errors: a bare record that is not well-formed.
    pub fn into_batch(self) -> Result<Batch, RecordSetError> {
        match self {
            Self::Batch(batch) => Ok(batch),
            Self::Record(record) => {
                let records = framed(&record, 0)?.freeze();
                Ok(Batch {
                    producer: None,
                    expected_offset: None,
                    record_count: 1,
                    records,
                })
            }
        }
    }
}

/// A batch and the requests it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// What to propose.
    pub batch: Batch,
    /// The record count of each request in it, in order.
    pub requests: Vec<u32>,
    /// To be handed to [`Gather::stored`] when the batch is stored.
    pub chain: ChainId,
    /// What its requests said they take, for accounting: at least the length of the batch.
    pub bytes: usize,
}

/// Tells one chain of a stream from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainId(u64);

#[derive(Debug)]
struct Chain {
    id: ChainId,
    /// The stamp that the next request must have to continue it; `None` after a request without a stamp.
    next: Option<ProducerStamp>,
    proven: bool,
}

/// Whether a request may join those that are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It may.
    Joins,
    /// It may when an answer has proven its chain; before that, only in a batch of its own.
    OnceProven,
    /// Only in a batch of its own.
    Apart,
}

/// The requests that are gathered at the moment.
#[derive(Debug)]
pub struct Gather {
    bytes_max: usize,
    chain: Chain,
    open: Option<Open>,
    /// The size of the last batch: what to allocate for the next one.
    capacity_hint: usize,
}

#[derive(Debug)]
struct Open {
    producer: Option<ProducerStamp>,
    expected_offset: Option<Offset>,
    record_count: u32,
    records: Records,
    requests: Vec<u32>,
    bytes: usize,
}

/// Bytes stay the client's own until a second request joins.
#[derive(Debug)]
enum Records {
    One(Bytes),
    Many(BytesMut),
}

impl Gather {
    /// Batches get at most `bytes_max` bytes, but for a single request that has more.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            chain: Chain {
                id: ChainId(0),
                next: None,
                proven: false,
            },
            open: None,
            capacity_hint: 0,
        }
    }

    /// Whether nothing is gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// What the gathered requests take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Whether `item` may join what is gathered.
    #[must_use]
    pub fn fit(&self, item: &Item) -> Fit {
        let Some(open) = &self.open else {
            return Fit::Joins;
        };
        let bytes = item.bytes();
        let too_large = bytes > COPY_BYTES_MAX
            || open.is_too_large_to_copy()
            || open.bytes + bytes > self.bytes_max
            || open.requests.len() >= REQUESTS_MAX
            || open.record_count.checked_add(item.record_count()).is_none();
        if too_large || item.is_conditional() || open.expected_offset.is_some() {
            return Fit::Apart;
        }
        match (open.producer, item.producer()) {
            (None, None) => Fit::Joins,
            (Some(_), Some(stamp)) if self.chain.next == Some(stamp) => {
                if self.chain.proven {
                    Fit::Joins
                } else {
                    Fit::OnceProven
                }
            }
            (Some(_) | None, Some(_)) | (Some(_), None) => Fit::Apart,
        }
    }

    /// Adds a request.
    ///
    /// Errors: a bare record that is not well-formed; then nothing was added. Panics: when [`Gather::fit`] says no.
    pub fn push(&mut self, item: Item) -> Result<(), RecordSetError> {
        assert!(
            self.fit(&item) == Fit::Joins,
            "a request is only pushed where it fits"
        );
        let stamp = item.producer();
        let record_count = item.record_count();
        match &mut self.open {
            Some(open) => open.join(item, self.capacity_hint)?,
            None => self.open = Some(Open::of(item, self.capacity_hint)?),
        }
        self.follow(stamp, record_count);
        Ok(())
    }

    /// What is gathered, to be proposed; `None` when that is nothing.
    pub fn seal(&mut self) -> Option<Gathered> {
        let open = self.open.take()?;
        let records = match open.records {
            Records::One(records) => records,
            Records::Many(records) => {
                self.capacity_hint = records.len().min(CAPACITY_HINT_MAX);
                into_exact(records)
            }
        };
        Some(Gathered {
            batch: Batch {
                producer: open.producer,
                expected_offset: open.expected_offset,
                record_count: open.record_count,
                records,
            },
            requests: open.requests,
            chain: self.chain.id,
            bytes: open.bytes,
        })
    }

    /// A batch of this stream was stored, and not by an earlier try: what follows in its chain is new too.
    pub fn stored(&mut self, chain: ChainId) {
        if self.chain.id == chain {
            self.chain.proven = true;
        }
    }

    /// A batch of this stream was not stored, or nobody knows: what follows may be retries.
    pub fn not_stored(&mut self) {
        self.break_chain(None);
    }

    fn follow(&mut self, stamp: Option<ProducerStamp>, record_count: u32) {
        if stamp != self.chain.next {
            self.break_chain(stamp);
        }
        self.chain.next = stamp.and_then(|stamp| {
            let sequence = stamp.sequence.checked_add(u64::from(record_count))?;
            Some(ProducerStamp { sequence, ..stamp })
        });
    }

    fn break_chain(&mut self, next: Option<ProducerStamp>) {
        self.chain = Chain {
            id: ChainId(self.chain.id.0 + 1),
            next,
            proven: false,
        };
    }
}

/// Caches account for the length of a batch, so its allocation must not be much larger: a quarter at most.
fn into_exact(records: BytesMut) -> Bytes {
    if records.capacity() > records.len() + records.len() / 4 {
        Bytes::copy_from_slice(&records)
    } else {
        records.freeze()
    }
}

/// A bare record as a set of one. It must be copied even when it stays alone, since its framing was left behind.
fn framed(record: &[u8], capacity_hint: usize) -> Result<BytesMut, RecordSetError> {
    let mut records = BytesMut::with_capacity(capacity_hint.max(record.len() + FRAMING_BYTES_MAX));
    record_set::push(&mut records, record)?;
    Ok(records)
}

impl Open {
    fn of(item: Item, capacity_hint: usize) -> Result<Self, RecordSetError> {
        let bytes = item.bytes();
        let requests = vec![item.record_count()];
        Ok(match item {
            Item::Record(record) => Self {
                producer: None,
                expected_offset: None,
                record_count: 1,
                records: Records::Many(framed(&record, capacity_hint)?),
                requests,
                bytes,
            },
            Item::Batch(batch) => Self {
                producer: batch.producer,
                expected_offset: batch.expected_offset,
                record_count: batch.record_count,
                records: Records::One(batch.records),
                requests,
                bytes,
            },
        })
    }

    fn is_too_large_to_copy(&self) -> bool {
        matches!(&self.records, Records::One(records) if records.len() > COPY_BYTES_MAX)
    }

    fn join(&mut self, item: Item, capacity_hint: usize) -> Result<(), RecordSetError> {
        let bytes = item.bytes();
        let record_count = item.record_count();
        let records = self.records.shared(capacity_hint, bytes);
        match item {
            Item::Record(record) => record_set::push(records, &record)?,
            Item::Batch(batch) => records.extend_from_slice(&batch.records),
        }
        self.record_count += record_count;
        self.requests.push(record_count);
        self.bytes += bytes;
        Ok(())
    }
}

impl Records {
    /// As a buffer that more can be put into.
    fn shared(&mut self, capacity_hint: usize, bytes_more: usize) -> &mut BytesMut {
        if let Self::One(first) = self {
            let mut records = BytesMut::with_capacity(capacity_hint.max(first.len() + bytes_more));
            records.extend_from_slice(first);
            *self = Self::Many(records);
        }
        match self {
            Self::Many(records) => records,
            Self::One(_) => unreachable!("just made shared"),
        }
    }
}
