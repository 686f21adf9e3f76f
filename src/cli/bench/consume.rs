//! `annals bench consume`.

use std::time::Instant;

use prost::Message;
use serde::Serialize;

use crate::{
    cli::{
        connect::{FIRST_ANSWER_WITHIN, Target},
        error::CliError,
        output::Format,
    },
    client::{Connection, ProtocolError},
    clock,
    proto::{
        annals::v1::{ConsumeRequest, ReadLevel, Start, start},
        log::v1 as log_v1,
        raw::annals::v1::ConsumeResponse,
    },
};

use super::{
    Api,
    limit::{Limit, LimitArgs},
    report::{self, Tally},
};

/// Read records from the start of the log, and measure that
///
/// Ends at the limit, or at what was the end of the log when it began. Latency is how long each response was waited
/// for; megabytes are those of encoded records, which are not decoded. Unary calls follow one after the other.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals bench consume --records 10000000
  annals bench consume --seconds 10 --api log.v1 -o json")]
pub(in crate::cli) struct BenchConsumeArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    limit: LimitArgs,
    /// The API to use
    #[arg(long, default_value = "stream")]
    api: Api,
    /// How to print the figures
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// The load, as JSON tells it.
#[derive(Serialize)]
struct Load {
    bench: &'static str,
    api: &'static str,
}

/// Runs the load and prints what it found out.
pub(super) async fn run(args: &BenchConsumeArgs) -> Result<(), CliError> {
    let client = args.target.client(FIRST_ANSWER_WITHIN)?;
    let place = client.contact().await?;
    let log = match place.log {
        Some(log) => log,
        // It says why not.
        None => client.describe().await?,
    };
    let (cpu_before, started) = (report::cpu_seconds(), clock::now());
    let limit = args.limit.start();
    let mut reader = Reader {
        connection: place.connection,
        limit,
        next: log.earliest,
        end: log.high_watermark.min(log.earliest.saturating_add(limit.records)),
        waiting_since: started,
        tally: Tally::default(),
    };
    match args.api {
        Api::Stream => reader.stream().await?,
        Api::Unary => reader.unary().await?,
        Api::LogV1 => reader.log_v1().await?,
    }
    let report = reader
        .tally
        .report(clock::now() - started, report::cpu_seconds() - cpu_before);
    let load = Load {
        bench: "consume",
        api: args.api.name(),
    };
    report::print(args.output, &load, &report)
}

struct Reader {
    connection: Connection,
    limit: Limit,
    /// The next offset to read.
    next: u64,
    /// The first offset not to read.
    end: u64,
    waiting_since: Instant,
    tally: Tally,
}

impl Reader {
    fn request(&self) -> ConsumeRequest {
        ConsumeRequest {
            start: Some(Start {
                position: Some(start::Position::Offset(self.next)),
            }),
            end_offset: Some(self.end),
            read_level: ReadLevel::Local.into(),
            ..Default::default()
        }
    }

    fn is_done(&self) -> bool {
        self.next >= self.end || self.limit.is_over(self.waiting_since)
    }

    async fn stream(&mut self) -> Result<(), CliError> {
        if self.is_done() {
            return Ok(());
        }
        let mut responses = self.connection.consume_stream(self.request()).await?;
        while !self.is_done() {
            match responses.message().await? {
                Some(response) => self.count(&response)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn unary(&mut self) -> Result<(), CliError> {
        while !self.is_done() {
            let before = self.next;
            let response = self.connection.consume(self.request()).await?;
            self.count(&response)?;
            if self.next == before {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn log_v1(&mut self) -> Result<(), CliError> {
        if self.is_done() {
            return Ok(());
        }
        let mut client = log_v1::log_client::LogClient::new(self.connection.channel());
        let request = log_v1::ConsumeRequest { offset: self.next };
        let mut responses = client.consume_stream(request).await?.into_inner();
        while !self.is_done() {
            let Some(response) = responses.message().await? else {
                return Ok(());
            };
            let record = response.record.unwrap_or_default();
            self.count_records(record.offset, 1, record.encoded_len() as u64)?;
        }
        Ok(())
    }

    fn count(&mut self, response: &ConsumeResponse) -> Result<(), CliError> {
        let Some(first) = response.batches.first() else {
            return Ok(());
        };
        let records = response
            .batches
            .iter()
            .map(|batch| u64::from(batch.record_count))
            .sum();
        let bytes = response
            .batches
            .iter()
            .map(|batch| batch.records.as_ref().map_or(0, |records| records.len() as u64))
            .sum();
        self.count_records(first.base_offset, records, bytes)
    }

    fn count_records(&mut self, first: u64, records: u64, bytes: u64) -> Result<(), CliError> {
        if first != self.next {
            let gap = ProtocolError::Gap {
                expected: self.next,
                got: first,
            };
            return Err(gap.into());
        }
        let now = clock::now();
        self.tally.add(records, bytes, now - self.waiting_since);
        self.waiting_since = now;
        self.next += records;
        Ok(())
    }
}
