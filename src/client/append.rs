//! Single appends: records in one request, and what became of them.

use std::{
    future::{Future, IntoFuture},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time;

use crate::{clock, proto::raw::annals::v1 as raw, types::Offset};

use super::{
    Shared,
    calls::Twice,
    error::{Error, ProtocolError},
    producer::{new_producer_id, request_size},
    refusal::Reason,
    router::Need,
    settings::some_time,
};

/// The producer of a client's conditional appends. Taken while one is under way: when that one is given up in the middle, nobody
/// knows its sequence, and the next one is a new producer.
#[derive(Debug, Default)]
pub(super) struct Conditional {
    idle: Mutex<Option<Stamp>>,
    /// One at a time: of several that expect the same offset only one can be right, and sequences are taken in order.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    id: u64,
    sequence: u64,
}

impl Conditional {
    fn take(&self) -> Stamp {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        idle.unwrap_or_else(|| Stamp {
            id: new_producer_id(),
            sequence: 0,
        })
    }

    fn put_back(&self, stamp: Stamp) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
    }
}

/// An append that is about to be made: await it. Made by [`Client::append`](super::Client::append).
#[must_use = "nothing is appended unless this is awaited"]
#[derive(Debug)]
pub struct Append {
    pub(super) client: Arc<Shared>,
    pub(super) records: Bytes,
    pub(super) count: u64,
    pub(super) expected_offset: Option<u64>,
    pub(super) within: Option<Duration>,
}

impl Append {
    /// Appends only if the first record gets exactly this offset; otherwise the error's reason is
    /// [`Reason::ConditionFailed`], its [`Refusal::next_offset`](super::Refusal::next_offset) says which one it would have been, and nothing is
    /// stored.
    ///
    /// Such appends of one client are made one after the other.
    pub fn expected_offset(mut self, offset: impl Into<Offset>) -> Self {
        self.expected_offset = Some(offset.into().get());
        self
    }

    /// Gives up after this. [default: the client's `within`] An append without a condition is sent by the client's own producer,
    /// which goes on for as long as the client's `within`; this only ends the wait for it.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    async fn run(self) -> Result<Range<Offset>, Error> {
        if let Some(within) = self.within {
            some_time("within", within)?;
        }
        match self.expected_offset {
            Some(expected) => self.run_conditional(expected).await,
            None => self.client.append(self.records, self.count, self.within).await,
        }
    }

    async fn run_conditional(self, expected: u64) -> Result<Range<Offset>, Error> {
        if let Some(bytes_max) = self.client.router.request_bytes_max() {
            request_size(self.records.len(), bytes_max)?;
        }
        let conditional = &self.client.conditional;
        let within = self.within.unwrap_or_else(|| self.client.within());
        let until = clock::now() + within;
        let _turn = time::timeout(within, conditional.turn.lock())
            .await
            .map_err(|_| Shared::not_its_turn(within))?;
        let mut stamp = conditional.take();
        let appended = match self.try_conditional(expected, stamp, until).await {
            // It was silent for so long that others took its place.
            Err(error)
                if error.reason() == Some(Reason::UnknownProducer)
                    && stamp.sequence > 0
                    && error.has_no_side_effects() =>
            {
                stamp = Conditional::default().take();
                self.try_conditional(expected, stamp, until).await
            }
            other => other,
        };
        match &appended {
            Ok(_) => conditional.put_back(Stamp {
                sequence: stamp.sequence + self.count,
                ..stamp
            }),
            // What was refused has not used up its number.
            Err(error) if error.has_no_side_effects() => conditional.put_back(stamp),
            Err(_) => {}
        }
        appended
    }

    async fn try_conditional(
        &self,
        expected: u64,
        stamp: Stamp,
        until: Instant,
    ) -> Result<Range<Offset>, Error> {
        let request = raw::ProduceRequest {
            log: String::new(),
            records: Some(self.records.clone()),
            producer: Some(raw::Producer {
                id: stamp.id,
                epoch: 0,
                sequence: stamp.sequence,
            }),
            expected_offset: Some(expected),
        };
        // With its stamp it is stored once, however often it is sent.
        let within = until.saturating_duration_since(clock::now());
        let router = &self.client.router;
        let produced = router
            .call(Need::Leader, within, Twice::Same, |connection, _| {
                let request = request.clone();
                async move { connection.produce(request).await }
            })
            .await?;
        let acknowledged = produced.next_offset.saturating_sub(produced.first_offset);
        if acknowledged != self.count {
            let sent = self.count;
            return Err(ProtocolError::WrongCount { acknowledged, sent }.into());
        }
        Ok(Offset(produced.first_offset)..Offset(produced.next_offset))
    }
}

impl IntoFuture for Append {
    type Output = Result<Range<Offset>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
