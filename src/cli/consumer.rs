//! A consumer that sees each record once and in order, over connections that come and go.

use std::{
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::{sync::mpsc, time};
use tonic::{Status, Streaming};

use crate::{
    error::Disposition,
    proto::{
        annals::v1::{ConsumeRequest, DescribeLogResponse, ReadLevel},
        raw::annals::v1::{Batch, ConsumeResponse},
    },
    record_set,
};

use super::{
    addresses::Addresses,
    connect::Connection,
    contact::KnownLog,
    error::{CliError, ProtocolError},
    level::Level,
    position::Position,
    reconnect::Backoff,
};

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Where to start.
    pub(super) from: Position,
    /// How many records at most.
    pub(super) count: Option<u64>,
    /// Whether to wait at the high watermark for more.
    pub(super) follow: bool,
    /// How fresh it must be.
    pub(super) level: Level,
}

/// One reader and how far it is.
#[derive(Debug)]
pub(super) struct Consumer {
    span: Span,
    timeout: Duration,
    backoff: Backoff,
    log: KnownLog,
    /// The offset that comes next, as soon as it is known.
    next_offset: Option<u64>,
}

impl Consumer {
    /// Nothing is read yet. Gives up when nothing comes for `timeout`; when it follows, only before the first answer.
    pub(super) fn new(addrs: Addresses, span: Span, timeout: Duration) -> Self {
        let next_offset = match span.from {
            Position::Offset(offset) => Some(offset),
            Position::Earliest | Position::Latest | Position::Time(_) | Position::FromEnd(_) => None,
        };
        let backoff = Backoff::new((!span.follow).then_some(timeout));
        Self {
            log: KnownLog::new(addrs),
            span,
            timeout,
            backoff,
            next_offset,
        }
    }

    /// Reads to the end, into `chunks`; returns early when nobody receives them.
    ///
    /// Errors: a refusal that does not pass; `NoAnswer`; `OtherLog`; `Protocol`. Cancel: safe.
    pub(super) async fn run(&mut self, chunks: mpsc::Sender<Vec<Batch>>) -> Result<(), CliError> {
        let (mut connection, mut log) = self.log.connect(self.timeout).await?;
        loop {
            let Err(error) = self.run_stream(&connection, &log, &chunks).await else {
                return Ok(());
            };
            if self.span.follow && error.disposition() == Disposition::Retry {
                // On standard error, for whoever wonders why nothing comes; nobody has to read it.
                drop(writeln!(io::stderr(), "note: {error}; trying again"));
            }
            let returned = self.log.return_to(&mut self.backoff, self.timeout, error);
            (connection, log) = returned.await?;
        }
    }

    /// One stream from its start to its end.
    async fn run_stream(
        &mut self,
        connection: &Connection,
        log: &DescribeLogResponse,
        chunks: &mpsc::Sender<Vec<Batch>>,
    ) -> Result<(), CliError> {
        self.resolve(log);
        let responses = self.open_stream(connection).await?;
        let mut responses = pin!(responses);
        while let Some(response) = self.next(&mut responses).await? {
            self.backoff.progress();
            let response = response?;
            if let Some(header) = &response.header {
                self.log.check_header(&header.cluster_id)?;
            }
            let batches = self.take(response.batches)?;
            let is_done = self.span.count == Some(0);
            if chunks.send(batches).await.is_err() || is_done {
                return Ok(());
            }
        }
        if self.span.follow {
            return Err(CliError::Lost {
                reason: "the node ended the stream".to_owned(),
            });
        }
        Ok(())
    }

    /// Turns a start that means another place after each record appended into one that does not, so that a second try
    /// starts where the first did.
    fn resolve(&mut self, log: &DescribeLogResponse) {
        let from_end = match self.span.from {
            Position::Latest => 0,
            Position::FromEnd(count) => count,
            Position::Earliest | Position::Offset(_) | Position::Time(_) => return,
        };
        if self.next_offset.is_none() && self.span.follow {
            let start = log.high_watermark.saturating_sub(from_end).max(log.earliest);
            self.next_offset = Some(start);
            self.log.reach(start);
        }
    }

    fn request(&self) -> ConsumeRequest {
        ConsumeRequest {
            start: Some(self.next_offset.map_or(self.span.from, Position::Offset).into()),
            records_max: self.span.count.unwrap_or(0),
            follow: self.span.follow,
            read_level: ReadLevel::from(self.span.level).into(),
            ..Default::default()
        }
    }

    async fn open_stream(&self, connection: &Connection) -> Result<Streaming<ConsumeResponse>, CliError> {
        let lost = |_| CliError::Lost {
            reason: "it does not answer".to_owned(),
        };
        time::timeout(self.timeout, connection.consume_stream(self.request()))
            .await
            .map_err(lost)?
    }

    async fn next<S>(&self, responses: &mut S) -> Result<Option<Result<ConsumeResponse, Status>>, CliError>
    where
        S: Stream<Item = Result<ConsumeResponse, Status>> + Unpin,
    {
        if self.span.follow {
            return Ok(responses.next().await);
        }
        let too_late = |_| {
            self.backoff
                .no_answer(self.log.addrs().current(), "it sends no more".to_owned())
        };
        time::timeout(self.timeout, responses.next())
            .await
            .map_err(too_late)
    }

    /// Checks that the batches go on where the last ones ended, and cuts off what was not asked for.
    fn take(&mut self, batches: Vec<Batch>) -> Result<Vec<Batch>, CliError> {
        let mut taken = Vec::with_capacity(batches.len());
        for mut batch in batches {
            if self.span.count == Some(0) {
                break;
            }
            let expected = self.next_offset.unwrap_or(batch.base_offset);
            if batch.base_offset > expected {
                let got = batch.base_offset;
                return Err(CliError::Protocol(ProtocolError::Gap { expected, got }));
            }
            skip_below(&mut batch, expected);
            if let Some(left) = &mut self.span.count {
                cut_to(&mut batch, *left);
                *left -= u64::from(batch.record_count);
            }
            if batch.record_count > 0 {
                let next_offset = batch.base_offset + u64::from(batch.record_count);
                self.next_offset = Some(next_offset);
                self.log.reach(next_offset);
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
    use crate::proto::annals::v1::{Record, RecordSet};

    fn consumer(from: Position, count: Option<u64>) -> Consumer {
        let addr = "127.0.0.1:1".parse().expect("it is an address");
        Consumer::new(
            addr,
            Span {
                from,
                count,
                follow: false,
                level: Level::usual(false),
            },
            Duration::from_secs(1),
        )
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
            let set =
                RecordSet::decode(batch.records.clone().unwrap_or_default()).expect("it is a record set");
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
        let mut consumer = consumer(Position::Offset(3), None);
        let first = consumer
            .take(vec![batch(0, 2), batch(2, 3)])
            .expect("there is no gap");
        assert_eq!(offsets(&first), [3, 4]);
        let again = consumer
            .take(vec![batch(2, 3), batch(5, 1)])
            .expect("there is no gap");
        assert_eq!(offsets(&again), [5]);
    }

    #[test]
    fn no_more_is_taken_than_asked_for() {
        let mut consumer = consumer(Position::Earliest, Some(3));
        let taken = consumer
            .take(vec![batch(4, 2), batch(6, 2), batch(8, 2)])
            .expect("there is no gap");
        assert_eq!(offsets(&taken), [4, 5, 6]);
        assert_eq!(consumer.span.count, Some(0));
    }

    #[test]
    fn missing_records_are_an_error() {
        let mut consumer = consumer(Position::Earliest, None);
        consumer
            .take(vec![batch(4, 2)])
            .expect("the first batch is where the log begins");
        let gap = ProtocolError::Gap { expected: 6, got: 7 };
        let result = consumer.take(vec![batch(7, 1)]);
        assert!(matches!(result, Err(CliError::Protocol(error)) if error == gap));
    }

    #[test]
    fn who_follows_asks_nobody_and_who_reads_to_the_end_asks_the_leader_unless_told_otherwise() {
        let table = [
            (false, None, ReadLevel::Linearizable),
            (true, None, ReadLevel::Local),
            (false, Some(Level::Local), ReadLevel::Local),
            (true, Some(Level::Linearizable), ReadLevel::Linearizable),
            (false, Some(Level::Lease), ReadLevel::Lease),
        ];
        for (follow, asked, wanted) in table {
            let mut consumer = consumer(Position::Earliest, None);
            consumer.span.level = asked.unwrap_or(Level::usual(follow));
            assert_eq!(consumer.request().read_level(), wanted, "{follow} {asked:?}");
        }
    }

    #[test]
    fn a_second_try_starts_behind_the_last_record() {
        let mut consumer = consumer(Position::FromEnd(3), Some(9));
        consumer
            .take(vec![batch(4, 2)])
            .expect("the first batch is where it begins");
        let request = consumer.request();
        assert_eq!(request.start, Some(Position::Offset(6).into()));
        assert_eq!(request.records_max, 7);
    }
}
