//! `annals bench produce`.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    cli::{
        connect::{FIRST_ANSWER_WITHIN, Target},
        error::CliError,
        output::Format,
        record_lines::put_record,
    },
    client::{Connection, Error, Place, ProtocolError, Refusal},
    clock,
    proto::{log::v1 as log_v1, raw::annals::v1::ProduceRequest},
};

use super::{
    Api,
    limit::{Limit, LimitArgs},
    report::{self, Tally},
    window::Window,
};

/// Append records as fast as they are acknowledged, and measure that
///
/// Each producer has a connection of its own. Latency is from the moment the connection takes a request to its
/// acknowledgement. Megabytes are those of encoded records. The records carry no producer's stamp.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals bench produce --size 128 --in-flight 1000 --seconds 10
  annals bench produce --size 1024 --batch 100 --producers 4 -o json")]
pub(in crate::cli) struct BenchProduceArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    limit: LimitArgs,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = clap::value_parser!(u64).range(..=64 << 20))]
    size: u64,
    /// Records in a request; log.v1 has 1
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Records of each producer that may be sent and not acknowledged, rounded up to whole batches
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    in_flight: u64,
    /// How many producers
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    producers: u64,
    /// Threads that the producers share
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// The API to use
    #[arg(long, default_value = "stream")]
    api: Api,
    /// How to print the figures
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl BenchProduceArgs {
    /// How many threads the producers share.
    pub(super) fn threads(&self) -> usize {
        self.threads.into()
    }

    /// The load, as JSON tells it.
    fn load(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Load {
            bench: &'static str,
            api: &'static str,
            size: u64,
            batch: u64,
            in_flight: u64,
            producers: u64,
        }
        Load {
            bench: "produce",
            api: self.api.name(),
            size: self.size,
            batch: self.batch,
            in_flight: self.in_flight,
            producers: self.producers,
        }
    }
}

/// Runs the load and prints what it found out.
pub(super) async fn run(args: &BenchProduceArgs) -> Result<(), CliError> {
    if args.api == Api::LogV1 && args.batch != 1 {
        return Err(CliError::Usage {
            text: "log.v1 has one record in a request",
            hint: "leave out --batch, or use another --api",
        });
    }
    let mut places = Vec::new();
    for _ in 0..args.producers {
        // A client each, so that each has a connection of its own.
        places.push(args.target.client(FIRST_ANSWER_WITHIN)?.contact().await?);
    }
    let load = ProducerLoad::new(args);
    let (cpu_before, started) = (report::cpu_seconds(), clock::now());
    let limit = args.limit.start();
    let mut producers = JoinSet::new();
    for (place, producer) in places.into_iter().zip(0..) {
        let requests = limit.requests(args.batch, args.producers, producer);
        producers.spawn(load.clone().run(args.api, place, requests, limit));
    }
    let mut tally = Tally::default();
    while let Some(ended) = producers.join_next().await {
        match ended {
            Ok(produced) => tally.merge(&produced?),
            // Only a panic ends a producer without a result: none is cancelled before all are joined.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    let report = tally.report(clock::now() - started, report::cpu_seconds() - cpu_before);
    report::print(args.output, &args.load(), &report)
}

/// What one producer sends.
#[derive(Clone)]
struct ProducerLoad {
    /// One request's records, encoded once and shared by all requests.
    records: Bytes,
    value: Bytes,
    batch: u64,
    requests_in_flight: usize,
}

impl ProducerLoad {
    fn new(args: &BenchProduceArgs) -> Self {
        // Bytes that do not compress, the same in each run.
        let mut value = vec![0; usize::try_from(args.size).expect("the argument's range fits")];
        StdRng::seed_from_u64(args.size).fill_bytes(&mut value);
        let mut records = BytesMut::new();
        for _ in 0..args.batch {
            put_record(&mut records, &value);
        }
        let requests = args.in_flight.div_ceil(args.batch);
        Self {
            records: records.freeze(),
            value: value.into(),
            batch: args.batch,
            requests_in_flight: usize::try_from(requests).expect("the argument's range fits"),
        }
    }

    async fn run(
        self,
        api: Api,
        Place { connection, .. }: Place,
        requests: u64,
        limit: Limit,
    ) -> Result<Tally, CliError> {
        let window = Window::new(requests, self.requests_in_flight, limit);
        match api {
            Api::Stream => self.stream(&connection, &window).await,
            Api::LogV1 => self.log_v1(&connection, &window).await,
            Api::Unary => self.unary(&connection, requests, limit).await,
        }
    }

    fn request(&self) -> ProduceRequest {
        ProduceRequest {
            records: Some(self.records.clone()),
            ..Default::default()
        }
    }

    async fn stream(&self, connection: &Connection, window: &Window) -> Result<Tally, CliError> {
        let mut tally = Tally::default();
        let mut responses = connection.produce_stream(window.requests(self.request())).await?;
        while let Some(response) = responses.message().await? {
            if let Some(failure) = response.failure {
                return Err(Error::from(Refusal::from(failure)).into());
            }
            let now = clock::now();
            for _ in 0..response.requests.max(1) {
                self.count_answer(window, now, &mut tally)?;
            }
        }
        Ok(tally)
    }

    async fn log_v1(&self, connection: &Connection, window: &Window) -> Result<Tally, CliError> {
        let mut tally = Tally::default();
        let request = log_v1::ProduceRequest {
            record: Some(log_v1::Record {
                value: self.value.clone(),
                ..Default::default()
            }),
        };
        let mut client = log_v1::log_client::LogClient::new(connection.channel());
        let mut responses = client
            .produce_stream(window.requests(request))
            .await?
            .into_inner();
        while responses.message().await?.is_some() {
            self.count_answer(window, clock::now(), &mut tally)?;
        }
        Ok(tally)
    }

    fn count_answer(&self, window: &Window, now: Instant, tally: &mut Tally) -> Result<(), CliError> {
        let latency = window.answered(now);
        let latency = latency.ok_or(ProtocolError::AnswerWithoutRequest)?;
        tally.add(self.batch, self.records.len() as u64, latency);
        Ok(())
    }

    async fn unary(&self, connection: &Connection, requests: u64, limit: Limit) -> Result<Tally, CliError> {
        let mut tally = Tally::default();
        let calls = (0..requests)
            .take_while(|_| !limit.is_over(clock::now()))
            .map(|_| async {
                let started = clock::now();
                let produced = connection.produce(self.request()).await;
                produced.map(|_| clock::now() - started)
            });
        let mut answers = stream::iter(calls).buffer_unordered(self.requests_in_flight);
        while let Some(latency) = answers.next().await {
            tally.add(self.batch, self.records.len() as u64, latency?);
        }
        Ok(tally)
    }
}
