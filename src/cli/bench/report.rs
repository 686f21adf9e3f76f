//! What a load found out.

use std::{
    io::{self, Write},
    time::Duration,
};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::cli::{
    error::CliError,
    output::{Format, write_json},
};

/// The longest latency that is told from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What one load counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// Records acknowledged or received.
    pub(super) records: u64,
    /// Their bytes, encoded.
    pub(super) bytes: u64,
    latency_ns: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Self {
            records: 0,
            bytes: 0,
            latency_ns: latency_ns.expect("the bounds and three digits are what a histogram takes"),
        }
    }
}

impl Tally {
    /// Counts `records` of `bytes`, which all took `latency`.
    pub(super) fn add(&mut self, records: u64, bytes: u64, latency: Duration) {
        self.records += records;
        self.bytes += bytes;
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record(ns);
    }

    /// Counts what another producer of the same load did.
    pub(super) fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.latency_ns
            .add(&other.latency_ns)
            .expect("all histograms have the same bounds");
    }

    /// The sum of it all, for a load that took `elapsed` and `cpu_seconds` of this process.
    pub(super) fn report(&self, elapsed: Duration, cpu_seconds: f64) -> Report {
        let seconds = elapsed.as_secs_f64();
        let quantile_us = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        let per_record = if self.records == 0 {
            0.0
        } else {
            cpu_seconds * 1e6 / self.records as f64
        };
        Report {
            records: self.records,
            bytes: self.bytes,
            seconds,
            records_per_second: self.records as f64 / seconds,
            mb_per_second: self.bytes as f64 / 1e6 / seconds,
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            p999_us: quantile_us(0.999),
            max_us: self.latency_ns.max() as f64 / 1e3,
            client_cpu_seconds: cpu_seconds,
            client_cpu_us_per_record: per_record,
        }
    }
}

/// Seconds that all cores together spent on this process.
pub(super) fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// The figures, by the names they have in JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    mb_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    client_cpu_seconds: f64,
    client_cpu_us_per_record: f64,
}

/// Prints the figures of `load`, which is a JSON object's fields.
///
/// Errors: `Write`, `BrokenPipe`.
pub(super) fn print(format: Format, load: &impl Serialize, report: &Report) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Line<'a, L> {
        #[serde(flatten)]
        load: &'a L,
        #[serde(flatten)]
        report: &'a Report,
    }
    let mut out = io::stdout().lock();
    match format {
        Format::Text => write_text(&mut out, report),
        Format::Json => write_json(&mut out, &Line { load, report }),
    }
    .map_err(CliError::from_write)
}

fn write_text(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "records      {} in {:.3} s", report.records, report.seconds)?;
    writeln!(
        out,
        "rate         {:.0} records/s, {:.1} MB/s",
        report.records_per_second, report.mb_per_second
    )?;
    writeln!(
        out,
        "latency      p50 {:.0} us, p99 {:.0} us, p999 {:.0} us, max {:.0} us",
        report.p50_us, report.p99_us, report.p999_us, report.max_us
    )?;
    writeln!(
        out,
        "this client  {:.3} CPU seconds, {:.3} us per record",
        report.client_cpu_seconds, report.client_cpu_us_per_record
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_what_was_counted_over_the_time_it_took() {
        let mut first = Tally::default();
        first.add(100, 13_200, Duration::from_micros(500));
        let mut all = Tally::default();
        all.add(300, 39_600, Duration::from_micros(100));
        all.merge(&first);
        let mut out = Vec::new();
        write_text(&mut out, &all.report(Duration::from_millis(100), 0.002)).expect("memory can be written");
        let wanted = "\
records      400 in 0.100 s
rate         4000 records/s, 0.5 MB/s
latency      p50 100 us, p99 500 us, p999 500 us, max 500 us
this client  0.002 CPU seconds, 5.000 us per record
";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}
