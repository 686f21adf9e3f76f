//! `annals log`: about the log itself.

use std::{
    io::{self, Write},
    time::Duration,
};

use indicatif::BinaryBytes;
use serde::Serialize;

use crate::{
    client::Reason,
    proto::annals::v1::{DescribeLogResponse, Segment},
};

use super::{
    argument::parse_timeout,
    connect::Target,
    error::CliError,
    output::{Format, time_text, write_json},
    runtime,
};

/// About the log itself
#[derive(Debug, clap::Subcommand)]
pub(super) enum LogCommand {
    /// Show which offsets are readable, how large the log is, and its segments
    #[command(after_long_help = "\
Examples:
  annals log describe
  annals log describe -o json | jq .high_watermark

A range of offsets is half-open: 0..3 is 0, 1 and 2.")]
    Describe {
        #[command(flatten)]
        target: Target,
        /// Give up when the node does not answer within this
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
        timeout: Duration,
        /// How to print it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Drop the records below an offset, on every node
    ///
    /// What is dropped does not come back. The disk has its room back where a whole segment holds nothing else; the segment that
    /// holds the offset stays, and so does the newest one.
    #[command(after_long_help = "\
Examples:
  annals log trim --below 1000000")]
    Trim {
        /// The first offset to keep
        #[arg(long, value_name = "OFFSET")]
        below: u64,
        #[command(flatten)]
        target: Target,
        /// Give up when it is not done within this
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
        timeout: Duration,
        /// How to print what was done
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
}

/// Runs the verb.
pub(super) fn run(command: &LogCommand) -> Result<(), CliError> {
    match command {
        LogCommand::Describe {
            target,
            timeout,
            output,
        } => {
            let client = target.client(*timeout)?;
            let described = runtime::block_on(async {
                match client.contact().await?.log {
                    Some(described) => Ok(described),
                    // It says why not.
                    None => Ok(client.describe().await?),
                }
            })?;
            let mut out = io::stdout().lock();
            match output {
                Format::Text => write_text(&mut out, &described),
                Format::Json => write_json(&mut out, &JsonLog::from(&described)),
            }
            .map_err(CliError::from_write)
        }
        LogCommand::Trim {
            below,
            target,
            timeout,
            output,
        } => trim(target, *below, *timeout, *output),
    }
}

fn trim(target: &Target, below: u64, timeout: Duration, output: Format) -> Result<(), CliError> {
    let client = target.client(timeout)?;
    runtime::block_on(async {
        client.connect().await?;
        client.trim(below).await.map_err(|error| match error.reason() {
            // Nothing else of a trim can be wrong: the offset is not there yet.
            Some(Reason::InvalidRequest) => CliError::TrimAhead(error),
            _ => error.into(),
        })
    })?;
    let mut out = io::stdout().lock();
    match output {
        Format::Text => writeln!(out, "records below offset {below} are dropped"),
        Format::Json => write_json(&mut out, &JsonTrim { below }),
    }
    .map_err(CliError::from_write)
}

fn write_text(out: &mut impl Write, log: &DescribeLogResponse) -> io::Result<()> {
    let header = log.header.clone().unwrap_or_default();
    writeln!(out, "log        {}", log.log)?;
    writeln!(out, "readable   {}..{}", log.earliest, log.high_watermark)?;
    writeln!(out, "tail       {}", log.tail)?;
    writeln!(out, "bytes      {} ({})", log.bytes, BinaryBytes(log.bytes))?;
    writeln!(out, "node       {}", header.node_id)?;
    writeln!(out, "cluster    {}", header.cluster_id)?;
    writeln!(out, "term       {}", header.term)?;
    if !log.failsafe.is_empty() {
        writeln!(
            out,
            "failsafe   takes no writes until it is restarted: {}",
            log.failsafe
        )?;
    }
    if !log.storage_full.is_empty() {
        writeln!(out, "disk       {}", log.storage_full)?;
    }
    if !log.segments.is_empty() {
        writeln!(out)?;
        writeln!(
            out,
            "{:>20}  {:>12}  {:20}  state",
            "first offset", "bytes", "created"
        )?;
    }
    for segment in &log.segments {
        let state = if segment.active { "active" } else { "sealed" };
        writeln!(
            out,
            "{:>20}  {:>12}  {}  {state}",
            segment.first_offset,
            segment.bytes,
            time_text(segment.created_ms)
        )?;
    }
    Ok(())
}

/// Records below this offset are dropped.
#[derive(Serialize)]
struct JsonTrim {
    below: u64,
}

/// The fields of `DescribeLogResponse`, by their names.
#[derive(Serialize)]
struct JsonLog<'a> {
    log: &'a str,
    earliest: u64,
    high_watermark: u64,
    tail: u64,
    bytes: u64,
    /// As text: it is larger than what a JSON number keeps in most programs.
    node_id: String,
    cluster_id: String,
    term: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failsafe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_full: Option<&'a str>,
    segments: Vec<JsonSegment>,
}

#[derive(Serialize)]
struct JsonSegment {
    first_log_index: u64,
    first_offset: u64,
    bytes: u64,
    active: bool,
    created_ms: u64,
}

impl<'a> From<&'a DescribeLogResponse> for JsonLog<'a> {
    fn from(log: &'a DescribeLogResponse) -> Self {
        let header = log.header.clone().unwrap_or_default();
        Self {
            log: &log.log,
            earliest: log.earliest,
            high_watermark: log.high_watermark,
            tail: log.tail,
            bytes: log.bytes,
            node_id: header.node_id.to_string(),
            cluster_id: header.cluster_id,
            term: header.term,
            failsafe: (!log.failsafe.is_empty()).then_some(log.failsafe.as_str()),
            storage_full: (!log.storage_full.is_empty()).then_some(log.storage_full.as_str()),
            segments: log.segments.iter().map(JsonSegment::from).collect(),
        }
    }
}

impl From<&Segment> for JsonSegment {
    fn from(segment: &Segment) -> Self {
        Self {
            first_log_index: segment.first_log_index,
            first_offset: segment.first_offset,
            bytes: segment.bytes,
            active: segment.active,
            created_ms: segment.created_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_a_page_a_person_can_read() {
        let segment = |first_offset, bytes, active, created_ms| Segment {
            first_log_index: first_offset + 1,
            first_offset,
            bytes,
            active,
            created_ms,
        };
        let log = DescribeLogResponse {
            log: "default".into(),
            earliest: 5,
            high_watermark: 90,
            tail: 91,
            bytes: 3 << 20,
            segments: vec![
                segment(5, 2 << 20, false, 1_700_000_000_000),
                segment(60, 1 << 20, true, u64::MAX),
            ],
            ..Default::default()
        };
        let mut out = Vec::new();
        write_text(&mut out, &log).expect("memory can be written");
        let wanted = "\
log        default
readable   5..90
tail       91
bytes      3145728 (3.00 MiB)
node       0
cluster    \n\
term       0

        first offset         bytes  created               state
                   5       2097152  2023-11-14T22:13:20Z  sealed
                  60       1048576  18446744073709551615  active
";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}
