//! Single reads.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use crate::{clock, proto::annals::v1 as proto, types::Offset};

use super::{
    Shared,
    calls::Twice,
    consumer::records_of,
    error::Error,
    position::{Position, ReadLevel},
    record::Stored,
    router::Need,
    settings::some_time,
};

/// Records that were read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The records, in order. There are fewer than asked for where they do not fit into one answer (about 256 KiB, unless
    /// `bytes_max` says otherwise), or where the log ends.
    pub records: Vec<Stored>,
    /// Where to go on.
    pub next_offset: Offset,
    /// The first offset that is not readable yet, as the node knows it.
    pub high_watermark: Offset,
    /// The node that was read from.
    pub node_id: u64,
}

/// A read that is about to be made: await it. Made by [`Client::read`](super::Client::read).
#[must_use = "nothing is read unless this is awaited"]
#[derive(Debug)]
pub struct Read {
    pub(super) client: Arc<Shared>,
    pub(super) from: Position,
    pub(super) until: Option<u64>,
    pub(super) count: u64,
    pub(super) bytes_max: u64,
    pub(super) level: ReadLevel,
    pub(super) min_offset: u64,
    pub(super) within: Duration,
}

impl Read {
    /// How fresh it must be. [default: [`ReadLevel::Linearizable`]]
    pub fn level(mut self, level: ReadLevel) -> Self {
        self.level = level;
        self
    }

    /// Reads where everything below this offset is: one's own writes, when it is the offset behind the last of them. The
    /// node that is asked is one that was heard to have it: a follower, or else the leader. Where none has it yet it is waited for.
    ///
    /// Errors: `AheadOfAll`, with the offset up to which they have it, when none has it in time.
    pub fn min_offset(mut self, offset: impl Into<Offset>) -> Self {
        self.min_offset = offset.into().get();
        self
    }

    /// At most so many records; 0 is no limit.
    pub fn count(mut self, records: u64) -> Self {
        self.count = records;
        self
    }

    /// At most so many bytes of records, but never less than one record. A node gives no more than its largest batch has.
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Gives up after this. [default: the client's `within`]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Asks how far the log goes, when nobody is known to have what must be there: a node that waits for it says nothing. Answers the
    /// time that is left.
    async fn learn_of_min_offset(&self) -> Result<Duration, Error> {
        let router = &self.client.router;
        if self.min_offset <= router.reached() {
            return Ok(self.within);
        }
        let began = clock::now();
        let described = router.call(
            Need::Any,
            self.within,
            Twice::Nothing,
            |connection, _| async move { connection.describe_log().await },
        );
        match described.await {
            // Who may read need not be allowed to ask.
            Err(error) if error.refusal().is_none() => Err(error),
            _ => Ok(self.within.saturating_sub(clock::now() - began)),
        }
    }

    async fn run(self) -> Result<Page, Error> {
        some_time("within", self.within)?;
        let request = proto::ConsumeRequest {
            start: Some(self.from.into()),
            records_max: self.count,
            bytes_max: self.bytes_max,
            end_offset: self.until,
            read_level: proto::ReadLevel::from(self.level).into(),
            min_offset: self.min_offset,
            ..Default::default()
        };
        let first = match self.from {
            Position::Offset(offset) => offset,
            _ => 0,
        };
        let need = Need::Below(self.min_offset.max(first));
        let router = &self.client.router;
        let within = self.learn_of_min_offset().await?;
        let response = router
            .call(need, within, Twice::Nothing, |connection, _| {
                let request = request.clone();
                async move { connection.consume(request).await }
            })
            .await
            .map_err(|error| router.explained(error, self.min_offset).without_effects())?;
        let header = response.header.unwrap_or_default();
        Ok(Page {
            next_offset: Offset(response.next_offset),
            high_watermark: Offset(header.high_watermark),
            node_id: header.node_id,
            records: records_of(response.batches)?,
        })
    }
}

impl IntoFuture for Read {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
