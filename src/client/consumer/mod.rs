//! A consumer: the records of the log from a place on, each once and in order.

mod interruption;
mod reader;

pub use interruption::Interruption;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, StreamExt};
use prost::Message;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    proto::{annals::v1::Record, raw::annals::v1::Batch},
    record_set::{self, Records},
    types::Offset,
};

use self::{
    interruption::Listener,
    reader::{Reader, Span},
};
use super::{
    cursor::HeldCursor,
    error::{Error, ErrorKind, ProtocolError},
    position::{Position, ReadLevel},
    record::Stored,
    router::Router,
};

/// Responses received and not yet taken: the next one is on its way while one is looked through. A response has about 256 KiB, or one
/// batch.
const CHUNKS_AHEAD: usize = 2;

/// What a consumer is to read. Made by [`Client::consumer`](super::Client::consumer).
#[derive(Clone, Debug)]
#[must_use = "`build` makes the consumer"]
pub struct ConsumerBuilder {
    router: Arc<Router>,
    span: Span,
    /// Where to start in spite of `span.from`.
    resumed: Option<Offset>,
    level: Option<ReadLevel>,
    within: Duration,
    listener: Listener,
}

impl ConsumerBuilder {
    pub(super) fn new(router: Arc<Router>) -> Self {
        Self {
            within: router.settings.within,
            router,
            span: Span {
                from: Position::Earliest,
                count: None,
                until: None,
                follow: false,
                level: ReadLevel::Linearizable,
                min_offset: 0,
            },
            resumed: None,
            level: None,
            listener: Listener::default(),
        }
    }

    /// Where to start: an offset, a time, or a [`Position`]. [default: the oldest readable record]
    ///
    /// The offset behind the last record that was dealt with is where to go on.
    pub fn from(mut self, position: impl Into<Position>) -> Self {
        self.span.from = position.into();
        self
    }

    /// Starts where the cursor stands; what [`ConsumerBuilder::from`] says counts only while nothing was ever committed to it. To commit what was
    /// dealt with is up to whoever holds it.
    pub fn cursor(mut self, cursor: &HeldCursor) -> Self {
        self.resumed = cursor.offset();
        self
    }

    /// Ends before this offset.
    pub fn until(mut self, offset: impl Into<Offset>) -> Self {
        self.span.until = Some(offset.into().get());
        self
    }

    /// Ends after so many records; 0 is no limit.
    pub fn count(mut self, records: u64) -> Self {
        self.span.count = (records > 0).then_some(records);
        self
    }

    /// At the end of the log, waits for more: such a consumer ends only at its own limits, and goes on after a lost connection however long
    /// that takes. Without this it ends at what was the end of the log when it began.
    pub fn follow(mut self) -> Self {
        self.span.follow = true;
        self
    }

    /// How fresh it must be. [default: who follows reads [`Local`](ReadLevel::Local), since it gets everything in any
    /// case; who reads to the end, [`Linearizable`](ReadLevel::Linearizable)]
    pub fn level(mut self, level: ReadLevel) -> Self {
        self.level = Some(level);
        self
    }

    /// Reads where everything below this offset is: one's own writes, when it is the offset behind the last of them. Who follows waits
    /// for it; who reads to the end, for the time of [`ConsumerBuilder::within`].
    pub fn min_offset(mut self, offset: impl Into<Offset>) -> Self {
        self.span.min_offset = offset.into().get();
        self
    }

    /// Gives up when nothing comes for so long; who follows, only when no node is found at first. [default: the client's
    /// `within`]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Is told what interrupts a consumer that follows, which goes on by itself: once when that begins, with the reason, and once when
    /// records can come again. It is called by the consumer's task, and is not to block it.
    ///
    /// ```no_run
    /// # use annals::client::{Client, Interruption};
    /// # fn example(client: &Client) {
    /// let consumer = client.consumer().follow().on_interruption(|interruption| match interruption {
    ///     Interruption::Began(error) => eprintln!("nothing comes: {error}"),
    ///     Interruption::Ended { address, lasted } => eprintln!("goes on at {address} after {lasted:?}"),
    ///     _ => {}
    /// });
    /// # }
    /// ```
    pub fn on_interruption(mut self, told: impl Fn(&Interruption) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(told);
        self
    }

    /// The consumer, which begins to read.
    ///
    /// Panics: outside a runtime of tokio, where its work is done.
    #[must_use]
    pub fn build(self) -> Consumer {
        let usual = if self.span.follow {
            ReadLevel::Local
        } else {
            ReadLevel::Linearizable
        };
        let span = Span {
            from: self.resumed.map_or(self.span.from, Position::from),
            level: self.level.unwrap_or(usual),
            ..self.span
        };
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let reader = Reader::new(self.router, span, self.within, self.listener);
        Consumer {
            chunks,
            batches: VecDeque::new(),
            open: None,
            task: tokio::spawn(reader.run(sender)),
            is_over: false,
        }
    }
}

/// Gives the records of the log, each once and in order, whatever becomes of nodes and connections.
///
/// It is a [`Stream`] (of the crate `futures`), and [`Consumer::next`] needs no other crate. After a lost connection it goes on behind the
/// last record it gave, at any node that has it. It reads a little ahead: a few chunks of 256 KiB, and what HTTP/2 holds of its stream
/// (8 MiB); when nobody takes what it has, its node waits.
///
/// Dropped, it ends, and its connection is free for others.
///
/// ```no_run
/// # async fn example() -> Result<(), annals::client::Error> {
/// use annals::client::{Client, Position};
///
/// let client = Client::builder().address("127.0.0.1:8400").build()?;
/// let mut consumer = client.consumer().from(Position::FromEnd(10)).follow().build();
/// while let Some(record) = consumer.next().await {
///     let record = record?;
///     println!("{}: {:?}", record.offset, record.value());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    chunks: mpsc::Receiver<Result<Vec<Batch>, Error>>,
    /// Received, and not begun.
    batches: VecDeque<Batch>,
    /// Begun.
    open: Option<OpenBatch>,
    task: JoinHandle<()>,
    is_over: bool,
}

/// A batch some of whose records were given.
#[derive(Debug)]
struct OpenBatch {
    batch: Batch,
    records: Records,
    given: u64,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Consumer {
    /// The next record; `None`: all that was asked for was given, or an error was.
    ///
    /// Errors: a refusal that does not pass, or no node is reached in time. Cancel: safe; no record is skipped.
    pub async fn next(&mut self) -> Option<Result<Stored, Error>> {
        StreamExt::next(self).await
    }

    /// The next batches as they came, their records encoded; not together with [`Consumer::next`].
    ///
    /// Errors, Cancel: as `next`.
    #[cfg(feature = "cli")]
    pub(crate) async fn next_batches(&mut self) -> Option<Result<Vec<Batch>, Error>> {
        let next = self.chunks.recv().await;
        self.is_over |= next.as_ref().is_none_or(Result::is_err);
        next
    }

    /// The next record of what is there; `None`: nothing is.
    fn next_now(&mut self) -> Option<Result<Stored, Error>> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(record) = open.next() {
                    return Some(record);
                }
                self.open = None;
            }
            self.open = Some(OpenBatch::new(self.batches.pop_front()?));
        }
    }
}

impl OpenBatch {
    fn new(mut batch: Batch) -> Self {
        let records = batch.records.take().unwrap_or_default();
        Self {
            records: record_set::records(&records),
            batch,
            given: 0,
        }
    }

    fn next(&mut self) -> Option<Result<Stored, Error>> {
        let Batch {
            base_offset,
            record_count,
            timestamp_ms,
            term,
            ..
        } = self.batch;
        if self.given == u64::from(record_count) {
            return None;
        }
        let decoded = self.records.next().and_then(|record| Record::decode(record).ok());
        let offset = base_offset + self.given;
        self.given += 1;
        Some(match decoded {
            Some(record) => Ok(Stored::new(offset, timestamp_ms, term, record)),
            None => Err(ProtocolError::Undecodable { base_offset }.into()),
        })
    }
}

impl Stream for Consumer {
    type Item = Result<Stored, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let consumer = self.get_mut();
        loop {
            if consumer.is_over {
                return Poll::Ready(None);
            }
            if let Some(record) = consumer.next_now() {
                consumer.is_over = record.is_err();
                return Poll::Ready(Some(record));
            }
            match ready!(consumer.chunks.poll_recv(cx)) {
                Some(Ok(batches)) => consumer.batches.extend(batches),
                Some(Err(error)) => {
                    consumer.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    consumer.is_over = true;
                    return Poll::Ready(ended(&mut consumer.task, cx).map(Err));
                }
            }
        }
    }
}

/// Why the reader sends nothing any more; `None`: it has come to its end.
fn ended(task: &mut JoinHandle<()>, cx: &mut Context<'_>) -> Option<Error> {
    match Pin::new(task).poll(cx) {
        // It ends right after it has let go of the channel.
        Poll::Pending | Poll::Ready(Ok(())) => None,
        Poll::Ready(Err(_)) => Some(Error::new(ErrorKind::Ended)),
    }
}

/// All records of some batches.
pub(super) fn records_of(batches: Vec<Batch>) -> Result<Vec<Stored>, Error> {
    let mut records = Vec::new();
    for batch in batches {
        let mut open = OpenBatch::new(batch);
        while let Some(record) = open.next() {
            records.push(record?);
        }
    }
    Ok(records)
}
