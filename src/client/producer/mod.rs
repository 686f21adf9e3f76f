//! A producer: records in, offsets out, each stored once and in order.

mod batcher;
mod outgoing;
mod pipeline;
mod ticket;

pub use ticket::{BatchTicket, Ticket};

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};

pub(super) use self::{batcher::request_size, pipeline::new_producer_id};
use self::{
    batcher::{Batcher, Limits},
    pipeline::{Pipeline, Stamp},
};
use super::{
    error::{Error, ErrorKind},
    record::{Record, len_in_set, put},
    router::Router,
    settings::some_time,
};

/// Larger batches gain nothing, and a node takes twice as much by default (`log.batch_bytes_max`).
const BATCH_BYTES: usize = 512 << 10;

/// Twice what is sent ahead of the answers, so that the next batches are ready when those are acknowledged.
const UNACKNOWLEDGED_BYTES: usize = 8 << 20;

/// A batch that waits for this long is as large as it gets in a few round trips.
const LINGER: Duration = Duration::from_millis(5);

/// How a producer is to be. Made by [`Client::producer`](super::Client::producer).
#[derive(Clone, Debug)]
#[must_use = "`build` makes the producer"]
pub struct ProducerBuilder {
    router: Arc<Router>,
    limits: Limits,
    within: Duration,
    stamp: Stamp,
}

impl ProducerBuilder {
    pub(super) fn new(router: Arc<Router>) -> Self {
        Self {
            within: router.settings.within,
            router,
            limits: Limits {
                batch_bytes_max: BATCH_BYTES,
                unacknowledged_bytes_max: UNACKNOWLEDGED_BYTES,
                linger: LINGER,
            },
            stamp: Stamp {
                id: new_producer_id(),
                epoch: 0,
                sequence: 0,
                is_made_up: true,
                is_of_several: false,
            },
        }
    }

    /// A batch has at most so many bytes, unless one record alone has more, and no more than nodes take (`log.batch_bytes_max`).
    /// [default: 512 KiB]
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.batch_bytes_max = bytes.max(1);
        self
    }

    /// At most so many bytes of records are taken and not acknowledged; with more, [`Producer::send`] waits. [default: 8 MiB]
    pub fn unacknowledged_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.unacknowledged_bytes_max = bytes.clamp(1, u32::MAX as usize);
        self
    }

    /// A batch that is not full waits so long for more records, and only while others are under way. [default: 5 ms]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.limits.linger = linger;
        self
    }

    /// The producer gives up when nothing is acknowledged for so long, though something waits for it. [default: the
    /// client's `within`]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Goes on as the producer of this id, whose first `sequence` records are acknowledged: what it sends again is stored
    /// once, over the end of a process too. Without this, each producer is a new one.
    ///
    /// The log remembers the last 16 batches of a producer, and the 10,000 producers it heard of last.
    pub fn resume(mut self, id: NonZeroU64, sequence: u64) -> Self {
        self.stamp = Stamp {
            id: id.get(),
            sequence,
            is_made_up: false,
            ..self.stamp
        };
        self
    }

    /// The epoch of the id given with [`ProducerBuilder::resume`]: the log refuses what comes from a lower one
    /// ([`Reason::Fenced`](super::Reason::Fenced)) as soon as it has seen this. Sequences begin at 0 in each.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.stamp.epoch = epoch;
        self
    }

    /// Its batches are those of several who know nothing of each other.
    pub(super) fn of_several(mut self) -> Self {
        self.stamp.is_of_several = true;
        self
    }

    /// The producer. Nothing is connected before the first record.
    ///
    /// Panics: outside a runtime of tokio, where its work is done.
    #[must_use]
    pub fn build(self) -> Producer {
        let batcher = Arc::new(Batcher::new(self.limits, self.router.request_bytes_max()));
        if let Err(error) = some_time("within", self.within) {
            batcher.fail(&error);
        }
        let id = Arc::new(AtomicU64::new(self.stamp.id));
        let pipeline = Pipeline::new(
            self.router,
            Arc::clone(&batcher),
            self.stamp,
            Arc::clone(&id),
            self.within,
        );
        tokio::spawn(pipeline.run());
        Producer(Arc::new(Handle { batcher, id }))
    }
}

/// Sends records, in order, and each is stored once, whatever becomes of nodes and connections.
///
/// Records are batched and pipelined: do not await each [`Ticket`] before the next [`Producer::send`], where many
/// are to be sent. The order of the records is that in which they were taken. What is not acknowledged after a broken
/// connection, or under a leader that is gone, is sent again under the same number, and the log stores it once.
///
/// A producer that fails (see [`Ticket`]) stays failed: nothing is sent behind what was not stored, so that no record
/// overtakes another. Make a new one, or [`resume`](ProducerBuilder::resume). What is too large for a request is refused without that: it was
/// never among what is sent.
///
/// Clones are the same producer. When the last one is dropped, what was taken is still sent by its task, for as long as the
/// runtime runs; [`Producer::close`] waits for that.
///
/// ```no_run
/// # async fn example() -> Result<(), annals::client::Error> {
/// use annals::client::Client;
///
/// let client = Client::builder().address("127.0.0.1:8400").build()?;
/// let producer = client.producer().build();
/// let mut tickets = Vec::new();
/// for number in 0..1000 {
///     tickets.push(producer.send(format!("record {number}")).await?);
/// }
/// for ticket in tickets {
///     println!("at offset {}", ticket.await?);
/// }
/// producer.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer(Arc<Handle>);

/// What all clones share.
#[derive(Debug)]
struct Handle {
    batcher: Arc<Batcher>,
    id: Arc<AtomicU64>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.batcher.close();
    }
}

impl Producer {
    /// Takes a record, as soon as there is room for it; the ticket tells its offset later.
    ///
    /// Errors: `RecordTooLarge`, and the producer goes on (before any node has said what it takes, the ticket tells so instead);
    /// `Closed`; `ProducerFailed`, with the cause. The record is not taken then. Cancel: safe; the record is not taken unless a ticket was given.
    pub async fn send(&self, record: impl Into<Record>) -> Result<Ticket, Error> {
        let record = record.into().into_proto();
        let batcher = &self.0.batcher;
        let room = batcher.room(len_in_set(&record)).await?;
        let (answer, index) = batcher.push(&record, room)?;
        Ok(Ticket { answer, index })
    }

    /// Takes a record, if there is room for it now; `None`: there is none, as more is unacknowledged than may be.
    ///
    /// Errors: as [`Producer::send`].
    pub fn try_send(&self, record: impl Into<Record>) -> Result<Option<Ticket>, Error> {
        let record = record.into().into_proto();
        let batcher = &self.0.batcher;
        let Some(room) = batcher.try_room(len_in_set(&record))? else {
            return Ok(None);
        };
        let (answer, index) = batcher.push(&record, room)?;
        Ok(Some(Ticket { answer, index }))
    }

    /// Takes records that are stored together: all or none, at consecutive offsets. They are one request, whatever
    /// `batch_bytes_max` says.
    ///
    /// Errors: as [`Producer::send`]; `NoRecords`. Cancel: as [`Producer::send`].
    pub async fn send_batch<R: Into<Record>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<BatchTicket, Error> {
        let (records, count) = encoded(records);
        if count == 0 {
            // A node would refuse it, and the producer end with that.
            return Err(Error::new(ErrorKind::NoRecords));
        }
        self.send_encoded(records, count).await
    }

    /// The same of an encoded `RecordSet`.
    pub(crate) async fn send_encoded(&self, records: Bytes, count: u64) -> Result<BatchTicket, Error> {
        let room = self.0.batcher.room(records.len()).await?;
        let answer = self.0.batcher.push_batch(records, count, room)?;
        Ok(BatchTicket { answer, count })
    }

    /// Waits until all that was taken before is acknowledged; nothing waits for a fuller batch meanwhile.
    ///
    /// Errors: why the newest record is not acknowledged. Cancel: safe.
    pub async fn flush(&self) -> Result<(), Error> {
        match self.0.batcher.flush() {
            Some(answer) => BatchTicket { answer, count: 0 }.await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Takes nothing more, from any clone, and waits until all that was taken is acknowledged.
    ///
    /// Errors: as [`Producer::flush`]. Cancel: it is closed all the same.
    pub async fn close(&self) -> Result<(), Error> {
        self.0.batcher.close();
        self.flush().await
    }

    /// Whether it takes nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        self.0.batcher.has_ended()
    }

    /// The id under which the log knows it: what [`ProducerBuilder::resume`] takes. It changes, unless it was given, when the log has
    /// forgotten it after a long silence.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id.load(Ordering::Relaxed)
    }
}

/// Records as a `RecordSet`, and how many they are.
pub(super) fn encoded<R: Into<Record>>(records: impl IntoIterator<Item = R>) -> (Bytes, u64) {
    let mut set = BytesMut::new();
    let mut count = 0;
    for record in records {
        put(&mut set, &record.into().into_proto());
        count += 1;
    }
    (set.freeze(), count)
}
