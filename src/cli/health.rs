//! `annals health`: does it serve?

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    client::{Client, Connection, Error, ErrorKind, SAYS_NOTHING},
    clock,
    error::Disposition,
};

use super::{
    argument::parse_timeout,
    connect::Target,
    error::CliError,
    output::{Format, write_json},
    runtime, stranger,
};

/// How long a node that serves is asked about its disk: thousands of times longer than a disk takes that does not hang.
const DISK_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// How often a node is asked that does not serve yet.
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// Ask whether a node serves reads, and writes as long as its disk has room
///
/// Asks grpc.health.v1. Of several addresses, each has to serve. Ends with exit code 0 when that is so, with 1 when one does
/// not serve, and says why as far as it may ask, and with 3 when one gives no answer. A node whose disk is nearly full serves; that it is full
/// is told, where whoever asks may describe the log.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals health
  annals health --exit-when-healthy --timeout 60s && annals cluster status
  annals health --addr 127.0.0.1:8400,127.0.0.1:8410 -o json")]
pub(super) struct HealthArgs {
    #[command(flatten)]
    target: Target,
    /// Wait until it serves, or the time is over
    #[arg(long)]
    exit_when_healthy: bool,
    /// Give up after this
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// How one node is.
#[derive(Clone, Debug, Serialize)]
struct Health {
    addr: String,
    healthy: bool,
    /// Why not, as far as that could be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// How full its disk is, when it has too little room for appends.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_full: Option<String>,
}

/// What a node says that was asked.
enum Said {
    Serves {
        /// How full its disk is, when it has too little room for appends.
        storage_full: Option<String>,
    },
    /// It does not serve, and this is why.
    Not(String),
}

/// Runs the verb.
pub(super) fn run(args: &HealthArgs) -> Result<(), CliError> {
    let nodes = args.target.clients(args.timeout)?;
    let deadline = clock::now() + args.timeout;
    let mut all = Vec::with_capacity(nodes.len());
    let mut worst = Ok(());
    let found = runtime::block_on(async {
        let mut found = Vec::with_capacity(nodes.len());
        for (addr, client) in nodes {
            let asked = ask_until(&addr, &client, deadline, args).await;
            found.push((addr, asked));
        }
        Ok(found)
    })?;
    for (addr, asked) in found {
        let mut full = None;
        let problem = match asked {
            Ok(Said::Serves { storage_full }) => {
                full = storage_full;
                None
            }
            Ok(Said::Not(problem)) => {
                let text = format!("{addr} does not serve: {problem}");
                worst = worst.and(Err(CliError::Unhealthy { problem: text }));
                Some(problem)
            }
            Err(error) => {
                let error = stranger::explained(error, std::slice::from_ref(&addr));
                let problem = error.to_string();
                worst = worst.and(Err(error));
                Some(problem)
            }
        };
        all.push(Health {
            addr,
            healthy: problem.is_none(),
            problem,
            storage_full: full,
        });
    }
    print(&all, args.output).map_err(CliError::from_write)?;
    worst
}

fn print(all: &[Health], format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            #[derive(Serialize)]
            struct Report<'a> {
                healthy: bool,
                nodes: &'a [Health],
            }
            let healthy = all.iter().all(|health| health.healthy);
            write_json(&mut out, &Report { healthy, nodes: all })
        }
        // What is not well is told as the error.
        Format::Text => {
            for health in all.iter().filter(|health| health.healthy) {
                match &health.storage_full {
                    None => writeln!(out, "{} serves", health.addr)?,
                    Some(full) => writeln!(out, "{} serves; its disk is {full}", health.addr)?,
                }
            }
            Ok(())
        }
    }
}

/// Whether the node at that address serves. Asked again until it does, where that is wanted.
///
/// Errors: it could not be asked. Cancel: safe.
async fn ask_until(
    addr: &str,
    client: &Client,
    deadline: Instant,
    args: &HealthArgs,
) -> Result<Said, CliError> {
    loop {
        let left = deadline.saturating_duration_since(clock::now());
        let mut is_connected = false;
        let asked = match time::timeout(left, ask(client, &mut is_connected)).await {
            Ok(asked) => asked,
            Err(_) => Err(Error::new(ErrorKind::NoAnswer {
                address: addr.to_owned(),
                waited: args.timeout,
                reason: if is_connected {
                    SAYS_NOTHING.to_owned()
                } else {
                    "no connection in time".to_owned()
                },
            })),
        };
        let left = deadline.saturating_duration_since(clock::now());
        let may_change = match &asked {
            Ok(said) => matches!(said, Said::Not(_)),
            Err(error) => error.disposition() == Disposition::Retry,
        };
        if !args.exit_when_healthy || !may_change || left <= ASKED_EVERY {
            return Ok(asked?);
        }
        time::sleep(ASKED_EVERY).await;
    }
}

async fn ask(client: &Client, is_connected: &mut bool) -> Result<Said, Error> {
    let connection = client.first_connection().await?;
    *is_connected = true;
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let answer = HealthClient::new(connection.channel()).check(request).await;
    let answer = answer.map_err(|status| connection.explain(status))?;
    if answer.into_inner().status() == ServingStatus::Serving {
        return Ok(Said::Serves {
            storage_full: storage_full(&connection).await,
        });
    }
    // Who may ask for health need not be allowed to ask for more.
    let problem = problem(&connection).await;
    Ok(Said::Not(
        problem.unwrap_or_else(|| "it does not say why".to_owned()),
    ))
}

/// As far as it may be asked, and says so in time.
async fn storage_full(connection: &Connection) -> Option<String> {
    let described = time::timeout(DISK_TOLD_WITHIN, connection.describe_log()).await;
    Some(described.ok()?.ok()?.storage_full).filter(|full| !full.is_empty())
}

/// By its own word.
async fn problem(connection: &Connection) -> Option<String> {
    let cluster = connection.get_cluster(true).await.ok()?;
    if !cluster.waiting.is_empty() {
        return Some(format!("it waits: {}", cluster.waiting));
    }
    if let Some(removed_at) = cluster.removed_at {
        return Some(format!(
            "it was removed from the cluster, at entry {removed_at} of the log"
        ));
    }
    let own = cluster.header?.node_id;
    let server = cluster.servers.into_iter().find(|server| server.node_id == own)?;
    Some(server.problem).filter(|problem| !problem.is_empty())
}
