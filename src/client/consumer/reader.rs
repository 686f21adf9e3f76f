//! Reads so that each record comes once and in order, over connections that come and go.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{sync::mpsc, time};
use tonic::Streaming;

use super::interruption::Listener;
use crate::{
    client::{
        calls::Answer,
        error::{Error, ErrorKind, ProtocolError, in_tenths},
        position::{Position, ReadLevel},
        router::{Need, Router},
        settings::some_time,
        way::{Place, Way},
    },
    proto::{
        annals::v1::ConsumeRequest,
        raw::annals::v1::{Batch, ConsumeResponse},
    },
    record_set,
};

/// When nothing comes for so long where something came before, who follows has the nodes looked at: its own may be cut off.
const DOUBT_AFTER: Duration = Duration::from_millis(500);
/// Then again, and no more often than so many times: what is over by then is an election, and a log to which nothing is appended.
const DOUBT_EVERY: Duration = Duration::from_secs(1);
const DOUBTS_MAX: u32 = 5;

/// A stream that was opened and has not broken in this time stands.
const STANDS_AFTER: Duration = Duration::from_secs(1);

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Where to start.
    pub(super) from: Position,
    /// How many records at most.
    pub(super) count: Option<u64>,
    /// The first offset not to read.
    pub(super) until: Option<u64>,
    /// Whether to wait at the high watermark for more.
    pub(super) follow: bool,
    /// How fresh it must be.
    pub(super) level: ReadLevel,
    /// The node must have everything below this.
    pub(super) min_offset: u64,
}

/// One reader and how far it is.
#[derive(Debug)]
pub(super) struct Reader {
    span: Span,
    within: Duration,
    way: Way,
    /// The offset that comes next, as soon as it is known.
    next_offset: Option<u64>,
    listener: Listener,
}

impl Reader {
    /// Nothing is read yet. Gives up when nothing comes for `within`; when it follows, only before the first answer.
    pub(super) fn new(router: Arc<Router>, span: Span, within: Duration, listener: Listener) -> Self {
        let next_offset = match span.from {
            Position::Offset(offset) => Some(offset),
            Position::Earliest | Position::Latest | Position::Time(_) | Position::FromEnd(_) => None,
        };
        Self {
            way: Way::new(router, within),
            span,
            within,
            next_offset,
            listener,
        }
    }

    /// Reads to the end, into `batches`; returns early when nobody receives them.
    pub(super) async fn run(mut self, batches: mpsc::Sender<Result<Vec<Batch>, Error>>) {
        let result = tokio::select! {
            result = self.read(&batches) => result,
            // Nobody waits for what may come in hours.
            () = batches.closed() => return,
        };
        if let Err(error) = result {
            let error = self.way.router().explained(error, self.span.min_offset);
            // Whoever has gone meanwhile needs no word.
            drop(batches.send(Err(error.without_effects())).await);
        }
    }

    async fn read(&mut self, batches: &mpsc::Sender<Result<Vec<Batch>, Error>>) -> Result<(), Error> {
        some_time("within", self.within)?;
        let mut place = self.way.enter(self.need()).await?;
        if self.span.follow {
            self.way.tries.backoff.never_give_up();
        }
        loop {
            let Err(error) = self.read_stream(&place, batches).await else {
                return Ok(());
            };
            if self.span.follow && self.way.tries.may_pass(&error) {
                self.listener.begin(&error);
            }
            place = self.way.again(self.need(), &place, error).await?;
        }
    }

    fn need(&self) -> Need {
        // Who follows may wait there for what comes next.
        let next = self.next_offset.filter(|_| !self.span.follow).unwrap_or(0);
        Need::Below(self.span.min_offset.max(next))
    }

    /// One stream from its start to its end.
    async fn read_stream(
        &mut self,
        place: &Place,
        batches: &mpsc::Sender<Result<Vec<Batch>, Error>>,
    ) -> Result<(), Error> {
        self.resolve(place).await?;
        let responses = self.open_stream(place).await?;
        let mut responses = pin!(responses);
        while let Some(response) = self.next(place, &mut responses).await? {
            self.way.tries.backoff.progress();
            self.listener.end(&place.node.address);
            self.way.heard(&place.node, response.header().as_ref())?;
            let taken = self.take(response.batches)?;
            let is_done = self.is_done();
            if batches.send(Ok(taken)).await.is_err() || is_done {
                return Ok(());
            }
            // Who takes what came when it suits them is no node that is silent.
            self.way.tries.backoff.progress();
        }
        if self.span.follow && !self.is_done() {
            return Err(Error::lost("the node ended the stream"));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let reached = |until| self.next_offset.is_some_and(|next| next >= until);
        self.span.count == Some(0) || self.span.until.is_some_and(reached)
    }

    /// Turns a start that means another place after each record appended into one that does not, so that a second try
    /// starts where the first did.
    async fn resolve(&mut self, place: &Place) -> Result<(), Error> {
        let from_end = match self.span.from {
            Position::Latest => 0,
            Position::FromEnd(count) => count,
            Position::Earliest | Position::Offset(_) | Position::Time(_) => return Ok(()),
        };
        if self.next_offset.is_some() || !self.span.follow {
            return Ok(());
        }
        let start = match &place.log {
            Some(log) => log.high_watermark.saturating_sub(from_end).max(log.earliest),
            None => self.resolve_by_reading(place).await?,
        };
        self.next_offset = Some(start);
        self.way.reach(start);
        Ok(())
    }

    /// For who may read the log and not ask about it.
    async fn resolve_by_reading(&self, place: &Place) -> Result<u64, Error> {
        let request = ConsumeRequest {
            follow: false,
            records_max: 1,
            ..self.request()
        };
        let asked = time::timeout(self.within, place.connection.consume(request)).await;
        let response = asked.map_err(|_| Error::lost("it does not answer"))??;
        let first = response.batches.first().map(|batch| batch.base_offset);
        Ok(first.unwrap_or(response.next_offset))
    }

    fn request(&self) -> ConsumeRequest {
        let level = crate::proto::annals::v1::ReadLevel::from(self.span.level);
        ConsumeRequest {
            start: Some(self.next_offset.map_or(self.span.from, Position::Offset).into()),
            records_max: self.span.count.unwrap_or(0),
            end_offset: self.span.until,
            follow: self.span.follow,
            read_level: level.into(),
            min_offset: self.span.min_offset,
            ..Default::default()
        }
    }

    async fn open_stream(&self, place: &Place) -> Result<Streaming<ConsumeResponse>, Error> {
        let left = self.way.tries.backoff.left().unwrap_or(self.within);
        let opened = place.connection.consume_stream(self.request());
        let opened = time::timeout(left.min(self.within), opened).await;
        opened.unwrap_or_else(|_| {
            // Who has to wait for records that it lacks is there.
            Err(if place.node.has(self.span.min_offset) {
                Error::lost("it does not answer")
            } else {
                self.no_answer(place, "it waits for records that it lacks")
            })
        })
    }

    async fn next(
        &mut self,
        place: &Place,
        responses: &mut Streaming<ConsumeResponse>,
    ) -> Result<Option<ConsumeResponse>, Error> {
        let response = if self.span.follow {
            let now = time::Instant::now();
            let mut doubts = time::interval_at(now + DOUBT_AFTER, DOUBT_EVERY);
            let mut doubts_left = DOUBTS_MAX;
            loop {
                let router = self.way.router();
                tokio::select! {
                    response = responses.next() => break response,
                    () = router.left_behind(&place.node) => return Err(self.no_answer(place, "it is behind the others")),
                    error = place.connection.silence() => return Err(error),
                    _ = doubts.tick(), if doubts_left > 0 => {
                        router.doubt();
                        doubts_left -= 1;
                    }
                    // Where there is nothing to come, that it could is all there is to tell.
                    () = time::sleep_until(now + STANDS_AFTER), if self.listener.is_interrupted() => {
                        self.listener.end(&place.node.address);
                    }
                }
            }
        } else {
            let response = tokio::select! {
                response = time::timeout(self.within, responses.next()) => response,
                error = place.connection.silence() => return Err(error),
            };
            response.map_err(|_| self.no_answer(place, "it sends no more"))?
        };
        response
            .transpose()
            .map_err(|status| place.connection.explain(status))
    }

    fn no_answer(&self, place: &Place, reason: &str) -> Error {
        Error::new(ErrorKind::NoAnswer {
            address: place.node.address.to_string(),
            waited: in_tenths(self.way.tries.backoff.waited()),
            reason: reason.to_owned(),
        })
    }

    /// Checks that the batches go on where the last ones ended, and cuts off what was not asked for.
    fn take(&mut self, batches: Vec<Batch>) -> Result<Vec<Batch>, Error> {
        let mut taken = Vec::with_capacity(batches.len());
        for mut batch in batches {
            if self.is_done() {
                break;
            }
            let expected = self.next_offset.unwrap_or(batch.base_offset);
            if batch.base_offset > expected {
                let got = batch.base_offset;
                return Err(ProtocolError::Gap { expected, got }.into());
            }
            skip_below(&mut batch, expected);
            if let Some(until) = self.span.until {
                let left = until.saturating_sub(batch.base_offset);
                cut_to(&mut batch, left);
            }
            if let Some(left) = &mut self.span.count {
                cut_to(&mut batch, *left);
                *left -= u64::from(batch.record_count);
            }
            if batch.record_count > 0 {
                let next_offset = batch.base_offset + u64::from(batch.record_count);
                self.next_offset = Some(next_offset);
                self.way.reach(next_offset);
                taken.push(batch);
            }
        }
        Ok(taken)
    }
}

fn skip_below(batch: &mut Batch, offset: u64) {
    let skipped = (offset - batch.base_offset).min(u64::from(batch.record_count));
    // It is at most `record_count`, so it fits.
    let skipped = u32::try_from(skipped).unwrap_or(batch.record_count);
    if skipped > 0 {
        batch.records = batch
            .records
            .as_ref()
            .map(|records| record_set::skip(records, skipped));
        batch.base_offset += u64::from(skipped);
        batch.record_count -= skipped;
    }
}

fn cut_to(batch: &mut Batch, count: u64) {
    if let Ok(count) = u32::try_from(count)
        && count < batch.record_count
    {
        batch.records = batch
            .records
            .as_ref()
            .map(|records| record_set::take(records, count));
        batch.record_count = count;
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        client::settings::Settings,
        proto::annals::v1::{Record, RecordSet},
    };

    fn reader(from: Position, count: Option<u64>) -> Reader {
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        let span = Span {
            from,
            count,
            until: None,
            follow: false,
            level: ReadLevel::Linearizable,
            min_offset: 0,
        };
        let router = Arc::new(Router::new(addresses, Settings::alone()));
        Reader::new(router, span, Duration::from_secs(1), Listener::default())
    }

    fn batch(base_offset: u64, record_count: u32) -> Batch {
        let records = (0..u64::from(record_count))
            .map(|i| Record {
                value: (base_offset + i).to_string().into(),
                ..Default::default()
            })
            .collect();
        Batch {
            base_offset,
            record_count,
            timestamp_ms: 0,
            term: 1,
            records: Some(RecordSet { records }.encode_to_vec().into()),
        }
    }

    fn offsets(batches: &[Batch]) -> Vec<u64> {
        let mut offsets = Vec::new();
        for batch in batches {
            let set = RecordSet::decode(batch.records.clone().unwrap_or_default()).unwrap();
            assert_eq!(set.records.len(), batch.record_count as usize);
            for (i, record) in set.records.iter().enumerate() {
                let offset = batch.base_offset + i as u64;
                assert_eq!(record.value, offset.to_string());
                offsets.push(offset);
            }
        }
        offsets
    }

    #[test]
    fn what_was_seen_before_is_cut_off() {
        let mut reader = reader(Position::Offset(3), None);
        let first = reader.take(vec![batch(0, 2), batch(2, 3)]).unwrap();
        assert_eq!(offsets(&first), [3, 4]);
        let again = reader.take(vec![batch(2, 3), batch(5, 1)]).unwrap();
        assert_eq!(offsets(&again), [5]);
    }

    #[test]
    fn no_more_is_taken_than_asked_for() {
        let mut counted = reader(Position::Earliest, Some(3));
        let taken = counted.take(vec![batch(4, 2), batch(6, 2), batch(8, 2)]).unwrap();
        assert_eq!(offsets(&taken), [4, 5, 6]);
        assert!(counted.is_done());
        let mut bounded = reader(Position::Earliest, None);
        bounded.span.until = Some(7);
        let taken = bounded.take(vec![batch(4, 2), batch(6, 2), batch(8, 2)]).unwrap();
        assert_eq!(offsets(&taken), [4, 5, 6]);
        assert!(bounded.is_done());
    }

    #[test]
    fn missing_records_are_an_error() {
        let mut reader = reader(Position::Earliest, None);
        reader.take(vec![batch(4, 2)]).unwrap();
        let gap = ProtocolError::Gap { expected: 6, got: 7 };
        let error = reader.take(vec![batch(7, 1)]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(error) if *error == gap));
    }

    #[test]
    fn a_second_try_starts_behind_the_last_record() {
        let mut reader = reader(Position::FromEnd(3), Some(9));
        reader.take(vec![batch(4, 2)]).unwrap();
        let request = reader.request();
        assert_eq!(request.start, Some(Position::Offset(6).into()));
        assert_eq!(request.records_max, 7);
    }
}
